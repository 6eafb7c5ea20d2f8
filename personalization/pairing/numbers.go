package pairing

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"cardbureau/personalization/record"
)

// ErrNumber: digits that are no ICCID, IMSI or MSISDN. No error repeats them.
var ErrNumber = errors.New("the digits are not those of such a number")

const redacted = "[redacted]"

// private is a number that prints as [redacted]; Digits alone gives it.
type private struct{ text string }

// Digits is the number in the clear.
func (p private) Digits() string { return p.text }

// IsZero reports whether there is no number.
func (p private) IsZero() bool { return p.text == "" }

// String hides the number.
func (p private) String() string { return redacted }

// Format hides the number from every verb of package fmt.
func (p private) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the number from log/slog.
func (p private) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the number from text encodings, JSON among them.
func (p private) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// ICCID is the serial number of a SIM (ITU-T E.118): 19 or 20 digits from 89, with
// their check digit.
type ICCID struct{ private }

// IMSI is a subscription's identity (3GPP TS 23.003 clause 2.2): 6 to 15 digits, of
// which the first 5 or 6 are the operator's MCC and MNC.
type IMSI struct{ private }

// MSISDN is a telephone number of Iran's mobile networks: +989 and nine digits.
type MSISDN struct{ private }

// ParseICCID reads an ICCID; ErrNumber.
func ParseICCID(s string) (ICCID, error) {
	if len(s) < 19 || len(s) > 20 || !strings.HasPrefix(s, "89") || !record.Luhn(s) {
		return ICCID{}, fmt.Errorf("%w: an ICCID has 19 or 20 digits from 89 with their check digit", ErrNumber)
	}
	return ICCID{private{s}}, nil
}

// ParseIMSI reads an IMSI; ErrNumber.
func ParseIMSI(s string) (IMSI, error) {
	if len(s) < 6 || len(s) > 15 || !decimal(s) {
		return IMSI{}, fmt.Errorf("%w: an IMSI has 6 to 15 digits", ErrNumber)
	}
	return IMSI{private{s}}, nil
}

// ParseMSISDN reads a telephone number; ErrNumber.
func ParseMSISDN(s string) (MSISDN, error) {
	if len(s) != 13 || !strings.HasPrefix(s, "+989") || !decimal(s[1:]) {
		return MSISDN{}, fmt.Errorf("%w: a number is +989 and nine digits", ErrNumber)
	}
	return MSISDN{private{s}}, nil
}

// Of reports whether a subscription is of an operator, MCC and MNC.
func (i IMSI) Of(operator string) bool {
	return IsOperator(operator) && strings.HasPrefix(i.text, operator)
}

// IsOperator reports whether s is an MCC of 3 digits and an MNC of 2 or 3.
func IsOperator(s string) bool { return (len(s) == 5 || len(s) == 6) && decimal(s) }

func decimal(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
