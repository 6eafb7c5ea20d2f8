package usim

import (
	"bytes"

	"cardbureau/cardio/apdu"
)

// Variant is in what a card differs from most, within the standard or not. The zero
// one differs in nothing.
type Variant struct {
	// PIN1 is the key reference of the application's PIN1, 01 to 08; 01 when zero. PIN2
	// is then 80 more (TS 102 221 table 9.3). Class A0 has neither.
	PIN1 byte
	// Select are the values of P2 that SELECT takes for what it returns: 04 the FCP, 0C
	// nothing, 00 an FCI, which this card leaves empty. 04 and 0C when nil.
	Select []byte
}

// keyVariant is where a card keeps its variant: the reference of PIN1, then Select.
const keyVariant = "variant"

func (v Variant) sound() bool {
	for _, p2 := range v.Select {
		if p2 != selectFCP && p2 != selectNoData && p2 != selectFCI {
			return false
		}
	}
	return v.PIN1 <= 0x08
}

// variant is the card's, with what zero means filled in.
func (c *Chip) variant() Variant {
	v := Variant{PIN1: keyPIN1, Select: []byte{selectFCP, selectNoData}}
	b := c.space.Get(keyVariant)
	if len(b) > 0 && b[0] != 0 {
		v.PIN1 = b[0]
	}
	if len(b) > 1 {
		v.Select = b[1:]
	}
	return v
}

// selects reports whether SELECT takes a P2 for what is returned.
func (c *Chip) selects(answer byte) bool { return bytes.IndexByte(c.variant().Select, answer) >= 0 }

// keyOf is the key that a reference names from outside; 00, which is none, for PIN1 and
// PIN2 by a number that is another card's.
func (c *Chip) keyOf(ref byte) byte {
	pin1 := c.variant().PIN1
	switch ref {
	case pin1:
		return keyPIN1
	case 0x80 | pin1:
		return keyPIN2
	case keyPIN1, keyPIN2:
		return 0
	}
	return ref
}

// referenceOf is the reference by which a key is named from outside.
func (c *Chip) referenceOf(key byte) byte { return rename(key, c.variant().PIN1) }

func rename(key, pin1 byte) byte {
	if key == keyPIN1 || key == keyPIN2 {
		return key&0x80 | pin1
	}
	return key
}

// keyReference is pinCommand by a reference from outside.
func (c *Chip) keyReference(cmd apdu.Command) apdu.StatusWord {
	cmd.P2 = c.keyOf(cmd.P2)
	return c.pinCommand(cmd)
}

// rules is EF.ARR with the references of the card.
func (v Variant) rules() []byte {
	out := arrContent()
	if v.PIN1 == 0 {
		return out
	}
	for _, key := range []byte{keyPIN1, keyPIN2} {
		out = bytes.ReplaceAll(out, []byte{0x83, 0x01, key, 0x95}, []byte{0x83, 0x01, rename(key, v.PIN1), 0x95})
	}
	return out
}
