package vault

import (
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/gp"
	"cardbureau/hsm"
)

// desCardKeys are the static triple DES keys of one card. They are made when
// a session key is derived, and destroyed with closeBase; the session keys of
// SCP02 stay, S-DEK among them.
type desCardKeys struct {
	service *Service
	set     cardKeySet
	kdd     []byte
	static  map[byte]*hsm.DES3Key
}

var _ gp.StaticDESKeys = (*desCardKeys)(nil)

// desKey is a session key in the token that no MAC is asked of.
type desKey struct{ *hsm.DES3Key }

// EncryptSingleCBC is for keys that make MACs.
func (desKey) EncryptSingleCBC(context.Context, []byte, []byte) ([]byte, error) {
	return nil, errors.New("this key makes no retail MAC")
}

// desKey makes or finds one triple DES key of a card in the token.
// hsm.ErrUnsupported where the module cannot derive it there.
func (s *Service) desKey(ctx context.Context, set cardKeySet, kind byte, kdd []byte, tmpl hsm.SessionTemplate) (*hsm.DES3Key, error) {
	key, l, err := findKey(ctx, s.token.DES3, set, kind)
	switch {
	case err != nil:
		return nil, err
	case !set.diversified() && key.KeySize() != set.size:
		return nil, fmt.Errorf("%w: %s has three parts, the keys of SCP02 have two", ErrRequest, l)
	case !set.diversified():
		return key, nil
	}
	in, err := set.inputs(kind, kdd)
	if err != nil {
		return nil, err
	}
	return key.DeriveECB(ctx, in[0], tmpl)
}

// DeriveSession makes a session key that stays in the token, with a module
// that can derive there.
func (k *desCardKeys) DeriveSession(ctx context.Context, kind byte, constant uint16, sequenceCounter []byte) (gp.DESCipher, error) {
	input := gp.SCP02DerivationData(constant, sequenceCounter)
	if !k.service.token.Capabilities().DeriveDES3InToken {
		return k.deriveInMemory(ctx, kind, input)
	}
	if k.static[kind] == nil {
		key, err := k.service.desKey(ctx, k.set, kind, k.kdd, hsm.SessionTemplate{Use: hsm.UseDerive})
		if err != nil {
			return nil, err
		}
		k.static[kind] = key
	}
	// Returned one by one: a nil key in an interface is not nil.
	switch constant {
	case gp.DeriveSCP02CMAC, gp.DeriveSCP02RMAC:
		key, err := k.static[kind].DeriveMACKey(ctx, input)
		if err != nil {
			return nil, err
		}
		return key, nil
	case gp.DeriveSCP02DEK:
		defer k.closeBase() // it comes after the session was opened
		key, err := k.static[kind].DeriveCBC(ctx, input, hsm.SessionTemplate{Use: hsm.UseEncrypt | hsm.UseWrap})
		if err != nil {
			return nil, err
		}
		return desKey{key}, nil
	default:
		key, err := k.static[kind].DeriveCBC(ctx, input, hsm.SessionTemplate{Use: hsm.UseEncrypt})
		if err != nil {
			return nil, err
		}
		return desKey{key}, nil
	}
}

// deriveInMemory is for modules that cannot derive: the static key of the card
// passes through this process's memory and is zeroed, and the session key stays
// there until the session is closed.
func (k *desCardKeys) deriveInMemory(ctx context.Context, kind byte, input []byte) (gp.DESCipher, error) {
	var static interface {
		EncryptCBC(ctx context.Context, iv, data []byte) ([]byte, error)
	}
	if k.set.diversified() {
		value, err := k.service.keyInMemory(ctx, k.set, kind, k.kdd)
		if err != nil {
			return nil, err
		}
		defer value.Zero()
		c, err := gp.NewSoftwareDESCipher(value)
		if err != nil {
			return nil, err
		}
		defer func() { _ = c.Close() }()
		static = c
	} else {
		key, err := k.service.desKey(ctx, k.set, kind, k.kdd, hsm.SessionTemplate{})
		if err != nil {
			return nil, err
		}
		static = key
	}
	value, err := static.EncryptCBC(ctx, make([]byte, 8), input)
	if err != nil {
		return nil, err
	}
	defer clear(value)
	c, err := gp.NewSoftwareDESCipher(value)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// closeBase destroys the static keys.
func (k *desCardKeys) closeBase() {
	for _, key := range k.static {
		closeQuietly(key)
	}
	clear(k.static)
}
