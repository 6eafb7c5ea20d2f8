package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidPrimeField  = asn1.ObjectIdentifier{1, 2, 840, 10045, 1, 1}
	oidECDSASHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidECDSASHA384 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}
	oidSHA256      = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidSHA384      = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
)

// suite is a curve with the hash of its strength. The hash of a signature is
// never longer than the group's order.
type suite struct {
	curve     elliptic.Curve
	hash      crypto.Hash
	digest    asn1.ObjectIdentifier
	signature asn1.ObjectIdentifier
	params    []byte // ECParameters, DER
}

var suites = []*suite{
	newSuite(elliptic.P256(), crypto.SHA256, oidSHA256, oidECDSASHA256),
	newSuite(elliptic.P384(), crypto.SHA384, oidSHA384, oidECDSASHA384),
}

func newSuite(curve elliptic.Curve, hash crypto.Hash, digest, signature asn1.ObjectIdentifier) *suite {
	return &suite{curve, hash, digest, signature, explicitParameters(curve.Params())}
}

// explicitParameters is ECParameters with the field, the curve, the base point
// (uncompressed), its order and the cofactor: no named curve, cofactor included
// (Doc 9303-12, 4.1.6; X9.62; RFC 3279, 2.3.5).
func explicitParameters(c *elliptic.CurveParams) []byte {
	size := (c.BitSize + 7) / 8
	a := c.P.FillBytes(make([]byte, size)) // a = p - 3 on the NIST prime curves
	a[size-1] -= 3
	g := append([]byte{4}, c.Gx.FillBytes(make([]byte, size))...)
	g = append(g, c.Gy.FillBytes(make([]byte, size))...)
	return sequence(
		number(1),
		sequence(oid(oidPrimeField), bigNumber(c.P)),
		sequence(octets(a), octets(c.B.FillBytes(make([]byte, size)))),
		octets(g),
		bigNumber(c.N),
		number(1),
	)
}

// algorithm is the AlgorithmIdentifier of the suite's signatures; ECDSA has no
// parameters field (RFC 5758, 3.2).
func (s *suite) algorithm() []byte { return sequence(oid(s.signature)) }

// sign hashes the message and has the digest signed.
func (s *suite) sign(rand io.Reader, key crypto.Signer, message []byte) ([]byte, error) {
	h := s.hash.New()
	h.Write(message)
	signature, err := key.Sign(rand, h.Sum(nil), s.hash)
	if err != nil {
		return nil, fmt.Errorf("identity: the key does not sign: %w", err)
	}
	return signature, nil
}

func (s *suite) verify(key *ecdsa.PublicKey, message, signature []byte) bool {
	h := s.hash.New()
	h.Write(message)
	return ecdsa.VerifyASN1(key, h.Sum(nil), signature)
}

// suiteOf finds the suite of a public key.
func suiteOf(public crypto.PublicKey) (*suite, *ecdsa.PublicKey, error) {
	key, ok := public.(*ecdsa.PublicKey)
	if !ok {
		return nil, nil, errors.New("identity: the key is not an ECDSA key")
	}
	for _, s := range suites {
		if s.curve == key.Curve {
			return s, key, nil
		}
	}
	return nil, nil, errors.New("identity: the key is neither on P-256 nor on P-384")
}

// publicKeyInfo is SubjectPublicKeyInfo with explicit parameters; point is
// also returned, uncompressed.
func (s *suite) publicKeyInfo(key *ecdsa.PublicKey) (info, point []byte, err error) {
	point, err = key.Bytes()
	if err != nil {
		return nil, nil, fmt.Errorf("identity: public key: %w", err)
	}
	return s.pointInfo(point), point, nil
}

func (s *suite) pointInfo(point []byte) []byte {
	return sequence(sequence(oid(oidECPublicKey), s.params), bitString(point))
}

// parsePublicKeyInfo reads SubjectPublicKeyInfo with explicit parameters of a
// curve that this package signs with.
func parsePublicKeyInfo(in cryptobyte.String) (*ecdsa.PublicKey, []byte, error) {
	var algorithm, params cryptobyte.String
	var id asn1.ObjectIdentifier
	var point []byte
	if !in.ReadASN1(&algorithm, cbasn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&id) || !id.Equal(oidECPublicKey) ||
		!algorithm.ReadASN1Element(&params, cbasn1.SEQUENCE) || !algorithm.Empty() ||
		!in.ReadASN1BitStringAsBytes(&point) || !in.Empty() {
		return nil, nil, fmt.Errorf("%w: the public key is not an EC key with explicit parameters", ErrCertificate)
	}
	for _, s := range suites {
		if !bytes.Equal(params, s.params) {
			continue
		}
		key, err := ecdsa.ParseUncompressedPublicKey(s.curve, point)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: the public key is no point of its curve", ErrCertificate)
		}
		return key, point, nil
	}
	return nil, nil, fmt.Errorf("%w: the public key's curve is neither P-256 nor P-384", ErrCertificate)
}
