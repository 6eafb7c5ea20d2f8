package mrtd

import (
	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
)

// Data objects of READ BINARY with odd INS (ISO/IEC 7816-4 clause 11.3.3).
const (
	tagOffset        = tlv.Tag(0x54)
	tagDiscretionary = tlv.Tag(0x53)
)

// readBinary executes READ BINARY in both codings. Fewer bytes than asked for
// come with 9000 where the command's length field or secure messaging set the
// bound, and with 6282 where the file ends first; Le = 00 (0000) asks for what
// is there and never draws 6282.
func (a *Applet) readBinary(e virtual.Env, c secured) ([]byte, apdu.StatusWord) {
	var offset int
	var sw apdu.StatusWord
	if c.INS == insReadBinary {
		offset, sw = a.evenTarget(e, c)
	} else {
		offset, sw = a.oddTarget(e, c)
	}
	if !sw.OK() {
		return nil, sw
	}
	if sw := a.mayRead(e, a.current); !sw.OK() {
		return nil, sw
	}
	if c.Ne == 0 {
		return nil, apdu.SWWrongLength
	}
	if offset >= len(a.content) {
		return nil, apdu.SWWrongP1P2
	}
	rest := a.content[offset:]
	bound := min(c.Ne, c.Limit)
	if c.INS == insReadBinaryOdd {
		bound = valueRoom(bound)
		if bound == 0 {
			return nil, apdu.SWWrongLength
		}
	}
	sw = apdu.SWSuccess
	if len(rest) < bound && !asksForAll(c) {
		sw = apdu.SWEndOfFile
	}
	data := rest[:min(len(rest), bound)]
	if c.INS == insReadBinaryOdd {
		data = tlv.Encode(tagDiscretionary, data)
	}
	return data, sw
}

// asksForAll reports a length field of zeros.
func asksForAll(c secured) bool {
	if c.Extended {
		return c.Ne == apdu.MaxExtendedNe
	}
	return c.Ne == apdu.MaxShortNe
}

// valueRoom is the longest value of a data object of at most n bytes with a
// one-byte tag.
func valueRoom(n int) int {
	for _, header := range []int{2, 3, 4} {
		if v := n - header; v <= 0 || len(tlv.AppendLength(nil, v)) < header {
			return max(v, 0)
		}
	}
	return 0
}

// evenTarget finds file and offset of INS B0: P1 bit 8 chooses between a
// short file identifier with an offset of 8 bits and the current EF with one
// of 15.
func (a *Applet) evenTarget(e virtual.Env, c secured) (offset int, sw apdu.StatusWord) {
	if len(c.Data) != 0 {
		return 0, apdu.SWWrongLength
	}
	if c.P1&0x80 == 0 {
		if a.current == (file{}) {
			return 0, apdu.SWCommandNotAllowed
		}
		return int(c.P1)<<8 | int(c.P2), apdu.SWSuccess
	}
	if c.P1&0x60 != 0 {
		return 0, apdu.SWIncorrectP1P2
	}
	return int(c.P2), a.openShort(e, c.P1&0x1F)
}

func (a *Applet) openShort(e virtual.Env, sfi byte) apdu.StatusWord {
	f, ok := findShort(a.at, sfi)
	if !ok || sfi == 0 || sfi == 0x1F {
		return apdu.SWFileNotFound
	}
	if f == a.current {
		return apdu.SWSuccess
	}
	return a.open(e, f)
}

// oddTarget finds file and offset of INS B1: P1 P2 is zero for the current
// EF, a short identifier below 20, or a file identifier; the offset is in a
// data object.
func (a *Applet) oddTarget(e virtual.Env, c secured) (offset int, sw apdu.StatusWord) {
	o, rest, err := tlv.Next(c.Data)
	if err != nil || len(rest) != 0 || o.Tag != tagOffset || len(o.Value) == 0 || len(o.Value) > 3 {
		return 0, apdu.SWWrongData
	}
	for _, b := range o.Value {
		offset = offset<<8 | int(b)
	}
	switch id := fid(c.P1)<<8 | fid(c.P2); {
	case id == 0:
		if a.current == (file{}) {
			return 0, apdu.SWCommandNotAllowed
		}
		return offset, apdu.SWSuccess
	case id <= 0x1F:
		return offset, a.openShort(e, byte(id))
	default:
		f, ok := findFile(a.at, id)
		if !ok {
			return 0, apdu.SWFileNotFound
		}
		return offset, a.open(e, f)
	}
}
