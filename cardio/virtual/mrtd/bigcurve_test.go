package mrtd

import (
	"crypto/elliptic"
	"crypto/rand"
	"math/big"

	"cardbureau/cardio/virtual/icao"
)

// bigCurve is affine arithmetic on y² = x³ + ax + b, slow and plain.
type bigCurve struct{ p, a, b, x, y, n *big.Int }

func nistP256() bigCurve {
	c := elliptic.P256().Params()
	return bigCurve{p: c.P, a: new(big.Int).Sub(c.P, big.NewInt(3)), b: c.B, x: c.Gx, y: c.Gy, n: c.N}
}

// brainpoolP256r1 is standardized domain parameters 13 (RFC 5639 clause 3.4),
// on which the worked example of Doc 9303-11 appendix G.1 is calculated.
func brainpoolP256r1() bigCurve {
	h := func(s string) *big.Int { v, _ := new(big.Int).SetString(s, 16); return v }
	return bigCurve{
		p: h("A9FB57DBA1EEA9BC3E660A909D838D726E3BF623D52620282013481D1F6E5377"),
		a: h("7D5A0975FC2C3057EEF67530417AFFE7FB8055C126DC5C6CE94A4B44F330B5D9"),
		b: h("26DC5C6CE94A4B44F330B5D9BBD77CBF958416295CF7E1CE6BCCDC18FF8C07B6"),
		x: h("8BD2AEB9CB7E57CB2C4B482FFC81B7AFB9DE27E1E3BD23C23A4453BD9ACE3262"),
		y: h("547EF835C3DAC4FD97F8461A14611DC9C27745132DED8E545C1D54C72F046997"),
		n: h("A9FB57DBA1EEA9BC3E660A909D838D718C397AA3B561A6F7901E0E82974856A7"),
	}
}

func (c bigCurve) Order() []byte { return c.n.FillBytes(make([]byte, 32)) }

func (c bigCurve) decode(p []byte) (x, y *big.Int, err error) {
	if len(p) != 65 || p[0] != 4 {
		return nil, nil, icao.ErrPoint
	}
	x, y = new(big.Int).SetBytes(p[1:33]), new(big.Int).SetBytes(p[33:])
	left := new(big.Int).Mul(y, y)
	right := new(big.Int).Mul(x, x)
	right.Add(right, c.a).Mul(right, x).Add(right, c.b)
	if left.Sub(left, right).Mod(left, c.p).Sign() != 0 {
		return nil, nil, icao.ErrPoint
	}
	return x, y, nil
}

func (c bigCurve) encode(x, y *big.Int) ([]byte, error) {
	if x == nil {
		return nil, icao.ErrPoint
	}
	out := make([]byte, 65)
	out[0] = 4
	x.FillBytes(out[1:33])
	y.FillBytes(out[33:])
	return out, nil
}

// plus adds affine points; nil coordinates are the point at infinity.
func (c bigCurve) plus(x1, y1, x2, y2 *big.Int) (x, y *big.Int) {
	if x1 == nil {
		return x2, y2
	}
	if x2 == nil {
		return x1, y1
	}
	var slope *big.Int
	if x1.Cmp(x2) == 0 {
		if new(big.Int).Mod(new(big.Int).Add(y1, y2), c.p).Sign() == 0 {
			return nil, nil
		}
		slope = new(big.Int).Mul(x1, x1)
		slope.Mul(slope, big.NewInt(3)).Add(slope, c.a)
		slope.Mul(slope, new(big.Int).ModInverse(new(big.Int).Lsh(y1, 1), c.p))
	} else {
		d := new(big.Int).Sub(x2, x1)
		slope = new(big.Int).Sub(y2, y1)
		slope.Mul(slope, d.ModInverse(d.Mod(d, c.p), c.p))
	}
	x = new(big.Int).Mul(slope, slope)
	x.Sub(x, x1).Sub(x, x2).Mod(x, c.p)
	y = new(big.Int).Sub(x1, x)
	y.Mul(y, slope).Sub(y, y1).Mod(y, c.p)
	return x, y
}

func (c bigCurve) Mul(point, scalar []byte) ([]byte, error) {
	px, py := c.x, c.y
	if point != nil {
		var err error
		if px, py, err = c.decode(point); err != nil {
			return nil, err
		}
	}
	var x, y *big.Int
	k := new(big.Int).SetBytes(scalar)
	for i := k.BitLen() - 1; i >= 0; i-- {
		x, y = c.plus(x, y, x, y)
		if k.Bit(i) == 1 {
			x, y = c.plus(x, y, px, py)
		}
	}
	return c.encode(x, y)
}

func (c bigCurve) Add(a, b []byte) ([]byte, error) {
	ax, ay, err := c.decode(a)
	if err != nil {
		return nil, err
	}
	bx, by, err := c.decode(b)
	if err != nil {
		return nil, err
	}
	return c.encode(c.plus(ax, ay, bx, by))
}

func randomScalar(c bigCurve) []byte {
	k, err := rand.Int(rand.Reader, new(big.Int).Sub(c.n, big.NewInt(1)))
	if err != nil {
		panic(err)
	}
	return k.Add(k, big.NewInt(1)).FillBytes(make([]byte, 32))
}
