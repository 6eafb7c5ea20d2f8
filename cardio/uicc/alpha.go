package uicc

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// gsm7 is the default alphabet (TS 23.038 clause 6.2.1); 1B leads to its extension.
var gsm7 = []rune("@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
	"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà")

// gsm7Extension are the characters behind 1B (TS 23.038 clause 6.2.1.1).
var gsm7Extension = map[byte]rune{
	0x0A: '\f', 0x14: '^', 0x28: '{', 0x29: '}', 0x2F: '\\', 0x3C: '[', 0x3D: '~', 0x3E: ']', 0x40: '|', 0x65: '€',
}

const escape = 0x1B

// DecodeAlpha reads an alpha field (TS 102 221 annex A): the default alphabet, a
// character a byte, or UCS2 in one of three codings (80, 81, 82), filled up with FF.
func DecodeAlpha(b []byte) (string, error) {
	bad := fmt.Errorf("%w: a text", ErrMalformed)
	if len(b) == 0 || b[0] == 0xFF {
		if !filled(b) {
			return "", bad
		}
		return "", nil
	}
	switch b[0] {
	case 0x80:
		return decodeUCS2(b[1:])
	case 0x81, 0x82:
		return decodeHalf(b)
	}
	var out strings.Builder
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == 0xFF:
			if !filled(b[i:]) {
				return "", bad
			}
			return out.String(), nil
		case c == escape:
			i++
			if i == len(b) || gsm7Extension[b[i]] == 0 {
				return "", bad
			}
			out.WriteRune(gsm7Extension[b[i]])
		case c < 0x80:
			out.WriteRune(gsm7[c])
		default:
			return "", bad
		}
	}
	return out.String(), nil
}

func decodeUCS2(b []byte) (string, error) {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		u := uint16(b[0])<<8 | uint16(b[1])
		if u == 0xFFFF {
			break
		}
		units = append(units, u)
	}
	if !filled(b) {
		return "", fmt.Errorf("%w: a text in UCS2", ErrMalformed)
	}
	return string(utf16.Decode(units)), nil
}

// decodeHalf reads the codings that name half a page of UCS2 once: 81, number of
// characters, bits 15 to 8 of the page; 82 with the whole base.
func decodeHalf(b []byte) (string, error) {
	bad := fmt.Errorf("%w: a text in UCS2", ErrMalformed)
	head := 3
	if b[0] == 0x82 {
		head = 4
	}
	if len(b) < head || len(b) < head+int(b[1]) {
		return "", bad
	}
	base := rune(b[2]) << 7
	if b[0] == 0x82 {
		base = rune(b[2])<<8 | rune(b[3])
	}
	var out strings.Builder
	for _, c := range b[head : head+int(b[1])] {
		switch {
		case c >= 0x80:
			out.WriteRune(base + rune(c&0x7F))
		case c == escape:
			return "", bad
		default:
			out.WriteRune(gsm7[c])
		}
	}
	if !filled(b[head+int(b[1]):]) {
		return "", bad
	}
	return out.String(), nil
}

// EncodeAlpha makes an alpha field of a size in bytes: in the default alphabet where
// that has every letter, in UCS2 otherwise.
func EncodeAlpha(text string, size int) ([]byte, error) {
	var out []byte
	plain := true
	for _, r := range text {
		at := -1
		for i, g := range gsm7 {
			if g == r && i != escape {
				at = i
			}
		}
		if at < 0 {
			for c, g := range gsm7Extension {
				if g == r {
					out = append(out, escape)
					at = int(c)
				}
			}
		}
		if at < 0 {
			plain = false
			break
		}
		out = append(out, byte(at))
	}
	if !plain {
		out = []byte{0x80}
		for _, u := range utf16.Encode([]rune(text)) {
			if u == 0xFFFF {
				return nil, fmt.Errorf("%w: the text has a letter that UCS2 has not", ErrValue)
			}
			out = append(out, byte(u>>8), byte(u))
		}
	}
	if len(out) > size {
		return nil, fmt.Errorf("%w: the text is longer than %d bytes", ErrValue, size)
	}
	return fill(out, size)
}
