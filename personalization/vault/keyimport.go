package vault

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"cardbureau/hsm"
	"cardbureau/hsm/tr31"
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
}

// exchangedRole finds how keys of a role come in: those above, and the transport
// masters of a card vendor (cmk.<vendor>, cmk.<vendor>-des).
func exchangedRole(role string) (exchanged, error) {
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

// oneVersion are the roles of which the program uses version 1 alone.
var oneVersion = []string{RoleCVK, RolePVK, RoleZPK}

// ImportRequest brings a key in by its components: each typed by another person, and
// joined with exclusive or.
type ImportRequest struct {
	Role, Version string
	Components    []Secret
	// KCVs are those of the components, in their order, and the whole key's: 3 bytes
	// each or more. Triple DES: over zeros; AES: over bytes 01 (GPC_SPE_034 B.6) or the
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
	KCV   []byte // 3 bytes
	Block string // of a key that was made here: the bank's copy
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
	if slices.Contains(oneVersion, role) && version != "1" {
		return nil, fmt.Errorf("%w: of role %s there is version 1 alone", ErrRequest, role)
	}
	if err := s.checkPurpose(ctx, development); err != nil {
		return nil, err
	}
	if e.algorithm == 'T' {
		setOddParity(key)
	}
	whole, err := e.kcv(key)
	if err != nil {
		return nil, err
	}
	if kcv != nil {
		if err := e.check(key, kcv); err != nil {
			return nil, err
		}
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
		err = s.importCVK(ctx, key, o)
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
	return &ImportedKey{Label: l, KCV: whole}, nil
}

// kcv is a key's check value, 3 bytes.
func (e exchanged) kcv(key []byte) ([]byte, error) {
	if e.algorithm == 'A' {
		return aesKCV(key)
	}
	return desKCV(key)
}

// check compares a check value of 3 bytes or more with a key's.
func (e exchanged) check(key, want []byte) error {
	if len(want) < 3 {
		return fmt.Errorf("%w: a check value has 3 bytes or more", ErrRequest)
	}
	got, err := e.kcv(key)
	if err != nil {
		return err
	}
	if bytes.Equal(got[:3], want[:3]) {
		return nil
	}
	if e.algorithm == 'A' {
		mac, err := tr31.AESCMAC(key, make([]byte, 16))
		if err != nil {
			return err
		}
		if bytes.Equal(mac[:3], want[:3]) {
			return nil
		}
	}
	return ErrKCV
}

// setOddParity sets the parity of each byte, which says nothing: components of odd
// parity make a key of even parity where they are two.
func setOddParity(key []byte) {
	for i, b := range key {
		if bits.OnesCount8(b)%2 == 0 {
			key[i] ^= 1
		}
	}
}

// weakDES are the weak and semi-weak keys of DES, with odd parity (NIST SP 800-67
// Rev. 2, section 3.3.2).
var weakDES = []uint64{
	0x0101010101010101, 0xFEFEFEFEFEFEFEFE, 0xE0E0E0E0F1F1F1F1, 0x1F1F1F1F0E0E0E0E,
	0x011F011F010E010E, 0x1F011F010E010E01, 0x01E001E001F101F1, 0xE001E001F101F101,
	0x01FE01FE01FE01FE, 0xFE01FE01FE01FE01, 0x1FE01FE00EF10EF1, 0xE01FE01FF10EF10E,
	0x1FFE1FFE0EFE0EFE, 0xFE1FFE1FFE0EFE0E, 0xE0FEE0FEF1FEF1FE, 0xFEE0FEE0FEF1FEF1,
}

// weak reports a key that protects nothing: zero, or a triple DES key with a weak
// part or equal neighbours.
func weak(algorithm byte, key []byte) bool {
	if bytes.Equal(key, make([]byte, len(key))) {
		return true
	}
	if algorithm != 'T' {
		return false
	}
	odd := bytes.Clone(key)
	defer clear(odd)
	setOddParity(odd)
	var parts []uint64
	for ; len(odd) >= 8; odd = odd[8:] {
		var part uint64
		for _, b := range odd[:8] {
			part = part<<8 | uint64(b)
		}
		if slices.Contains(weakDES, part) || len(parts) > 0 && parts[len(parts)-1] == part {
			return true
		}
		parts = append(parts, part)
	}
	return false
}

// ImportComponents brings a key in by its components. ErrKCV, ErrWeakKey,
// ErrKeyPresent, ErrDevelopment, ErrRequest. The components are zeroed.
func (c *Client) ImportComponents(ctx context.Context, req ImportRequest) (ImportedKey, error) {
	w := wireImport{Role: req.Role, Version: req.Version, ComponentKCVs: req.ComponentKCVs, KCV: req.KCV, Development: req.Development}
	for _, s := range req.Components {
		w.Components = append(w.Components, s)
		defer s.Zero()
	}
	out, _, err := call[ImportedKey](ctx, c, methodImportComponents, w)
	return out, err
}
