package line

import (
	"bytes"
	"context"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/personalization/image"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// channels opens a profile's secure channels in the vault.
type channels struct {
	vault   *vault.Client
	claim   *store.Claim
	sealed  *image.Image
	journal *journal
}

func (c *channels) HostChallenge(ctx context.Context, mode gp.Mode) ([]byte, error) {
	return c.vault.HostChallenge(ctx, mode)
}

func (c *channels) Open(ctx context.Context, req profile.OpenRequest) (profile.Channel, []byte, error) {
	c.journal.keyVersion = req.Keys.Version
	for _, v := range c.claim.Blank.FailedKeyVersions {
		if v == int(req.Keys.Version) {
			return nil, nil, fmt.Errorf("key version %02X failed on this chip before and is not tried again: %w", v, gp.ErrCardCryptogram)
		}
	}
	ch, authenticate, err := c.vault.OpenChannel(ctx, vault.ChannelRequest{
		KeySet: req.Keys.Set, Diversification: req.Keys.Template(), KeyBits: req.Keys.Bits,
		HostChallenge: req.HostChallenge, InitializeUpdate: req.InitializeUpdate, AID: req.ISD, Level: req.Level,
	})
	if err != nil {
		return nil, nil, err
	}
	return &channel{Channel: ch, of: c, diversification: bytes.Clone(req.InitializeUpdate[:10])}, authenticate, nil
}

// channel adds to the vault's channel what a profile asks of it.
type channel struct {
	*vault.Channel
	of              *channels
	diversification []byte // key diversification data, 10 bytes
}

func (c *channel) EncipherSecrets(ctx context.Context, names []string) (map[string][]byte, error) {
	im := c.of.sealed
	return c.Channel.EncipherSecrets(ctx, im.Key, im.SecretsAAD, im.Secrets, names)
}

func (c *channel) PutKey(ctx context.Context, replace, with profile.KeySet) (apdu.Command, func([]byte) error, error) {
	pk, err := c.Channel.PutKey(ctx, vault.PutKeyRequest{
		KeySet: with.Set, Diversification: with.Template(), KeyBits: with.Bits,
		KeyVersion: with.Version, ReplacesVersion: replace.Version, KeyDiversificationData: c.diversification,
	})
	if err != nil {
		return apdu.Command{}, nil, err
	}
	check := func(response []byte) error {
		components := make([]gp.KeyComponent, len(pk.KCVs))
		for i, kcv := range pk.KCVs {
			components[i].KCV = kcv
		}
		return gp.CheckPutKeyResponse(response, pk.KeyVersion, components)
	}
	return pk.Command, check, nil
}
