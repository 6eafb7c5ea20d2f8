package identity

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"cardbureau/cardio/tlv"
)

const (
	// ServicesFID is the file identifier of the services file.
	ServicesFID = 0x0201
	// BindingFID is the file identifier of the bank's binding. Its signature is what
	// nobody can guess of it.
	BindingFID = 0x0202
	// PairingFID is the file identifier of the SIM pairings' records, which are written
	// while the card is in use: their signatures vouch for them, not DG13.
	PairingFID = 0x0203
	// SaltSize is the size in bytes of the salt that a hidden file begins with.
	SaltSize = 32
)

// ErrServices marks bytes that are no services file or no DG13 of this package.
var ErrServices = errors.New("identity: not a services file or its digest")

// ErrHiddenFile marks a file whose digest in DG13 is another.
var ErrHiddenFile = errors.New("identity: a file behind the PIN does not match its digest in DG13")

// Entitlement is one service of the register that a person may use.
type Entitlement struct {
	Code       string // code of the register, 1 to 32 characters
	ValidFrom  string // YYYY-MM-DD, or empty: from the beginning
	ValidUntil string // YYYY-MM-DD, the last day, or empty: until further notice
}

// ServicesFile builds the file behind the holder's PIN that lists what the
// holder is entitled to, in DER:
//
//	ServicesFile ::= SEQUENCE {
//	  version       INTEGER (0),
//	  salt          OCTET STRING (SIZE (32)),
//	  entitlements  SEQUENCE OF Entitlement }
//	Entitlement ::= SEQUENCE {
//	  code          UTF8String (SIZE (1..32)),
//	  validFrom     [0] IMPLICIT NumericString (SIZE (8)) OPTIONAL,   -- YYYYMMDD
//	  validUntil    [1] IMPLICIT NumericString (SIZE (8)) OPTIONAL }
//
// The salt is drawn anew for every card. Its only copy is in this file, so that
// the digest in DG13 tells whoever reads DG13 without the PIN nothing, not even
// whether two people are entitled to the same.
func ServicesFile(salt []byte, entitlements []Entitlement) ([]byte, error) {
	if len(salt) != SaltSize {
		return nil, fmt.Errorf("%w: the salt has %d bytes, not %d", ErrServices, len(salt), SaltSize)
	}
	var list []byte
	for _, e := range entitlements {
		one, err := e.encode()
		if err != nil {
			return nil, err
		}
		list = append(list, one...)
	}
	return sequence(number(hiddenVersion), octets(salt), sequence(list)), nil
}

func (e Entitlement) encode() ([]byte, error) {
	if n := utf8.RuneCountInString(e.Code); n < 1 || n > 32 || !utf8.ValidString(e.Code) {
		return nil, fmt.Errorf("%w: an entitlement's code has 1 to 32 characters", ErrServices)
	}
	parts := [][]byte{tlv.Encode(0x0C, []byte(e.Code))}
	for tag, date := range []string{e.ValidFrom, e.ValidUntil} {
		if date == "" {
			continue
		}
		if _, err := time.Parse(time.DateOnly, date); err != nil {
			return nil, fmt.Errorf("%w: an entitlement's date is no date", ErrServices)
		}
		parts = append(parts, implicit(byte(tag), []byte(strings.ReplaceAll(date, "-", ""))))
	}
	return sequence(parts...), nil
}

// ParseServicesFile reads what ServicesFile wrote. Errors match ErrServices.
func ParseServicesFile(file []byte) (salt []byte, entitlements []Entitlement, err error) {
	in := cryptobyte.String(file)
	var body, list cryptobyte.String
	var version int
	if !in.ReadASN1(&body, cbasn1.SEQUENCE) || !in.Empty() ||
		!body.ReadASN1Integer(&version) || version != hiddenVersion ||
		!body.ReadASN1Bytes(&salt, cbasn1.OCTET_STRING) || len(salt) != SaltSize ||
		!body.ReadASN1(&list, cbasn1.SEQUENCE) || !body.Empty() {
		return nil, nil, fmt.Errorf("%w: the structure is another", ErrServices)
	}
	for !list.Empty() {
		var one, code, from, until cryptobyte.String
		var hasFrom, hasUntil bool
		if !list.ReadASN1(&one, cbasn1.SEQUENCE) || !one.ReadASN1(&code, cbasn1.UTF8String) ||
			!one.ReadOptionalASN1(&from, &hasFrom, cbasn1.Tag(0).ContextSpecific()) ||
			!one.ReadOptionalASN1(&until, &hasUntil, cbasn1.Tag(1).ContextSpecific()) || !one.Empty() {
			return nil, nil, fmt.Errorf("%w: an entitlement is unreadable", ErrServices)
		}
		e := Entitlement{Code: string(code)}
		if e.ValidFrom, err = storedDate(from, hasFrom); err != nil {
			return nil, nil, err
		}
		if e.ValidUntil, err = storedDate(until, hasUntil); err != nil {
			return nil, nil, err
		}
		entitlements = append(entitlements, e)
	}
	// What cannot be written again in the same bytes was not written here.
	again, err := ServicesFile(salt, entitlements)
	if err != nil || !bytes.Equal(again, file) {
		return nil, nil, fmt.Errorf("%w: the encoding is not canonical", ErrServices)
	}
	return salt, entitlements, nil
}

func storedDate(b []byte, present bool) (string, error) {
	if !present {
		return "", nil
	}
	t, err := time.Parse("20060102", string(b))
	if err != nil {
		return "", fmt.Errorf("%w: an entitlement's date is no date", ErrServices)
	}
	return t.Format(time.DateOnly), nil
}
