package bankfile

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cardbureau/personalization/payment"
)

// field is one value of a record, in both directions. Its text is the same in both
// forms; the fixed form fills it up to the width: a number with zeros before it, any
// other with spaces after it.
type field struct {
	name   string
	width  int  // characters, at most
	number bool // decimal, without sign
	format func() (string, error)
	parse  func(text string) error
}

// number is a decimal number of at most width digits.
func number(name string, width int, to *uint64) field {
	return field{name, width, true,
		func() (string, error) {
			text := strconv.FormatUint(*to, 10)
			if len(text) > width {
				return "", fmt.Errorf("has more than %d digits", width)
			}
			return text, nil
		},
		func(text string) (err error) {
			if *to, err = strconv.ParseUint(text, 10, 64); err != nil || len(text) > width || strconv.FormatUint(*to, 10) != text {
				return fmt.Errorf("is no number of at most %d digits", width)
			}
			return nil
		}}
}

// text is a value that right knows, kept as it stands; what says what it should be.
func text[T ~string](name string, width int, what string, to *T, right func(string) bool) field {
	take := func(s string) error {
		if len(s) > width || !right(s) {
			return fmt.Errorf("is not %s", what)
		}
		*to = T(s)
		return nil
	}
	return field{name, width, false, func() (string, error) { return string(*to), take(string(*to)) }, take}
}

// name is a code or name: letters, digits, points, hyphens and underscores, the first
// a letter or digit, and no 13 digits in a row, as a PAN would be.
func name(title string, width int, to *string) field {
	return text(title, width, fmt.Sprintf("a name of at most %d letters, digits, points, hyphens or underscores", width), to, isName)
}

func isName(s string) bool {
	run := 0
	for i := range len(s) {
		c := s[i]
		digit := c >= '0' && c <= '9'
		if run++; !digit {
			run = 0
		}
		letter := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !digit && !letter && (i == 0 || !strings.ContainsRune(".-_", rune(c))) || run >= 13 {
			return false
		}
	}
	return s != ""
}

// oneOf is one of a few words.
func oneOf[T ~string](name string, width int, to *T, words []T) field {
	return text(name, width, "one of the words for it", to, func(s string) bool {
		for _, w := range words {
			if string(w) == s {
				return true
			}
		}
		return false
	})
}

// constant is a value that can be no other.
func constant(name, value string) field {
	to := value
	return text(name, len(value), value, &to, func(s string) bool { return s == value })
}

// digest is 32 bytes as 64 hexadecimal digits in lower case.
func digest(name string, to *Digest) field {
	return field{name, 64, false,
		func() (string, error) { return to.String(), nil },
		func(text string) error { return to.UnmarshalText([]byte(text)) }}
}

// token is 16 to 32 bytes as hexadecimal digits in lower case; empty for none.
func token(name string, to *[]byte) field {
	check := func(b []byte) error {
		if len(b) != 0 && (len(b) < 16 || len(b) > 32) {
			return fmt.Errorf("does not have 16 to 32 bytes in hexadecimal digits of lower case")
		}
		return nil
	}
	return field{name, 64, false,
		func() (string, error) { return hex.EncodeToString(*to), check(*to) },
		func(text string) error {
			b, err := hex.DecodeString(text)
			if err != nil || hex.EncodeToString(b) != text {
				b = make([]byte, 1)
			}
			if text != "" {
				*to = b
			}
			return check(b)
		}}
}

// iban is an Iranian IBAN with right check digits.
func iban(name string, to *string) field {
	return text(name, payment.IBANLength, "an Iranian IBAN: IR and 24 digits with right check digits", to,
		func(s string) bool { return payment.CheckIBAN(s, "") == nil })
}

// truncated is a PAN's first six and last four digits around six asterisks, however
// long the PAN is; empty for none.
func truncated(name string, first, last *string) field {
	const stars = "******"
	take := func(s string) error {
		if s == "" {
			*first, *last = "", ""
			return nil
		}
		if len(s) != 16 || s[6:12] != stars || !digits(s[:6]) || !digits(s[12:]) {
			return fmt.Errorf("is not six digits, six asterisks and four digits")
		}
		*first, *last = s[:6], s[12:]
		return nil
	}
	return field{name, 16, false,
		func() (string, error) {
			if *first == "" && *last == "" {
				return "", nil
			}
			s := *first + stars + *last
			return s, take(s)
		}, take}
}

// moment is a time in UTC as layout writes it; the zero time is empty.
func moment(name, layout, what string, to *time.Time) field {
	return field{name, len(layout), false,
		func() (string, error) {
			if to.IsZero() {
				return "", nil
			}
			text := to.UTC().Format(layout)
			if len(text) != len(layout) {
				return "", fmt.Errorf("is not %s", what)
			}
			return text, nil
		},
		func(text string) (err error) {
			if text == "" {
				return nil
			}
			if *to, err = time.Parse(layout, text); err != nil || to.Format(layout) != text || to.IsZero() {
				return fmt.Errorf("is not %s", what)
			}
			return nil
		}}
}

func date(name string, to *time.Time) field {
	return moment(name, "20060102", "a date YYYYMMDD", to)
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// harmless tells whether a value can stand in a cell of a spreadsheet and in a CSV
// file without quotes: nothing in it is a formula, a separator or a control
// character.
func harmless(s string) bool {
	for i := range len(s) {
		c := s[i]
		plain := c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !plain && (i == 0 || !strings.ContainsRune(".*_-", rune(c))) {
			return false
		}
	}
	return true
}
