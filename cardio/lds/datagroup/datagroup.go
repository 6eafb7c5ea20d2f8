// Package datagroup takes the files of a travel document's logical data
// structure apart (ICAO Doc 9303-10 sections 4.6 and 4.7, 8th edition): EF.COM and the
// data groups 1, 2, 11, 14 and 15. It reads what a chip gave and checks its form;
// whether it is genuine is package sod's matter. Errors never quote what was
// read.
package datagroup

import (
	"errors"
	"fmt"

	"cardbureau/cardio/tlv"
)

// ErrMalformed marks a file that does not follow 9303-10.
var ErrMalformed = errors.New("datagroup: malformed")

// tags are the outer tags of data groups 1 to 16 (9303-10 table 38).
var tags = [16]byte{0x61, 0x75, 0x63, 0x76, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x6B, 0x6C, 0x6D, 0x6E, 0x6F, 0x70}

// Tag is the outer tag of data group n, 1 to 16; 0 for other numbers.
func Tag(n int) tlv.Tag {
	if n < 1 || n > len(tags) {
		return 0
	}
	return tlv.Tag(tags[n-1])
}

// Number is the data group of an outer tag; 0 for other tags.
func Number(tag byte) int {
	for i, t := range tags {
		if t == tag {
			return i + 1
		}
	}
	return 0
}

// content unwraps a file's outer tag, which must be all there is.
func content(file []byte, tag tlv.Tag, name string) ([]byte, error) {
	o, rest, err := tlv.Next(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, name, err)
	}
	if o.Tag != tag || len(rest) != 0 {
		return nil, fmt.Errorf("%w: %s is no single data object %02X", ErrMalformed, name, uint32(tag))
	}
	return o.Value, nil
}

// COM is EF.COM: what is on the chip, by its own unsigned word (9303-10
// section 4.6.1).
type COM struct {
	LDSVersion     string // "0107" or "0108"
	UnicodeVersion string // "040000"
	DataGroups     []int  // in the file's order
}

// ParseCOM takes EF.COM apart.
func ParseCOM(file []byte) (COM, error) {
	b, err := content(file, 0x60, "EF.COM")
	if err != nil {
		return COM{}, err
	}
	version, ok1 := tlv.Find(b, 0x5F01)
	unicode, ok2 := tlv.Find(b, 0x5F36)
	list, ok3 := tlv.Find(b, 0x5C)
	if !ok1 || !ok2 || !ok3 || len(version) != 4 || len(unicode) != 6 {
		return COM{}, fmt.Errorf("%w: EF.COM lacks a version or the list of data groups", ErrMalformed)
	}
	c := COM{LDSVersion: string(version), UnicodeVersion: string(unicode)}
	for _, t := range list {
		n := Number(t)
		if n == 0 {
			return COM{}, fmt.Errorf("%w: EF.COM lists tag %02X, which is no data group", ErrMalformed, t)
		}
		c.DataGroups = append(c.DataGroups, n)
	}
	return c, nil
}

// DG14 unwraps the SecurityInfos, a DER SET, that DG14 holds.
func DG14(file []byte) ([]byte, error) { return content(file, Tag(14), "DG14") }

// DG15 unwraps the SubjectPublicKeyInfo, DER, that DG15 holds: the public key
// of active authentication (9303-10 section 4.7.15).
func DG15(file []byte) ([]byte, error) {
	b, err := content(file, Tag(15), "DG15")
	if err != nil {
		return nil, err
	}
	if o, rest, err := tlv.Next(b); err != nil || len(rest) != 0 || o.Tag != 0x30 {
		return nil, fmt.Errorf("%w: DG15 holds no single SEQUENCE", ErrMalformed)
	}
	return b, nil
}
