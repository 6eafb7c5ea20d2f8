package emv

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"cardbureau/cardio/tlv"
)

// Data are the data objects of a transaction by their tags. They are personal
// data: Data prints as the tags alone.
type Data map[tlv.Tag][]byte

// String lists the tags.
func (d Data) String() string {
	var tags []tlv.Tag
	for t := range d {
		tags = append(tags, t)
	}
	slices.Sort(tags)
	var b strings.Builder
	for i, t := range tags {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%X(%d)", uint32(t), len(d[t]))
	}
	return b.String()
}

// GoString is String.
func (d Data) GoString() string { return d.String() }

// Format is String for every verb.
func (d Data) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(d.String())) }

// LogValue is String.
func (d Data) LogValue() slog.Value { return slog.StringValue(d.String()) }

// MarshalText is String: no data object leaves by accident in JSON.
func (d Data) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Zero overwrites the values.
func (d Data) Zero() {
	for _, v := range d {
		clear(v)
	}
	clear(d)
}

// add takes a data object of the card after checking its form. A second one of
// the same tag is ErrTwice (Book 3, section 10.2).
func (d Data) add(o tlv.Object) error {
	if e, ok := elements[o.Tag]; ok && !o.Tag.Constructed() {
		if err := e.check(o.Tag, o.Value); err != nil {
			return err
		}
	}
	if _, ok := d[o.Tag]; ok {
		return fmt.Errorf("%w: tag %X", ErrTwice, uint32(o.Tag))
	}
	d[o.Tag] = slices.Clone(o.Value)
	return nil
}

// check checks length and characters of a value. The value is not in the error.
func (e Element) check(tag tlv.Tag, value []byte) error {
	if len(value) < e.Min || e.Max > 0 && len(value) > e.Max {
		return format("%s (%X) has %d bytes", e.Name, uint32(tag), len(value))
	}
	for i, b := range value {
		hi, lo := b>>4, b&0x0F
		switch e.Format {
		case Numeric:
			if hi > 9 || lo > 9 {
				return format("%s (%X) has something other than digits", e.Name, uint32(tag))
			}
		case CompressedNumeric:
			if hi > 9 && hi != 0x0F || lo > 9 && lo != 0x0F || hi == 0x0F && lo != 0x0F || i > 0 && value[i-1]&0x0F == 0x0F && b != 0xFF {
				return format("%s (%X) has something other than digits", e.Name, uint32(tag))
			}
		case Alphanumeric, Special, Binary:
		}
	}
	return nil
}

// digits is a value of format cn, or of format n, as text.
func digits(b []byte) string { return strings.TrimRight(fmt.Sprintf("%X", b), "F") }

// BCD is a number in format n of a size in bytes (Book 3, section 4.3); what does
// not fit loses its leftmost digits.
func BCD(n uint64, size int) []byte {
	out := make([]byte, size)
	for i := size - 1; i >= 0; i-- {
		out[i] = byte(n%10) | byte(n/10%10)<<4
		n /= 100
	}
	return out
}

// number is the inverse of BCD.
func number(b []byte) (n uint64) {
	for _, c := range b {
		n = n*100 + uint64(c>>4)*10 + uint64(c&0x0F)
	}
	return n
}

// date is YYMMDD in format n. Years from 50 are of the century before (Book 4,
// section 6.7.3).
func date(b []byte) (time.Time, error) {
	if len(b) != 3 {
		return time.Time{}, format("a date has %d bytes", len(b))
	}
	year := 2000 + int(number(b[:1]))
	if year >= 2050 {
		year -= 100
	}
	month, day := time.Month(number(b[1:2])), int(number(b[2:3]))
	t := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	if t.Month() != month || t.Day() != day {
		return time.Time{}, format("a date is none of the calendar")
	}
	return t, nil
}
