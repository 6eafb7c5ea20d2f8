package identity

import (
	"bytes"
	"crypto/subtle"
	"encoding/asn1"
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
	// SaltSize is the size in bytes of the salt that a hidden file begins with.
	SaltSize = 32

	hiddenVersion = 0
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

// HiddenFile is a file that only the holder's PIN opens. Its content must hold
// a random salt of its own: see ServicesFile.
type HiddenFile struct {
	FID     uint16 // file identifier
	Content []byte // the whole file
}

// HiddenDigest is a hidden file's line in DG13.
type HiddenDigest struct {
	FID    uint16
	Digest []byte // SHA-256 of the whole file, 32 bytes
}

// DG13 builds EF.DG13, which Doc 9303-10 leaves to the issuer: the digests of
// the files behind the holder's PIN, so that the document security object
// vouches for them while hiding them.
//
//	DG13        ::= [APPLICATION 13] IMPLICIT HiddenFiles   -- tag 6D
//	HiddenFiles ::= SEQUENCE {
//	  version        INTEGER (0),
//	  hashAlgorithm  AlgorithmIdentifier,                   -- SHA-256
//	  files          SEQUENCE OF SEQUENCE {
//	    fileIdentifier  OCTET STRING (SIZE (2)),
//	    digest          OCTET STRING (SIZE (32)) } }
func DG13(files ...HiddenFile) ([]byte, error) {
	var list []byte
	for _, f := range files {
		if len(f.Content) < SaltSize {
			return nil, fmt.Errorf("%w: file %04X is too short to be salted", ErrServices, f.FID)
		}
		list = append(list, sequence(octets([]byte{byte(f.FID >> 8), byte(f.FID)}), octets(Hash(f.Content)))...)
	}
	return tlv.Encode(0x6D, number(hiddenVersion), sequence(oid(oidSHA256)), sequence(list)), nil
}

// ParseDG13 reads what DG13 wrote. Errors match ErrServices.
func ParseDG13(file []byte) ([]HiddenDigest, error) {
	in := cryptobyte.String(file)
	var body, algorithm, list cryptobyte.String
	var version int
	var hash asn1.ObjectIdentifier
	if !in.ReadASN1(&body, 0x6D) || !in.Empty() ||
		!body.ReadASN1Integer(&version) || version != hiddenVersion ||
		!body.ReadASN1(&algorithm, cbasn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&hash) || !algorithm.Empty() || !hash.Equal(oidSHA256) ||
		!body.ReadASN1(&list, cbasn1.SEQUENCE) || !body.Empty() {
		return nil, fmt.Errorf("%w: the structure is another", ErrServices)
	}
	var out []HiddenDigest
	for !list.Empty() {
		var one cryptobyte.String
		var fid, digest []byte
		if !list.ReadASN1(&one, cbasn1.SEQUENCE) ||
			!one.ReadASN1Bytes(&fid, cbasn1.OCTET_STRING) || len(fid) != 2 ||
			!one.ReadASN1Bytes(&digest, cbasn1.OCTET_STRING) || len(digest) != 32 || !one.Empty() {
			return nil, fmt.Errorf("%w: a file's line is unreadable", ErrServices)
		}
		out = append(out, HiddenDigest{FID: uint16(fid[0])<<8 | uint16(fid[1]), Digest: digest})
	}
	return out, nil
}

// CheckHiddenFile compares a file with its digest in an EF.DG13 that the
// document security object has vouched for. Errors match ErrHiddenFile, or
// ErrServices where DG13 is unreadable.
func CheckHiddenFile(dg13 []byte, f HiddenFile) error {
	digests, err := ParseDG13(dg13)
	if err != nil {
		return err
	}
	for _, d := range digests {
		if d.FID == f.FID {
			if subtle.ConstantTimeCompare(d.Digest, Hash(f.Content)) == 1 {
				return nil
			}
			return fmt.Errorf("%w: file %04X", ErrHiddenFile, f.FID)
		}
	}
	return fmt.Errorf("%w: file %04X is not listed", ErrHiddenFile, f.FID)
}
