package gp

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"cardbureau/cardio/tlv"
)

// KeyType is the type and length of one component of a key (GPC_SPE_034
// table 11-16): 88 is AES, 80 and 82 are triple DES.
type KeyType struct {
	Type   byte
	Length int // bytes
}

// Codings of keys in key information and PUT KEY (GPC_SPE_034 11.1.8).
const (
	KeyTypeDES byte = 0x80 // triple DES
	KeyTypeAES byte = 0x88
)

// KeyInformation is one entry of the key information template (GPC_SPE_034
// 11.3.3.1).
type KeyInformation struct {
	ID         byte
	Version    byte
	Components []KeyType
}

// ParseKeyInformation reads the answer to GET DATA 00E0, in the basic and the
// extended format.
func ParseKeyInformation(b []byte) ([]KeyInformation, error) {
	value, ok := tlv.Find(b, tlv.Tag(TagKeyInformation))
	if !ok {
		return nil, fmt.Errorf("%w: no key information template", ErrMalformed)
	}
	objects, err := tlv.Parse(value)
	if err != nil {
		return nil, fmt.Errorf("%w: key information: %w", ErrMalformed, err)
	}
	var out []KeyInformation
	for _, o := range objects {
		if o.Tag != 0xC0 {
			continue
		}
		if len(o.Value) < 4 {
			return nil, fmt.Errorf("%w: key information of %d bytes", ErrMalformed, len(o.Value))
		}
		k := KeyInformation{ID: o.Value[0], Version: o.Value[1]}
		if k.Components, err = keyTypes(o.Value[2:]); err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

func keyTypes(b []byte) ([]KeyType, error) {
	var out []KeyType
	if b[0] != 0xFF {
		if len(b)%2 != 0 {
			return nil, fmt.Errorf("%w: key information cut off", ErrMalformed)
		}
		for ; len(b) > 0; b = b[2:] {
			out = append(out, KeyType{Type: b[0], Length: int(b[1])})
		}
		return out, nil
	}
	// Extended: FF type length(2) for each component; then usage and access,
	// which sessions do not need.
	for len(b) >= 4 && b[0] == 0xFF {
		out = append(out, KeyType{Type: b[1], Length: int(binary.BigEndian.Uint16(b[2:]))})
		b = b[4:]
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: key information cut off", ErrMalformed)
	}
	return out, nil
}

// HasKeyVersion reports whether all three keys of an SCP03 key set (identifiers
// 1 to 3) are there under a version.
func HasKeyVersion(keys []KeyInformation, version byte) bool {
	var seen [4]bool
	for _, k := range keys {
		if k.Version == version && k.ID >= 1 && k.ID <= 3 {
			seen[k.ID] = true
		}
	}
	return seen[1] && seen[2] && seen[3]
}

// ChannelOption is a secure channel protocol that a card names, with its i
// parameter.
type ChannelOption struct {
	SCP byte
	I   byte
}

// CardRecognition is the card recognition data (GPC_SPE_034 H.2).
type CardRecognition struct {
	Version  string // of the card specification, such as "2.3.1"
	Channels []ChannelOption
}

// globalPlatformOID is {iso(1) member-body(2) country-USA(840)
// globalPlatform(114283)}.
const globalPlatformOID = "1.2.840.114283"

// ParseCardRecognition reads the answer to GET DATA 0066.
func ParseCardRecognition(b []byte) (CardRecognition, error) {
	var out CardRecognition
	value, ok := tlv.Path(b, tlv.Tag(TagCardRecognition), 0x73)
	if !ok {
		return out, fmt.Errorf("%w: no card recognition data", ErrMalformed)
	}
	objects, err := tlv.Parse(value)
	if err != nil {
		return out, fmt.Errorf("%w: card recognition data: %w", ErrMalformed, err)
	}
	for _, o := range objects {
		if o.Tag != 0x60 && o.Tag != 0x64 {
			continue
		}
		inner, err := tlv.Parse(o.Value)
		if err != nil {
			return CardRecognition{}, fmt.Errorf("%w: card recognition data: %w", ErrMalformed, err)
		}
		for _, i := range inner {
			if i.Tag != 0x06 {
				continue
			}
			rest, arcs, ok := strings.Cut(oid(i.Value), globalPlatformOID+".")
			if !ok || rest != "" {
				continue
			}
			if version, ok := strings.CutPrefix(arcs, "2."); ok && o.Tag == 0x60 {
				out.Version = version
			}
			if option, ok := strings.CutPrefix(arcs, "4."); ok && o.Tag == 0x64 {
				if c, ok := channelOption(option); ok {
					out.Channels = append(out.Channels, c)
				}
			}
		}
	}
	return out, nil
}

func channelOption(arcs string) (ChannelOption, bool) {
	scp, i, ok := strings.Cut(arcs, ".")
	if !ok {
		return ChannelOption{}, false
	}
	a, errA := strconv.ParseUint(scp, 10, 8)
	b, errB := strconv.ParseUint(i, 10, 8)
	return ChannelOption{SCP: byte(a), I: byte(b)}, errA == nil && errB == nil
}

// oid writes an object identifier with dots, or "" where it is malformed.
func oid(b []byte) string {
	var out []byte
	var arc uint64
	for i, c := range b {
		if arc > 1<<56 {
			return ""
		}
		arc = arc<<7 | uint64(c&0x7F)
		if c&0x80 != 0 {
			if i == len(b)-1 {
				return ""
			}
			continue
		}
		if len(out) == 0 {
			first := min(arc/40, 2)
			out = strconv.AppendUint(out, first, 10)
			arc -= first * 40
		}
		out = append(out, '.')
		out = strconv.AppendUint(out, arc, 10)
		arc = 0
	}
	return string(out)
}

// FCI is what a security domain says of itself when selected (GPC_SPE_034
// table 11-78).
type FCI struct {
	AID     []byte
	MaxData int // greatest command data field, bytes; 0 where the card does not say
}

// ParseFCI reads the response data of SELECT.
func ParseFCI(b []byte) (FCI, error) {
	template, ok := tlv.Find(b, 0x6F)
	if !ok {
		return FCI{}, fmt.Errorf("%w: SELECT gave no file control information", ErrMalformed)
	}
	var out FCI
	if out.AID, ok = tlv.Find(template, 0x84); !ok || len(out.AID) < 5 || len(out.AID) > 16 {
		return FCI{}, fmt.Errorf("%w: file control information without an AID", ErrMalformed)
	}
	if v, ok := tlv.Path(template, 0xA5, 0x9F65); ok && len(v) <= 2 {
		for _, c := range v {
			out.MaxData = out.MaxData<<8 | int(c)
		}
	}
	return out, nil
}
