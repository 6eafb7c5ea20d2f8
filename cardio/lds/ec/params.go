package ec

import (
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
)

// ecParameters is ECParameters of RFC 3279 section 2.3.5 (ANSI X9.62).
type ecParameters struct {
	Version int
	Field   struct {
		Type  asn1.ObjectIdentifier
		Prime *big.Int
	}
	Curve struct {
		A, B []byte
		Seed asn1.BitString `asn1:"optional"`
	}
	Base     []byte
	Order    *big.Int
	Cofactor *big.Int `asn1:"optional"`
}

var oidPrimeField = asn1.ObjectIdentifier{1, 2, 840, 10045, 1, 1}

// FromParameters finds the curve that DER-encoded EcpkParameters mean: a
// named curve, or explicit parameters as ICAO 9303-12 section 4.2 wants
// them. Explicit parameters must equal a curve of the table in every number,
// so that no one can bring a base point of his own (CVE-2020-0601);
// otherwise the error is ErrUnknownCurve.
func FromParameters(der []byte) (*Curve, error) {
	var oid asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(der, &oid); err == nil && len(rest) == 0 {
		for _, c := range table {
			if slices.Equal(c.oid, oid) {
				return c, nil
			}
		}
		return nil, fmt.Errorf("%w: %v", ErrUnknownCurve, oid)
	}
	var e ecParameters
	rest, err := asn1.Unmarshal(der, &e)
	if err != nil || len(rest) != 0 {
		return nil, fmt.Errorf("%w: the parameters are neither a name nor explicit prime-field parameters", ErrUnknownCurve)
	}
	if !e.Field.Type.Equal(oidPrimeField) {
		return nil, fmt.Errorf("%w: a field of type %v", ErrUnknownCurve, e.Field.Type)
	}
	if e.Cofactor != nil && e.Cofactor.Cmp(big.NewInt(1)) != 0 {
		return nil, fmt.Errorf("%w: the cofactor is not 1", ErrUnknownCurve)
	}
	for _, c := range table {
		if c.P.Cmp(e.Field.Prime) == 0 && c.N.Cmp(e.Order) == 0 &&
			c.A.Cmp(new(big.Int).SetBytes(e.Curve.A)) == 0 &&
			c.B.Cmp(new(big.Int).SetBytes(e.Curve.B)) == 0 && c.isBase(e.Base) {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%w: explicit parameters that no table lists", ErrUnknownCurve)
}

// isBase compares an encoded point, compressed or not, with the base point.
func (c *Curve) isBase(b []byte) bool {
	n := c.Size()
	switch {
	case len(b) == 1+2*n && b[0] == 4:
		return c.X.Cmp(new(big.Int).SetBytes(b[1:1+n])) == 0 && c.Y.Cmp(new(big.Int).SetBytes(b[1+n:])) == 0
	case len(b) == 1+n && (b[0] == 2 || b[0] == 3):
		return c.X.Cmp(new(big.Int).SetBytes(b[1:])) == 0 && c.Y.Bit(0) == uint(b[0]&1)
	}
	return false
}
