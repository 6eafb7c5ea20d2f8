package vault

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cardbureau/hsm"
)

// Roles of the keys that protect what is exchanged with the bank (key block
// protection keys, also called zone master keys).
const (
	RoleBankKEK = "kek.bank" // AES; with RoleDES3 triple DES
)

// Errors of key exchange. None holds a part of a key.
var (
	ErrKCV        = errors.New("the key check value is another: a component was mistyped, or it is another key")
	ErrWeakKey    = errors.New("the key is weak: it is zero, or comes down to single DES")
	ErrKeyBlock   = errors.New("the key block cannot be opened")
	ErrKeyUsage   = errors.New("the key block says that its key is for something else")
	ErrComponents = errors.New("the components hide nothing: one is zero, or two are equal, so that fewer people than were named know the key")
	ErrKeyPresent = errors.New("the token has this key already: a new key gets a new version")
)

// exchanged says how keys of a role may come in: their algorithm and lengths, and what
// a key block must say of them (TR-31:2018, tables 6 to 8).
type exchanged struct {
	algorithm byte // T or A
	sizes     []int
	usages    []string
	modes     string
	use       hsm.Use
}

var (
	masterDES = exchanged{'T', []int{16}, nil, "XN", hsm.UseEncrypt}
	masterAES = exchanged{'A', []int{16}, nil, "XN", hsm.UseEncrypt}
)

func (e exchanged) as(usages ...string) exchanged {
	e.usages = usages
	return e
}

var exchangedRoles = map[string]exchanged{
	RoleIMKAC:              masterDES.as("E0"),
	RoleIMKSMC:             masterDES.as("E1"),
	RoleIMKSMI:             masterDES.as("E2"),
	RoleIMKDN:              masterDES.as("E4"),
	RoleIMKAC + RoleAES:    masterAES.as("E0"),
	RoleIMKSMC + RoleAES:   masterAES.as("E1"),
	RoleIMKSMI + RoleAES:   masterAES.as("E2"),
	RoleIMKDN + RoleAES:    masterAES.as("E4"),
	RoleCVK:                {'T', []int{16}, []string{"C0"}, "CGVN", hsm.UseEncrypt},
	RolePVK:                {'T', []int{16}, []string{"V0", "V1", "V2"}, "CGVN", hsm.UseEncrypt},
	RoleZPK:                {'T', []int{16, 24}, []string{"P0"}, "BEDN", hsm.UseEncrypt},
	RoleBankKEK:            {'A', []int{16, 24, 32}, []string{"K0", "K1"}, "BDXN", hsm.UseEncrypt},
	RoleBankKEK + RoleDES3: {'T', []int{16, 24}, []string{"K0", "K1"}, "BDXN", hsm.UseEncrypt},

	RoleSIMTransport:            {'A', []int{16, 24, 32}, []string{"K0"}, "BDN", hsm.UseEncrypt},
	RoleSIMTransport + RoleDES3: {'T', []int{16, 24}, []string{"K0"}, "BDN", hsm.UseEncrypt},

	RoleSIMProgramming:            {'A', []int{16, 24, 32}, []string{"K0"}, "BDN", hsm.UseEncrypt},
	RoleSIMProgramming + RoleDES3: {'T', []int{16, 24}, []string{"K0"}, "BDN", hsm.UseEncrypt},
}

// exchangedRole finds how keys of a role come in: those above, the bank's masters of
// personalization keys (kmc, kmc.<name>), and the transport masters of a card vendor
// (cmk.<vendor>, cmk.<vendor>-des).
func exchangedRole(role string) (exchanged, error) {
	if role == RoleKMC || strings.HasPrefix(role, RoleKMC+".") {
		return exchanged{'T', []int{16}, []string{"E5"}, "XN", hsm.UseDerive}, nil
	}
	if e, ok := exchangedRoles[role]; ok {
		return e, nil
	}
	if strings.HasPrefix(role, RoleCardMaster) && !strings.HasPrefix(role, RoleCardMasterIssuer) {
		if strings.HasSuffix(role, RoleDES3) {
			return exchanged{'T', []int{16}, []string{"E5", "K0"}, "XBDN", hsm.UseDerive}, nil
		}
		return exchanged{'A', []int{16, 32}, []string{"E5", "K0"}, "XBDN", hsm.UseDerive}, nil
	}
	return exchanged{}, fmt.Errorf("%w: keys of role %q are made here and never come in", ErrRequest, role)
}

// ImportRequest brings a key in by its components: each typed by another person, and
// joined with exclusive or.
type ImportRequest struct {
	Role, Version string
	Components    []Secret
	// KCVs are those of the components, in their order, and the whole key's: 3 bytes
	// or more, of which all count. Triple DES: over zeros; AES: over bytes 01 (GPC_SPE_034 B.6) or the
	// CMAC over zeros (ANSI X9.24-1:2017).
	ComponentKCVs [][]byte
	KCV           []byte
	Development   bool
}

// wireImport is ImportRequest on its way to the agent: Secret would print as nothing.
type wireImport struct {
	Role, Version string
	Components    [][]byte
	ComponentKCVs [][]byte
	KCV           []byte
	Development   bool
}

// ImportedKey describes a key that came in, or was made for the bank.
type ImportedKey struct {
	Label string
	KCV   []byte // 3 bytes, as the token's list shows it
	CMAC  []byte // of an AES key: 3 bytes of the CMAC over zeros (ANSI X9.24-1:2017), which banks know it by
	Block string // of a key that was made here: the bank's copy
	// BankVersion is the version that a key block gives its key, 00 for none. It says
	// nothing about the version in the label.
	BankVersion string
}

func (s *Service) importComponents(ctx context.Context, in *wireImport) (*ImportedKey, error) {
	defer func() {
		for _, c := range in.Components {
			clear(c)
		}
	}()
	e, err := exchangedRole(in.Role)
	if err != nil {
		return nil, err
	}
	if len(in.Components) < 2 || len(in.ComponentKCVs) != len(in.Components) {
		return nil, fmt.Errorf("%w: a key comes in by two components or more, each with its check value", ErrRequest)
	}
	if len(in.KCV) == 0 {
		return nil, fmt.Errorf("%w: the whole key's check value is needed beside those of its components", ErrRequest)
	}
	if tooFew(e.algorithm, in.Components) {
		return nil, ErrComponents
	}
	key := make([]byte, len(in.Components[0]))
	defer clear(key)
	for i, c := range in.Components {
		if len(c) != len(key) || !slices.Contains(e.sizes, len(c)) {
			return nil, fmt.Errorf("%w: component %d has %d bytes; a key of role %s has %v", ErrRequest, i+1, len(c), in.Role, e.sizes)
		}
		if err := e.check(c, in.ComponentKCVs[i]); err != nil {
			return nil, fmt.Errorf("component %d: %w", i+1, err)
		}
		subtle.XORBytes(key, key, c)
	}
	return s.keep(ctx, e, in.Role, in.Version, key, in.KCV, in.Development)
}

// keep stores a key after the last checks.
func (s *Service) keep(ctx context.Context, e exchanged, role, version string, key, kcv []byte, development bool) (*ImportedKey, error) {
	if weak(e.algorithm, key) {
		return nil, ErrWeakKey
	}
	unlock, err := s.lockMaking(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := s.checkPurpose(ctx, development); err != nil {
		return nil, err
	}
	if e.algorithm == 'T' {
		oddParity(key)
	}
	out, err := e.described(key)
	if err != nil {
		return nil, err
	}
	if len(kcv) > 0 {
		if err := e.check(key, kcv); err != nil {
			return nil, err
		}
	}
	if err := s.onePurpose(ctx, role, out.KCV); err != nil {
		return nil, err
	}
	l, err := roleLabel(role, version)
	if err != nil {
		return nil, err
	}
	o := hsm.KeyOptions{Use: e.use, Development: development}
	switch {
	case role == RoleCVK:
		if exists, _, err2 := s.token.Exists(ctx, l); err2 != nil || exists {
			if err = err2; err == nil {
				err = hsm.ErrKeyExists
			}
			break
		}
		err = s.importCVK(ctx, version, key, o)
	case e.algorithm == 'T':
		err = s.token.ImportDES3(ctx, l, key, o)
	default:
		err = s.token.ImportAES(ctx, l, key, o)
	}
	if errors.Is(err, hsm.ErrKeyExists) {
		return nil, fmt.Errorf("%w: %s", ErrKeyPresent, l)
	}
	if err != nil {
		return nil, err
	}
	out.Label = l
	return out, nil
}

// ImportComponents brings a key in by its components. ErrKCV, ErrComponents,
// ErrWeakKey, ErrKeyPresent, ErrDevelopment, ErrRequest. The components are zeroed.
func (c *Client) ImportComponents(ctx context.Context, req ImportRequest) (ImportedKey, error) {
	w := wireImport{Role: req.Role, Version: req.Version, ComponentKCVs: req.ComponentKCVs, KCV: req.KCV, Development: req.Development}
	for _, s := range req.Components {
		w.Components = append(w.Components, s)
		defer s.Zero()
	}
	out, _, err := call[ImportedKey](ctx, c, methodImportComponents, w)
	return out, err
}
