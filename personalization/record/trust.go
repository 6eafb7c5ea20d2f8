package record

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/personalization/custody"
)

// AnyPermit in a key's permits lets it sign records for every kind of permit.
const AnyPermit = "*"

// Trust says which registries' keys the bureau believes, for what and how long.
// It is read once and not changed; use one value from many goroutines.
type Trust struct {
	// NotAfter ends the whole file; zero: no end of its own.
	NotAfter time.Time `json:"notAfter,omitzero"`
	// Keys are the signing keys, each with a kid of its own.
	Keys []TrustKey `json:"keys"`

	byID map[string]*TrustKey
}

// TrustKey is one signing key of a registry.
type TrustKey struct {
	KeyID string `json:"kid"`
	// Algorithm is ES256 (P-256), PS256 (RSA of 2048 bits or more) or EdDSA
	// (Ed25519), RFC 7518 and RFC 8037. The key signs with this one alone.
	Algorithm string          `json:"alg"`
	JWK       jose.JSONWebKey `json:"jwk"` // public key, RFC 7517
	NotBefore time.Time       `json:"notBefore"`
	NotAfter  time.Time       `json:"notAfter"`
	// Permits are the kinds of permit that the key may sign records for;
	// AnyPermit for all. An empty list allows nothing and is refused.
	Permits []string `json:"permits"`
	// DailyCap is the greatest number of new records a day (UTC) that the bureau
	// takes under this key; 0: no cap. Callers count.
	DailyCap int `json:"dailyCap,omitempty"`
}

// allows reports whether the key may sign for the permit.
func (k *TrustKey) allows(permit string) bool {
	return slices.Contains(k.Permits, AnyPermit) || slices.Contains(k.Permits, permit)
}

// LoadTrust reads a trust file that nobody signed: for development, or where
// the file system vouches for it.
func LoadTrust(path string) (*Trust, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the trust file: %w", err)
	}
	t, err := ParseTrust(b)
	if err != nil {
		return nil, fmt.Errorf("trust file %s: %w", path, err)
	}
	return t, nil
}

// ParseTrust reads a trust file (JSON) and checks every key: unknown members,
// a kid twice, private or unfit keys, missing validity and empty permits are
// refused.
func ParseTrust(b []byte) (*Trust, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	t := new(Trust)
	if err := dec.Decode(t); err != nil {
		return nil, fmt.Errorf("the trust file is not what it should be: %w", err)
	}
	if dec.More() {
		return nil, errors.New("the trust file goes on after its end")
	}
	return NewTrust(t.NotAfter, t.Keys)
}

// NewTrust makes a trust of keys, with the same checks as ParseTrust. notAfter
// zero: no end of its own.
func NewTrust(notAfter time.Time, keys []TrustKey) (*Trust, error) {
	t := &Trust{NotAfter: notAfter, Keys: slices.Clone(keys), byID: make(map[string]*TrustKey, len(keys))}
	for i := range t.Keys {
		k := &t.Keys[i]
		if err := k.check(); err != nil {
			return nil, fmt.Errorf("key %d (kid %q): %w", i+1, k.KeyID, err)
		}
		if t.byID[k.KeyID] != nil {
			return nil, fmt.Errorf("key %d: kid %q stands twice", i+1, k.KeyID)
		}
		t.byID[k.KeyID] = k
	}
	return t, nil
}

func (k *TrustKey) check() error {
	switch {
	case k.KeyID == "" || len(k.KeyID) > 128:
		return errors.New("kid must have 1 to 128 characters")
	case !k.JWK.Valid() || !k.JWK.IsPublic():
		return errors.New("jwk must be a public key")
	case k.JWK.KeyID != "" && k.JWK.KeyID != k.KeyID:
		return errors.New("jwk carries another kid")
	case k.JWK.Algorithm != "" && k.JWK.Algorithm != k.Algorithm:
		return errors.New("jwk carries another alg")
	case k.JWK.Use != "" && k.JWK.Use != "sig":
		return errors.New("jwk is not for signatures")
	case k.NotBefore.IsZero() || k.NotAfter.IsZero() || !k.NotBefore.Before(k.NotAfter):
		return errors.New("notBefore and notAfter must be given, in this order")
	case len(k.Permits) == 0:
		return errors.New(`permits must name at least one kind of permit, or "*"`)
	case k.DailyCap < 0:
		return errors.New("dailyCap must not be negative")
	}
	return fits(k.Algorithm, k.JWK.Key)
}

func fits(alg string, key any) error {
	switch alg {
	case string(jose.ES256):
		if pub, ok := key.(*ecdsa.PublicKey); !ok || pub.Curve != elliptic.P256() {
			return errors.New("ES256 needs a P-256 key")
		}
	case string(jose.PS256):
		if pub, ok := key.(*rsa.PublicKey); !ok || pub.N.BitLen() < 2048 {
			return errors.New("PS256 needs an RSA key of 2048 bits or more")
		}
	case string(jose.EdDSA):
		if _, ok := key.(ed25519.PublicKey); !ok {
			return errors.New("EdDSA needs an Ed25519 key")
		}
	default:
		return errors.New("alg must be ES256, PS256 or EdDSA")
	}
	return nil
}

// OpenSignedTrust reads a trust file inside a JWS in JSON serialization
// (RFC 7515 section 7.2.1) that enough custodians signed.
func OpenSignedTrust(b []byte, custodians []jose.JSONWebKey) (*Trust, error) {
	payload, err := custody.Open("trust file", b, custodians)
	if err != nil {
		return nil, err
	}
	return ParseTrust(payload)
}
