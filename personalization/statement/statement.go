// Package statement is what the bureau signs for others to check with its public
// keys alone: deterministic CBOR in a tagged COSE_Sign1 (RFC 9052) with ES256, of a
// content type that says what it states. What is stated (a binding, a pairing) is
// the business of the packages above.
//
// Signing takes a function, since the key is in the token.
package statement

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
	"github.com/go-jose/go-jose/v4"
	"github.com/veraison/go-cose"
)

// Errors of Verify. A statement is good only without any.
var (
	ErrMalformed  = errors.New("the signed statement cannot be read")
	ErrUnknownKey = errors.New("the signed statement names a key that is not among the bureau's")
	ErrSignature  = errors.New("the statement's signature is wrong: it was altered, or another key signed it")
)

// Sign signs to-be-signed bytes with ES256: r ‖ s, 64 bytes.
type Sign func(tbs []byte) ([]byte, error)

// signer is a function as a cose.Signer.
type signer Sign

func (signer) Algorithm() cose.Algorithm { return cose.AlgorithmES256 }

func (s signer) Sign(_ io.Reader, content []byte) ([]byte, error) { return s(content) }

var canonical = func() cbor.EncMode {
	m, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	return m
}()

var strict = func() cbor.DecMode {
	m, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, IndefLength: cbor.IndefLengthForbidden}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

// Encode is core deterministic CBOR (RFC 8949 section 4.2.1).
func Encode(v any) ([]byte, error) { return canonical.Marshal(v) }

// Decode reads CBOR strictly: no key twice, no unknown key, no indefinite length.
func Decode(b []byte, into any) error {
	if err := strict.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%w: its payload", ErrMalformed)
	}
	return nil
}

// COSE makes the tagged COSE_Sign1 of a payload.
func COSE(payload any, contentType, kid string, sign Sign) ([]byte, error) {
	body, err := Encode(payload)
	if err != nil {
		return nil, err
	}
	m := cose.NewSign1Message()
	m.Headers.Protected.SetAlgorithm(cose.AlgorithmES256)
	m.Headers.Protected[cose.HeaderLabelKeyID] = []byte(kid)
	m.Headers.Protected[cose.HeaderLabelContentType] = contentType
	m.Payload = body
	if err := m.Sign(nil, nil, signer(sign)); err != nil {
		return nil, fmt.Errorf("sign a statement: %w", err)
	}
	return m.MarshalCBOR()
}

// Verify checks a COSE_Sign1 of a content type with the bureau's public keys and
// reads its payload. into is set only when the signature is right.
func Verify(raw []byte, contentType string, keys jose.JSONWebKeySet, into any) error {
	var m cose.Sign1Message
	if err := m.UnmarshalCBOR(raw); err != nil {
		return fmt.Errorf("%w: it is no COSE_Sign1", ErrMalformed)
	}
	kid, _ := m.Headers.Protected[cose.HeaderLabelKeyID].([]byte)
	if kind, _ := m.Headers.Protected[cose.HeaderLabelContentType].(string); kind != contentType {
		return fmt.Errorf("%w: its content type is another", ErrMalformed)
	}
	key, err := Key(keys, string(kid))
	if err != nil {
		return err
	}
	verifier, err := cose.NewVerifier(cose.AlgorithmES256, key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnknownKey, err)
	}
	if err := m.Verify(nil, verifier); err != nil {
		return ErrSignature
	}
	return Decode(m.Payload, into)
}

// Key picks a key by its identifier: a public EC key on P-256; ErrUnknownKey.
func Key(keys jose.JSONWebKeySet, kid string) (*ecdsa.PublicKey, error) {
	for _, k := range keys.Key(kid) {
		if key, ok := k.Key.(*ecdsa.PublicKey); ok && key.Curve == elliptic.P256() && kid != "" {
			return key, nil
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknownKey, kid)
}

// Thumbprint is what statements call a card: the SHA-256 of the chip
// authentication public key's SubjectPublicKeyInfo, DER. point is uncompressed, on
// P-256, 65 bytes.
func Thumbprint(point []byte) ([]byte, error) {
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, fmt.Errorf("the chip's public key: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	return sum[:], nil
}
