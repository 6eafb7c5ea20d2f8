package image

import (
	"context"

	"cardbureau/personalization/vault"
)

// sealing gathers what an image has to seal, so that it is one call of the agent.
type sealing struct {
	items []vault.SealItem
	to    []*[]byte
}

// add seals plain into to when do is called, and takes plain over.
func (s *sealing) add(key vault.DataKey, aad, plain []byte, to *[]byte) {
	s.items = append(s.items, vault.SealItem{DataKey: key, AAD: aad, Data: plain})
	s.to = append(s.to, to)
}

// do seals all that was added.
func (s *sealing) do(ctx context.Context, v *vault.Client) error {
	sealed, err := v.SealAll(ctx, s.items)
	if err != nil {
		return err
	}
	for i, to := range s.to {
		*to = sealed[i]
	}
	return nil
}

// zero forgets what was added.
func (s *sealing) zero() {
	for _, it := range s.items {
		clear(it.Data)
	}
}
