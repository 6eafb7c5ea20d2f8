package identity

import (
	"crypto"
	"fmt"
	"io"
	"math/big"
	"time"
)

// CRLRequest asks a CSCA for its certificate revocation list.
type CRLRequest struct {
	CSCA       []byte        // the issuer's certificate, DER
	CSCAKey    crypto.Signer // its private key
	Number     uint64        // greater than that of every CRL before
	ThisUpdate time.Time
	NextUpdate time.Time // at most 90 days later (Doc 9303-12, 4.1.5)
	Revoked    []Revocation
}

// Revocation is one revoked certificate. The profile allows no reason code.
type Revocation struct {
	Serial *big.Int
	Time   time.Time
}

const crlLifetime = 90 * 24 * time.Hour

// NewCRL issues the CSCA's certificate revocation list, version 2, DER
// (Doc 9303-12, 7.1.4). Without revocations the list is absent, not empty.
func NewCRL(rand io.Reader, r CRLRequest) ([]byte, error) {
	csca, err := ParseCertificate(r.CSCA)
	if err != nil {
		return nil, fmt.Errorf("CSCA: %w", err)
	}
	if !csca.CA {
		return nil, fmt.Errorf("%w: the issuer is no CSCA", ErrCertificate)
	}
	s, err := csca.signsWith(r.CSCAKey)
	if err != nil {
		return nil, err
	}
	if !r.ThisUpdate.Before(r.NextUpdate) || r.NextUpdate.Sub(r.ThisUpdate) > crlLifetime {
		return nil, fmt.Errorf("%w: a CRL is followed by the next within 90 days", ErrCertificate)
	}
	var revoked []byte
	for _, c := range r.Revoked {
		if c.Serial == nil || c.Serial.Sign() <= 0 {
			return nil, fmt.Errorf("%w: a revoked certificate has a positive serial number", ErrCertificate)
		}
		revoked = append(revoked, sequence(bigNumber(c.Serial), timeValue(c.Time))...)
	}
	if len(revoked) > 0 {
		revoked = sequence(revoked)
	}
	tbs := sequence(
		number(1), // v2
		s.algorithm(),
		csca.Subject,
		timeValue(r.ThisUpdate),
		timeValue(r.NextUpdate),
		revoked,
		explicit(0, sequence(
			authorityKeyIdentifier(csca.SubjectKeyID),
			extension(oidCRLNumber, false, bigNumber(new(big.Int).SetUint64(r.Number))))),
	)
	return signed(rand, s, r.CSCAKey, tbs)
}
