package gp

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // scheme 1 of RSA knows no other hash
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
)

// Authority makes the signature or MAC of a token or of a DAP block, and the
// MAC that a receipt must have. Its key may live in a token: SignWith takes
// any crypto.Signer, MACWith any Cipher.
type Authority interface {
	// Sign returns the signature or MAC of data.
	Sign(ctx context.Context, data []byte) ([]byte, error)
}

// Scheme is how an asymmetric key signs tokens and DAP blocks.
type Scheme int

// The schemes. A security domain fixes its own; SchemeOf is what the standard
// asks of a key of that size.
const (
	// SchemeRSA1 is RSASSA-PKCS1-v1_5 with SHA-1 (GPC_SPE_034 B.3.1).
	SchemeRSA1 Scheme = iota + 1
	// SchemeRSA2 is RSASSA-PSS with SHA-256 and a salt of 32 bytes (GPC_SPE_034
	// B.3.2, from Amendment E, GPC_SPE_042).
	SchemeRSA2
	// SchemeRSA2Long is SchemeRSA2 with SHA-512 and a salt of 64 bytes, for keys
	// of more than 2,048 bits.
	SchemeRSA2Long
	// SchemeECDSA is ECDSA with the SHA-2 hash of the curve's size, written as
	// r ‖ s, each as long as the curve's order (GPC_SPE_034 B.4.3, BSI TR-03111
	// 5.2.1).
	SchemeECDSA
)

// SchemeOf is the scheme for a public key: RSA of up to 1,024 bits, of up to
// 2,048 and longer; ECDSA on P-256, P-384 and P-521. Any other key is an
// error.
func SchemeOf(public crypto.PublicKey) (Scheme, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		switch bits := k.N.BitLen(); {
		case bits <= 1024:
			return SchemeRSA1, nil
		case bits <= 2048:
			return SchemeRSA2, nil
		}
		return SchemeRSA2Long, nil
	case *ecdsa.PublicKey:
		if _, _, err := curveOf(k); err != nil {
			return 0, err
		}
		return SchemeECDSA, nil
	}
	return 0, fmt.Errorf("gp: no token and no DAP block is signed with a key of type %T", public)
}

// SignWith makes an Authority of an RSA or EC key. scheme must fit the key.
func SignWith(key crypto.Signer, scheme Scheme) (Authority, error) {
	fits := false
	switch k := key.Public().(type) {
	case *rsa.PublicKey:
		fits = scheme == SchemeRSA1 || scheme == SchemeRSA2 || scheme == SchemeRSA2Long
	case *ecdsa.PublicKey:
		_, _, err := curveOf(k)
		fits = scheme == SchemeECDSA && err == nil
	}
	if !fits {
		return nil, fmt.Errorf("gp: a key of type %T does not sign by this scheme", key.Public())
	}
	return &signer{key, scheme}, nil
}

type signer struct {
	key    crypto.Signer
	scheme Scheme
}

func (s *signer) Sign(_ context.Context, data []byte) ([]byte, error) {
	var options crypto.SignerOpts
	switch s.scheme {
	case SchemeRSA1:
		options = crypto.SHA1
	case SchemeRSA2:
		options = &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256}
	case SchemeRSA2Long:
		options = &rsa.PSSOptions{SaltLength: 64, Hash: crypto.SHA512}
	default:
		return s.ecdsa(data)
	}
	return s.sign(data, options)
}

func (s *signer) sign(data []byte, options crypto.SignerOpts) ([]byte, error) {
	h := options.HashFunc().New()
	h.Write(data)
	signature, err := s.key.Sign(rand.Reader, h.Sum(nil), options)
	if err != nil {
		return nil, fmt.Errorf("gp: sign: %w", err)
	}
	return signature, nil
}

// ecdsa turns the DER that a crypto.Signer gives into r ‖ s.
func (s *signer) ecdsa(data []byte) ([]byte, error) {
	_, hash, err := curveOf(s.key.Public().(*ecdsa.PublicKey))
	if err != nil {
		return nil, err
	}
	der, err := s.sign(data, hash)
	if err != nil {
		return nil, err
	}
	var v struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &v)
	size := (s.key.Public().(*ecdsa.PublicKey).Params().N.BitLen() + 7) / 8
	if err != nil || len(rest) != 0 || v.R.Sign() <= 0 || v.S.Sign() <= 0 || v.R.BitLen() > 8*size || v.S.BitLen() > 8*size {
		return nil, errors.New("gp: the key's signature is no ECDSA signature")
	}
	out := make([]byte, 2*size)
	v.R.FillBytes(out[:size])
	v.S.FillBytes(out[size:])
	return out, nil
}

// curveOf gives the key parameter reference of a curve and the hash that goes
// with it (Amendment E, GPC_SPE_042).
func curveOf(k *ecdsa.PublicKey) (reference byte, hash crypto.Hash, err error) {
	switch k.Params().Name {
	case "P-256":
		return 0x00, crypto.SHA256, nil
	case "P-384":
		return 0x01, crypto.SHA384, nil
	case "P-521":
		return 0x02, crypto.SHA512, nil
	}
	return 0, 0, fmt.Errorf("gp: no key parameter reference is known for curve %s", k.Params().Name)
}

// MACWith makes an Authority of an AES key: its CMAC, 16 bytes (GPC_SPE_034
// B.2.2).
func MACWith(c Cipher) Authority { return cmacAuthority{c} }

type cmacAuthority struct{ c Cipher }

func (a cmacAuthority) Sign(ctx context.Context, data []byte) ([]byte, error) {
	return a.c.CMAC(ctx, data)
}
