// Package tlv encodes and decodes BER-TLV data objects as smart cards use
// them (ISO/IEC 7816-4:2020 clause 6.3, ISO/IEC 8825-1): tags of up to three
// bytes, definite lengths of up to four bytes. It is not an ASN.1 library:
// for DER structures with a schema use encoding/asn1.
package tlv

import (
	"errors"
	"fmt"
)

// Tag is a tag field, its bytes read big-endian: 0x7F49 is the two bytes
// 7F 49.
type Tag uint32

// Constructed reports whether the value holds further data objects (bit 0x20
// of the first byte).
func (t Tag) Constructed() bool {
	for t > 0xFF {
		t >>= 8
	}
	return t&0x20 != 0
}

// ErrMalformed marks bytes that are no BER-TLV.
var ErrMalformed = errors.New("tlv: malformed")

// Object is one data object. Value aliases the parsed bytes.
type Object struct {
	Tag   Tag
	Value []byte
}

// Append appends a data object with a definite length in its shortest form.
func Append(dst []byte, tag Tag, value []byte) []byte {
	dst = AppendHeader(dst, tag, len(value))
	return append(dst, value...)
}

// Encode returns one data object whose value is the concatenation of parts.
func Encode(tag Tag, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	out := AppendHeader(make([]byte, 0, n+8), tag, n)
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// AppendTag appends a tag field alone, as tag lists have it (ISO/IEC 7816-4
// clause 12.2.4).
func AppendTag(dst []byte, tag Tag) []byte {
	switch {
	case tag > 0xFFFF:
		return append(dst, byte(tag>>16), byte(tag>>8), byte(tag))
	case tag > 0xFF:
		return append(dst, byte(tag>>8), byte(tag))
	}
	return append(dst, byte(tag))
}

// AppendHeader appends tag and length of a value of n bytes.
func AppendHeader(dst []byte, tag Tag, n int) []byte {
	return AppendLength(AppendTag(dst, tag), n)
}

// AppendLength appends a length field in its shortest definite form.
func AppendLength(dst []byte, n int) []byte {
	switch {
	case n < 0x80:
		return append(dst, byte(n))
	case n <= 0xFF:
		return append(dst, 0x81, byte(n))
	case n <= 0xFFFF:
		return append(dst, 0x82, byte(n>>8), byte(n))
	case n <= 0xFFFFFF:
		return append(dst, 0x83, byte(n>>16), byte(n>>8), byte(n))
	default:
		return append(dst, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
}

// Header decodes tag and length at the start of b without requiring the
// value to be there: a reader that knows the first bytes of a file learns its
// size so. size is the length of the header, n that of the value.
func Header(b []byte) (tag Tag, n, size int, err error) {
	if len(b) == 0 {
		return 0, 0, 0, fmt.Errorf("%w: no tag", ErrMalformed)
	}
	tag, size = Tag(b[0]), 1
	if b[0]&0x1F == 0x1F {
		for {
			if size >= len(b) {
				return 0, 0, 0, fmt.Errorf("%w: the tag is cut off", ErrMalformed)
			}
			if size == 3 {
				return 0, 0, 0, fmt.Errorf("%w: a tag of more than 3 bytes", ErrMalformed)
			}
			next := b[size]
			tag = tag<<8 | Tag(next)
			size++
			if next&0x80 == 0 {
				break
			}
		}
	}
	if size >= len(b) {
		return 0, 0, 0, fmt.Errorf("%w: the length of tag %X is cut off", ErrMalformed, uint32(tag))
	}
	first := b[size]
	size++
	if first < 0x80 {
		return tag, int(first), size, nil
	}
	k := int(first & 0x7F)
	if k == 0 || k > 4 {
		return 0, 0, 0, fmt.Errorf("%w: length form %02X of tag %X", ErrMalformed, first, uint32(tag))
	}
	if size+k > len(b) {
		return 0, 0, 0, fmt.Errorf("%w: the length of tag %X is cut off", ErrMalformed, uint32(tag))
	}
	var v uint64
	for _, c := range b[size : size+k] {
		v = v<<8 | uint64(c)
	}
	if v > 1<<31-1 {
		return 0, 0, 0, fmt.Errorf("%w: the length of tag %X is %d", ErrMalformed, uint32(tag), v)
	}
	return tag, int(v), size + k, nil
}

// Next decodes the first data object of b and returns what follows it.
func Next(b []byte) (o Object, rest []byte, err error) {
	tag, n, size, err := Header(b)
	if err != nil {
		return Object{}, nil, err
	}
	if n > len(b)-size {
		return Object{}, nil, fmt.Errorf("%w: tag %X says %d bytes, %d are there", ErrMalformed, uint32(tag), n, len(b)-size)
	}
	return Object{Tag: tag, Value: b[size : size+n : size+n]}, b[size+n:], nil
}

// Parse decodes all data objects of b, which must hold nothing else.
func Parse(b []byte) ([]Object, error) {
	var out []Object
	for len(b) > 0 {
		o, rest, err := Next(b)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
		b = rest
	}
	return out, nil
}

// Find returns the value of the first object with the tag in a sequence of
// objects.
func Find(b []byte, tag Tag) (value []byte, ok bool) {
	for len(b) > 0 {
		o, rest, err := Next(b)
		if err != nil {
			return nil, false
		}
		if o.Tag == tag {
			return o.Value, true
		}
		b = rest
	}
	return nil, false
}

// Path walks into nested objects, one tag a level.
func Path(b []byte, tags ...Tag) (value []byte, ok bool) {
	for _, t := range tags {
		if b, ok = Find(b, t); !ok {
			return nil, false
		}
	}
	return b, true
}
