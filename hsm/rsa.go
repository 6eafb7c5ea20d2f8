package hsm

import (
	"context"
	"crypto/rsa"
	"fmt"
	"math/big"

	"github.com/miekg/pkcs11"
)

// RSAKey is an RSA private key in the token. It is safe for concurrent use.
type RSAKey struct {
	token  *Token
	label  string
	public *rsa.PublicKey
}

// GenerateRSA makes a key pair of bits, a multiple of 8, with the public
// exponent 65537 or 3 that stays. Modules may refuse lengths and exponents.
// ErrKeyExists when the label is taken.
func (t *Token) GenerateRSA(ctx context.Context, label string, bits, exponent int, opt KeyOptions) error {
	if bits < 1024 || bits > 4096 || bits%8 != 0 || exponent != 3 && exponent != 65537 {
		return fmt.Errorf("hsm: an RSA key of %d bits with the exponent %d", bits, exponent)
	}
	return t.do(ctx, "make "+label, func(s *session) error {
		if err := s.mustBeNew(label); err != nil {
			return err
		}
		public := []*pkcs11.Attribute{
			attr(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY),
			attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA),
			attr(pkcs11.CKA_MODULUS_BITS, bits),
			attr(pkcs11.CKA_PUBLIC_EXPONENT, big.NewInt(int64(exponent)).Bytes()),
			attr(pkcs11.CKA_TOKEN, true),
			attr(pkcs11.CKA_PRIVATE, false),
			attr(pkcs11.CKA_VERIFY, true),
			attr(pkcs11.CKA_LABEL, label),
			attr(pkcs11.CKA_ID, objectID(label, opt.Development)),
		}
		private := append(tokenAttributes(label, opt),
			attr(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY),
			attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA),
			attr(pkcs11.CKA_SIGN, true),
			attr(pkcs11.CKA_DECRYPT, false))
		s.token.counts.add(fnGenerateKeyPair)
		_, _, err := s.mod.GenerateKeyPair(s.h, mech(pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, nil), public, private)
		return err
	})
}

// RSA finds the RSA key with that label. ErrNoKey when there is none.
func (t *Token) RSA(ctx context.Context, label string) (*RSAKey, error) {
	k := &RSAKey{token: t, label: label}
	err := t.do(ctx, "find "+label, func(s *session) error {
		o, err := s.lookup(pkcs11.CKO_PRIVATE_KEY, label)
		if err != nil {
			return err
		}
		if o.keyType != pkcs11.CKK_RSA {
			return fmt.Errorf("%w: %s is not an RSA key", ErrNoKey, label)
		}
		k.public, err = s.rsaPublic(label)
		return err
	})
	if err != nil {
		return nil, err
	}
	return k, nil
}

func (s *session) rsaPublic(label string) (public *rsa.PublicKey, err error) {
	err = s.using(pkcs11.CKO_PUBLIC_KEY, label, func(o object) error {
		v, err := s.attributes(o.handle, pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT)
		if err != nil {
			return err
		}
		e := new(big.Int).SetBytes(v[1])
		if !e.IsInt64() || e.Int64() > 1<<31-1 {
			return fmt.Errorf("%w: the public exponent of %s", ErrUnsupported, label)
		}
		public = &rsa.PublicKey{N: new(big.Int).SetBytes(v[0]), E: int(e.Int64())}
		return nil
	})
	return public, err
}

// Public is the public key.
func (k *RSAKey) Public() *rsa.PublicKey { return k.public }

// Private is the private operation without any padding, block^d mod n
// (CKM_RSA_X_509). block and result have the modulus' length.
func (k *RSAKey) Private(ctx context.Context, block []byte) (out []byte, err error) {
	if len(block) != k.public.Size() {
		return nil, fmt.Errorf("hsm: a block of %d bytes for a modulus of %d", len(block), k.public.Size())
	}
	err = k.token.do(ctx, "sign", func(s *session) error {
		return s.using(pkcs11.CKO_PRIVATE_KEY, k.label, func(o object) error {
			out, err = s.sign(pkcs11.CKM_RSA_X_509, o.handle, block)
			return err
		})
	})
	if err == nil && len(out) != len(block) {
		return nil, fmt.Errorf("hsm: the module's signature has %d bytes", len(out))
	}
	return out, err
}
