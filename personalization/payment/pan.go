package payment

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// PAN is a primary account number, 16 to 19 digits with the Luhn check digit
// (ISO/IEC 7812-1). It prints as its first six and last four digits alone,
// whatever prints it.
type PAN string

// Errors about PANs. Their sentences show no digit.
var (
	ErrPAN      = errors.New("the PAN is not valid")
	ErrOutside  = errors.New("the PAN is outside the range")
	ErrTooSmall = errors.New("the range has no such number")
)

// String is the PAN truncated to its first six and last four digits.
func (p PAN) String() string { return Mask(string(p)) }

// GoString is String.
func (p PAN) GoString() string { return p.String() }

// Format prints the truncated PAN for every verb.
func (p PAN) Format(f fmt.State, _ rune) { fmt.Fprint(f, p.String()) }

// LogValue is the truncated PAN.
func (p PAN) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalText gives the truncated PAN: whole ones travel sealed alone, as
// strings.
func (p PAN) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Last4 is the last four digits.
func (p PAN) Last4() string { return string(p[max(0, len(p)-4):]) }

// Masked is a PAN's first six and last four digits: bin and last4.
func Masked(bin, last4 string) string { return bin[:min(6, len(bin))] + "******" + last4 }

// Mask shows the first six and last four digits of a number of at least 13, and
// nothing of a shorter one.
func Mask(pan string) string {
	if len(pan) < 13 {
		return strings.Repeat("•", len(pan))
	}
	return pan[:6] + strings.Repeat("•", len(pan)-10) + pan[len(pan)-4:]
}

// CheckPAN checks length, digits, issuer identification number ("" for any) and
// check digit.
func CheckPAN(pan, bin string) error {
	switch {
	case len(pan) < 16 || len(pan) > 19 || !digits(pan):
		return fmt.Errorf("%w: it has 16 to 19 digits", ErrPAN)
	case !strings.HasPrefix(pan, bin):
		return fmt.Errorf("%w: it is of another issuer than %s", ErrPAN, bin)
	case luhn(pan[:len(pan)-1]) != pan[len(pan)-1]:
		return fmt.Errorf("%w: its check digit is wrong", ErrPAN)
	}
	return nil
}

// luhn is the check digit of a number without one (ISO/IEC 7812-1 annex B).
func luhn(number string) byte {
	sum := 0
	for i := range len(number) {
		d := int(number[len(number)-1-i] - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return '0' + byte((10-sum%10)%10)
}

// Range is a stretch of PANs that the bank has delegated: all numbers of a length
// that begin with a prefix.
type Range struct {
	Prefix string // the issuer identification number and further digits
	Length int    // of the whole PAN, 16 to 19
}

// Size is how many PANs the range has.
func (r Range) Size() (n int64) {
	n = 1
	for range r.Length - 1 - len(r.Prefix) {
		n *= 10
	}
	return n
}

// Check says whether the range can be one.
func (r Range) Check() error {
	if r.Length < 16 || r.Length > 19 || len(r.Prefix) < 6 || len(r.Prefix) > r.Length-2 || !digits(r.Prefix) {
		return fmt.Errorf("a range of PANs is a prefix of 6 digits or more and a length of 16 to 19")
	}
	return nil
}

// PAN is the range's PAN of a running number, from 0.
func (r Range) PAN(number int64) (PAN, error) {
	if err := r.Check(); err != nil {
		return "", err
	}
	if number < 0 || number >= r.Size() {
		return "", fmt.Errorf("%w: it has %d, from 0", ErrTooSmall, r.Size())
	}
	n := fmt.Sprintf("%s%0*d", r.Prefix, r.Length-1-len(r.Prefix), number)
	return PAN(n + string(luhn(n))), nil
}

// Number is the running number of a PAN in the range; ErrOutside for another.
func (r Range) Number(pan PAN) (n int64, err error) {
	if len(pan) != r.Length || !strings.HasPrefix(string(pan), r.Prefix) {
		return 0, fmt.Errorf("%w that begins with %s", ErrOutside, r.Prefix)
	}
	if err := CheckPAN(string(pan), ""); err != nil {
		return 0, err
	}
	for _, c := range pan[len(r.Prefix) : len(pan)-1] {
		n = n*10 + int64(c-'0')
	}
	return n, nil
}
