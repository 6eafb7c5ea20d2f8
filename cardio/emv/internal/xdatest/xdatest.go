// Package xdatest makes keys, signatures and certificates of XDA for tests (EMV 4.4
// Book 2, tables 35 and 36). It shares nothing with the code under test: its curves
// are the school's formulas over math/big. It is slow, leaks its secrets through
// time, and makes wrong certificates as readily as right ones.
package xdatest

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"math/big"
)

// Suites (Book 2, table 48).
const (
	P256 byte = 0x10
	P521 byte = 0x11
)

// point is a point in affine coordinates; nil is the point at infinity.
type point struct{ x, y *big.Int }

type curve struct {
	*elliptic.CurveParams
	size int
	hash func([]byte) []byte
}

func curveOf(suite byte) curve {
	if suite == P521 {
		return curve{elliptic.P521().Params(), 66, func(b []byte) []byte { h := sha512.Sum512(b); return h[:] }}
	}
	return curve{elliptic.P256().Params(), 32, func(b []byte) []byte { h := sha256.Sum256(b); return h[:] }}
}

// add is point addition (Book 2, B2.2.1 c).
func (c curve) add(p, q *point) *point {
	if p == nil {
		return q
	}
	if q == nil {
		return p
	}
	top, bottom := new(big.Int).Sub(q.y, p.y), new(big.Int).Sub(q.x, p.x)
	if bottom.Sign() == 0 {
		if p.y.Cmp(q.y) != 0 || p.y.Sign() == 0 {
			return nil
		}
		top = new(big.Int).Mul(p.x, p.x)
		top.Mul(top, big.NewInt(3)).Sub(top, big.NewInt(3))
		bottom = new(big.Int).Lsh(p.y, 1)
	}
	slope := top.Mul(top, bottom.ModInverse(bottom.Mod(bottom, c.P), c.P))
	slope.Mod(slope, c.P)
	x := new(big.Int).Mul(slope, slope)
	x.Sub(x, p.x).Sub(x, q.x).Mod(x, c.P)
	y := new(big.Int).Sub(p.x, x)
	y.Mul(y, slope).Sub(y, p.y).Mod(y, c.P)
	return &point{x, y}
}

func (c curve) multiple(k *big.Int) (out *point) {
	at := &point{c.Gx, c.Gy}
	for i := range k.BitLen() {
		if k.Bit(i) == 1 {
			out = c.add(out, at)
		}
		at = c.add(at, at)
	}
	return out
}

// Key is a key pair.
type Key struct {
	Suite byte
	D     []byte // private
	X     []byte
	Odd   bool // whether y is
	c     curve
}

// NewKey makes a key whose point has the smaller y, as keys of EMV have it, or the
// greater, which nobody can verify with.
func NewKey(suite byte, greater bool) Key {
	c := curveOf(suite)
	for {
		d, err := rand.Int(rand.Reader, c.N)
		if err != nil {
			panic(err)
		}
		p := c.multiple(d)
		if p == nil || (new(big.Int).Lsh(p.y, 1).Cmp(c.P) > 0) != greater {
			continue
		}
		return Key{suite, d.FillBytes(make([]byte, c.size)), p.x.FillBytes(make([]byte, c.size)), p.y.Bit(0) == 1, c}
	}
}

// Sign is EC-SDSA (Book 2, A2.2.2).
func (k Key) Sign(message []byte) []byte {
	factor, err := rand.Int(rand.Reader, k.c.N)
	if err != nil {
		panic(err)
	}
	x := k.c.multiple(factor).x.FillBytes(make([]byte, k.c.size))
	r := k.c.hash(append(x, message...))
	s := new(big.Int).Mul(new(big.Int).SetBytes(r), new(big.Int).SetBytes(k.D))
	return append(r, s.Add(s, factor).Mod(s, k.c.N).FillBytes(make([]byte, k.c.size))...)
}

// Hash is the hash of an indicator: 03 SHA-512, any other SHA-256.
func Hash(indicator byte, data []byte) []byte {
	if indicator == 0x03 {
		return curveOf(P521).hash(data)
	}
	return curveOf(P256).hash(data)
}

func bcd(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// Issuer is an issuer's certificate before it is signed.
type Issuer struct {
	Format, Encoding byte
	Identifier       string // 10 digits and F's
	Suite            byte
	Expiry           string // YYYYMMDD
	RID              []byte
	Index            byte
	X                []byte
}

// NewIssuer is a right one of a key.
func NewIssuer(key Key, rid []byte, index byte) Issuer {
	return Issuer{0x12, 0, "589210FFFF", key.Suite, "20401231", rid, index, key.X}
}

// Signed is the certificate.
func (c Issuer) Signed(ca Key) []byte {
	b := bytes.Join([][]byte{{c.Format, c.Encoding}, bcd(c.Identifier), {c.Suite}, bcd(c.Expiry), {0, 0, 7}, c.RID, {c.Index}, c.X}, nil)
	return append(b, ca.Sign(b)...)
}

// ICC is a card's certificate before it is signed.
type ICC struct {
	Format, Encoding, Suite byte
	Expiry                  string // YYYYMMDDHHMM
	DataEncoding            byte
	Indicator               byte // of the hash
	Hash, X                 []byte
}

// NewICC is a right one of a key, over a card's data.
func NewICC(key Key, indicator byte, data []byte) ICC {
	return ICC{0x14, 0, key.Suite, "203112312359", 0, indicator, Hash(indicator, data), key.X}
}

// Signed is the certificate.
func (c ICC) Signed(issuer Key) []byte {
	b := bytes.Join([][]byte{{c.Format, c.Encoding, c.Suite}, bcd(c.Expiry), {0, 0, 0, 0, 0, 9}, {c.DataEncoding, c.Indicator}, c.Hash, c.X}, nil)
	return append(b, issuer.Sign(b)...)
}
