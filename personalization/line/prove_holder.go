package line

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds"
	"cardbureau/personalization/identity"
)

// vouched checks that the signed DG13 vouches for the files behind the holder's
// PIN, which nobody else can compare.
func (p *prover) vouched() error {
	for _, f := range p.image.Hidden() {
		if err := identity.CheckHiddenFile(p.image.Files["dg13"], f); err != nil {
			return notProven("DG13: %w", err)
		}
	}
	return nil
}

// behindPIN verifies the transport PIN and reads the files that it opens until the
// card is locked.
func (p *prover) behindPIN(ctx context.Context, sm *lds.SecureMessaging) error {
	pin, err := p.line.Vault.TransportPIN(ctx, p.image.Key, p.image.SecretsAAD, p.image.Secrets)
	if err != nil {
		return fmt.Errorf("transport PIN: %w", err)
	}
	defer pin.Zero()
	files := p.image.Hidden()
	for _, f := range files { // until a PIN is given, each must be closed
		_, err := p.reader(sm).Files(ctx, lds.File{ID: f.FID, Size: len(f.Content)})
		switch {
		case err == nil:
			return notProven("file %04X can be read without the holder's PIN", f.FID)
		case !errors.Is(err, apdu.SWSecurityStatusNotSatisfied):
			return failed(fmt.Errorf("file %04X without the holder's PIN: %w", f.FID, err))
		}
	}
	if err := lds.VerifyPIN(ctx, sm, lds.HolderPIN, pin); err != nil {
		return failed(fmt.Errorf("transport PIN: %w", err))
	}
	if err := p.holderKeys(ctx, sm, pin); err != nil {
		return err
	}
	for _, f := range files {
		read, err := p.reader(sm).Files(ctx, lds.File{ID: f.FID, Size: len(f.Content)})
		if err != nil {
			return failed(fmt.Errorf("file %04X: %w", f.FID, err))
		}
		if !bytes.Equal(read[0], f.Content) {
			return notProven("file %04X is not what was written", f.FID)
		}
	}
	return nil
}

// holderKeys has the chip sign with each key that it has for its holder, which the
// signed DG13 names. The PIN is verified; each signature uses a verification up.
func (p *prover) holderKeys(ctx context.Context, sm *lds.SecureMessaging, pin []byte) error {
	if len(p.image.HolderKeys) == 0 {
		return nil
	}
	content, err := identity.ParseDG13(p.image.Files["dg13"])
	if err != nil {
		return notProven("DG13: %w", err)
	}
	for i, k := range p.image.HolderKeys {
		named, ok := content.Key(k.Reference)
		if !ok || !bytes.Equal(named.Point, k.Point) {
			return notProven("DG13 does not name the holder's key %02X", k.Reference)
		}
		if i > 0 {
			if err := lds.VerifyPIN(ctx, sm, lds.HolderPIN, pin); err != nil {
				return failed(fmt.Errorf("transport PIN: %w", err))
			}
		}
		hash := make([]byte, sha256.Size)
		if _, err := rand.Read(hash); err != nil {
			return err
		}
		signature, err := lds.Sign(ctx, sm, k.Reference, hash)
		if err != nil {
			return failed(err)
		}
		if err := k.Verify(hash, signature); err != nil {
			return notProven("the holder's key %02X: %w", k.Reference, err)
		}
	}
	return nil
}
