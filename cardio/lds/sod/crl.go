package sod

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// CRL is a CSCA's certificate revocation list (9303-12 section 7.1.4), taken
// apart, not verified.
type CRL struct {
	ThisUpdate, NextUpdate time.Time

	revoked   map[string]bool // serial numbers, decimal
	issuer    []byte
	tbs       []byte
	algorithm pkix.AlgorithmIdentifier
	signature []byte
}

// ParseCRL takes one CRL apart, DER or PEM.
func ParseCRL(b []byte) (*CRL, error) {
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
	}
	var outer struct {
		TBS struct {
			Raw        asn1.RawContent
			Version    int `asn1:"optional,default:0"`
			Algorithm  pkix.AlgorithmIdentifier
			Issuer     asn1.RawValue
			ThisUpdate time.Time
			NextUpdate time.Time `asn1:"optional"`
			Revoked    []struct {
				Serial     *big.Int
				Time       time.Time
				Extensions []pkix.Extension `asn1:"optional"`
			} `asn1:"optional"`
			Extensions []pkix.Extension `asn1:"optional,explicit,tag:0"`
		}
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if err := whole(b, &outer); err != nil {
		return nil, fmt.Errorf("%w: a CRL: %v", ErrMalformed, err)
	}
	t := outer.TBS
	c := &CRL{ThisUpdate: t.ThisUpdate, NextUpdate: t.NextUpdate, revoked: make(map[string]bool, len(t.Revoked)),
		issuer: t.Issuer.FullBytes, tbs: t.Raw, algorithm: outer.Algorithm, signature: outer.Signature.RightAlign()}
	for _, e := range t.Extensions {
		if e.Critical {
			return nil, fmt.Errorf("%w: a CRL with critical extension %v", ErrUnsupported, e.Id)
		}
	}
	for _, r := range t.Revoked {
		c.revoked[r.Serial.String()] = true
	}
	return c, nil
}

// from reports that the CSCA issued the list and may.
func (c *CRL) from(csca *Certificate) bool {
	return sameName(c.issuer, csca.subject) && csca.may(usageCRLSign) &&
		csca.key.verify(c.algorithm, 0, c.tbs, c.signature) == nil
}
