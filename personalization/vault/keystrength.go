package vault

import (
	"bytes"
	"slices"

	"cardbureau/hsm/tr31"
)

// bitsOf is what a key's length is worth against exhaustive search, in bits (NIST SP
// 800-57 Part 1 Rev. 5, table 2; triple DES of two parts as Rev. 3 has it).
func bitsOf(isAES bool, size int) int {
	switch {
	case isAES:
		return 8 * size
	case size == 24:
		return 112
	}
	return 80
}

// strong reports whether a protection key may protect a key of size bytes: it is worth
// as much or more (TR-31:2018, section 5.1).
func (e exchanged) strong(p tr31.Protection, size int) bool {
	return bitsOf(p.AES, p.Bytes) >= bitsOf(e.algorithm == 'A', size)
}

// tooFew reports components of which fewer people know the key than there are: a zero
// component adds nothing, and two equal ones cancel each other. Parity does not count.
func tooFew(algorithm byte, components [][]byte) bool {
	var seen [][]byte
	defer func() {
		for _, s := range seen {
			clear(s)
		}
	}()
	for _, c := range components {
		c = bytes.Clone(c)
		if algorithm == 'T' {
			for i := range c {
				c[i] &^= 1
			}
		}
		zero := bytes.Equal(c, make([]byte, len(c)))
		if zero || slices.ContainsFunc(seen, func(s []byte) bool { return bytes.Equal(s, c) }) {
			clear(c)
			return true
		}
		seen = append(seen, c)
	}
	return false
}

// weakDES are the weak and semi-weak keys of DES, with odd parity (NIST SP 800-67
// Rev. 2, section 3.3.2).
var weakDES = []uint64{
	0x0101010101010101, 0xFEFEFEFEFEFEFEFE, 0xE0E0E0E0F1F1F1F1, 0x1F1F1F1F0E0E0E0E,
	0x011F011F010E010E, 0x1F011F010E010E01, 0x01E001E001F101F1, 0xE001E001F101F101,
	0x01FE01FE01FE01FE, 0xFE01FE01FE01FE01, 0x1FE01FE00EF10EF1, 0xE01FE01FF10EF10E,
	0x1FFE1FFE0EFE0EFE, 0xFE1FFE1FFE0EFE0E, 0xE0FEE0FEF1FEF1FE, 0xFEE0FEE0FEF1FEF1,
}

// weak reports a key that protects nothing: zero, or a triple DES key with a weak
// part or equal neighbours.
func weak(algorithm byte, key []byte) bool {
	if bytes.Equal(key, make([]byte, len(key))) {
		return true
	}
	if algorithm != 'T' {
		return false
	}
	odd := bytes.Clone(key)
	defer clear(odd)
	oddParity(odd)
	var parts []uint64
	for ; len(odd) >= 8; odd = odd[8:] {
		var part uint64
		for _, b := range odd[:8] {
			part = part<<8 | uint64(b)
		}
		if slices.Contains(weakDES, part) || len(parts) > 0 && parts[len(parts)-1] == part {
			return true
		}
		parts = append(parts, part)
	}
	return false
}
