package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cardbureau/cardio/gp"
	"cardbureau/hsm"
)

// cardKeySet says what keys a card has, and what they follow from.
type cardKeySet struct {
	name            string // "cmk.acme/1"
	des             bool   // triple DES keys, for SCP02
	size            int    // bytes of a key
	diversification gp.Diversification
}

// newCardKeySet checks what a request says of keys.
func newCardKeySet(name, keyType string, bits int, d gp.Diversification) (cardKeySet, error) {
	set := cardKeySet{name: name, size: bits / 8, diversification: d}
	switch keyType {
	case "", KeyTypeAES:
		if bits != 128 && bits != 192 && bits != 256 {
			return set, fmt.Errorf("%w: no AES key has %d bits", ErrRequest, bits)
		}
	case KeyTypeDES3:
		if bits != 112 && bits != 128 {
			return set, fmt.Errorf("%w: the triple DES keys of SCP02 have 128 bits (112 without parity), not %d", ErrRequest, bits)
		}
		set.des, set.size = true, 16
	default:
		return set, fmt.Errorf("%w: keys of type %q are not known (%s or %s)", ErrRequest, keyType, KeyTypeAES, KeyTypeDES3)
	}
	if err := d.Validate(); err != nil {
		return set, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if set.des && (d.Cipher == gp.DiversifyAESECB || d.Cipher == gp.DiversifyAESCMAC) {
		return set, fmt.Errorf("%w: triple DES keys are diversified with %s, not %s", ErrRequest, gp.DiversifyDES3ECB, d.Cipher)
	}
	return set, nil
}

// diversified reports whether the keys follow from a master.
func (c cardKeySet) diversified() bool { return c.diversification.Cipher != gp.DiversifyNone }

// mustDiversify refuses keys that would be the same on every card.
func (c cardKeySet) mustDiversify() error {
	if !c.diversified() {
		return fmt.Errorf("%w: a card gets diversified keys only", ErrRequest)
	}
	return nil
}

// inputs are what goes into the master's cipher for one key.
func (c cardKeySet) inputs(kind byte, kdd []byte) ([][]byte, error) {
	in, err := c.diversification.Inputs(kind, kdd, c.size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return in, nil
}

// purposes end the roles of keys that are separate by purpose.
var purposes = map[byte]string{gp.KeyENC: ".enc", gp.KeyMAC: ".mac", gp.KeyDEK: ".dek"}

// findKey finds the key that a card's key of a kind is, or follows from: of
// undiversified sets <role>.enc, .mac or .dek, otherwise the one master <role>,
// or, where there is none, that of the purpose.
func findKey[K any](ctx context.Context, find func(context.Context, string) (K, error), set cardKeySet, kind byte) (key K, label string, err error) {
	role, version, ok := strings.Cut(set.name, "/")
	if !ok {
		return key, "", fmt.Errorf("%w: %q names no key set (role/version)", ErrRequest, set.name)
	}
	var noMaster error
	if set.diversified() {
		if label, err = roleLabel(role, version); err != nil {
			return key, "", err
		}
		key, err = find(ctx, label)
		if !errors.Is(err, hsm.ErrNoKey) {
			return key, label, err
		}
		noMaster = err
	}
	if label, err = roleLabel(role+purposes[kind], version); err != nil {
		return key, "", err
	}
	key, err = find(ctx, label)
	if noMaster != nil && errors.Is(err, hsm.ErrNoKey) {
		err = noMaster
	}
	return key, label, err
}

// master finds the key that diversified keys of a kind follow from, with its
// label.
func (s *Service) master(ctx context.Context, set cardKeySet, kind byte) (gp.BlockCipher, string, error) {
	if set.diversification.Cipher == gp.DiversifyDES3ECB {
		k, l, err := findKey(ctx, s.token.DES3, set, kind)
		return k, l, err
	}
	k, l, err := findKey(ctx, s.token.AES, set, kind)
	return k, l, err
}

// keyInMemory derives a diversified key into this process's memory, for a
// receiver that cannot get it otherwise. The caller zeroes it.
func (s *Service) keyInMemory(ctx context.Context, set cardKeySet, kind byte, kdd []byte) (Secret, error) {
	if err := set.mustDiversify(); err != nil {
		return nil, err
	}
	if _, err := set.inputs(kind, kdd); err != nil {
		return nil, err
	}
	master, _, err := s.master(ctx, set, kind)
	if err != nil {
		return nil, err
	}
	return set.diversification.Derive(ctx, master, kind, kdd, set.size)
}

// aesKey makes or finds one AES key of a card. A diversified one stays in the
// token where the module can derive there.
func (s *Service) aesKey(ctx context.Context, set cardKeySet, kind byte, kdd []byte, tmpl hsm.SessionTemplate) (*hsm.AESKey, error) {
	if !set.diversified() {
		key, l, err := findKey(ctx, s.token.AES, set, kind)
		if err == nil && key.KeySize() != set.size {
			return nil, fmt.Errorf("%w: %s has %d bits, not %d", ErrRequest, l, key.KeySize()*8, set.size*8)
		}
		return key, err
	}
	in, err := set.inputs(kind, kdd)
	if err != nil {
		return nil, err
	}
	var key *hsm.AESKey
	if set.diversification.Cipher == gp.DiversifyDES3ECB {
		master, _, ferr := findKey(ctx, s.token.DES3, set, kind)
		if ferr != nil {
			return nil, ferr
		}
		key, err = master.DeriveAES(ctx, in[0], set.size, tmpl)
	} else {
		master, _, ferr := findKey(ctx, s.token.AES, set, kind)
		if ferr != nil {
			return nil, ferr
		}
		if set.diversification.Cipher == gp.DiversifyAESCMAC {
			return master.DeriveCMAC(ctx, in, set.size, tmpl)
		}
		key, err = master.DeriveECB(ctx, in[0], set.size, tmpl)
	}
	if errors.Is(err, hsm.ErrUnsupported) {
		value, err := s.keyInMemory(ctx, set, kind, kdd)
		if err != nil {
			return nil, err
		}
		defer value.Zero()
		return s.token.ImportSession(ctx, value, tmpl)
	}
	return key, err
}
