package ec

import "math/big"

// prime is a group on math/big for any curve y² = x³ + ax + b over a prime
// field, in Jacobian coordinates. It is not constant time.
type prime struct{ c *Curve }

// jacobian is (X/Z², Y/Z³); Z = 0 is infinity.
type jacobian struct{ x, y, z *big.Int }

func (g prime) decode(b []byte) (jacobian, error) {
	n := g.c.Size()
	x, y := new(big.Int).SetBytes(b[1:1+n]), new(big.Int).SetBytes(b[1+n:])
	if x.Cmp(g.c.P) >= 0 || y.Cmp(g.c.P) >= 0 {
		return jacobian{}, ErrPoint
	}
	rhs := g.mul(x, x) // x² + a, times x, plus b
	rhs.Add(rhs, g.c.A)
	rhs = g.mul(rhs, x)
	rhs.Add(rhs, g.c.B)
	rhs.Mod(rhs, g.c.P)
	if g.mul(y, y).Cmp(rhs) != 0 {
		return jacobian{}, ErrPoint
	}
	return jacobian{x, y, big.NewInt(1)}, nil
}

func (g prime) encode(p jacobian) []byte {
	if p.z.Sign() == 0 {
		return []byte{0}
	}
	n := g.c.Size()
	inv := new(big.Int).ModInverse(p.z, g.c.P)
	inv2 := g.mul(inv, inv)
	out := make([]byte, 1+2*n)
	out[0] = 4
	g.mul(p.x, inv2).FillBytes(out[1 : 1+n])
	g.mul(p.y, g.mul(inv2, inv)).FillBytes(out[1+n:])
	return out
}

func (g prime) mul(a, b *big.Int) *big.Int {
	r := new(big.Int).Mul(a, b)
	return r.Mod(r, g.c.P)
}

func (g prime) sub(a, b *big.Int) *big.Int {
	r := new(big.Int).Sub(a, b)
	return r.Mod(r, g.c.P)
}

func (g prime) double(p jacobian) jacobian {
	if p.z.Sign() == 0 || p.y.Sign() == 0 {
		return infinity()
	}
	yy := g.mul(p.y, p.y)
	s := g.mul(p.x, yy)
	s.Lsh(s, 2)
	zz := g.mul(p.z, p.z)
	m := g.mul(p.x, p.x)
	m.Mul(m, big.NewInt(3))
	m.Add(m, g.mul(g.c.A, g.mul(zz, zz)))
	m.Mod(m, g.c.P)
	x := g.sub(g.mul(m, m), new(big.Int).Lsh(s, 1))
	y4 := g.mul(yy, yy)
	y := g.sub(g.mul(m, g.sub(s, x)), y4.Lsh(y4, 3))
	z := g.mul(p.y, p.z)
	z.Lsh(z, 1)
	return jacobian{x, y, z.Mod(z, g.c.P)}
}

func (g prime) sum(p, q jacobian) jacobian {
	if p.z.Sign() == 0 {
		return q
	}
	if q.z.Sign() == 0 {
		return p
	}
	pz2, qz2 := g.mul(p.z, p.z), g.mul(q.z, q.z)
	u1, u2 := g.mul(p.x, qz2), g.mul(q.x, pz2)
	s1, s2 := g.mul(p.y, g.mul(qz2, q.z)), g.mul(q.y, g.mul(pz2, p.z))
	h, r := g.sub(u2, u1), g.sub(s2, s1)
	if h.Sign() == 0 {
		if r.Sign() == 0 {
			return g.double(p)
		}
		return infinity()
	}
	h2 := g.mul(h, h)
	h3 := g.mul(h2, h)
	v := g.mul(u1, h2)
	x := g.sub(g.sub(g.mul(r, r), h3), new(big.Int).Lsh(v, 1))
	y := g.sub(g.mul(r, g.sub(v, x)), g.mul(s1, h3))
	return jacobian{x, y, g.mul(h, g.mul(p.z, q.z))}
}

func infinity() jacobian { return jacobian{big.NewInt(1), big.NewInt(1), new(big.Int)} }

func (g prime) times(k []byte, p jacobian) jacobian {
	r := infinity()
	for _, b := range k {
		for bit := 7; bit >= 0; bit-- {
			r = g.double(r)
			if b>>bit&1 == 1 {
				r = g.sum(r, p)
			}
		}
	}
	return r
}

func (g prime) baseMult(k []byte) ([]byte, error) {
	return g.encode(g.times(k, jacobian{g.c.X, g.c.Y, big.NewInt(1)})), nil
}

func (g prime) mult(k, p []byte) ([]byte, error) {
	q, err := g.decode(p)
	if err != nil {
		return nil, err
	}
	return g.encode(g.times(k, q)), nil
}

func (g prime) add(p, q []byte) ([]byte, error) {
	a, err := g.decode(p)
	if err != nil {
		return nil, err
	}
	b, err := g.decode(q)
	if err != nil {
		return nil, err
	}
	return g.encode(g.sum(a, b)), nil
}

func (g prime) check(p []byte) error {
	_, err := g.decode(p)
	return err
}
