package datagroup

import (
	"encoding/binary"
	"fmt"

	"cardbureau/cardio/tlv"
)

// Portrait is one facial image of DG2 as it stands in the file.
type Portrait struct {
	JPEG2000      bool   // otherwise JPEG
	Width, Height uint16 // pixels, as the record says; 0 where it does not
	Image         []byte // the image file, byte for byte
}

// ParseDG2 returns the facial images of DG2: biometric information templates
// (9303-10 section 4.7.2) with ISO/IEC 19794-5:2005 records, one image at
// least.
func ParseDG2(file []byte) ([]Portrait, error) {
	b, err := content(file, Tag(2), "DG2")
	if err != nil {
		return nil, err
	}
	group, ok := tlv.Find(b, 0x7F61)
	if !ok {
		return nil, fmt.Errorf("%w: DG2 has no biometric information group template", ErrMalformed)
	}
	templates, err := tlv.Parse(group)
	if err != nil {
		return nil, fmt.Errorf("%w: DG2: %w", ErrMalformed, err)
	}
	var out []Portrait
	for _, t := range templates {
		if t.Tag != 0x7F60 {
			continue
		}
		record, ok := tlv.Find(t.Value, 0x5F2E)
		if !ok {
			if record, ok = tlv.Find(t.Value, 0x7F2E); !ok {
				return nil, fmt.Errorf("%w: DG2 has a template without biometric data", ErrMalformed)
			}
		}
		faces, err := parseFaces(record)
		if err != nil {
			return nil, err
		}
		out = append(out, faces...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: DG2 has no portrait", ErrMalformed)
	}
	return out, nil
}

// parseFaces reads a facial record (ISO/IEC 19794-5:2005 section 5): header
// of 14 bytes, then for each face 20 bytes of information, 8 bytes a feature
// point, 12 bytes about the image, the image.
func parseFaces(b []byte) ([]Portrait, error) {
	if len(b) < 14 || string(b[:4]) != "FAC\x00" || string(b[4:8]) != "010\x00" {
		return nil, fmt.Errorf("%w: DG2 holds no ISO 19794-5 record of version 010", ErrMalformed)
	}
	if int64(binary.BigEndian.Uint32(b[8:])) != int64(len(b)) {
		return nil, fmt.Errorf("%w: the facial record's length is not its own", ErrMalformed)
	}
	count := int(binary.BigEndian.Uint16(b[12:]))
	b = b[14:]
	var out []Portrait
	for range count {
		if len(b) < 32 {
			return nil, fmt.Errorf("%w: a facial record is cut off", ErrMalformed)
		}
		length := int64(binary.BigEndian.Uint32(b))
		at := 20 + 8*int64(binary.BigEndian.Uint16(b[4:]))
		if length > int64(len(b)) || at+12 > length {
			return nil, fmt.Errorf("%w: a facial record is cut off", ErrMalformed)
		}
		info := b[at : at+12]
		p := Portrait{JPEG2000: info[1] == 1, Width: binary.BigEndian.Uint16(info[2:]),
			Height: binary.BigEndian.Uint16(info[4:]), Image: b[at+12 : length]}
		if info[1] > 1 {
			return nil, fmt.Errorf("%w: a portrait of image type %d", ErrMalformed, info[1])
		}
		out = append(out, p)
		b = b[length:]
	}
	if len(b) != 0 {
		return nil, fmt.Errorf("%w: data after the last portrait", ErrMalformed)
	}
	return out, nil
}
