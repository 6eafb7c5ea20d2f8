package identity

import (
	"errors"
	"fmt"
	"strings"
)

// Sizes of the TD1 machine readable zone in characters (Doc 9303-5, 4.2.2).
const (
	TD1Length   = 90 // three lines without separators
	TD1Line     = 30 // one line; the name field is the whole third line
	td1Optional = 15 // optional data of the upper line
	td1Second   = 11 // optional data of the middle line
	numberField = 9  // document number of the upper line
)

// ErrMRZ marks data that cannot stand in a machine readable zone. Errors say
// which field is at fault, never what it holds.
var ErrMRZ = errors.New("identity: not fit for the MRZ")

// MRZ is what a TD1 machine readable zone says.
type MRZ struct {
	DocumentCode   string // 1 or 2 letters, the first A, C or I: "IR"
	State          string // issuing State, 1 to 3 letters (Doc 9303-3, section 5): "UTO", "D"
	DocumentNumber string // letters and digits; from the tenth on it continues in the optional data
	Optional1      string // upper line, at most 15 characters, none beside a long document number
	BirthDate      string // YYYY-MM-DD, 00 for an unknown day or month
	Sex            string // "M", "F" or "X" (unspecified)
	ExpiryDate     string // YYYY-MM-DD
	Nationality    string // 1 to 3 letters: "AFG", "D"
	Optional2      string // middle line, at most 11 characters
	Primary        string // primary identifier in A–Z, components separated by space, hyphen or '<'
	Secondary      string // secondary identifier, the same; empty for a person of one name
}

// TD1 writes the 90 characters of the zone, the three lines one after the
// other, with all four check digits (Doc 9303-5, 4.2.2 and 4.2.4). A name that
// does not fit is truncated after Doc 9303-5, 4.2.3.
func TD1(m MRZ) (string, error) {
	code, err := field("document code", m.DocumentCode, 2, letters)
	if err != nil {
		return "", err
	}
	// Doc 9303-5, 4.2.2.3, note k.
	if !strings.ContainsRune("ACI", rune(code[0])) || code[1] == 'V' || code == "AI" || code == "AC" {
		return "", fmt.Errorf("%w: a TD1 document code begins with A, C or I and is not xV, AI or AC", ErrMRZ)
	}
	state, err := field("issuing State", m.State, 3, letters)
	if err != nil {
		return "", err
	}
	nationality, err := field("nationality", m.Nationality, 3, letters)
	if err != nil {
		return "", err
	}
	number, err := upperLineNumber(m.DocumentNumber, m.Optional1)
	if err != nil {
		return "", err
	}
	birth, err := MRZDate(m.BirthDate)
	if err != nil {
		return "", fmt.Errorf("birth date: %w", err)
	}
	expiry, err := MRZDate(m.ExpiryDate)
	if err != nil {
		return "", fmt.Errorf("date of expiry: %w", err)
	}
	if strings.Contains(expiry, "<") {
		return "", fmt.Errorf("%w: the date of expiry must be complete", ErrMRZ)
	}
	sex, ok := map[string]string{"M": "M", "F": "F", "X": "<"}[m.Sex]
	if !ok {
		return "", fmt.Errorf("%w: the sex is M, F or X", ErrMRZ)
	}
	optional, err := field("optional data of the middle line", m.Optional2, td1Second, lettersDigits|empty)
	if err != nil {
		return "", err
	}
	name, err := NameField(m.Primary, m.Secondary, TD1Line)
	if err != nil {
		return "", err
	}

	upper := code + state + number
	middle := birth + digit(birth) + sex + expiry + digit(expiry) + nationality + optional
	middle += digit(compositeInput(upper, middle))
	return upper + middle + name, nil
}

// compositeInput is what the composite check digit covers: positions 6–30 of
// the upper line, 1–7, 9–15 and 19–29 of the middle one (Doc 9303-5, 4.2.4).
func compositeInput(upper, middle string) string {
	return upper[5:30] + middle[0:7] + middle[8:15] + middle[18:29]
}

// upperLineNumber writes positions 6 to 30 of the upper line: document number,
// check digit and optional data. A number of more than nine characters leaves
// '<' in the place of the check digit and continues in the optional data, with
// its check digit and one '<' behind it (Doc 9303-5, 4.2.2.3, note j).
func upperLineNumber(number, optional string) (string, error) {
	if number == "" {
		return "", fmt.Errorf("%w: there is no document number", ErrMRZ)
	}
	if len(number) <= numberField {
		n, err := field("document number", number, numberField, lettersDigits)
		if err != nil {
			return "", err
		}
		o, err := field("optional data of the upper line", optional, td1Optional, lettersDigits|empty)
		if err != nil {
			return "", err
		}
		return n + digit(n) + o, nil
	}
	if optional != "" {
		return "", fmt.Errorf("%w: a document number of more than 9 characters leaves no room for optional data", ErrMRZ)
	}
	// 13 characters beyond the ninth end at position 28, before digit and filler.
	n, err := field("document number", number, numberField+td1Optional-2, lettersDigits)
	if err != nil {
		return "", err
	}
	n = strings.TrimRight(n, "<")
	return n[:numberField] + "<" + fill(n[numberField:]+digit(n)+"<", td1Optional), nil
}

type charset int

const (
	letters charset = 1 << iota
	digits
	empty         // an empty field is allowed
	lettersDigits = letters | digits
)

// field checks a field's characters and fills it to width n.
func field(what, s string, n int, set charset) (string, error) {
	if s == "" && set&empty == 0 {
		return "", fmt.Errorf("%w: there is no %s", ErrMRZ, what)
	}
	if len(s) > n {
		return "", fmt.Errorf("%w: %s of %d characters, at most %d fit", ErrMRZ, what, len(s), n)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z' && set&letters != 0:
		case c >= '0' && c <= '9' && set&digits != 0:
		case c == '<' && i > 0:
		default:
			return "", fmt.Errorf("%w: character %d of the %s", ErrMRZ, i+1, what)
		}
	}
	return fill(s, n), nil
}

// fill appends '<' up to n characters.
func fill(s string, n int) string { return s + strings.Repeat("<", n-len(s)) }

// CheckDigit is the check digit of Doc 9303-3, 4.9: weights 7, 3, 1 modulo 10
// over digits (their value), letters (A is 10) and '<' (0). It returns an
// ASCII digit, or an error for any other character.
func CheckDigit(s string) (byte, error) {
	sum := 0
	for i := 0; i < len(s); i++ {
		v := 0
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			v = int(c - '0')
		case c >= 'A' && c <= 'Z':
			v = int(c-'A') + 10
		case c == '<':
		default:
			return 0, fmt.Errorf("%w: character %d", ErrMRZ, i+1)
		}
		sum += v * [3]int{7, 3, 1}[i%3]
	}
	return byte('0' + sum%10), nil
}

// digit is CheckDigit of characters that were checked already.
func digit(s string) string {
	d, err := CheckDigit(s)
	if err != nil {
		panic("identity: unchecked character in an MRZ field")
	}
	return string(rune(d))
}
