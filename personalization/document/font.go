package document

import (
	_ "embed"
	"encoding/binary"
	"sync"
)

// receiptFont is a subset of Vazirmatn (SIL OFL 1.1); fonts/README.md says how it was
// made.
//
//go:embed fonts/Vazirmatn-Receipt.ttf
var receiptFont []byte

// glyph is the index of a rune's glyph in receiptFont; 0 if it has none.
func glyph(r rune) uint16 { return glyphs()[r] }

// glyphs reads receiptFont's character map (OpenType 1.9, cmap format 4).
var glyphs = sync.OnceValue(func() map[rune]uint16 {
	u16 := func(b []byte, at int) int { return int(binary.BigEndian.Uint16(b[at:])) }
	table := fontTable(receiptFont, "cmap")
	sub := table[binary.BigEndian.Uint32(table[4+4:]):] // the first of its encodings: all are Unicode's
	count := u16(sub, 6) / 2
	ends, starts := sub[14:], sub[16+2*count:]
	deltas, offsets := sub[16+4*count:], sub[16+6*count:]
	out := map[rune]uint16{}
	for i := range count {
		offset := u16(offsets, 2*i)
		for c := u16(starts, 2*i); c <= u16(ends, 2*i) && c < 0xFFFF; c++ {
			g := c
			if offset != 0 {
				if g = u16(offsets, 2*i+offset+2*(c-u16(starts, 2*i))); g == 0 {
					continue
				}
			}
			if g = (g + u16(deltas, 2*i)) & 0xFFFF; g != 0 {
				out[rune(c)] = uint16(g)
			}
		}
	}
	return out
})

// fontTable is one table of a TrueType font.
func fontTable(font []byte, tag string) []byte {
	for i := range int(binary.BigEndian.Uint16(font[4:])) {
		entry := font[12+16*i:]
		if string(entry[:4]) == tag {
			at, size := binary.BigEndian.Uint32(entry[8:]), binary.BigEndian.Uint32(entry[12:])
			return font[at : at+size]
		}
	}
	panic("document: the font has no table " + tag)
}
