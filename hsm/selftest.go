package hsm

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"
)

// Capability is something a module can or cannot do.
type Capability string

// Capabilities that the self-test looks for.
const (
	CanECB     Capability = "AES-ECB"
	CanCBC     Capability = "AES-CBC"
	CanCMAC    Capability = "AES-CMAC"
	CanGCM     Capability = "AES-GCM"
	CanKeyWrap Capability = "AES key wrap"
	CanWrapCBC Capability = "AES-CBC wrapping"
	CanDerive  Capability = "AES-ECB-ENCRYPT-DATA derivation"
	CanHMAC    Capability = "HMAC-SHA256"
	CanDES3    Capability = "3DES"
	// CanDeriveDES3: by DES3-ECB- and DES3-CBC-ENCRYPT-DATA, also keys of two
	// equal parts, which do single DES.
	CanDeriveDES3 Capability = "3DES-ENCRYPT-DATA derivation"
	CanWrapDES3   Capability = "3DES-ECB wrapping"
	CanECDSA      Capability = "ECDSA P-256"
	CanECDH       Capability = "ECDH P-256"
	CanRandom     Capability = "random numbers"
)

// required is what this program cannot do without. ECDSA, ECDH and HMAC are
// not in it: a token may serve card keys alone; and 3DES only cards that speak
// SCP02 need.
var required = []Capability{CanECB, CanCBC, CanCMAC, CanRandom}

// Capabilities are what a module answered rightly when it was tried with known
// answers and the templates that are used later.
type Capabilities struct {
	// DeriveInToken: card and session keys are derived inside the token. When
	// false they pass through the process's memory.
	DeriveInToken bool
	// WrapCBC: keys for PUT KEY are enciphered inside the token.
	WrapCBC bool
	// DeriveDES3InToken and WrapDES3 are the same for triple DES keys.
	DeriveDES3InToken bool
	WrapDES3          bool
	// Found lists all capabilities; Missing those that were refused, with the
	// module's answer.
	Found   []Capability
	Missing map[Capability]string
}

// Has reports whether the self-test found a capability.
func (c Capabilities) Has(what Capability) bool { return slices.Contains(c.Found, what) }

var errWrongAnswer = errors.New("wrong answer")

// selfTest tries everything once on a session of the fresh pool.
func (t *Token) selfTest(ctx context.Context) (Capabilities, error) {
	if err := ctx.Err(); err != nil {
		return Capabilities{}, err
	}
	s := <-t.pool
	defer func() { t.pool <- s }()
	var caps Capabilities
	err := s.run(t, "self-test", func(s *session) error {
		caps.Missing = make(map[Capability]string)
		for _, test := range []struct {
			what Capability
			fn   func(*session) error
		}{
			{CanECB, testECB}, {CanCBC, testCBC}, {CanCMAC, testCMAC}, {CanGCM, testGCM},
			{CanKeyWrap, testKeyWrap}, {CanWrapCBC, testWrapCBC}, {CanDerive, testDerive},
			{CanHMAC, testHMAC}, {CanECDSA, testECDSA}, {CanECDH, testECDH}, {CanRandom, testRandom},
			{CanDES3, testDES3}, {CanDeriveDES3, testDeriveDES3}, {CanWrapDES3, testWrapDES3},
		} {
			if slices.Contains(t.cfg.Without, test.what) {
				caps.Missing[test.what] = "switched off"
				continue
			}
			if err := test.fn(s); err != nil {
				caps.Missing[test.what] = err.Error()
				// An operation that ended halfway must not stay open.
				if err := s.reopen(); err != nil {
					return fmt.Errorf("%w: open a session: %v", ErrToken, err)
				}
				if err := s.login(); err != nil {
					return err
				}
				continue
			}
			caps.Found = append(caps.Found, test.what)
		}
		return nil
	})
	if err != nil {
		return caps, err
	}
	var lacking []string
	for _, what := range required {
		if !caps.Has(what) {
			lacking = append(lacking, fmt.Sprintf("%s (%s)", what, caps.Missing[what]))
		}
	}
	if len(lacking) > 0 {
		return caps, fmt.Errorf("%w: %s fails the self-test of %s", ErrModule, t.mod.path, strings.Join(lacking, ", "))
	}
	caps.DeriveInToken = caps.Has(CanDerive)
	caps.WrapCBC = caps.Has(CanWrapCBC)
	caps.DeriveDES3InToken = caps.Has(CanDES3) && caps.Has(CanDeriveDES3)
	caps.WrapDES3 = caps.Has(CanDES3) && caps.Has(CanWrapDES3)
	return caps, nil
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func expect(got []byte, err error, want []byte) error {
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errWrongAnswer
	}
	return nil
}

// withTestKey imports an AES key for one test.
func (s *session) withTestKey(value []byte, tmpl SessionTemplate, fn func(pkcs11.ObjectHandle) error) error {
	return s.withKeyOf(pkcs11.CKK_AES, value, tmpl, fn)
}

// withKeyOf imports a key of a type for one test.
func (s *session) withKeyOf(keyType uint, value []byte, tmpl SessionTemplate, fn func(pkcs11.ObjectHandle) error) error {
	k, err := s.importSessionKey(keyType, value, tmpl)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	err = fn(k.handle)
	if derr := s.destroy(k.handle); err == nil {
		err = derr
	}
	return err
}
