package hsm

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"

	"github.com/miekg/pkcs11"
)

// ECKey is an EC private key in the token. It is safe for concurrent use.
type ECKey struct {
	token  *Token
	label  string
	curve  elliptic.Curve
	point  []byte // uncompressed
	public *ecdsa.PublicKey
}

// EC finds the EC key with that label. ErrNoKey when there is none.
func (t *Token) EC(ctx context.Context, label string) (*ECKey, error) {
	k := &ECKey{token: t, label: label}
	err := t.do(ctx, "find "+label, func(s *session) error {
		o, err := s.lookup(pkcs11.CKO_PRIVATE_KEY, label)
		if err != nil {
			return err
		}
		if o.keyType != pkcs11.CKK_EC {
			return fmt.Errorf("%w: %s is not an EC key", ErrNoKey, label)
		}
		k.curve, k.point, err = s.publicPoint(label)
		return err
	})
	if err != nil {
		return nil, err
	}
	if k.public, err = ecdsa.ParseUncompressedPublicKey(k.curve, k.point); err != nil {
		return nil, fmt.Errorf("hsm: the public key of %s: %w", label, err)
	}
	return k, nil
}

// publicPoint reads the public key of a label.
func (s *session) publicPoint(label string) (elliptic.Curve, []byte, error) {
	var curve elliptic.Curve
	var point []byte
	err := s.using(pkcs11.CKO_PUBLIC_KEY, label, func(o object) error {
		v, err := s.attributes(o.handle, pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT)
		if err != nil {
			return err
		}
		var oid asn1.ObjectIdentifier
		if _, err := asn1.Unmarshal(v[0], &oid); err != nil {
			return fmt.Errorf("hsm: the curve of %s: %w", label, err)
		}
		switch {
		case oid.Equal(curveOIDs["P-256"]):
			curve = elliptic.P256()
		case oid.Equal(curveOIDs["P-384"]):
			curve = elliptic.P384()
		default:
			return fmt.Errorf("%w: curve %v of %s", ErrUnsupported, oid, label)
		}
		// PKCS#11 2.40 2.3.3 wraps the point in an OCTET STRING; some modules do not.
		if rest, err := asn1.Unmarshal(v[1], &point); err != nil || len(rest) != 0 {
			point = v[1]
		}
		return nil
	})
	return curve, point, err
}

// Public returns the *ecdsa.PublicKey.
func (k *ECKey) Public() crypto.PublicKey { return k.public }

// Point is the uncompressed public point: 65 bytes on P-256, 97 on P-384.
func (k *ECKey) Point() []byte { return append([]byte(nil), k.point...) }

// Sign makes crypto.Signer of the key: an ECDSA signature over a digest as
// ASN.1 (SEQUENCE of r and s).
func (k *ECKey) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return k.SignContext(context.Background(), digest)
}

// SignContext is Sign with a context.
func (k *ECKey) SignContext(ctx context.Context, digest []byte) ([]byte, error) {
	raw, err := k.SignRaw(ctx, digest)
	if err != nil {
		return nil, err
	}
	return derSignature(raw)
}

// derSignature turns r ‖ s into a SEQUENCE of two INTEGERs (RFC 3279 2.2.3).
func derSignature(raw []byte) ([]byte, error) {
	n := len(raw) / 2
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:n]), new(big.Int).SetBytes(raw[n:])})
}

// SignRaw returns r ‖ s, each as long as the curve's order, as JWS wants it
// (RFC 7518 3.4).
func (k *ECKey) SignRaw(ctx context.Context, digest []byte) ([]byte, error) {
	size := (k.curve.Params().BitSize + 7) / 8
	if len(digest) > size {
		digest = digest[:size] // FIPS 186-5 6.4.1: the leftmost bits
	}
	var out []byte
	err := k.with(ctx, "sign", func(s *session, h pkcs11.ObjectHandle) error {
		var err error
		out, err = s.sign(pkcs11.CKM_ECDSA, h, digest)
		return err
	})
	if err == nil && len(out) != 2*size {
		return nil, fmt.Errorf("hsm: the module's signature has %d bytes", len(out))
	}
	return out, err
}

func (k *ECKey) with(ctx context.Context, name string, fn func(*session, pkcs11.ObjectHandle) error) error {
	return k.token.do(ctx, name, func(s *session) error {
		return s.using(pkcs11.CKO_PRIVATE_KEY, k.label, func(o object) error { return fn(s, o.handle) })
	})
}

// ErrPoint marks a public key that is not on the curve.
var ErrPoint = errors.New("the public key is not a point on the curve")

// ECDH agrees on a secret with a peer's uncompressed public point: the x
// coordinate (SP 800-56A 5.7.1.2), which reaches memory because no common
// module derives further with the functions that JOSE wants. The caller
// zeroes it.
func (k *ECKey) ECDH(ctx context.Context, peer []byte) ([]byte, error) {
	var err error
	switch k.curve {
	case elliptic.P256():
		_, err = ecdh.P256().NewPublicKey(peer)
	case elliptic.P384():
		_, err = ecdh.P384().NewPublicKey(peer)
	}
	if err != nil {
		return nil, ErrPoint
	}
	size := (k.curve.Params().BitSize + 7) / 8
	var out []byte
	err = k.with(ctx, "agree on a key", func(s *session, h pkcs11.ObjectHandle) error {
		var err error
		out, err = s.agree(h, peer, size)
		return err
	})
	if err == nil && len(out) != size {
		clear(out)
		return nil, fmt.Errorf("hsm: the module agreed on %d bytes", len(out))
	}
	return out, err
}

// agree derives the x coordinate, reads it and destroys it in the token.
func (s *session) agree(private pkcs11.ObjectHandle, peer []byte, size int) ([]byte, error) {
	s.token.counts.add(fnDeriveKey)
	secret, err := s.mod.DeriveKey(s.h,
		mech(pkcs11.CKM_ECDH1_DERIVE, pkcs11.NewECDH1DeriveParams(pkcs11.CKD_NULL, nil, peer)), private,
		[]*pkcs11.Attribute{
			attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
			attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
			attr(pkcs11.CKA_VALUE_LEN, size),
			attr(pkcs11.CKA_TOKEN, false),
			attr(pkcs11.CKA_PRIVATE, false),
			attr(pkcs11.CKA_SENSITIVE, false),
			attr(pkcs11.CKA_EXTRACTABLE, true),
		})
	if err != nil {
		return nil, err
	}
	v, err := s.attributes(secret, pkcs11.CKA_VALUE)
	if derr := s.destroy(secret); err == nil {
		err = derr
	}
	if err != nil {
		return nil, err
	}
	return v[0], nil
}
