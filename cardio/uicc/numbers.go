package uicc

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// ErrValue marks a value that a file cannot hold.
var ErrValue = errors.New("the file cannot hold this value")

// swapped reads digits of which the low half of a byte comes first. Where F begins,
// nothing but F follows.
func swapped(b []byte, alphabet string) (string, bool) {
	var out strings.Builder
	ended := false
	for _, x := range b {
		for _, d := range []byte{x & 0x0F, x >> 4} {
			switch {
			case d == 0x0F:
				ended = true
			case ended || int(d) >= len(alphabet):
				return "", false
			default:
				out.WriteByte(alphabet[d])
			}
		}
	}
	return out.String(), true
}

// swap writes digits into n bytes, filled up with F.
func swap(digits, alphabet string, n int) ([]byte, bool) {
	if len(digits) > 2*n {
		return nil, false
	}
	out := bytes.Repeat([]byte{0xFF}, n)
	for i, c := range []byte(digits) {
		d := strings.IndexByte(alphabet, c)
		if d < 0 {
			return nil, false
		}
		if i%2 == 0 {
			out[i/2] = 0xF0 | byte(d)
		} else {
			out[i/2] = out[i/2]&0x0F | byte(d)<<4
		}
	}
	return out, true
}

const decimal = "0123456789"

// ICCID has 18 to 20 digits in a file of 10 bytes (TS 102 221 clause 13.2).
const iccidSize = 10

// DecodeICCID reads EF.ICCID. Whether its check digit is right is Luhn's to say: not
// every operator has one.
func DecodeICCID(b []byte) (string, error) {
	s, ok := swapped(b, decimal)
	if len(b) != iccidSize || !ok || len(s) < 18 {
		return "", fmt.Errorf("%w: EF.ICCID", ErrMalformed)
	}
	return s, nil
}

// EncodeICCID makes EF.ICCID.
func EncodeICCID(digits string) ([]byte, error) {
	b, ok := swap(digits, decimal, iccidSize)
	if !ok || len(digits) < 18 {
		return nil, fmt.Errorf("%w: an ICCID has 18 to 20 digits", ErrValue)
	}
	return b, nil
}

// Luhn reports whether the last digit of a number is its check digit (ITU-T E.118,
// ISO/IEC 7812-1 annex B).
func Luhn(digits string) bool {
	sum := 0
	for i, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return false
		}
		n := int(c - '0')
		if (len(digits)-i)%2 == 0 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return len(digits) > 1 && sum%10 == 0
}

// imsiSize is EF.IMSI's: a length and 8 bytes (TS 31.102 clause 4.2.2).
const imsiSize = 9

// ErrNoSubscription: EF.IMSI is as the maker left it. It is ErrMalformed too.
var ErrNoSubscription = fmt.Errorf("%w: EF.IMSI is empty; the SIM is a blank that was not programmed", ErrMalformed)

// DecodeIMSI reads EF.IMSI; [ErrNoSubscription] for one that was never written.
func DecodeIMSI(b []byte) (string, error) {
	bad := fmt.Errorf("%w: EF.IMSI", ErrMalformed)
	if len(b) == imsiSize && filled(b) {
		return "", ErrNoSubscription
	}
	if len(b) != imsiSize || b[0] < 4 || b[0] > 8 || b[1]&0x07 != 0x01 {
		return "", bad
	}
	n := int(b[0])
	s, ok := swapped(b[1:1+n], decimal)
	if !ok || len(s) < 1 {
		return "", bad
	}
	odd := b[1]&0x08 != 0
	s = s[1:] // the first half byte is the type, with b4 for an odd number of digits
	if odd != (len(s)%2 == 1) || len(s) < 6 || (len(s)+2)/2 != n || !filled(b[1+n:]) {
		return "", bad
	}
	return s, nil
}

// EncodeIMSI makes EF.IMSI of 6 to 15 digits.
func EncodeIMSI(digits string) ([]byte, error) {
	first := "1"
	if len(digits)%2 == 1 {
		first = "9"
	}
	b, ok := swap(first+digits, decimal, imsiSize-1)
	if !ok || len(digits) < 6 || len(digits) > 15 {
		return nil, fmt.Errorf("%w: an IMSI has 6 to 15 digits", ErrValue)
	}
	return append([]byte{byte((len(digits) + 2) / 2)}, b...), nil
}

func filled(b []byte) bool {
	for _, x := range b {
		if x != 0xFF {
			return false
		}
	}
	return true
}

// MSISDN is a record of EF.MSISDN (TS 31.102 clause 4.2.26, as EF.ADN of TS 51.011
// clause 10.5.1).
type MSISDN struct {
	Name   string // of the number; often empty
	Number string // + in front where it is international; empty: none
}

const (
	msisdnTail    = 14
	international = 0x91 // TON international, ISDN numbering plan
	unknownType   = 0x81
	dialling      = "0123456789*#" // C to E (pause, wild, extension) are in no subscriber's number
)

// DecodeMSISDN reads a record.
func DecodeMSISDN(b []byte) (m MSISDN, err error) {
	bad := fmt.Errorf("%w: EF.MSISDN", ErrMalformed)
	if len(b) < msisdnTail {
		return m, bad
	}
	name, tail := b[:len(b)-msisdnTail], b[len(b)-msisdnTail:]
	if m.Name, err = DecodeAlpha(name); err != nil {
		return m, err
	}
	n := int(tail[0])
	if n == 0xFF {
		if !filled(tail[1:12]) {
			return m, bad
		}
		return m, nil
	}
	if n < 1 || n > 11 {
		return m, bad
	}
	digits, ok := swapped(tail[2:1+n], dialling)
	if !ok {
		return m, bad
	}
	if tail[1]&0x70 == international&0x70 && digits != "" {
		digits = "+" + digits
	}
	m.Number = digits
	return m, nil
}

// EncodeMSISDN makes a record of a length in bytes.
func EncodeMSISDN(m MSISDN, length int) ([]byte, error) {
	if length < msisdnTail {
		return nil, fmt.Errorf("%w: a record of EF.MSISDN has at least %d bytes", ErrValue, msisdnTail)
	}
	out, err := EncodeAlpha(m.Name, length-msisdnTail)
	if err != nil {
		return nil, err
	}
	tail := bytes.Repeat([]byte{0xFF}, msisdnTail)
	if m.Number != "" {
		digits, plus := strings.CutPrefix(m.Number, "+")
		b, ok := swap(digits, dialling, 10)
		if !ok || digits == "" {
			return nil, fmt.Errorf("%w: a number has 1 to 20 digits", ErrValue)
		}
		tail[0], tail[1] = byte(1+(len(digits)+1)/2), unknownType
		if plus {
			tail[1] = international
		}
		copy(tail[2:], b)
	}
	return append(out, tail...), nil
}
