package datagroup

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"cardbureau/cardio/tlv"
)

// Details are DG11, additional personal details (9303-10 section 4.7.11), in
// UTF-8. What the file does not have is empty; blanks stand for its <.
type Details struct {
	Primary, Secondary string   // name in national characters
	OtherNames         []string // as spelled in the file
	PersonalNumber     string
	Birth              string // YYYYMMDD, 00 for an unknown day or month
	BirthPlace         []string
	Address            []string
	Telephone          string
	Profession         string
	Title              string
	Other              []tlv.Tag // present, not taken apart here
}

// ParseDG11 takes DG11 apart. Every tag that its list names must be there.
func ParseDG11(file []byte) (Details, error) {
	b, err := content(file, Tag(11), "DG11")
	if err != nil {
		return Details{}, err
	}
	objects, err := tlv.Parse(b)
	if err != nil {
		return Details{}, fmt.Errorf("%w: DG11: %w", ErrMalformed, err)
	}
	if len(objects) == 0 || objects[0].Tag != 0x5C {
		return Details{}, fmt.Errorf("%w: DG11 does not begin with its tag list", ErrMalformed)
	}
	var d Details
	present := map[tlv.Tag]bool{}
	for _, o := range objects[1:] {
		present[o.Tag] = true
		if err := d.set(o, present); err != nil {
			return Details{}, err
		}
	}
	for list := objects[0].Value; len(list) > 0; {
		n := 1
		if list[0]&0x1F == 0x1F {
			n = 2
		}
		if n > len(list) {
			return Details{}, fmt.Errorf("%w: DG11's tag list is cut off", ErrMalformed)
		}
		t := tlv.Tag(list[0])
		if n == 2 {
			t = t<<8 | tlv.Tag(list[1])
		}
		if !present[t] {
			return Details{}, fmt.Errorf("%w: DG11 lists tag %X, which is not there", ErrMalformed, uint32(t))
		}
		list = list[n:]
	}
	return d, nil
}

func (d *Details) set(o tlv.Object, present map[tlv.Tag]bool) error {
	if !o.Tag.Constructed() && o.Tag != 0x5F2B && o.Tag != 0x5F16 && !opaque(o.Tag) && !utf8.Valid(o.Value) {
		return fmt.Errorf("%w: a text of DG11 is not UTF-8", ErrMalformed)
	}
	text := string(o.Value)
	switch o.Tag {
	case 0x5F0E:
		primary, secondary, _ := strings.Cut(text, "<<")
		d.Primary, d.Secondary = blank(primary), blank(secondary)
	case 0xA0: // content-specific: 02 count, then 5F0F each
		inner, err := tlv.Parse(o.Value)
		if err != nil {
			return fmt.Errorf("%w: DG11: %w", ErrMalformed, err)
		}
		for _, n := range inner {
			if n.Tag == 0x5F0F {
				present[n.Tag] = true
				d.OtherNames = append(d.OtherNames, string(n.Value))
			}
		}
	case 0x5F0F:
		d.OtherNames = append(d.OtherNames, text)
	case 0x5F10:
		d.PersonalNumber = text
	case 0x5F2B:
		d.Birth = text
		if len(o.Value) == 4 { // BCD, in old documents
			d.Birth = fmt.Sprintf("%X", o.Value)
		}
	case 0x5F11:
		d.BirthPlace = split(text)
	case 0x5F42:
		d.Address = split(text)
	case 0x5F12:
		d.Telephone = text
	case 0x5F13:
		d.Profession = blank(text)
	case 0x5F14:
		d.Title = blank(text)
	default:
		d.Other = append(d.Other, o.Tag)
	}
	return nil
}

// opaque tells the tags that hold images or lists: proof of citizenship and
// custody information may be anything.
func opaque(t tlv.Tag) bool { return t == 0x5F16 || t == 0x5F17 || t == 0x5F18 || t == 0x5C }

func split(s string) []string {
	var out []string
	for _, p := range strings.Split(s, "<") {
		if p != "" {
			out = append(out, p)
		}
	}
	return out
}
