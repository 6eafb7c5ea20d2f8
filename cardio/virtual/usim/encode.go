package usim

import "strings"

func digits(s string, least, most int) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(s) >= least && len(s) <= most
}

// plainText: what the GSM default alphabet and ASCII have in common, roughly.
func plainText(s string, most int) bool {
	for _, c := range s {
		if c != ' ' && c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return len(s) <= most
}

// swapped packs digits two a byte, the first in the low nibble, and fills with F
// up to size bytes.
func swapped(s string, size int) []byte {
	s += strings.Repeat("f", max(0, 2*size-len(s)))
	out := make([]byte, size)
	for i := range out {
		out[i] = nibble(s[2*i]) | nibble(s[2*i+1])<<4
	}
	return out
}

func nibble(c byte) byte {
	if c == 'f' {
		return 0x0F
	}
	return c - '0'
}

// encodeIMSI is EF.IMSI (TS 31.102 clause 4.2.2): length, then a nibble for
// parity and the digits.
func encodeIMSI(s string) []byte {
	if s == "" {
		return filled(9)
	}
	parity := byte(0x01)
	if len(s)%2 == 1 {
		parity = 0x09
	}
	rest := swapped(s[1:], 7)
	out := append([]byte{byte(len(s)/2 + 1), parity | nibble(s[0])<<4}, rest...)
	return out
}

// encodePLMN is MCC and MNC (TS 24.008 clause 10.5.1.13).
func encodePLMN(imsi string, mncDigits int) []byte {
	if len(imsi) < 6 {
		return filled(3)
	}
	third := byte(0x0F)
	if mncDigits == 3 {
		third = nibble(imsi[5])
	}
	return []byte{
		nibble(imsi[0]) | nibble(imsi[1])<<4,
		nibble(imsi[2]) | third<<4,
		nibble(imsi[3]) | nibble(imsi[4])<<4,
	}
}

// encodeMSISDN is a record of EF.MSISDN (TS 31.102 clause 4.2.26) without a name
// of size bytes: the name's field, then 14 bytes.
func encodeMSISDN(number string, name int) []byte {
	out := filled(name + 14)
	if number == "" {
		return out
	}
	kind := byte(0x81)
	plain := strings.TrimPrefix(number, "+")
	if plain != number {
		kind = 0x91
	}
	tail := out[name:]
	n := (len(plain) + 1) / 2
	tail[0], tail[1] = byte(n+1), kind
	copy(tail[2:], swapped(plain, n))
	return out
}

// filled is what an empty file holds.
func filled(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = 0xFF
	}
	return out
}

// padded is v, filled up to n bytes.
func padded(v []byte, n int) []byte {
	return append(append(make([]byte, 0, n), v...), filled(n-len(v))...)
}

// tlv encodes a tag of one byte and a length.
func tlv(tag byte, value ...byte) []byte {
	switch n := len(value); {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, value...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, value...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, value...)
	}
}

func join(parts ...[]byte) (out []byte) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}
