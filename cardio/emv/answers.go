package emv

import (
	"fmt"

	"cardbureau/cardio/tlv"
)

// template reads an answer in format 1 (80: values without tags, of the lengths
// that the caller knows) or format 2 (77: data objects) (Book 3, section 6.5).
// raw is the template's value.
func template(b []byte, what string) (raw []byte, data Data, err error) {
	o, rest, err := tlv.Next(b)
	if err != nil || len(rest) > 0 {
		return nil, nil, format("the answer to %s is no template", what)
	}
	switch o.Tag {
	case TagFormat1:
		return o.Value, nil, nil
	case TagFormat2:
		data, err = objects(o.Value, "the answer to "+what)
		return o.Value, data, err
	}
	return nil, nil, format("the answer to %s is template %X", what, uint32(o.Tag))
}

// ParseOptions reads the answer to GET PROCESSING OPTIONS.
func ParseOptions(b []byte) (AIP, AFL, error) {
	plain, data, err := template(b, "GET PROCESSING OPTIONS")
	if err != nil {
		return AIP{}, nil, err
	}
	aip, afl := data[TagAIP], data[TagAFL]
	if data == nil {
		if len(plain) < 6 {
			return AIP{}, nil, format("the answer to GET PROCESSING OPTIONS has %d bytes", len(plain))
		}
		aip, afl = plain[:2], plain[2:]
	}
	if aip == nil || afl == nil {
		return AIP{}, nil, fmt.Errorf("%w: the answer to GET PROCESSING OPTIONS has no AIP or no AFL", ErrMissing)
	}
	parsed, err := ParseAFL(afl)
	return AIP(aip), parsed, err
}

// Cryptogram is what GENERATE AC answers.
type Cryptogram struct {
	CID    byte   // 9F27, cryptogram information data
	ATC    []byte // 9F36, 2 bytes
	AC     []byte // 9F26, 8 bytes; nil with CDA, until it was verified
	IAD    []byte // 9F10, issuer application data, at most 32 bytes
	Signed []byte // 9F4B, with CDA and XDA
	// hashed are the answer's data objects but for 9F4B, as CDA hashes and XDA signs
	// them.
	hashed []byte
}

// Kinds of cryptograms: bits 8 and 7 of GENERATE AC's P1 and of the cryptogram
// information data (Book 3, tables 12 and 15).
const (
	AAC  byte = 0x00 // declined
	TC   byte = 0x40 // approved offline
	ARQC byte = 0x80 // ask the issuer
)

// Kind is the kind of the cryptogram.
func (c Cryptogram) Kind() byte { return c.CID & 0xC0 }

// KindName is the kind's abbreviation.
func KindName(kind byte) string {
	switch kind & 0xC0 {
	case AAC:
		return "AAC"
	case TC:
		return "TC"
	case ARQC:
		return "ARQC"
	}
	return "unknown"
}

// ParseCryptogram reads the answer to GENERATE AC. Format 1 is for answers without
// CDA and XDA alone (Book 3, section 6.5.5.4).
func ParseCryptogram(b []byte) (Cryptogram, error) {
	plain, data, err := template(b, "GENERATE AC")
	if err != nil {
		return Cryptogram{}, err
	}
	var c Cryptogram
	if data == nil {
		if len(plain) < 11 || len(plain) > 43 {
			return c, format("the answer to GENERATE AC has %d bytes", len(plain))
		}
		c.CID, c.ATC, c.AC = plain[0], plain[1:3], plain[3:11]
		if len(plain) > 11 {
			c.IAD = plain[11:]
		}
	} else {
		if data[TagCID] == nil || data[TagATC] == nil || data[TagCryptogram] == nil && data[TagSDAD] == nil {
			return c, fmt.Errorf("%w: the answer to GENERATE AC has no CID, no ATC or no cryptogram", ErrMissing)
		}
		c.CID, c.ATC, c.AC, c.IAD, c.Signed = data[TagCID][0], data[TagATC], data[TagCryptogram], data[TagIAD], data[TagSDAD]
		for rest := plain; len(rest) > 0; {
			o, after, err := tlv.Next(rest)
			if err != nil {
				return c, err
			}
			if o.Tag != TagSDAD {
				c.hashed = append(c.hashed, rest[:len(rest)-len(after)]...) // as the card encoded it
			}
			rest = after
		}
	}
	if c.Kind() == 0xC0 {
		return c, fmt.Errorf("%w: it is of no kind", ErrCryptogram)
	}
	return c, nil
}

// ParseDynamic reads the answer to INTERNAL AUTHENTICATE: signed dynamic
// application data.
func ParseDynamic(b []byte) ([]byte, error) {
	plain, data, err := template(b, "INTERNAL AUTHENTICATE")
	if err != nil {
		return nil, err
	}
	if data != nil {
		plain = data[TagSDAD]
	}
	if len(plain) == 0 {
		return nil, fmt.Errorf("%w: the answer to INTERNAL AUTHENTICATE has no signature", ErrMissing)
	}
	return plain, nil
}

// Record is one record of the application's files.
type Record struct {
	SFI, Number byte
	Bytes       []byte // as the card gives it, template and all
	Signed      bool   // part of the static data to be authenticated
}

// authenticated is the record's part of the static data to be authenticated: the
// template's value for files 1 to 10, the whole of others, which must be templates
// too (Book 3, section 10.3).
func (r Record) authenticated() ([]byte, error) {
	o, rest, err := tlv.Next(r.Bytes)
	if err != nil || o.Tag != TagRecord || len(rest) > 0 {
		return nil, format("record %d of file %d is signed and no template 70", r.Number, r.SFI)
	}
	if r.SFI <= 10 {
		return o.Value, nil
	}
	return r.Bytes, nil
}

// String names the record and shows nothing of it.
func (r Record) String() string { return fmt.Sprintf("record %d of file %d", r.Number, r.SFI) }

// GoString is String.
func (r Record) GoString() string { return r.String() }

// Format is String for every verb.
func (r Record) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(r.String())) }
