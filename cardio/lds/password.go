package lds

import (
	"crypto/sha1"
	"errors"
	"fmt"
)

// Password references of MSE:Set AT for PACE (9303-11 section 4.4.4.1).
const (
	referenceMRZ = 0x01
	referenceCAN = 0x02
)

// ErrPassword marks something that cannot be an MRZ or a CAN. It never says
// what was given.
var ErrPassword = errors.New("lds: not a usable password")

// Password is what opens the chip: it is printed on the document. It prints
// as [redacted].
type Password struct {
	reference byte
	secret    []byte // SHA-1 of the MRZ information, or the CAN's characters
}

// CAN is the card access number, 6 digits in ICAO documents; others of 4 to
// 16 digits are accepted.
func CAN(digits string) (Password, error) {
	if len(digits) < 4 || len(digits) > 16 || !all(digits, isDigit) {
		return Password{}, fmt.Errorf("%w: a CAN is 6 digits", ErrPassword)
	}
	return Password{referenceCAN, []byte(digits)}, nil
}

// MRZ is the machine-readable zone's part of the password: the document
// number without its check digit (any length; filler < may be left out), and
// the dates of birth and expiry, YYMMDD as printed, with < where unknown.
func MRZ(documentNumber, birth, expiry string) (Password, error) {
	for len(documentNumber) < 9 {
		documentNumber += "<"
	}
	if len(birth) != 6 || len(expiry) != 6 {
		return Password{}, fmt.Errorf("%w: dates in the MRZ are YYMMDD", ErrPassword)
	}
	for _, s := range []string{documentNumber, birth, expiry} {
		if !all(s, isMRZ) {
			return Password{}, fmt.Errorf("%w: the MRZ has digits, capital letters and <", ErrPassword)
		}
	}
	return fromInformation(documentNumber + check(documentNumber) + birth + check(birth) + expiry + check(expiry)), nil
}

// MRZInformation is the same from the ready string of 9303-11 appendix D.2:
// document number, birth and expiry, each with its check digit, which are
// verified.
func MRZInformation(information string) (Password, error) {
	n := len(information) - 15 // where the document number ends
	if n < 9 || !all(information, isMRZ) {
		return Password{}, fmt.Errorf("%w: MRZ information has 24 characters or more", ErrPassword)
	}
	for _, part := range []string{information[:n+1], information[n+1 : n+8], information[n+8:]} {
		body, digit := part[:len(part)-1], part[len(part)-1:]
		if check(body) != digit {
			return Password{}, fmt.Errorf("%w: a check digit of the MRZ is wrong", ErrPassword)
		}
	}
	return fromInformation(information), nil
}

func fromInformation(information string) Password {
	sum := sha1.Sum([]byte(information))
	return Password{referenceMRZ, sum[:]}
}

// IsZero reports that no password is there.
func (p Password) IsZero() bool { return len(p.secret) == 0 }

// IsMRZ reports that it came from the MRZ, which BAC needs.
func (p Password) IsMRZ() bool { return p.reference == referenceMRZ }

// Zero overwrites the password.
func (p *Password) Zero() { clear(p.secret); *p = Password{} }

// String hides the password.
func (Password) String() string { return "[redacted]" }

// GoString hides the password.
func (Password) GoString() string { return "[redacted]" }

// check is the check digit of 9303-3 section 4.9: weights 7, 3, 1.
func check(s string) string {
	sum := 0
	for i := range len(s) {
		v := 0
		switch c := s[i]; {
		case isDigit(c):
			v = int(c - '0')
		case c >= 'A' && c <= 'Z':
			v = int(c-'A') + 10
		}
		sum += v * [3]int{7, 3, 1}[i%3]
	}
	return string(rune('0' + sum%10))
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isMRZ(c byte) bool { return isDigit(c) || c >= 'A' && c <= 'Z' || c == '<' }

func all(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}
