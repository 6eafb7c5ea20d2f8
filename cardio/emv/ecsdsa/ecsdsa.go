// Package ecsdsa is the elliptic curve signature scheme of EMV cards: EC-SDSA in
// its optimized version, which hashes the x-coordinate alone (EMV 4.4 Book 2,
// annexes A2.2, B2.2 and B2.4.1; ISO/IEC 14888-3). Certification authority,
// issuer and card sign with it for extended data authentication (XDA).
//
// A public key is an x-coordinate. Of the two points that have it, the one with
// the smaller y is meant (Point4x, B2.2.1 e): keys are made so (B2.2.4), and a
// private key of the other point is refused, because nobody could verify what it
// signs.
//
// Points are multiplied in constant time. The arithmetic modulo the group's order
// is math/big's and is not: the package is for issuing and testing, not for a
// service that signs for strangers who can measure it.
package ecsdsa

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"

	"filippo.io/nistec"
)

// Suite is a signature algorithm suite indicator, 1 byte (Book 2, table 48).
type Suite byte

// The suites that EMV kernels with XDA support (Book 2, B2.2.3).
const (
	SuiteP256 Suite = 0x10 // SHA-256 and P-256
	SuiteP521 Suite = 0x11 // SHA-512 and P-521
)

// Errors of keys and signatures. They come wrapped in a sentence.
var (
	ErrSuite     = errors.New("the signature algorithm suite is none that is supported")
	ErrKey       = errors.New("the key is none of its curve that EMV allows")
	ErrSignature = errors.New("the signature was not made with this key over this data")
)

// Valid reports whether the suite is one of this package's.
func (s Suite) Valid() bool { return s == SuiteP256 || s == SuiteP521 }

// String names the suite.
func (s Suite) String() string {
	switch s {
	case SuiteP256:
		return "EC-SDSA with SHA-256 on P-256"
	case SuiteP521:
		return "EC-SDSA with SHA-512 on P-521"
	}
	return fmt.Sprintf("signature algorithm suite %02X", byte(s))
}

// Curve is the suite's curve; nil for a suite that is not supported.
func (s Suite) Curve() elliptic.Curve {
	switch s {
	case SuiteP256:
		return elliptic.P256()
	case SuiteP521:
		return elliptic.P521()
	}
	return nil
}

// FieldBytes is N_FIELD, the bytes of a coordinate, of a private key, and of a
// signature's s: 32 or 66; 0 for a suite that is not supported.
func (s Suite) FieldBytes() int {
	switch s {
	case SuiteP256:
		return 32
	case SuiteP521:
		return 66
	}
	return 0
}

// HashBytes is N_HASH, the bytes of a signature's r: 32 or 64; 0 for a suite that
// is not supported.
func (s Suite) HashBytes() int {
	switch s {
	case SuiteP256:
		return sha256.Size
	case SuiteP521:
		return sha512.Size
	}
	return 0
}

// SignatureBytes is N_SIG, N_HASH and N_FIELD together: 64 or 130; 0 for a suite
// that is not supported.
func (s Suite) SignatureBytes() int { return s.HashBytes() + s.FieldBytes() }

// hash is Hash[x || message].
func (s Suite) hash(x, message []byte) []byte {
	h := sha256.New()
	if s == SuiteP521 {
		h = sha512.New()
	}
	h.Write(x)
	h.Write(message)
	return h.Sum(nil)
}

func (s Suite) order() *big.Int { return s.Curve().Params().N }

// PublicKey is a public key as certificates have it: X is the x-coordinate,
// N_FIELD bytes.
type PublicKey struct {
	Suite Suite
	X     []byte
}

// Check checks that there is a point with the key's x-coordinate. It fails with
// ErrSuite or ErrKey.
func (p PublicKey) Check() error {
	_, err := p.Y()
	return err
}

// Y recovers the y-coordinate, N_FIELD bytes: the smaller of the two, which is
// less than (p+1)/2 (Book 2, B2.2.1 e, Point4x). It fails with ErrSuite or ErrKey.
func (p PublicKey) Y() ([]byte, error) {
	if !p.Suite.Valid() {
		return nil, fmt.Errorf("%w: %02X", ErrSuite, byte(p.Suite))
	}
	n := p.Suite.FieldBytes()
	if len(p.X) != n {
		return nil, fmt.Errorf("%w: an x-coordinate of %d bytes, not %d", ErrKey, len(p.X), n)
	}
	x, y := elliptic.UnmarshalCompressed(p.Suite.Curve(), append([]byte{2}, p.X...))
	if x == nil {
		return nil, fmt.Errorf("%w: no point has this x-coordinate", ErrKey)
	}
	if other := new(big.Int).Sub(p.Suite.Curve().Params().P, y); other.Cmp(y) < 0 {
		y = other
	}
	return y.FillBytes(make([]byte, n)), nil
}

// Equal reports whether two keys are the same.
func (p PublicKey) Equal(o PublicKey) bool { return p.Suite == o.Suite && bytes.Equal(p.X, o.X) }

// point is what nistec's points of every curve can do.
type point[P any] interface {
	Add(P, P) P
	ScalarMult(P, []byte) (P, error)
	ScalarBaseMult([]byte) (P, error)
	SetBytes([]byte) (P, error)
	Bytes() []byte
	BytesX() ([]byte, error)
}

// base is k·G, uncompressed: 04 and both coordinates.
func (s Suite) base(k *big.Int) ([]byte, error) {
	scalar := k.FillBytes(make([]byte, s.FieldBytes()))
	defer clear(scalar)
	if s == SuiteP521 {
		p, err := nistec.NewP521Point().ScalarBaseMult(scalar)
		if err != nil {
			return nil, err
		}
		return p.Bytes(), nil
	}
	p, err := nistec.NewP256Point().ScalarBaseMult(scalar)
	if err != nil {
		return nil, err
	}
	return p.Bytes(), nil
}

// combine is the x-coordinate of a·G + b·P, where P is uncompressed. It fails for
// the point at infinity.
func combine[P point[P]](fresh func() P, a, b *big.Int, p []byte, n int) ([]byte, error) {
	at, err := fresh().SetBytes(p)
	if err != nil {
		return nil, err
	}
	left, err := fresh().ScalarBaseMult(a.FillBytes(make([]byte, n)))
	if err != nil {
		return nil, err
	}
	right, err := fresh().ScalarMult(at, b.FillBytes(make([]byte, n)))
	if err != nil {
		return nil, err
	}
	return fresh().Add(left, right).BytesX()
}

// Verify checks a signature, N_SIG bytes (Book 2, A2.2.3). It fails with ErrSuite
// or ErrKey where the key is none, and with ErrSignature.
func Verify(pub PublicKey, message, signature []byte) error {
	y, err := pub.Y()
	if err != nil {
		return err
	}
	return verify(pub.Suite, append(append([]byte{4}, pub.X...), y...), message, signature)
}

func verify(s Suite, p, message, signature []byte) error {
	if len(signature) != s.SignatureBytes() {
		return fmt.Errorf("%w: it has %d bytes, not %d", ErrSignature, len(signature), s.SignatureBytes())
	}
	n, order := s.FieldBytes(), s.order()
	r, back := signature[:s.HashBytes()], new(big.Int).SetBytes(signature[s.HashBytes():])
	reduced := new(big.Int).SetBytes(r)
	reduced.Mod(reduced, order)
	if back.Sign() == 0 || back.Cmp(order) >= 0 || reduced.Sign() == 0 {
		return fmt.Errorf("%w: it is out of range", ErrSignature)
	}
	minus := new(big.Int).Sub(order, reduced)
	var x []byte
	var err error
	if s == SuiteP521 {
		x, err = combine(nistec.NewP521Point, back, minus, p, n)
	} else {
		x, err = combine(nistec.NewP256Point, back, minus, p, n)
	}
	if err != nil || subtle.ConstantTimeCompare(s.hash(x, message), r) != 1 {
		return ErrSignature
	}
	return nil
}

const redacted = "[redacted]"

// PrivateKey is a private key. D is big-endian, N_FIELD bytes, with 1 < d < n-1,
// of a point whose y is the smaller one. It prints as [redacted].
type PrivateKey struct {
	Suite Suite
	D     []byte
}

// String shows nothing.
func (PrivateKey) String() string { return redacted }

// GoString shows nothing.
func (PrivateKey) GoString() string { return redacted }

// Format shows nothing, whatever the verb.
func (PrivateKey) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// LogValue shows nothing.
func (PrivateKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText shows nothing.
func (PrivateKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Zero overwrites the key.
func (k *PrivateKey) Zero() {
	if k != nil {
		clear(k.D)
	}
}

// scalar checks length and range, and gives d.
func (k *PrivateKey) scalar() (*big.Int, error) {
	if k == nil {
		return nil, fmt.Errorf("%w: there is none", ErrKey)
	}
	if !k.Suite.Valid() {
		return nil, fmt.Errorf("%w: %02X", ErrSuite, byte(k.Suite))
	}
	if len(k.D) != k.Suite.FieldBytes() {
		return nil, fmt.Errorf("%w: a private key of %d bytes, not %d", ErrKey, len(k.D), k.Suite.FieldBytes())
	}
	d, one := new(big.Int).SetBytes(k.D), big.NewInt(1)
	if d.Cmp(one) <= 0 || d.Cmp(new(big.Int).Sub(k.Suite.order(), one)) >= 0 {
		return nil, fmt.Errorf("%w: a private key out of range", ErrKey)
	}
	return d, nil
}

// Public computes the public key. A private key whose point has the greater y is
// refused, as are wrong lengths and ranges: ErrKey, ErrSuite.
func (k *PrivateKey) Public() (PublicKey, error) {
	d, err := k.scalar()
	if err != nil {
		return PublicKey{}, err
	}
	defer zero(d)
	x, small, err := k.Suite.public(d)
	if err != nil {
		return PublicKey{}, err
	}
	if !small {
		return PublicKey{}, fmt.Errorf("%w: the point's y is the greater one", ErrKey)
	}
	return PublicKey{k.Suite, x}, nil
}

// public is d·G's x-coordinate, and whether its y is less than (p+1)/2.
func (s Suite) public(d *big.Int) (x []byte, small bool, err error) {
	p, err := s.base(d)
	if err != nil {
		return nil, false, err
	}
	n := s.FieldBytes()
	y := new(big.Int).SetBytes(p[1+n:])
	return p[1 : 1+n], y.Lsh(y, 1).Cmp(s.Curve().Params().P) < 0, nil
}

// GenerateKey makes a key pair (Book 2, B2.2.4, method 2): d, or n-d where d's
// point has the greater y.
func GenerateKey(s Suite, rand io.Reader) (*PrivateKey, PublicKey, error) {
	if !s.Valid() {
		return nil, PublicKey{}, fmt.Errorf("%w: %02X", ErrSuite, byte(s))
	}
	for {
		d, err := s.within(rand)
		if err != nil {
			return nil, PublicKey{}, err
		}
		x, small, err := s.public(d)
		if err != nil {
			return nil, PublicKey{}, err
		}
		if !small {
			d.Sub(s.order(), d)
		}
		k := &PrivateKey{s, d.FillBytes(make([]byte, s.FieldBytes()))}
		_, err = k.scalar() // neither 1 nor n-1
		zero(d)
		if err == nil {
			return k, PublicKey{s, x}, nil
		}
	}
}

// Sign signs a message (Book 2, A2.2.2): r and s, N_SIG bytes. It fails with
// ErrSuite or ErrKey for a key that Public refuses, and where rand fails. A rand that
// repeats itself does not give the key away.
func Sign(priv *PrivateKey, message []byte, rand io.Reader) ([]byte, error) {
	if _, err := priv.Public(); err != nil {
		return nil, err
	}
	drawn, err := newFactors(priv, message, rand)
	if err != nil {
		return nil, fmt.Errorf("random numbers: %w", err)
	}
	defer drawn.zero()
	for {
		k, err := priv.Suite.within(drawn)
		if err != nil {
			return nil, err
		}
		signature, err := sign(priv, k, message)
		zero(k)
		if signature != nil || err != nil {
			return signature, err
		}
	}
}

// sign signs with k; nil where k gives no signature that verifies.
func sign(priv *PrivateKey, k *big.Int, message []byte) ([]byte, error) {
	d, err := priv.scalar()
	if err != nil {
		return nil, err
	}
	defer zero(d)
	s := priv.Suite
	p, err := s.base(k)
	if err != nil {
		return nil, err
	}
	n, order := s.FieldBytes(), s.order()
	r := s.hash(p[1:1+n], message)
	reduced := new(big.Int).SetBytes(r)
	defer zero(reduced) // which is r·d + k in between
	if reduced.Mod(reduced, order).Sign() == 0 {
		return nil, nil
	}
	back := reduced.Mul(reduced, d)
	if back.Add(back, k).Mod(back, order).Sign() == 0 {
		return nil, nil
	}
	return append(r, back.FillBytes(make([]byte, n))...), nil
}

// zero overwrites a number's words, with those that it had when it was longer.
func zero(n *big.Int) {
	w := n.Bits()
	clear(w[:cap(w)])
}
