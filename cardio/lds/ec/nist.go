package ec

import "filippo.io/nistec"

// nistPoint is what nistec's four point types have in common.
type nistPoint[P any] interface {
	Add(p, q P) P
	Bytes() []byte
	SetBytes(b []byte) (P, error)
	ScalarMult(p P, k []byte) (P, error)
	ScalarBaseMult(k []byte) (P, error)
}

// nist is a group on nistec. A result at infinity is one zero byte.
type nist[P nistPoint[P]] struct{ new func() P }

func (g nist[P]) baseMult(k []byte) ([]byte, error) {
	r, err := g.new().ScalarBaseMult(k)
	if err != nil {
		return nil, err
	}
	return r.Bytes(), nil
}

func (g nist[P]) mult(k, p []byte) ([]byte, error) {
	q, err := g.point(p)
	if err != nil {
		return nil, err
	}
	r, err := g.new().ScalarMult(q, k)
	if err != nil {
		return nil, err
	}
	return r.Bytes(), nil
}

func (g nist[P]) add(p, q []byte) ([]byte, error) {
	a, err := g.point(p)
	if err != nil {
		return nil, err
	}
	b, err := g.point(q)
	if err != nil {
		return nil, err
	}
	return g.new().Add(a, b).Bytes(), nil
}

func (g nist[P]) check(p []byte) error {
	_, err := g.point(p)
	return err
}

func (g nist[P]) point(b []byte) (P, error) {
	p, err := g.new().SetBytes(b)
	if err != nil {
		return p, ErrPoint
	}
	return p, nil
}

var (
	groupP224 = nist[*nistec.P224Point]{nistec.NewP224Point}
	groupP256 = nist[*nistec.P256Point]{nistec.NewP256Point}
	groupP384 = nist[*nistec.P384Point]{nistec.NewP384Point}
	groupP521 = nist[*nistec.P521Point]{nistec.NewP521Point}
)
