package sod

import (
	"crypto"
	"crypto/rsa"
	_ "crypto/sha1"   // SHA-1, in old documents
	_ "crypto/sha256" // SHA-224 and SHA-256
	_ "crypto/sha512" // SHA-384 and SHA-512
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"

	"cardbureau/cardio/lds/ec"
)

// publicKey is a signer's key: on a curve, or RSA.
type publicKey struct {
	curve *ec.Curve
	point []byte
	rsa   *rsa.PublicKey
}

var (
	oidECKey  = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidRSA    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidRSAPSS = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	oidMGF1   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}
)

var hashes = []struct {
	oid, rsa, ecdsa asn1.ObjectIdentifier
	hash            crypto.Hash
}{
	{asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}, crypto.SHA1},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 4}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 14}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 1}, crypto.SHA224},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, crypto.SHA256},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, crypto.SHA384},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, crypto.SHA512},
}

func hashByOID(oid asn1.ObjectIdentifier) (crypto.Hash, error) {
	for _, h := range hashes {
		if h.oid.Equal(oid) {
			return h.hash, nil
		}
	}
	return 0, fmt.Errorf("%w: hash algorithm %v", ErrUnsupported, oid)
}

// parseKey takes a SubjectPublicKeyInfo apart.
func parseKey(der []byte) (publicKey, error) {
	var info struct {
		Algorithm struct {
			OID        asn1.ObjectIdentifier
			Parameters asn1.RawValue `asn1:"optional"`
		}
		Key asn1.BitString
	}
	if err := whole(der, &info); err != nil {
		return publicKey{}, fmt.Errorf("%w: a public key: %v", ErrMalformed, err)
	}
	switch oid := info.Algorithm.OID; {
	case oid.Equal(oidECKey):
		curve, err := ec.FromParameters(info.Algorithm.Parameters.FullBytes)
		if err != nil {
			return publicKey{}, fmt.Errorf("%w: %w", ErrUnsupported, err)
		}
		if err := curve.Check(info.Key.Bytes); err != nil {
			return publicKey{}, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return publicKey{curve: curve, point: info.Key.Bytes}, nil
	case oid.Equal(oidRSA), oid.Equal(oidRSAPSS):
		key, err := x509.ParsePKCS1PublicKey(info.Key.Bytes)
		if err != nil {
			return publicKey{}, fmt.Errorf("%w: an RSA key", ErrMalformed)
		}
		return publicKey{rsa: key}, nil
	default:
		return publicKey{}, fmt.Errorf("%w: a key of algorithm %v", ErrUnsupported, oid)
	}
}

// verify checks a signature. digest is what CMS names beside the algorithm, 0
// in certificates, where the algorithm says it.
func (k publicKey) verify(algorithm pkix.AlgorithmIdentifier, digest crypto.Hash, message, signature []byte) error {
	oid := algorithm.Algorithm
	hash := digest
	var scheme string
	for _, h := range hashes {
		switch {
		case h.rsa.Equal(oid):
			scheme, hash = "RSA", h.hash
		case h.ecdsa.Equal(oid):
			scheme, hash = "ECDSA", h.hash
		}
	}
	salt := 0
	switch {
	case scheme != "":
	case oid.Equal(oidRSA) && digest != 0:
		scheme = "RSA"
	case oid.Equal(oidECKey) && digest != 0: // seen in documents instead of ecdsa-with-…
		scheme = "ECDSA"
	case oid.Equal(oidRSAPSS):
		var err error
		if hash, salt, err = parsePSS(algorithm.Parameters.FullBytes); err != nil {
			return err
		}
		scheme = "PSS"
	default:
		return fmt.Errorf("%w: signature algorithm %v", ErrUnsupported, oid)
	}
	if digest != 0 && hash != digest {
		return fmt.Errorf("%w: the signature's hash is not the one that is named", ErrSignature)
	}
	h := hash.New()
	h.Write(message)
	sum := h.Sum(nil)
	var err error
	switch {
	case scheme == "ECDSA" && k.curve != nil:
		err = k.curve.VerifyECDSA(k.point, sum, signature)
	case scheme == "RSA" && k.rsa != nil:
		err = rsa.VerifyPKCS1v15(k.rsa, hash, sum, signature)
	case scheme == "PSS" && k.rsa != nil:
		err = rsa.VerifyPSS(k.rsa, hash, sum, signature, &rsa.PSSOptions{SaltLength: salt, Hash: hash})
	default:
		return fmt.Errorf("%w: the key is not of the signature's kind", ErrSignature)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return nil
}

// parsePSS reads RSASSA-PSS-params (RFC 4055 section 3.1); the mask must be
// MGF1 with the same hash.
func parsePSS(der []byte) (crypto.Hash, int, error) {
	params := struct {
		Hash pkix.AlgorithmIdentifier `asn1:"explicit,optional,tag:0"`
		MGF  pkix.AlgorithmIdentifier `asn1:"explicit,optional,tag:1"`
		Salt int                      `asn1:"explicit,optional,tag:2,default:20"`
		Tail int                      `asn1:"explicit,optional,tag:3,default:1"`
	}{}
	if err := whole(der, &params); err != nil {
		return 0, 0, fmt.Errorf("%w: PSS parameters: %v", ErrMalformed, err)
	}
	hash, maskHash := crypto.SHA1, crypto.SHA1
	var err error
	if len(params.Hash.Algorithm) > 0 {
		if hash, err = hashByOID(params.Hash.Algorithm); err != nil {
			return 0, 0, err
		}
	}
	if len(params.MGF.Algorithm) > 0 {
		var inner pkix.AlgorithmIdentifier
		if !params.MGF.Algorithm.Equal(oidMGF1) || whole(params.MGF.Parameters.FullBytes, &inner) != nil {
			return 0, 0, fmt.Errorf("%w: the PSS mask is not MGF1", ErrUnsupported)
		}
		if maskHash, err = hashByOID(inner.Algorithm); err != nil {
			return 0, 0, err
		}
	}
	if maskHash != hash || params.Tail != 1 || params.Salt < 0 {
		return 0, 0, fmt.Errorf("%w: PSS parameters of this kind", ErrUnsupported)
	}
	if params.Salt == 0 {
		return 0, 0, fmt.Errorf("%w: PSS without a salt", ErrUnsupported)
	}
	return hash, params.Salt, nil
}
