package datagroup

import (
	"fmt"
	"strings"

	"cardbureau/cardio/tlv"
)

// MRZ is a machine-readable zone taken apart (9303-4, -5, -6), fields without
// filler. Names are what the zone spells, blanks for <.
type MRZ struct {
	Format         string // TD1, TD2 or TD3
	DocumentCode   string // "P", "ID", "IR"
	Issuer         string // issuing State, 1 to 3 letters
	DocumentNumber string // overflow of TD1 and TD2 joined
	Nationality    string
	Birth, Expiry  string // YYMMDD as printed, < where unknown
	Sex            string // M, F or < (unspecified)
	Primary        string // primary identifier
	Secondary      string // secondary identifiers
	Optional       string // optional data, both fields of TD1
}

// DG1 returns the MRZ of DG1 as one string: 90 characters of TD1, 72 of TD2
// or 88 of TD3.
func DG1(file []byte) (string, error) {
	b, err := content(file, Tag(1), "DG1")
	if err != nil {
		return "", err
	}
	mrz, ok := tlv.Find(b, 0x5F1F)
	if !ok {
		return "", fmt.Errorf("%w: DG1 holds no MRZ", ErrMalformed)
	}
	return string(mrz), nil
}

// ParseDG1 takes DG1 apart and verifies every check digit.
func ParseDG1(file []byte) (MRZ, error) {
	s, err := DG1(file)
	if err != nil {
		return MRZ{}, err
	}
	return ParseMRZ(s)
}

// ParseMRZ takes an MRZ of 90, 72 or 88 characters without line breaks apart
// and verifies every check digit.
func ParseMRZ(s string) (MRZ, error) {
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '<' {
			return MRZ{}, fmt.Errorf("%w: a character of the MRZ is not one of its alphabet", ErrMalformed)
		}
	}
	switch len(s) {
	case 90:
		return parseTD1(s)
	case 72:
		return parseTD2(s)
	case 88:
		return parseTD3(s)
	}
	return MRZ{}, fmt.Errorf("%w: an MRZ of %d characters", ErrMalformed, len(s))
}

func parseTD1(s string) (MRZ, error) {
	l1, l2, l3 := s[:30], s[30:60], s[60:]
	m := MRZ{Format: "TD1", DocumentCode: trim(l1[:2]), Issuer: trim(l1[2:5]), Birth: l2[:6], Sex: l2[7:8],
		Expiry: l2[8:14], Nationality: trim(l2[15:18])}
	m.Primary, m.Secondary = names(l3)
	number, optional, err := number(l1[5:14], l1[14:15], l1[15:30])
	if err != nil {
		return MRZ{}, err
	}
	m.DocumentNumber = number
	m.Optional = strings.TrimRight(optional+" "+trim(l2[18:29]), " ")
	return m, digits(
		digit{"birth", l2[:6], l2[6]}, digit{"expiry", l2[8:14], l2[14]},
		digit{"composite", l1[5:] + l2[:7] + l2[8:15] + l2[18:29], l2[29]})
}

func parseTD2(s string) (MRZ, error) {
	l1, l2 := s[:36], s[36:]
	m := MRZ{Format: "TD2", DocumentCode: trim(l1[:2]), Issuer: trim(l1[2:5]), Nationality: trim(l2[10:13]),
		Birth: l2[13:19], Sex: l2[20:21], Expiry: l2[21:27]}
	m.Primary, m.Secondary = names(l1[5:])
	var err error
	if m.DocumentNumber, m.Optional, err = number(l2[:9], l2[9:10], l2[28:35]); err != nil {
		return MRZ{}, err
	}
	return m, digits(
		digit{"birth", l2[13:19], l2[19]}, digit{"expiry", l2[21:27], l2[27]},
		digit{"composite", l2[:10] + l2[13:20] + l2[21:35], l2[35]})
}

func parseTD3(s string) (MRZ, error) {
	l1, l2 := s[:44], s[44:]
	m := MRZ{Format: "TD3", DocumentCode: trim(l1[:2]), Issuer: trim(l1[2:5]), DocumentNumber: trim(l2[:9]),
		Nationality: trim(l2[10:13]), Birth: l2[13:19], Sex: l2[20:21], Expiry: l2[21:27], Optional: trim(l2[28:42])}
	m.Primary, m.Secondary = names(l1[5:])
	all := []digit{{"document number", l2[:9], l2[9]}, {"birth", l2[13:19], l2[19]}, {"expiry", l2[21:27], l2[27]},
		{"composite", l2[:10] + l2[13:20] + l2[21:43], l2[43]}}
	if m.Optional != "" || l2[42] != '<' {
		all = append(all, digit{"optional data", l2[28:42], l2[42]})
	}
	return m, digits(all...)
}

// number joins a document number over nine characters with its overflow: a <
// for the check digit, the rest and the check digit in the optional data
// (9303-5 section 4.2.2.1 note j).
func number(field, check, optional string) (number, rest string, err error) {
	if check != "<" {
		return trim(field), trim(optional), digits(digit{"document number", field, check[0]})
	}
	over, rest, _ := strings.Cut(optional, "<")
	if len(over) < 2 {
		return "", "", fmt.Errorf("%w: the MRZ lacks the document number's check digit", ErrMalformed)
	}
	full := field + over[:len(over)-1]
	return full, trim(rest), digits(digit{"document number", full, over[len(over)-1]})
}

type digit struct {
	name, field string
	digit       byte
}

func digits(all ...digit) error {
	for _, d := range all {
		sum := 0
		for i := range len(d.field) {
			v := 0
			switch c := d.field[i]; {
			case c >= '0' && c <= '9':
				v = int(c - '0')
			case c >= 'A' && c <= 'Z':
				v = int(c-'A') + 10
			}
			sum += v * [3]int{7, 3, 1}[i%3]
		}
		if byte('0'+sum%10) != d.digit {
			return fmt.Errorf("%w: the MRZ's check digit of the %s is wrong", ErrMalformed, d.name)
		}
	}
	return nil
}

func names(field string) (primary, secondary string) {
	primary, secondary, _ = strings.Cut(strings.TrimRight(field, "<"), "<<")
	return blank(primary), blank(secondary)
}

func blank(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '<' }), " ")
}

func trim(s string) string { return strings.Trim(s, "<") }
