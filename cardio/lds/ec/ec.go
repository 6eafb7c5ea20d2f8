// Package ec is elliptic-curve arithmetic over the standardized domain
// parameters that a travel document may use (ICAO 9303-11, 8th edition,
// section 9.5.1, table 6; BSI TR-03110-3 A.2.1.1): what PACE, chip
// authentication and passive authentication need and crypto/ecdh does not
// offer, point addition and the Brainpool curves.
//
// Scalars are big-endian byte strings of Curve.ScalarSize bytes, points are
// uncompressed: 04 ‖ X ‖ Y of 1 + 2·Curve.Size bytes. Every point that comes in is
// checked to be on the curve; all curves here have cofactor 1, so that is
// membership in the group too.
//
// P-224, P-256, P-384 and P-521 run in constant time on nistec. The others
// run on math/big and do not: they are for a terminal's ephemeral keys and
// for verification, never for keys that last.
package ec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
)

var (
	// ErrPoint marks bytes that are no point of the curve other than
	// infinity.
	ErrPoint = errors.New("ec: not a point on the curve")
	// ErrInfinity marks a result at infinity, which no honest peer causes.
	ErrInfinity = errors.New("ec: the result is the point at infinity")
	// ErrUnknownCurve marks domain parameters outside the standardized
	// table. Explicit parameters are compared with it, never used as given.
	ErrUnknownCurve = errors.New("ec: not a standardized curve")
)

// Curve is one set of standardized domain parameters.
type Curve struct {
	Name string // as OpenSSL writes it, or P-256
	ID   int    // standardized domain parameter of 9303-11 table 6
	// P, A, B, X, Y, N are the prime, the coefficients, the base point and
	// its order.
	P, A, B, X, Y, N *big.Int

	oid   []int
	order []byte // N, ScalarSize bytes
	group group
}

// group is the arithmetic of one curve; scalars are below N and points have
// the right length when they arrive.
type group interface {
	baseMult(k []byte) ([]byte, error)
	mult(k, p []byte) ([]byte, error)
	add(p, q []byte) ([]byte, error)
	check(p []byte) error
}

// Size is the length of a coordinate in bytes.
func (c *Curve) Size() int { return (c.P.BitLen() + 7) / 8 }

// ScalarSize is the length of a scalar in bytes.
func (c *Curve) ScalarSize() int { return len(c.order) }

// PointSize is the length of an uncompressed point in bytes.
func (c *Curve) PointSize() int { return 1 + 2*c.Size() }

// NewScalar draws a scalar from 1 to N−1 without bias.
func (c *Curve) NewScalar(random io.Reader) ([]byte, error) {
	k := make([]byte, len(c.order))
	spare := len(c.order)*8 - c.N.BitLen()
	for range 128 {
		if _, err := io.ReadFull(random, k); err != nil {
			return nil, fmt.Errorf("ec: no random numbers: %w", err)
		}
		k[0] &= 0xFF >> spare
		if !zero(k) && bytes.Compare(k, c.order) < 0 {
			return k, nil
		}
	}
	return nil, errors.New("ec: the random source gives no usable scalar")
}

// Scalar reduces a big-endian number of any length modulo N.
func (c *Curve) Scalar(b []byte) []byte {
	if len(b) < len(c.order) {
		return append(make([]byte, len(c.order)-len(b), len(c.order)), b...)
	}
	n := new(big.Int).SetBytes(b)
	return n.Mod(n, c.N).FillBytes(make([]byte, len(c.order)))
}

// BaseMult returns k·G.
func (c *Curve) BaseMult(k []byte) ([]byte, error) {
	if err := c.checkScalar(k); err != nil {
		return nil, err
	}
	return finite(c.group.baseMult(k))
}

// Mult returns k·P.
func (c *Curve) Mult(k, point []byte) ([]byte, error) {
	if err := c.checkScalar(k); err != nil {
		return nil, err
	}
	if err := c.Check(point); err != nil {
		return nil, err
	}
	return finite(c.group.mult(k, point))
}

// Add returns P + Q.
func (c *Curve) Add(p, q []byte) ([]byte, error) {
	if err := c.checkLength(p); err != nil {
		return nil, err
	}
	if err := c.checkLength(q); err != nil {
		return nil, err
	}
	return finite(c.group.add(p, q))
}

// Check returns ErrPoint unless the bytes are an uncompressed point on the
// curve.
func (c *Curve) Check(point []byte) error {
	if err := c.checkLength(point); err != nil {
		return err
	}
	return c.group.check(point)
}

// XOf returns the X coordinate of an uncompressed point, Size bytes.
func (c *Curve) XOf(point []byte) []byte { return point[1 : 1+c.Size()] }

func (c *Curve) checkLength(point []byte) error {
	if len(point) != c.PointSize() || point[0] != 4 {
		return fmt.Errorf("%w %s: %d bytes, an uncompressed point has %d", ErrPoint, c.Name, len(point), c.PointSize())
	}
	return nil
}

func (c *Curve) checkScalar(k []byte) error {
	if len(k) != len(c.order) || bytes.Compare(k, c.order) >= 0 {
		return fmt.Errorf("ec: a scalar of %s has %d bytes and is below the order", c.Name, len(c.order))
	}
	return nil
}

func finite(point []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if len(point) == 1 {
		return nil, ErrInfinity
	}
	return point, nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
