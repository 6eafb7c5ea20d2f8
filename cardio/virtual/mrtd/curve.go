package mrtd

import (
	"encoding/binary"
	"errors"
	"io"

	"filippo.io/nistec"
)

// fieldSize is the length in bytes of coordinates and scalars.
const fieldSize = 32

// pointSize is the length of an uncompressed point, 04 ‖ X ‖ Y
// (BSI TR-03111 clause 3.2.1).
const pointSize = 1 + 2*fieldSize

var errPoint = errors.New("mrtd: not a usable point of the curve")

// group is a 256-bit elliptic curve. Points are uncompressed encodings; every
// point that comes in is checked to be on the curve, and the point at
// infinity, which has no such encoding, is errPoint.
type group interface {
	// order is the order of the base point, 32 bytes.
	order() []byte
	// mul is scalar·point; a nil point is the base point.
	mul(point, scalar []byte) ([]byte, error)
	add(a, b []byte) ([]byte, error)
}

// p256 is the curve of standardized domain parameters 12 (Doc 9303-11 clause
// 9.5.1), NIST P-256.
type p256 struct{}

var p256Order = []byte{
	0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
}

func (p256) order() []byte { return p256Order }

func (p256) decode(point []byte) (*nistec.P256Point, error) {
	if len(point) != pointSize {
		return nil, errPoint
	}
	p, err := nistec.NewP256Point().SetBytes(point)
	if err != nil {
		return nil, errPoint
	}
	return p, nil
}

func (p256) encode(p *nistec.P256Point) ([]byte, error) {
	b := p.Bytes()
	if len(b) != pointSize {
		return nil, errPoint
	}
	return b, nil
}

func (c p256) mul(point, scalar []byte) ([]byte, error) {
	out := nistec.NewP256Point()
	if point == nil {
		if _, err := out.ScalarBaseMult(scalar); err != nil {
			return nil, errPoint
		}
		return c.encode(out)
	}
	p, err := c.decode(point)
	if err != nil {
		return nil, err
	}
	if _, err := out.ScalarMult(p, scalar); err != nil {
		return nil, errPoint
	}
	return c.encode(out)
}

func (c p256) add(a, b []byte) ([]byte, error) {
	p, err := c.decode(a)
	if err != nil {
		return nil, err
	}
	q, err := c.decode(b)
	if err != nil {
		return nil, err
	}
	return c.encode(nistec.NewP256Point().Add(p, q))
}

// scalarIn reports 0 < s < order.
func scalarIn(s, order []byte) bool {
	if len(s) != fieldSize {
		return false
	}
	var nonzero uint64
	for i := 0; i < fieldSize; i += 8 {
		nonzero |= binary.BigEndian.Uint64(s[i:])
	}
	if nonzero == 0 {
		return false
	}
	for i := range s {
		if s[i] != order[i] {
			return s[i] < order[i]
		}
	}
	return false
}

// newScalar draws a private key by rejection (FIPS 186-5 appendix A.2.2).
func newScalar(random io.Reader, g group) ([]byte, error) {
	for {
		s := make([]byte, fieldSize)
		if _, err := io.ReadFull(random, s); err != nil {
			return nil, err
		}
		if scalarIn(s, g.order()) {
			return s, nil
		}
	}
}

// coordinateX is the shared secret of ECDH (BSI TR-03111 clause 4.3.1):
// leading zeros stay.
func coordinateX(point []byte) []byte { return point[1 : 1+fieldSize] }
