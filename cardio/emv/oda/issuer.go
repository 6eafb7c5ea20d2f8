package oda

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// IssuerCertificate is what a scheme's certification authority signs of an
// issuer's key (Book 2, table 1).
type IssuerCertificate struct {
	IIN    string  // issuer identification number: the leftmost 3 to 8 digits of its PANs
	Expiry string  // MMYY; valid to the month's end
	Serial [3]byte // the authority's number for the certificate
	Key    PublicKey
}

// Sign makes the certificate under the authority's key, as long as that key's
// modulus, and the remainder of the issuer's modulus, nil when it fits. The
// issuer's modulus must not be longer than the authority's.
func (c IssuerCertificate) Sign(ctx context.Context, signer PublicKey, sign Sign) (certificate, remainder []byte, err error) {
	if err := fits(signer, c.Key); err != nil {
		return nil, nil, fmt.Errorf("issuer certificate: %w", err)
	}
	if len(c.IIN) < 3 || len(c.IIN) > 8 {
		return nil, nil, fmt.Errorf("issuer certificate: an issuer identification number has 3 to 8 digits, not %d", len(c.IIN))
	}
	iin, err := packed(c.IIN, 4)
	if err != nil {
		return nil, nil, fmt.Errorf("issuer certificate: its number: %w", err)
	}
	expiry, err := monthYear(c.Expiry)
	if err != nil {
		return nil, nil, err
	}
	left, remainder := split(c.Key.Modulus, len(signer.Modulus)-issuerOverhead)
	middle := append([]byte{formatIssuer}, iin...)
	middle = append(append(append(middle, expiry...), c.Serial[:]...), hashSHA1, algorithmRSA, byte(len(c.Key.Modulus)), byte(len(c.Key.Exponent)))
	certificate, err = seal(ctx, sign, append(middle, left...), remainder, c.Key.Exponent)
	return certificate, remainder, err
}

// fits checks a key against the one that signs it.
func fits(signer, signed PublicKey) error {
	if err := signer.Check(); err != nil {
		return err
	}
	if err := signed.Check(); err != nil {
		return err
	}
	if len(signed.Modulus) > len(signer.Modulus) {
		return fmt.Errorf("%w: a modulus of %d bytes under a shorter one of %d", ErrKey, len(signed.Modulus), len(signer.Modulus))
	}
	return nil
}

// RecoverIssuer opens an issuer's certificate (Book 2, section 5.3): it was
// signed by the authority, was issued for the beginning of this PAN, and has not
// expired at that time. Revocation lists are a terminal's business.
func RecoverIssuer(ca PublicKey, pan string, certificate, remainder, exponent []byte, at time.Time) (PublicKey, error) {
	key := PublicKey{Exponent: exponent}
	block, err := ca.recoverBlock(certificate, formatIssuer, fmt.Errorf("issuer public key certificate: %w", ErrCertificate))
	if err != nil {
		return key, err
	}
	n := len(block)
	if n < issuerOverhead || !hashMatches(block, remainder, exponent) {
		return key, fmt.Errorf("issuer public key certificate: %w", ErrCertificate)
	}
	iin, ok := unpacked(block[2:6])
	if !ok || len(iin) < 3 || !strings.HasPrefix(pan, iin) {
		return key, fmt.Errorf("issuer public key certificate: %w", ErrIdentifier)
	}
	if fresh, err := valid(block[6:8], at); err != nil || !fresh {
		return key, fmt.Errorf("issuer public key certificate: %w", expired(err))
	}
	if block[11] != hashSHA1 || block[12] != algorithmRSA {
		return key, fmt.Errorf("issuer public key certificate: %w", ErrUnsupported)
	}
	if int(block[14]) != len(exponent) {
		return key, fmt.Errorf("issuer public key certificate: %w: its exponent has another length", ErrCertificate)
	}
	if key.Modulus, err = join(block[15:n-1-hashSize], remainder, int(block[13])); err != nil {
		return key, fmt.Errorf("issuer public key certificate: %w", err)
	}
	return key, key.Check()
}

func expired(err error) error {
	if err != nil {
		return err
	}
	return ErrExpired
}
