package identity

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"cardbureau/cardio/tlv"
)

// Versions that EF.COM and EF.SOD name (Doc 9303-10, 4.6.1 and 4.6.2.3).
const (
	LDSVersion     = "0108"   // LDS 1.8
	UnicodeVersion = "040000" // Unicode 4.0.0
)

// ErrDataGroup marks data that cannot stand in a data group. Errors never say
// what the data is.
var ErrDataGroup = errors.New("identity: not fit for a data group")

// dataGroupTags are the tags of DG1 to DG16 (Doc 9303-10, table 38).
var dataGroupTags = [16]byte{
	0x61, 0x75, 0x63, 0x76, 0x65, 0x66, 0x67, 0x68,
	0x69, 0x6A, 0x6B, 0x6C, 0x6D, 0x6E, 0x6F, 0x70,
}

func dataGroupTag(n int) (tlv.Tag, error) {
	if n < 1 || n > len(dataGroupTags) {
		return 0, fmt.Errorf("%w: there is no DG%d", ErrDataGroup, n)
	}
	return tlv.Tag(dataGroupTags[n-1]), nil
}

// Hash is the SHA-256 of a whole data group file, 32 bytes, as the document
// security object lists it.
func Hash(file []byte) []byte {
	h := sha256.Sum256(file)
	return h[:]
}

// Hashes are the hashes of data group files by data group number.
func Hashes(files map[int][]byte) map[int][]byte {
	out := make(map[int][]byte, len(files))
	for n, file := range files {
		out[n] = Hash(file)
	}
	return out
}

// COM builds EF.COM: LDS version 0108, Unicode version 040000 and the list of
// the data groups that are there, in ascending order (Doc 9303-10, 4.6.1).
func COM(dataGroups ...int) ([]byte, error) {
	var present [17]bool
	for _, n := range dataGroups {
		if _, err := dataGroupTag(n); err != nil {
			return nil, err
		}
		present[n] = true
	}
	if !present[1] || !present[2] {
		return nil, fmt.Errorf("%w: DG1 and DG2 are mandatory", ErrDataGroup)
	}
	var tags []byte
	for n := 1; n <= 16; n++ {
		if present[n] {
			tags = append(tags, dataGroupTags[n-1])
		}
	}
	return tlv.Encode(0x60,
		tlv.Encode(0x5F01, []byte(LDSVersion)),
		tlv.Encode(0x5F36, []byte(UnicodeVersion)),
		tlv.Encode(0x5C, tags)), nil
}

// DG1 builds EF.DG1 around the 90 characters of a TD1 machine readable zone
// (Doc 9303-10, 4.7.1): 95 bytes.
func DG1(td1 string) ([]byte, error) {
	if len(td1) != TD1Length {
		return nil, fmt.Errorf("%w: a TD1 MRZ has %d characters, not %d", ErrDataGroup, TD1Length, len(td1))
	}
	return tlv.Encode(0x61, tlv.Encode(0x5F1F, []byte(td1))), nil
}

// Details are the additional personal details of DG11: what the MRZ cannot
// say, in the holder's own script.
type Details struct {
	Primary    string   // primary identifier, national characters, UTF-8; empty for a person of one name
	Secondary  string   // secondary identifier, the same
	BirthDate  string   // YYYY-MM-DD, 00 for an unknown day or month; may be empty
	BirthPlace []string // from the place to the country, UTF-8; may be empty
}

// DG11 builds EF.DG11 (Doc 9303-10, 4.7.11): the tag list 5C, then 5F0E full
// name, 5F2B full date of birth (YYYYMMDD, eight digits, 00 where unknown) and
// 5F11 place of birth. Spaces become '<', the identifiers are separated by
// '<<'; a zero-width non-joiner inside a word stays. Doc 9303-10 sizes the name
// at 99 bytes and forbids to truncate it: a longer one stands in full.
func DG11(d Details) ([]byte, error) {
	name, err := nationalName(d.Primary, d.Secondary)
	if err != nil {
		return nil, err
	}
	tags := []byte{0x5F, 0x0E}
	body := tlv.Encode(0x5F0E, []byte(name))
	if d.BirthDate != "" {
		if err := checkDate(d.BirthDate); err != nil {
			return nil, fmt.Errorf("birth date: %w", err)
		}
		tags = append(tags, 0x5F, 0x2B)
		body = tlv.Append(body, 0x5F2B, []byte(strings.ReplaceAll(d.BirthDate, "-", "")))
	}
	if len(d.BirthPlace) > 0 {
		var parts []string
		for _, p := range d.BirthPlace {
			part, err := nationalWords(p)
			if err != nil {
				return nil, err
			}
			if part != "" {
				parts = append(parts, part)
			}
		}
		if len(parts) > 0 {
			tags = append(tags, 0x5F, 0x11)
			body = tlv.Append(body, 0x5F11, []byte(strings.Join(parts, "<")))
		}
	}
	return tlv.Encode(0x6B, tlv.Encode(0x5C, tags), body), nil
}

func nationalName(primary, secondary string) (string, error) {
	p, err := nationalWords(primary)
	if err != nil {
		return "", err
	}
	s, err := nationalWords(secondary)
	if err != nil {
		return "", err
	}
	switch {
	case p == "" && s == "":
		return "", fmt.Errorf("%w: there is no name", ErrDataGroup)
	case p == "":
		return s, nil
	case s == "":
		return p, nil
	}
	return p + "<<" + s, nil
}

func nationalWords(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("%w: a text is not UTF-8", ErrDataGroup)
	}
	for _, r := range s {
		if r == '<' || r < 0x20 || r == 0x7F {
			return "", fmt.Errorf("%w: a text holds '<' or a control character", ErrDataGroup)
		}
	}
	return strings.Join(strings.Fields(s), "<"), nil
}
