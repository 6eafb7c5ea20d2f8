package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cardbureau/hsm"
	"cardbureau/hsm/tr31"
)

// BlockRequest brings a key in as a TR-31 key block, or has one made for the bank.
type BlockRequest struct {
	Role, Version string
	KEK           string // role/version of the key that protects the block: kek.bank/1
	Block         string // empty: make a key
	KCV           []byte // that the bank has told; nil: the block's MAC alone
	Development   bool
}

// protection is a key of the token as a key block protection key. The keys derived
// from it are in this process for one call (see package tr31).
func (s *Service) protection(ctx context.Context, name string) (p tr31.Protection, err error) {
	role, version, ok := strings.Cut(name, "/")
	if !ok || role != RoleBankKEK && role != RoleBankKEK+RoleDES3 {
		return p, fmt.Errorf("%w: %q is no key that protects key blocks: %s/1, or %s/1", ErrRequest, name, RoleBankKEK, RoleBankKEK+RoleDES3)
	}
	l, err := roleLabel(role, version)
	if err != nil {
		return p, err
	}
	if role == RoleBankKEK {
		k, err := s.token.AES(ctx, l)
		if err != nil {
			return p, noKEK(l, err)
		}
		return tr31.Protection{AES: true, Bytes: k.KeySize(), CMAC: tr31.CMACByECB(16, func(b []byte) ([]byte, error) { return k.EncryptECB(ctx, b) })}, nil
	}
	k, err := s.token.DES3(ctx, l)
	if err != nil {
		return p, noKEK(l, err)
	}
	return tr31.Protection{Bytes: k.KeySize(), CMAC: tr31.CMACByECB(8, func(b []byte) ([]byte, error) { return k.EncryptECB(ctx, b) })}, nil
}

func noKEK(label string, err error) error {
	if errors.Is(err, hsm.ErrNoKey) {
		return fmt.Errorf("%w: the token has no %s: bring it in by its components first", ErrRequest, label)
	}
	return err
}

func (s *Service) keyBlock(ctx context.Context, in *BlockRequest) (*ImportedKey, error) {
	e, err := exchangedRole(in.Role)
	if err != nil {
		return nil, err
	}
	p, err := s.protection(ctx, in.KEK)
	if err != nil {
		return nil, err
	}
	if in.Block == "" {
		return s.makeForBank(ctx, e, p, in)
	}
	k, err := tr31.Unwrap(p, in.Block)
	defer k.Zero()
	switch {
	case errors.Is(err, tr31.ErrFormat), errors.Is(err, tr31.ErrVersion), errors.Is(err, tr31.ErrMAC), errors.Is(err, tr31.ErrKBPK):
		return nil, fmt.Errorf("%w: %w", ErrKeyBlock, err)
	case err != nil:
		return nil, err
	case !slices.Contains(e.usages, k.Usage):
		return nil, fmt.Errorf("%w: usage %s, where a key of role %s has %s", ErrKeyUsage, k.Usage, in.Role, strings.Join(e.usages, " or "))
	case k.Algorithm != e.algorithm || !slices.Contains(e.sizes, len(k.Value)):
		return nil, fmt.Errorf("%w: algorithm %c with %d bytes", ErrKeyUsage, k.Algorithm, len(k.Value))
	case !strings.ContainsRune(e.modes, rune(k.Mode)):
		return nil, fmt.Errorf("%w: mode of use %c", ErrKeyUsage, k.Mode)
	case strings.HasPrefix(k.KeyVersion, "c"):
		return nil, fmt.Errorf("%w: it holds a component (key version %s), not a whole key", ErrKeyUsage, k.KeyVersion)
	case !strings.ContainsRune("ENS", rune(k.Exportability)):
		return nil, fmt.Errorf("%w: exportability %c", ErrKeyUsage, k.Exportability)
	case !e.strong(p, len(k.Value)):
		return nil, fmt.Errorf("%w: the key that protects the block is weaker than the key in it", ErrKeyBlock)
	}
	out, err := s.keep(ctx, e, in.Role, in.Version, k.Value, in.KCV, in.Development)
	if err != nil {
		return nil, err
	}
	out.BankVersion = k.KeyVersion
	return out, nil
}

// makeForBank draws a key that both sides will have, as long as the role and the
// protection key allow: the bank's copy leaves as a key
// block at its birth, the token's own never does.
func (s *Service) makeForBank(ctx context.Context, e exchanged, p tr31.Protection, in *BlockRequest) (*ImportedKey, error) {
	size := 0
	for _, n := range e.sizes {
		if e.strong(p, n) {
			size = n
		}
	}
	if size == 0 {
		return nil, fmt.Errorf("%w: %s is weaker than any key of role %s", ErrRequest, in.KEK, in.Role)
	}
	var key []byte
	for key == nil || weak(e.algorithm, key) {
		var err error
		if key, err = s.token.Random(ctx, size); err != nil {
			return nil, err
		}
	}
	defer clear(key)
	if e.algorithm == 'T' {
		oddParity(key)
	}
	version := byte('D')
	if !p.AES {
		version = 'B'
	}
	random := &tokenReader{ctx: ctx, token: s.token}
	defer random.forget()
	block, err := tr31.Wrap(p, tr31.Header{
		Version: version, Usage: e.usages[0], Algorithm: e.algorithm, Mode: e.modes[0], KeyVersion: "00", Exportability: 'E',
	}, key, random)
	if err != nil {
		return nil, err
	}
	out, err := s.keep(ctx, e, in.Role, in.Version, key, nil, in.Development)
	if err != nil {
		return nil, err
	}
	out.Block = block
	return out, nil
}

// KeyBlock brings a key in as a TR-31 key block, or makes one of which the bank gets a
// block. ErrKeyBlock, ErrKeyUsage, ErrKCV, ErrWeakKey, ErrKeyPresent, ErrRequest.
func (c *Client) KeyBlock(ctx context.Context, req BlockRequest) (ImportedKey, error) {
	out, _, err := call[ImportedKey](ctx, c, methodKeyBlock, req)
	return out, err
}
