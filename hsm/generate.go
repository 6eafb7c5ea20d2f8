package hsm

import (
	"context"
	"crypto/elliptic"
	"encoding/asn1"
	"fmt"

	"github.com/miekg/pkcs11"
)

// KeyOptions say how a key that stays is made.
type KeyOptions struct {
	Use         Use  // of secret keys
	Development bool // marks the key, unalterably, as being for development only
}

// tokenAttributes are what all keys that stay have in common: they are
// private, sensitive and not extractable, and nobody can change that.
func tokenAttributes(label string, opt KeyOptions) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		attr(pkcs11.CKA_TOKEN, true),
		attr(pkcs11.CKA_PRIVATE, true),
		attr(pkcs11.CKA_SENSITIVE, true),
		attr(pkcs11.CKA_EXTRACTABLE, false),
		attr(pkcs11.CKA_MODIFIABLE, false),
		attr(pkcs11.CKA_LABEL, label),
		attr(pkcs11.CKA_ID, objectID(label, opt.Development)),
	}
}

// mustBeNew refuses a label that is taken.
func (s *session) mustBeNew(label string) error {
	if _, _, ok := ParseLabel(label); !ok {
		return fmt.Errorf("hsm: %q is no key label", label)
	}
	for _, class := range []uint{pkcs11.CKO_SECRET_KEY, pkcs11.CKO_PRIVATE_KEY} {
		all, err := s.lookupAll(class, label)
		if err != nil {
			return err
		}
		if len(all) > 0 {
			return fmt.Errorf("%w: %s", ErrKeyExists, label)
		}
	}
	return nil
}

// GenerateAES makes a random AES key of size 16, 24 or 32 bytes that stays.
// ErrKeyExists when the label is taken.
func (t *Token) GenerateAES(ctx context.Context, label string, size int, opt KeyOptions) error {
	return t.generateSecret(ctx, label, pkcs11.CKM_AES_KEY_GEN, pkcs11.CKK_AES, size, opt)
}

// GenerateHMAC makes a random HMAC-SHA256 key of 32 bytes that stays.
func (t *Token) GenerateHMAC(ctx context.Context, label string, opt KeyOptions) error {
	opt.Use = UseMAC
	return t.generateSecret(ctx, label, pkcs11.CKM_GENERIC_SECRET_KEY_GEN, pkcs11.CKK_GENERIC_SECRET, 32, opt)
}

func (t *Token) generateSecret(ctx context.Context, label string, mechanism, keyType uint, size int, opt KeyOptions) error {
	return t.do(ctx, "make "+label, func(s *session) error {
		if err := s.mustBeNew(label); err != nil {
			return err
		}
		template := append(tokenAttributes(label, opt),
			attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
			attr(pkcs11.CKA_KEY_TYPE, keyType))
		if keyType != pkcs11.CKK_DES2 && keyType != pkcs11.CKK_DES3 { // whose type says the length
			template = append(template, attr(pkcs11.CKA_VALUE_LEN, size))
		}
		s.token.counts.add(fnGenerateKey)
		_, err := s.mod.GenerateKey(s.h, mech(mechanism, nil), append(template, useAttributes(opt.Use)...))
		return err
	})
}

// ImportAES stores an AES key whose value is known outside: a vendor's
// transport key from a ceremony, or a public test key. The value passes
// through memory; the caller zeroes it.
func (t *Token) ImportAES(ctx context.Context, label string, value []byte, opt KeyOptions) error {
	if n := len(value); n != 16 && n != 24 && n != 32 {
		return fmt.Errorf("hsm: no AES key has %d bytes", n)
	}
	return t.importSecret(ctx, label, pkcs11.CKK_AES, value, opt)
}

func (t *Token) importSecret(ctx context.Context, label string, keyType uint, value []byte, opt KeyOptions) error {
	return t.do(ctx, "import "+label, func(s *session) error {
		if err := s.mustBeNew(label); err != nil {
			return err
		}
		template := append(tokenAttributes(label, opt),
			attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
			attr(pkcs11.CKA_KEY_TYPE, keyType),
			attr(pkcs11.CKA_VALUE, value))
		s.token.counts.add(fnCreateObject)
		_, err := s.mod.CreateObject(s.h, append(template, useAttributes(opt.Use)...))
		return err
	})
}

// ECUse says what a private EC key is for: never both.
type ECUse int

// Uses of EC keys.
const (
	ECSign  ECUse = iota // ECDSA
	ECAgree              // ECDH
)

// GenerateEC makes a key pair on P-256 or P-384 that stays.
func (t *Token) GenerateEC(ctx context.Context, label string, curve elliptic.Curve, use ECUse, opt KeyOptions) error {
	params, err := curveOID(curve)
	if err != nil {
		return err
	}
	return t.do(ctx, "make "+label, func(s *session) error {
		if err := s.mustBeNew(label); err != nil {
			return err
		}
		public := []*pkcs11.Attribute{
			attr(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY),
			attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC),
			attr(pkcs11.CKA_EC_PARAMS, params),
			attr(pkcs11.CKA_TOKEN, true),
			attr(pkcs11.CKA_PRIVATE, false),
			attr(pkcs11.CKA_VERIFY, use == ECSign),
			attr(pkcs11.CKA_LABEL, label),
			attr(pkcs11.CKA_ID, objectID(label, opt.Development)),
		}
		private := append(tokenAttributes(label, opt),
			attr(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY),
			attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC),
			attr(pkcs11.CKA_SIGN, use == ECSign),
			attr(pkcs11.CKA_DERIVE, use == ECAgree))
		s.token.counts.add(fnGenerateKeyPair)
		_, _, err := s.mod.GenerateKeyPair(s.h, mech(pkcs11.CKM_EC_KEY_PAIR_GEN, nil), public, private)
		return err
	})
}

var curveOIDs = map[string]asn1.ObjectIdentifier{
	"P-256": {1, 2, 840, 10045, 3, 1, 7},
	"P-384": {1, 3, 132, 0, 34},
}

func curveOID(curve elliptic.Curve) ([]byte, error) {
	oid, ok := curveOIDs[curve.Params().Name]
	if !ok {
		return nil, fmt.Errorf("%w: curve %s", ErrUnsupported, curve.Params().Name)
	}
	return asn1.Marshal(oid)
}
