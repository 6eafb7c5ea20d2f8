package ec

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
)

// ErrSignature marks an ECDSA signature that does not verify.
var ErrSignature = errors.New("ec: the signature does not verify")

// VerifyECDSA verifies an ASN.1 ECDSA-Sig-Value over a digest (BSI TR-03111
// section 4.2.1, ANSI X9.62) by the public key, an uncompressed point. It
// returns ErrSignature or ErrPoint.
func (c *Curve) VerifyECDSA(public, digest, signature []byte) error {
	if err := c.Check(public); err != nil {
		return err
	}
	var sig struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(signature, &sig); err != nil || len(rest) != 0 {
		return fmt.Errorf("%w: it is no ECDSA-Sig-Value", ErrSignature)
	}
	if std := c.standard(); std != nil {
		key, err := ecdsa.ParseUncompressedPublicKey(std, public)
		if err != nil {
			return ErrPoint
		}
		if !ecdsa.VerifyASN1(key, digest, signature) {
			return ErrSignature
		}
		return nil
	}
	if sig.R.Sign() <= 0 || sig.S.Sign() <= 0 || sig.R.Cmp(c.N) >= 0 || sig.S.Cmp(c.N) >= 0 {
		return ErrSignature
	}
	e := new(big.Int).SetBytes(digest)
	if over := len(digest)*8 - c.N.BitLen(); over > 0 {
		e.Rsh(e, uint(over))
	}
	w := new(big.Int).ModInverse(sig.S, c.N)
	u1 := e.Mul(e, w)
	u1.Mod(u1, c.N)
	u2 := w.Mul(w, sig.R)
	u2.Mod(u2, c.N)
	g := prime{c}
	q, err := g.decode(public)
	if err != nil {
		return err
	}
	r := g.sum(
		g.times(c.Scalar(u1.Bytes()), jacobian{c.X, c.Y, big.NewInt(1)}),
		g.times(c.Scalar(u2.Bytes()), q))
	point := g.encode(r)
	if len(point) == 1 {
		return ErrSignature
	}
	x := new(big.Int).SetBytes(c.XOf(point))
	if x.Mod(x, c.N).Cmp(sig.R) != 0 {
		return ErrSignature
	}
	return nil
}

// standard is the same curve in crypto/elliptic, or nil.
func (c *Curve) standard() elliptic.Curve {
	switch c.ID {
	case 10:
		return elliptic.P224()
	case 12:
		return elliptic.P256()
	case 15:
		return elliptic.P384()
	case 18:
		return elliptic.P521()
	}
	return nil
}
