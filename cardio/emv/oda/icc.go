package oda

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// ICCCertificate is what an issuer signs of a card's key (Book 2, table 10).
type ICCCertificate struct {
	PAN    string // up to 19 digits, of the card
	Expiry string // MMYY; valid to the month's end
	Serial [3]byte
	Key    PublicKey
	// StaticData is the static data to be authenticated: the signed records and
	// the data that the SDA tag list names (Book 3, section 10.3).
	StaticData []byte
}

// Sign makes the certificate under the issuer's key and the remainder of the
// card's modulus, nil when it fits.
func (c ICCCertificate) Sign(ctx context.Context, signer PublicKey, sign Sign) (certificate, remainder []byte, err error) {
	if err := fits(signer, c.Key); err != nil {
		return nil, nil, fmt.Errorf("ICC certificate: %w", err)
	}
	if len(signer.Modulus) > MaxIssuerModulus {
		return nil, nil, fmt.Errorf("ICC certificate: %w: an issuer's modulus of %d bytes makes a record of more than 254", ErrKey, len(signer.Modulus))
	}
	pan, err := packed(c.PAN, 10)
	if err != nil {
		return nil, nil, fmt.Errorf("ICC certificate: the PAN: %w", err)
	}
	expiry, err := monthYear(c.Expiry)
	if err != nil {
		return nil, nil, err
	}
	left, remainder := split(c.Key.Modulus, len(signer.Modulus)-iccOverhead)
	middle := append([]byte{formatICC}, pan...)
	middle = append(append(append(middle, expiry...), c.Serial[:]...), hashSHA1, algorithmRSA, byte(len(c.Key.Modulus)), byte(len(c.Key.Exponent)))
	certificate, err = seal(ctx, sign, append(middle, left...), remainder, c.Key.Exponent, c.StaticData)
	return certificate, remainder, err
}

// RecoverICC opens a card's certificate (Book 2, section 6.4): it was signed by
// the issuer for this PAN over this static data, and has not expired.
func RecoverICC(issuer PublicKey, pan string, staticData, certificate, remainder, exponent []byte, at time.Time) (PublicKey, error) {
	key := PublicKey{Exponent: exponent}
	block, err := issuer.recoverBlock(certificate, formatICC, fmt.Errorf("ICC public key certificate: %w", ErrCertificate))
	if err != nil {
		return key, err
	}
	n := len(block)
	if n < iccOverhead || !hashMatches(block, remainder, exponent, staticData) {
		return key, fmt.Errorf("ICC public key certificate: %w", ErrCertificate)
	}
	if got, ok := unpacked(block[2:12]); !ok || got != pan {
		return key, fmt.Errorf("ICC public key certificate: %w", ErrIdentifier)
	}
	if fresh, err := valid(block[12:14], at); err != nil || !fresh {
		return key, fmt.Errorf("ICC public key certificate: %w", expired(err))
	}
	if block[17] != hashSHA1 || block[18] != algorithmRSA {
		return key, fmt.Errorf("ICC public key certificate: %w", ErrUnsupported)
	}
	if int(block[20]) != len(exponent) {
		return key, fmt.Errorf("ICC public key certificate: %w: its exponent has another length", ErrCertificate)
	}
	if key.Modulus, err = join(block[21:n-1-hashSize], remainder, int(block[19])); err != nil {
		return key, fmt.Errorf("ICC public key certificate: %w", err)
	}
	return key, key.Check()
}

// StaticData is what an issuer signs of a card that authenticates statically
// (Book 2, table 3).
type StaticData struct {
	DAC  [2]byte // data authentication code
	Data []byte  // the static data to be authenticated
}

// Sign makes the signed static application data, as long as the issuer's
// modulus.
func (s StaticData) Sign(ctx context.Context, signer PublicKey, sign Sign) ([]byte, error) {
	if err := signer.Check(); err != nil {
		return nil, fmt.Errorf("signed static application data: %w", err)
	}
	middle := []byte{formatStatic, hashSHA1, s.DAC[0], s.DAC[1]}
	middle = append(middle, bytes.Repeat([]byte{unpredictablePad}, len(signer.Modulus)-staticOverhead)...)
	return seal(ctx, sign, middle, s.Data)
}

// VerifyStatic checks signed static application data (Book 2, section 5.4) and
// returns the data authentication code.
func VerifyStatic(issuer PublicKey, ssad, staticData []byte) (dac [2]byte, err error) {
	block, err := issuer.recoverBlock(ssad, formatStatic, fmt.Errorf("signed static application data: %w", ErrSignature))
	if err != nil {
		return dac, err
	}
	if block[2] != hashSHA1 {
		return dac, fmt.Errorf("signed static application data: %w", ErrUnsupported)
	}
	if !hashMatches(block, staticData) {
		return dac, fmt.Errorf("signed static application data: %w", ErrSignature)
	}
	return [2]byte(block[3:5]), nil
}
