package emv

import (
	"fmt"

	"cardbureau/cardio/tlv"
)

// DOLEntry is one wish of a data object list: a tag, and how many bytes of it.
type DOLEntry struct {
	Tag    tlv.Tag
	Length int
}

// DOL is a data object list (Book 3, section 5.4): what the card wants to be
// told, in that order, values alone.
type DOL []DOLEntry

// ParseDOL reads a data object list. Lengths are one byte, tags one to three.
func ParseDOL(b []byte) (DOL, error) {
	var out DOL
	for len(b) > 0 {
		tag, length, size, err := tlv.Header(b)
		if err != nil {
			return nil, format("a data object list: %v", err)
		}
		if length > 0xFC {
			return nil, format("a data object list wants %d bytes of tag %X", length, uint32(tag))
		}
		out = append(out, DOLEntry{tag, length})
		b = b[size:]
	}
	if n := out.Len(); n > 0xFF {
		return nil, format("a data object list wants %d bytes, and a command carries 255", n)
	}
	return out, nil
}

// Bytes encodes the list.
func (d DOL) Bytes() (out []byte) {
	for _, e := range d {
		out = tlv.AppendHeader(out, e.Tag, e.Length)
	}
	return out
}

// Len is the number of bytes that the list wants.
func (d DOL) Len() (n int) {
	for _, e := range d {
		n += e.Length
	}
	return n
}

// Wants reports whether the list names a tag.
func (d DOL) Wants(tag tlv.Tag) bool {
	for _, e := range d {
		if e.Tag == tag {
			return true
		}
	}
	return false
}

// Fill makes the values, in the first of the sources that has each. What nobody
// has is zeros, and so is a constructed object. A value that is too long loses
// bytes in front if it is numeric, and behind otherwise; one that is too short is
// filled up with zeros in front if it is numeric, with F's behind if it is
// compressed numeric, and with zeros behind otherwise (Book 3, section 5.4).
func (d DOL) Fill(sources ...Data) []byte {
	out := make([]byte, 0, d.Len())
	for _, e := range d {
		var value []byte
		if !e.Tag.Constructed() {
			for _, s := range sources {
				if v, ok := s[e.Tag]; ok {
					value = v
					break
				}
			}
		}
		out = append(out, fit(elements[e.Tag].Format, value, e.Length)...)
	}
	return out
}

func fit(f Format, value []byte, n int) []byte {
	out := make([]byte, n)
	switch {
	case len(value) == 0:
	case len(value) >= n && f == Numeric:
		copy(out, value[len(value)-n:])
	case len(value) >= n:
		copy(out, value)
	case f == Numeric:
		copy(out[n-len(value):], value)
	default:
		copy(out, value)
		if f == CompressedNumeric {
			for i := len(value); i < n; i++ {
				out[i] = 0xFF
			}
		}
	}
	return out
}

// String lists tags and lengths.
func (d DOL) String() string {
	s := ""
	for i, e := range d {
		if i > 0 {
			s += " "
		}
		s += fmt.Sprintf("%X:%d", uint32(e.Tag), e.Length)
	}
	return s
}
