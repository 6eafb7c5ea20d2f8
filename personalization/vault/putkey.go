package vault

import (
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/gp"
	"cardbureau/hsm"
)

func (s *Service) putKey(ctx context.Context, in *putKeyRequest) (*putKeyReply, error) {
	r := in.Request
	if r.KeyVersion == 0 || r.KeyVersion > 0x7F || r.ReplacesVersion > 0x7F {
		return nil, fmt.Errorf("%w: a key version is 01 to 7F", ErrRequest)
	}
	set, err := newCardKeySet(r.KeySet, r.KeyType, r.KeyBits, r.Diversification)
	if err != nil {
		return nil, err
	}
	if err := set.mustDiversify(); err != nil {
		return nil, err
	}
	out := &putKeyReply{}
	err = s.on(in.ID, func(c *heldChannel) error {
		components, err := s.newKeyComponents(ctx, c, set, r.KeyDiversificationData)
		if err != nil {
			return err
		}
		out.Command = toWire(gp.ReplaceKeyCommand(r.ReplacesVersion, r.KeyVersion, 1, components))
		for _, k := range components {
			out.KCVs = append(out.KCVs, k.KCV)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// newKeyComponents enciphers a card's new static keys under its present DEK.
func (s *Service) newKeyComponents(ctx context.Context, c *heldChannel, set cardKeySet, kdd []byte) (out []gp.KeyComponent, err error) {
	var one func(kind byte) (gp.KeyComponent, error)
	switch scp := c.scp.(type) {
	case *gp.SCP02:
		if !set.des {
			return nil, fmt.Errorf("%w: under SCP02 a card gets triple DES keys, not AES keys", ErrRequest)
		}
		dek, err := scp.DEK(ctx)
		if err != nil {
			return nil, err
		}
		one = func(kind byte) (gp.KeyComponent, error) { return s.desComponent(ctx, dek, set, kind, kdd) }
	default:
		if set.des {
			return nil, fmt.Errorf("%w: under SCP03 a card gets AES keys, not triple DES keys", ErrRequest)
		}
		dek, err := c.aes.dek.get(ctx)
		if err != nil {
			return nil, err
		}
		one = func(kind byte) (gp.KeyComponent, error) { return s.aesComponent(ctx, dek, set, kind, kdd) }
	}
	for _, kind := range []byte{gp.KeyENC, gp.KeyMAC, gp.KeyDEK} {
		component, err := one(kind)
		if err != nil {
			return nil, err
		}
		out = append(out, component)
	}
	return out, nil
}

// aesComponent keeps the new key inside the token where the module can wrap
// it. Otherwise, and with 24 bytes, which are padded before they are enciphered,
// it passes through this process's memory and is zeroed.
func (s *Service) aesComponent(ctx context.Context, dek *hsm.AESKey, set cardKeySet, kind byte, kdd []byte) (gp.KeyComponent, error) {
	if set.size%16 == 0 && s.token.Capabilities().WrapCBC {
		key, err := s.aesKey(ctx, set, kind, kdd, hsm.SessionTemplate{Use: hsm.UseEncrypt, Exportable: true})
		if err != nil {
			return gp.KeyComponent{}, err
		}
		c := gp.KeyComponent{Type: gp.KeyTypeAES, Length: set.size}
		if c.Ciphertext, err = dek.WrapCBC(ctx, key); err == nil {
			c.KCV, err = gp.KCV(ctx, key)
		}
		return c, errors.Join(err, key.Close())
	}
	value, err := s.keyInMemory(ctx, set, kind, kdd)
	if err != nil {
		return gp.KeyComponent{}, err
	}
	defer value.Zero()
	return gp.NewKeyComponent(ctx, dek, value)
}

// desComponent is aesComponent for triple DES keys under S-DEK. SoftHSM cannot
// wrap them.
func (s *Service) desComponent(ctx context.Context, dek gp.DESCipher, set cardKeySet, kind byte, kdd []byte) (gp.KeyComponent, error) {
	if sdek, ok := dek.(desKey); ok && s.token.Capabilities().WrapDES3 {
		key, err := s.desKey(ctx, set, kind, kdd, hsm.SessionTemplate{Use: hsm.UseEncrypt, Exportable: true})
		if err != nil {
			return gp.KeyComponent{}, err
		}
		c := gp.KeyComponent{Type: gp.KeyTypeDES, Length: set.size}
		if c.Ciphertext, err = sdek.WrapECB(ctx, key); err == nil {
			c.KCV, err = gp.DESKCV(ctx, key)
		}
		return c, errors.Join(err, key.Close())
	}
	value, err := s.keyInMemory(ctx, set, kind, kdd)
	if err != nil {
		return gp.KeyComponent{}, err
	}
	defer value.Zero()
	return gp.NewDESKeyComponent(ctx, dek, value)
}
