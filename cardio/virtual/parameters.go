package virtual

import (
	"slices"

	"cardbureau/cardio/tlv"
)

// parameters are the parameter field of an INSTALL command (GPC_SPE_034
// v2.3.1 tables 11-49 to 11-53).
type parameters struct {
	application []byte // C9
	code        uint32 // C6: least non-volatile memory for code
	volatile    uint32 // C7: least (load) or most (install) volatile memory
	nonVolatile uint32 // C8: likewise, non-volatile
	// D7 and D8: memory kept for the application.
	reservedVolatile, reserved uint32
	implicit                   []byte // CF, a byte each
}

// parameterTags says what a parameter field may hold: tags at the top, and
// inside EF. C9 comes first where it is allowed.
type parameterTags struct{ top, system []tlv.Tag }

var (
	loadParameters        = parameterTags{[]tlv.Tag{0xEF, 0xB6}, []tlv.Tag{0xC6, 0xC7, 0xC8, 0xCD, 0xDD}}
	installParameters     = parameterTags{[]tlv.Tag{0xC9, 0xEF, 0xEA, 0xB6}, []tlv.Tag{0xC7, 0xC8, 0xCA, 0xCB, 0xCF, 0xD7, 0xD8}}
	selectableParameters  = parameterTags{[]tlv.Tag{0xEF, 0xEA, 0xB6}, []tlv.Tag{0xCA, 0xCF}}
	extraditionParameters = parameterTags{[]tlv.Tag{0xEF, 0xB6}, nil}
	registryParameters    = parameterTags{[]tlv.Tag{0xEF, 0xEA, 0xB6}, []tlv.Tag{0xCB, 0xCF}}
)

// tokenReference are the tags of a control reference template for digital
// signature, B6: who gave a token, and its number.
var tokenReference = []tlv.Tag{0x42, 0x45, 0x5F20, 0x93}

// parseParameters reads a parameter field; an empty one says nothing.
func parseParameters(b []byte, tags parameterTags) (p parameters, ok bool) {
	objects, ok := strictObjects(b, tags.top)
	if !ok {
		return p, false
	}
	for i, o := range objects {
		switch o.Tag {
		case 0xC9:
			if i != 0 {
				return p, false
			}
			p.application = o.Value
		case 0xEF:
			if !p.system(o.Value, tags.system) {
				return p, false
			}
		case 0xEA:
			if _, err := tlv.Parse(o.Value); err != nil {
				return p, false
			}
		case 0xB6:
			if _, ok := strictObjects(o.Value, tokenReference); !ok {
				return p, false
			}
		}
	}
	return p, true
}

func (p *parameters) system(b []byte, tags []tlv.Tag) bool {
	objects, ok := strictObjects(b, tags)
	if !ok {
		return false
	}
	for _, o := range objects {
		switch o.Tag {
		case 0xC6:
			ok = quota(&p.code, o.Value)
		case 0xC7:
			ok = quota(&p.volatile, o.Value)
		case 0xC8:
			ok = quota(&p.nonVolatile, o.Value)
		case 0xD7:
			ok = quota(&p.reservedVolatile, o.Value)
		case 0xD8:
			ok = quota(&p.reserved, o.Value)
		case 0xCD: // format of the load file data block: 00 is Java Card's own
			ok = len(o.Value) == 1 && o.Value[0] == 0
		case 0xCF:
			// Through contacts or without, a reserved bit, a logical channel.
			ok = len(o.Value) == 1 && o.Value[0]&0xC0 != 0 && o.Value[0]&0x20 == 0 && o.Value[0]&0x1F <= 19
			if ok && slices.Contains(p.implicit, o.Value[0]) {
				ok = false
			}
			p.implicit = append(p.implicit, o.Value...)
		}
		if !ok {
			return false
		}
	}
	return true
}

// strictObjects reads data objects of which each tag is allowed, and stands
// there once; CF may come again.
func strictObjects(b []byte, allowed []tlv.Tag) ([]tlv.Object, bool) {
	objects, err := tlv.Parse(b)
	if err != nil {
		return nil, false
	}
	for i, o := range objects {
		again := slices.ContainsFunc(objects[:i], func(e tlv.Object) bool { return e.Tag == o.Tag })
		if !slices.Contains(allowed, o.Tag) || again && o.Tag != 0xCF {
			return nil, false
		}
	}
	return objects, true
}

// quota reads a number of bytes, in two or four of them.
func quota(n *uint32, v []byte) bool {
	if len(v) != 2 && len(v) != 4 {
		return false
	}
	for _, b := range v {
		*n = *n<<8 | uint32(b)
	}
	return true
}
