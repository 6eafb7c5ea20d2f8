package trace

import "cardbureau/cardio/tlv"

// node says what of a data object may be shown: its value up to so many bytes,
// or of the objects in it those that are listed.
type node struct {
	most   int
	inside map[tlv.Tag]node
}

// tree shows of data objects those in the list. Tag and length of others are
// not shown either, and data that is no sequence of objects shows nothing.
func tree(list map[tlv.Tag]node) rule {
	return func(data []byte) []span {
		spans, ok := walk(data, list)
		if !ok {
			return nil
		}
		return spans
	}
}

func walk(data []byte, list map[tlv.Tag]node) (spans []span, ok bool) {
	for len(data) > 0 {
		o, rest, err := tlv.Next(data)
		if err != nil {
			return nil, false
		}
		size := len(data) - len(rest)
		head := size - len(o.Value)
		rule, known := list[o.Tag]
		data = rest
		switch {
		case known && rule.inside != nil:
			deeper, ok := walk(o.Value, rule.inside)
			if !ok {
				return nil, false
			}
			spans = append(append(spans, span{head, true}), deeper...)
		case known && len(o.Value) <= rule.most:
			spans = append(spans, span{size, true})
		default:
			spans = append(spans, span{size, false})
		}
	}
	return spans, true
}

var (
	oid = map[tlv.Tag]node{0x06: {most: 20}}
	// recognition is card recognition data (GPC_SPE_034 H.2): object identifiers.
	recognition = node{inside: map[tlv.Tag]node{
		0x06: {most: 20}, 0x60: {inside: oid}, 0x63: {inside: oid}, 0x64: {inside: oid}, 0x65: {inside: oid}, 0x66: {inside: oid},
	}}
	// fci is a security domain's answer to SELECT (GPC_SPE_034 table 11-78),
	// without its production life cycle data.
	fci = map[tlv.Tag]node{0x6F: {inside: map[tlv.Tag]node{
		0x84: {most: 16},
		0xA5: {inside: map[tlv.Tag]node{0x73: recognition, 0x9F65: {most: 2}}},
	}}}
	// status is a registry entry (GPC_SPE_034 table 11-36).
	status = map[tlv.Tag]node{0xE3: {inside: map[tlv.Tag]node{
		0x4F: {most: 16}, 0x9F70: {most: 2}, 0xC5: {most: 3}, 0xC4: {most: 16}, 0xCE: {most: 4}, 0xCF: {most: 1}, 0xCC: {most: 16}, 0x84: {most: 16},
	}}}
	statusQuery = map[tlv.Tag]node{0x4F: {most: 16}, 0x5C: {most: 16}}
	deletion    = map[tlv.Tag]node{0x4F: {most: 16}}
	// capability is card capability information (GPC_SPE_034 H.4).
	capability = map[tlv.Tag]node{
		0xA0: {inside: map[tlv.Tag]node{0x80: {most: 1}, 0x81: {most: 8}, 0x82: {most: 1}}},
		0x81: {most: 3}, 0x82: {most: 3}, 0x83: {most: 4}, 0x84: {most: 4}, 0x85: {most: 4}, 0x86: {most: 4}, 0x87: {most: 4},
	}
)

// objects are the answers to GET DATA that may be shown, by tag (GPC_SPE_034
// 11.3 and H). Issuer and card image numbers (42, 45) are not among them.
var objects = map[uint16]rule{
	0x0066: tree(map[tlv.Tag]node{0x66: {inside: map[tlv.Tag]node{0x73: recognition}}}),
	0x0067: tree(map[tlv.Tag]node{0x67: {inside: capability}}),
	0x00C1: tree(map[tlv.Tag]node{0xC1: {most: 3}}),
	0x00E0: tree(map[tlv.Tag]node{0xE0: {inside: map[tlv.Tag]node{0xC0: {most: 16}}}}),
	0x9F7F: cplc,
}

// cplc shows makers and types and hides what tells one chip from another: its
// fabrication date, serial and batch numbers, as one digest, and what came
// after fabrication, as another.
func cplc(data []byte) []span {
	const head, size, types, chip = 3, 42, 10, 8
	switch {
	case len(data) == size:
		return []span{{types, true}, {chip, false}, {size - types - chip, false}}
	case len(data) == head+size && data[0] == 0x9F && data[1] == 0x7F && data[2] == size:
		return []span{{head + types, true}, {chip, false}, {size - types - chip, false}}
	}
	return nil
}

// plainStatus is the older form of registry entries (GPC_SPE_034 table 11-35):
// AID with its length, life cycle state, privileges, and for load files with
// modules those.
func plainStatus(scope byte) rule {
	return func(data []byte) []span {
		at := 0
		name := func() bool {
			if at >= len(data) {
				return false
			}
			n := int(data[at])
			at += 1 + n
			return at <= len(data) && n >= 5 && n <= 16
		}
		for at < len(data) {
			if !name() {
				return nil
			}
			at += 2
			if scope != 0x10 {
				continue
			}
			if at >= len(data) {
				return nil
			}
			modules := int(data[at])
			at++
			for range modules {
				if !name() {
					return nil
				}
			}
		}
		if at != len(data) {
			return nil
		}
		return all(data)
	}
}

// field is a kind of field of INSTALL.
type field int

const (
	fieldHidden field = iota
	fieldEmpty
	fieldAID // or empty
	fieldHash
	fieldPrivileges
)

// installs are the fields of INSTALL by P1 (GPC_SPE_034 tables 11-40 to 11-46):
// names, hash and privileges are shown, parameters and tokens are not.
var installs = map[byte][]field{
	0x02: {fieldAID, fieldAID, fieldHash, fieldHidden, fieldHidden},
	0x04: {fieldAID, fieldAID, fieldAID, fieldPrivileges, fieldHidden, fieldHidden},
	0x08: {fieldEmpty, fieldEmpty, fieldAID, fieldPrivileges, fieldHidden, fieldHidden},
	0x0C: {fieldAID, fieldAID, fieldAID, fieldPrivileges, fieldHidden, fieldHidden},
	0x10: {fieldAID, fieldEmpty, fieldAID, fieldEmpty, fieldHidden, fieldHidden},
	0x20: {fieldEmpty, fieldEmpty, fieldAID, fieldEmpty, fieldEmpty, fieldEmpty},
	0x40: {fieldAID, fieldEmpty, fieldAID, fieldPrivileges, fieldHidden, fieldHidden},
}

func (f field) fits(v []byte) bool {
	switch f {
	case fieldEmpty:
		return len(v) == 0
	case fieldAID:
		return len(v) == 0 || isAID(v)
	case fieldHash:
		return len(v) == 0 || len(v) == 20 || len(v) == 32 || len(v) == 48 || len(v) == 64
	case fieldPrivileges:
		return len(v) <= 1 || len(v) == 3
	}
	return true
}

func install(p1 byte) rule {
	fields, known := installs[p1]
	if !known {
		return nil
	}
	return func(data []byte) (spans []span) {
		for _, f := range fields {
			// A length is that of a data object without its tag.
			o, rest, err := tlv.Next(append([]byte{0x80}, data...))
			if err != nil || !f.fits(o.Value) {
				return nil
			}
			head := len(data) - len(rest) - len(o.Value)
			spans = append(spans, span{head, true}, span{len(o.Value), f != fieldHidden})
			data = data[len(data)-len(rest):]
		}
		return spans
	}
}
