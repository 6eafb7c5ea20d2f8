package icao

import (
	"encoding/binary"
	"errors"
	"io"

	"filippo.io/nistec"
)

// FieldSize is the length in bytes of coordinates and scalars.
const FieldSize = 32

// PointSize is the length of an uncompressed point, 04 ‖ X ‖ Y
// (BSI TR-03111 clause 3.2.1).
const PointSize = 1 + 2*FieldSize

// ErrPoint marks bytes that are no point of the curve, or the point at infinity.
var ErrPoint = errors.New("icao: not a usable point of the curve")

// Group is a 256-bit elliptic curve. Points are uncompressed encodings; every
// point that comes in is checked to be on the curve, and the point at
// infinity, which has no such encoding, is ErrPoint.
type Group interface {
	// Order is the order of the base point, 32 bytes.
	Order() []byte
	// Mul is scalar·point; a nil point is the base point.
	Mul(point, scalar []byte) ([]byte, error)
	// Add is a + b.
	Add(a, b []byte) ([]byte, error)
}

// P256 is the curve of standardized domain parameters 12 (Doc 9303-11 clause
// 9.5.1), NIST P-256.
type P256 struct{}

// P256Order is the order of P-256, 32 bytes.
var P256Order = []byte{
	0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
}

// Order is the order of the base point.
func (P256) Order() []byte { return P256Order }

func (P256) decode(point []byte) (*nistec.P256Point, error) {
	if len(point) != PointSize {
		return nil, ErrPoint
	}
	p, err := nistec.NewP256Point().SetBytes(point)
	if err != nil {
		return nil, ErrPoint
	}
	return p, nil
}

func (P256) encode(p *nistec.P256Point) ([]byte, error) {
	b := p.Bytes()
	if len(b) != PointSize {
		return nil, ErrPoint
	}
	return b, nil
}

// Mul is scalar·point; a nil point is the base point.
func (c P256) Mul(point, scalar []byte) ([]byte, error) {
	out := nistec.NewP256Point()
	if point == nil {
		if _, err := out.ScalarBaseMult(scalar); err != nil {
			return nil, ErrPoint
		}
		return c.encode(out)
	}
	p, err := c.decode(point)
	if err != nil {
		return nil, err
	}
	if _, err := out.ScalarMult(p, scalar); err != nil {
		return nil, ErrPoint
	}
	return c.encode(out)
}

// Add is a + b.
func (c P256) Add(a, b []byte) ([]byte, error) {
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

// ScalarIn reports 0 < s < order.
func ScalarIn(s, order []byte) bool {
	if len(s) != FieldSize {
		return false
	}
	var nonzero uint64
	for i := 0; i < FieldSize; i += 8 {
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

// NewScalar draws a private key by rejection (FIPS 186-5 appendix A.2.2).
func NewScalar(random io.Reader, g Group) ([]byte, error) {
	for {
		s := make([]byte, FieldSize)
		if _, err := io.ReadFull(random, s); err != nil {
			return nil, err
		}
		if ScalarIn(s, g.Order()) {
			return s, nil
		}
	}
}

// CoordinateX is the shared secret of ECDH (BSI TR-03111 clause 4.3.1):
// leading zeros stay.
func CoordinateX(point []byte) []byte { return point[1 : 1+FieldSize] }
