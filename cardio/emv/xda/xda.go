// Package xda is the terminal's part of extended data authentication: the public
// key certificates of elliptic curves and the signature over a cryptogram, opened
// and checked (EMV 4.4 Book 2, sections 12.3 to 12.5). Package ecsdsa has the
// signature scheme, package oda the authentication with RSA.
//
// Each check stands where the standard's list of steps has it, so that the first
// thing that is wrong is the one that the error names. The steps are the card
// reader's: nothing here makes a certificate. Revocation lists (section 12.3, step
// 7, optional) are not kept, as with RSA.
package xda

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"cardbureau/cardio/emv/ecsdsa"
)

// Errors of recovering and verifying, beside those of package ecsdsa. They come
// wrapped in a sentence.
var (
	ErrLength     = errors.New("it has another length than its algorithms make")
	ErrFormat     = errors.New("its format is not the one of the standard")
	ErrIdentifier = errors.New("the certificate was issued for another issuer")
	ErrAuthority  = errors.New("the certificate was issued by another authority")
	ErrExpired    = errors.New("the certificate has expired")
	ErrHash       = errors.New("the certificate names a hash algorithm that is not supported")
	ErrCardData   = errors.New("the certificate is not over this card's data")
)

// Formats of the data that is signed (tables 35, 36 and 38), the encoding of both
// certificates and of the certified card data, and the shortest certificates: all
// fields but those whose length the algorithms tell.
const (
	formatIssuer  = 0x12
	formatICC     = 0x14
	formatDynamic = 0x15
	encoding      = 0x00

	minIssuer = 21
	minICC    = 17
)

// Hash algorithm indicators (table 47).
const (
	HashSHA256 byte = 0x02
	HashSHA512 byte = 0x03
)

// Hash hashes with the algorithm of an indicator; ok is false for one that is not
// supported.
func Hash(indicator byte, data []byte) (sum []byte, ok bool) {
	switch indicator {
	case HashSHA256:
		h := sha256.Sum256(data)
		return h[:], true
	case HashSHA512:
		h := sha512.Sum512(data)
		return h[:], true
	}
	return nil, false
}

// Authority is a certification authority's public key, and what it is found by.
type Authority struct {
	Key   ecsdsa.PublicKey
	RID   []byte // 5 bytes
	Index byte   // tag 8F
}

func issuerError(err error) error { return fmt.Errorf("issuer public key certificate: %w", err) }
func iccError(err error) error    { return fmt.Errorf("ICC public key certificate: %w", err) }

// suite checks a suite that a certificate names.
func suite(b byte) (ecsdsa.Suite, error) {
	if s := ecsdsa.Suite(b); s.Valid() {
		return s, nil
	}
	return 0, fmt.Errorf("%w: %02X", ecsdsa.ErrSuite, b)
}

// instant reads date or time of a certificate, digits in BCD, UTC.
func instant(layout string, b []byte) (time.Time, error) {
	at, err := time.Parse(layout, hex.EncodeToString(b))
	if err != nil {
		return at, fmt.Errorf("%w: its expiration is none of the calendar", ErrFormat)
	}
	return at, nil
}

// identifies reports whether an issuer identifier, 3 to 10 digits and F's, is how
// the PAN begins.
func identifies(identifier []byte, pan string) bool {
	text := hex.EncodeToString(identifier)
	digits := strings.TrimRight(text, "f")
	return len(digits) >= 3 && strings.Trim(digits, "0123456789") == "" && strings.HasPrefix(pan, digits)
}

// RecoverIssuer opens an issuer's certificate, tag 90 (section 12.3): it was
// signed by this authority for the beginning of this PAN, and its last day is not
// before the day of at in UTC.
func RecoverIssuer(ca Authority, pan string, certificate []byte, at time.Time) (ecsdsa.PublicKey, error) {
	var none ecsdsa.PublicKey
	c := certificate
	if len(c) < minIssuer { // step 1
		return none, issuerError(ErrLength)
	}
	if c[0] != formatIssuer { // 2
		return none, issuerError(fmt.Errorf("%w: certificate format %02X", ErrFormat, c[0]))
	}
	if c[1] != encoding { // 3
		return none, issuerError(fmt.Errorf("%w: certificate encoding %02X", ErrFormat, c[1]))
	}
	if !identifies(c[2:7], pan) { // 4
		return none, issuerError(ErrIdentifier)
	}
	last, err := instant("20060102", c[8:12]) // 5
	if err != nil {
		return none, issuerError(err)
	}
	if !last.AddDate(0, 0, 1).After(at) {
		return none, issuerError(ErrExpired)
	}
	if !bytes.Equal(c[15:20], ca.RID) || c[20] != ca.Index { // 6
		return none, issuerError(ErrAuthority)
	}
	key := ecsdsa.PublicKey{}
	if key.Suite, err = suite(c[7]); err != nil { // 8
		return none, issuerError(err)
	}
	end := minIssuer + key.Suite.FieldBytes()
	if len(c) != end+ca.Key.Suite.SignatureBytes() { // 9
		return none, issuerError(ErrLength)
	}
	if err := ecsdsa.Verify(ca.Key, c[:end], c[end:]); err != nil { // 10, 11
		return none, issuerError(err)
	}
	key.X = bytes.Clone(c[minIssuer:end])
	if err := key.Check(); err != nil { // 12
		return none, issuerError(err)
	}
	return key, nil
}

// RecoverICC opens a card's certificate, tag 9F46 (section 12.4): it was signed by
// the issuer over this issuer certified card data, and expires after at.
func RecoverICC(issuer ecsdsa.PublicKey, cardData, certificate []byte, at time.Time) (ecsdsa.PublicKey, error) {
	var none ecsdsa.PublicKey
	c := certificate
	if len(c) < minICC { // step 1
		return none, iccError(ErrLength)
	}
	if c[0] != formatICC { // 2
		return none, iccError(fmt.Errorf("%w: certificate format %02X", ErrFormat, c[0]))
	}
	if c[1] != encoding { // 3
		return none, iccError(fmt.Errorf("%w: certificate encoding %02X", ErrFormat, c[1]))
	}
	end, err := instant("200601021504", c[3:9]) // 4
	if err != nil {
		return none, iccError(err)
	}
	if !end.After(at) {
		return none, iccError(ErrExpired)
	}
	key := ecsdsa.PublicKey{}
	if key.Suite, err = suite(c[2]); err != nil { // 5
		return none, iccError(err)
	}
	if c[15] != encoding { // table 36, field 7
		return none, iccError(fmt.Errorf("%w: encoding %02X of the certified card data", ErrFormat, c[15]))
	}
	sum, ok := Hash(c[16], cardData)
	if !ok { // 6
		return none, iccError(fmt.Errorf("%w: %02X", ErrHash, c[16]))
	}
	x := minICC + len(sum)
	signed := x + key.Suite.FieldBytes()
	if len(c) != signed+issuer.Suite.SignatureBytes() { // 7
		return none, iccError(ErrLength)
	}
	if subtle.ConstantTimeCompare(sum, c[minICC:x]) != 1 { // 8
		return none, iccError(ErrCardData)
	}
	if err := ecsdsa.Verify(issuer, c[:signed], c[signed:]); err != nil { // 9, 10
		return none, iccError(err)
	}
	key.X = bytes.Clone(c[x:signed])
	if err := key.Check(); err != nil { // 11
		return none, iccError(err)
	}
	return key, nil
}

// VerifyDynamic checks signed dynamic application data, tag 9F4B (section 12.5.3).
// data is what follows the format byte in table 37: for the first GENERATE AC the
// values of PDOL and CDOL1, for the second those of CDOL2, and then the answer's
// data objects without 9F4B, as the card encoded them.
func VerifyDynamic(icc ecsdsa.PublicKey, signed []byte, data ...[]byte) error {
	err := func() error {
		if len(signed) != 1+icc.Suite.SignatureBytes() { // step 1
			return ErrLength
		}
		if signed[0] != formatDynamic { // 2
			return fmt.Errorf("%w: signed data format %02X", ErrFormat, signed[0])
		}
		return ecsdsa.Verify(icc, append([]byte{formatDynamic}, bytes.Join(data, nil)...), signed[1:]) // 3
	}()
	if err != nil {
		return fmt.Errorf("signed dynamic application data: %w", err)
	}
	return nil
}
