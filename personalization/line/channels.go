package line

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"strings"

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
	data, err := req.Keys.DiversificationData(c.claim.Blank.Serial, req.InitializeUpdate)
	if err != nil {
		return nil, nil, err
	}
	ch, authenticate, err := c.vault.OpenChannel(ctx, vault.ChannelRequest{
		KeySet: req.Keys.Set, Diversification: req.Keys.Template(), KeyType: req.Keys.Type, KeyBits: req.Keys.Bits,
		Protocol: int(req.Protocol.SCP), I: req.Protocol.I,
		HostChallenge: req.HostChallenge, InitializeUpdate: req.InitializeUpdate, DiversificationData: data, AID: req.AID, Level: req.Level, CountDataOnly: req.CountDataOnly,
	})
	if err != nil {
		return nil, nil, err
	}
	return &channel{Channel: ch, of: c, initializeUpdate: bytes.Clone(req.InitializeUpdate)}, authenticate, nil
}

// channel adds to the vault's channel what a profile asks of it.
type channel struct {
	*vault.Channel
	of               *channels
	initializeUpdate []byte // the card's answer
}

func (c *channel) EncipherSecrets(ctx context.Context, names []string) (map[string][]byte, error) {
	sets, err := c.of.sets(names)
	if err != nil {
		return nil, err
	}
	return c.EncipherSets(ctx, sets)
}

// sets says where secrets are: those of the identity application and of the payment
// application are sealed apart.
func (c *channels) sets(names []string) (sets []vault.SecretSet, err error) {
	var own, bank []string
	for _, n := range names {
		if strings.HasPrefix(n, "emv-") {
			bank = append(bank, n)
		} else {
			own = append(own, n)
		}
	}
	im := c.sealed
	if len(own) > 0 {
		sets = append(sets, vault.SecretSet{Sealed: vault.SealItem{DataKey: im.Key, AAD: im.SecretsAAD, Data: im.Secrets}, Names: own})
	}
	if len(bank) > 0 {
		if im.Bank == nil {
			return nil, fmt.Errorf("%w: it has no payment application", errImage)
		}
		sets = append(sets, vault.SecretSet{Sealed: vault.SealItem{DataKey: im.Bank.Key, AAD: im.Bank.SecretsAAD, Data: im.Bank.Secrets}, Names: bank})
	}
	return sets, nil
}

func (c *channel) SecretKCVs(ctx context.Context, names []string) (map[string][]byte, error) {
	sets, err := c.of.sets(names)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, set := range sets {
		got, err := c.of.vault.SecretKCVs(ctx, set.Sealed.DataKey, set.Sealed.AAD, set.Sealed.Data, set.Names)
		if err != nil {
			return nil, err
		}
		maps.Copy(out, got)
	}
	return out, nil
}

func (c *channel) PutKey(ctx context.Context, replace, with profile.KeySet) (apdu.Command, func([]byte) error, error) {
	data, err := with.DiversificationData(c.of.claim.Blank.Serial, c.initializeUpdate)
	if err != nil {
		return apdu.Command{}, nil, err
	}
	pk, err := c.Channel.PutKey(ctx, vault.PutKeyRequest{
		KeySet: with.Set, Diversification: with.Template(), KeyType: with.Type, KeyBits: with.Bits,
		KeyVersion: with.Version, ReplacesVersion: replace.Replaced(), KeyDiversificationData: data,
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
