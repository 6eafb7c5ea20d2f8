package certify

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"math/big"
	"testing"
	"time"

	"cardbureau/cardio/emv/ecsdsa"
	"cardbureau/cardio/emv/xda"
)

var suites = []ecsdsa.Suite{ecsdsa.SuiteP256, ecsdsa.SuiteP521}

func key(t testing.TB, s ecsdsa.Suite) (ecsdsa.PublicKey, Sign) {
	t.Helper()
	private, public, err := ecsdsa.GenerateKey(s, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return public, func(_ context.Context, m []byte) ([]byte, error) { return ecsdsa.Sign(private, m, rand.Reader) }
}

// point is affine; without x it is the one at infinity.
type point struct{ x, y *big.Int }

// add is the group law of curves with a = -3, as a schoolbook has it.
func add(p *big.Int, a, b point) point {
	if a.x == nil {
		return b
	}
	if b.x == nil {
		return a
	}
	var up, down *big.Int
	if a.x.Cmp(b.x) == 0 {
		if sum := new(big.Int).Add(a.y, b.y); sum.Mod(sum, p).Sign() == 0 {
			return point{}
		}
		up = new(big.Int).Mul(a.x, a.x)
		up.Mul(up, big.NewInt(3)).Sub(up, big.NewInt(3))
		down = new(big.Int).Lsh(a.y, 1)
	} else {
		up, down = new(big.Int).Sub(b.y, a.y), new(big.Int).Sub(b.x, a.x)
	}
	slope := up.Mul(up, down.ModInverse(down.Mod(down, p), p))
	slope.Mod(slope, p)
	x := new(big.Int).Mul(slope, slope)
	x.Sub(x, a.x).Sub(x, b.x).Mod(x, p)
	y := new(big.Int).Sub(a.x, x)
	y.Mul(y, slope).Sub(y, a.y).Mod(y, p)
	return point{x, y}
}

func multiply(p *big.Int, a point, k *big.Int) (out point) {
	for i := k.BitLen() - 1; i >= 0; i-- {
		if out = add(p, out, out); k.Bit(i) == 1 {
			out = add(p, out, a)
		}
	}
	return out
}

// judge verifies by the equation of Book 2, A2.2.3, with math/big alone, and
// nothing of package ecsdsa.
func judge(t *testing.T, p521 bool, x, message, signature []byte) bool {
	t.Helper()
	curve, n, h := elliptic.P256(), 32, func(b []byte) []byte { s := sha256.Sum256(b); return s[:] }
	if p521 {
		curve, n, h = elliptic.P521(), 66, func(b []byte) []byte { s := sha512.Sum512(b); return s[:] }
	}
	p := curve.Params()
	r, s := signature[:len(signature)-n], new(big.Int).SetBytes(signature[len(signature)-n:])
	px := new(big.Int).SetBytes(x)
	y2 := new(big.Int).Exp(px, big.NewInt(3), p.P)
	y2.Sub(y2, new(big.Int).Mul(big.NewInt(3), px)).Add(y2, p.B).Mod(y2, p.P)
	py := new(big.Int).ModSqrt(y2, p.P)
	if py == nil {
		return false
	}
	if other := new(big.Int).Sub(p.P, py); other.Cmp(py) < 0 {
		py = other
	}
	minus := new(big.Int).SetBytes(r)
	minus.Neg(minus).Mod(minus, p.N)
	g := multiply(p.P, point{p.Gx, p.Gy}, s)
	q := add(p.P, g, multiply(p.P, point{px, py}, minus))
	if q.x == nil {
		return false
	}
	qx := q.x
	return bytes.Equal(h(append(qx.FillBytes(make([]byte, n)), message...)), r)
}

var (
	rid     = []byte{0xF0, 0, 0, 3, 0x64}
	expires = time.Date(2038, 11, 30, 0, 0, 0, 0, time.UTC)
	until   = time.Date(2031, 12, 31, 23, 59, 0, 0, time.UTC)
	today   = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
)

// TestLayout: the bytes of tables 35 and 36, for every pair of keys.
func TestLayout(t *testing.T) {
	for _, above := range suites {
		for _, below := range suites {
			ca, sign := key(t, above)
			public, _ := key(t, below)
			certificate, err := IssuerCertificate{IIN: "589210", Expires: expires, Serial: [3]byte{1, 2, 3}, RID: rid, CAIndex: 2, Key: public}.Sign(t.Context(), sign)
			if err != nil {
				t.Fatal(err)
			}
			suite := hex.EncodeToString([]byte{byte(below)})
			want := "1200" + "589210ffff" + suite + "20381130" + "010203" + "f000000364" + "02" + hex.EncodeToString(public.X)
			data := certificate[:len(certificate)-above.SignatureBytes()]
			if got := hex.EncodeToString(data); got != want {
				t.Errorf("%v under %v:\n%s\nwant\n%s", below, above, got, want)
			}
			if !judge(t, above == ecsdsa.SuiteP521, ca.X, data, certificate[len(data):]) {
				t.Errorf("%v under %v: the issuer certificate's signature is not the authority's", below, above)
			}
			sum := sha256.Sum256([]byte("data"))
			certificate, err = ICCCertificate{Expires: until, Serial: [6]byte{1, 2, 3, 4, 5, 6}, ICCD: sum, Key: public}.Sign(t.Context(), sign)
			if err != nil {
				t.Fatal(err)
			}
			want = "1400" + suite + "20311231" + "2359" + "010203040506" + "0002" + hex.EncodeToString(sum[:]) + hex.EncodeToString(public.X)
			data = certificate[:len(certificate)-above.SignatureBytes()]
			if got := hex.EncodeToString(data); got != want {
				t.Errorf("%v under %v:\n%s\nwant\n%s", below, above, got, want)
			}
			if !judge(t, above == ecsdsa.SuiteP521, ca.X, data, certificate[len(data):]) {
				t.Errorf("%v under %v: the ICC certificate's signature is not the issuer's", below, above)
			}
			if len(certificate) > 247 {
				t.Errorf("%v under %v: %d bytes do not fit into a record", below, above, len(certificate))
			}
		}
	}
}

// TestRecover: what terminals check, and what they refuse.
func TestRecover(t *testing.T) {
	for _, above := range suites {
		for _, below := range suites {
			ca, sign := key(t, above)
			public, _ := key(t, below)
			authority := xda.Authority{RID: rid, Index: 2, Key: ca}
			issuer, err := IssuerCertificate{IIN: "589210", Expires: expires, RID: rid, CAIndex: 2, Key: public}.Sign(t.Context(), sign)
			if err != nil {
				t.Fatal(err)
			}
			icc, err := ICCCertificate{Expires: until, ICCD: sha256.Sum256([]byte("data")), Key: public}.Sign(t.Context(), sign)
			if err != nil {
				t.Fatal(err)
			}
			altered := func(b []byte, at int) []byte {
				b = bytes.Clone(b)
				b[(at+len(b))%len(b)] ^= 0x10
				return b
			}
			for name, c := range map[string]struct {
				ca   xda.Authority
				pan  string
				cert []byte
				at   time.Time
				want error
			}{
				"right":           {authority, "5892101234567890", issuer, today, nil},
				"its last day":    {authority, "5892101234567890", issuer, expires.Add(23 * time.Hour), nil},
				"expired":         {authority, "5892101234567890", issuer, expires.AddDate(0, 0, 1), xda.ErrExpired},
				"another PAN":     {authority, "5892111234567890", issuer, today, xda.ErrIdentifier},
				"another RID":     {xda.Authority{RID: []byte{1, 2, 3, 4, 5}, Index: 2, Key: ca}, "589210", issuer, today, xda.ErrAuthority},
				"another index":   {xda.Authority{RID: rid, Index: 1, Key: ca}, "589210", issuer, today, xda.ErrAuthority},
				"another key":     {xda.Authority{RID: rid, Index: 2, Key: public}, "589210", issuer, today, ecsdsa.ErrSignature},
				"format":          {authority, "589210", altered(issuer, 0), today, xda.ErrFormat},
				"encoding":        {authority, "589210", altered(issuer, 1), today, xda.ErrFormat},
				"serial":          {authority, "589210", altered(issuer, 12), today, ecsdsa.ErrSignature},
				"the key's suite": {authority, "589210", altered(issuer, 7), today, ecsdsa.ErrSuite},
				"signature":       {authority, "589210", altered(issuer, -1), today, ecsdsa.ErrSignature},
				"short":           {authority, "589210", issuer[:20], today, xda.ErrLength},
				"long":            {authority, "589210", append(bytes.Clone(issuer), 0), today, xda.ErrLength},
			} {
				if name == "another key" && above != below {
					continue // its length is another, which is told first
				}
				got, err := xda.RecoverIssuer(c.ca, c.pan, c.cert, c.at)
				if !errors.Is(err, c.want) || err == nil && !got.Equal(public) {
					t.Errorf("%v under %v, issuer, %s: %v", below, above, name, err)
				}
			}
			for name, c := range map[string]struct {
				data string
				cert []byte
				at   time.Time
				want error
			}{
				"right":          {"data", icc, today, nil},
				"a minute left":  {"data", icc, until.Add(-time.Minute), nil},
				"expired":        {"data", icc, until, xda.ErrExpired},
				"another record": {"datA", icc, today, xda.ErrCardData},
				"hash algorithm": {"data", altered(icc, 16), today, xda.ErrHash},
				"serial":         {"data", altered(icc, 10), today, ecsdsa.ErrSignature},
				"format":         {"data", altered(icc, 0), today, xda.ErrFormat},
				"signature":      {"data", altered(icc, -1), today, ecsdsa.ErrSignature},
				"short":          {"data", icc[:16], today, xda.ErrLength},
			} {
				got, err := xda.RecoverICC(ca, []byte(c.data), c.cert, c.at)
				if !errors.Is(err, c.want) || err == nil && !got.Equal(public) {
					t.Errorf("%v under %v, ICC, %s: %v", below, above, name, err)
				}
			}
		}
	}
}
