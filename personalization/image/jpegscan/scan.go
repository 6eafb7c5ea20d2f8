// Package jpegscan reads the entropy-coded data of a JPEG to its end without
// making a picture of it, which is most of what a decoder's time goes into.
//
// It knows the common kind alone: baseline sequential DCT with Huffman coding
// (ITU-T T.81 annex F), one scan, one or three components, no restarts. It says
// yes or it says nothing: what it does not vouch for is not wrong, and a decoder
// decides.
package jpegscan

import "encoding/binary"

// Markers of T.81, table B.1; each follows a byte FF.
const (
	markSOF0 = 0xC0 // baseline
	markDHT  = 0xC4
	markSOI  = 0xD8
	markEOI  = 0xD9
	markSOS  = 0xDA
	markDQT  = 0xDB
	markAPP0 = 0xE0
	markAPPD = 0xED // APP14 says which colours, and is left to a decoder
	markCOM  = 0xFE
)

// component is one of a frame's or scan's (T.81 B.2.2, B.2.3).
type component struct {
	id, quantization byte
	blocks           int // of one MCU
	dc, ac           *table
}

// scan is a picture while it is read.
type scan struct {
	quantization  [4]bool
	dc, ac        [2]*table
	width, height int
	components    []component
}

// Complete reports that data begins with a whole JPEG of the kind that this
// package knows: every block of every MCU has its codes, and the end of the image
// follows the last one. false says nothing about data.
func Complete(data []byte) bool {
	if len(data) < 2 || data[0] != 0xFF || data[1] != markSOI {
		return false
	}
	s, data := &scan{}, data[2:]
	for len(data) >= 4 && data[0] == 0xFF {
		mark, n := data[1], int(binary.BigEndian.Uint16(data[2:]))
		if n < 2 || len(data) < 2+n {
			return false
		}
		segment, rest := data[4:2+n], data[2+n:]
		known := true
		switch {
		case mark == markSOF0:
			known = s.frame(segment)
		case mark == markDHT:
			known = s.huffman(segment)
		case mark == markDQT:
			known = s.quantizers(segment)
		case mark == markSOS:
			return s.begin(segment) && s.blocks(&bits{data: rest})
		case mark >= markAPP0 && mark <= markAPPD, mark == markCOM:
		default:
			known = false
		}
		if !known {
			return false
		}
		data = rest
	}
	return false
}

// quantizers is DQT (T.81 B.2.4.1). The values matter to nobody here.
func (s *scan) quantizers(b []byte) bool {
	for len(b) > 0 {
		if b[0] > 3 || len(b) < 65 { // 8 bits a value; more belong to other kinds
			return false
		}
		s.quantization[b[0]] = true
		b = b[65:]
	}
	return true
}

// huffman is DHT (T.81 B.2.4.2).
func (s *scan) huffman(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 17 || b[0]&^0x11 != 0 {
			return false
		}
		t, n := newTable([16]byte(b[1:17]), b[17:])
		if t == nil {
			return false
		}
		if b[0]&0x10 != 0 {
			s.ac[b[0]&1] = t
		} else {
			s.dc[b[0]&1] = t
		}
		b = b[17+n:]
	}
	return true
}

// frame is SOF0 (T.81 B.2.2): 8 bits a sample, luminance sampled at most twice as
// often as the rest.
func (s *scan) frame(b []byte) bool {
	if s.components != nil || len(b) < 6 || b[0] != 8 || b[5] != 1 && b[5] != 3 || len(b) != 6+3*int(b[5]) {
		return false
	}
	s.height, s.width = int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
	if s.height == 0 || s.width == 0 {
		return false
	}
	across, down := 1, 1
	for i := 6; i < len(b); i += 3 {
		h, v := int(b[i+1]>>4), int(b[i+1]&15)
		if h < 1 || h > 2 || v < 1 || v > 2 || b[i+2] > 3 || i > 6 && (h != 1 || v != 1) {
			return false
		}
		for _, c := range s.components {
			if c.id == b[i] {
				return false
			}
		}
		if len(b) == 9 {
			h, v = 1, 1 // a scan of one component is not interleaved (T.81 A.2.2)
		}
		across, down = max(across, h), max(down, v)
		s.components = append(s.components, component{id: b[i], quantization: b[i+2], blocks: h * v})
	}
	// From samples to MCUs, the last ones of a row and column filled up.
	s.width, s.height = (s.width+8*across-1)/(8*across), (s.height+8*down-1)/(8*down)
	return true
}

// begin is SOS (T.81 B.2.3) of a scan with all components.
func (s *scan) begin(b []byte) bool {
	n := len(s.components)
	if n == 0 || len(b) != 4+2*n || int(b[0]) != n || [3]byte(b[1+2*n:]) != [3]byte{0, 63, 0} {
		return false
	}
	for i := range s.components {
		c, selectors := &s.components[i], b[2+2*i]
		if b[1+2*i] != c.id || selectors&^0x11 != 0 || !s.quantization[c.quantization] {
			return false
		}
		if c.dc, c.ac = s.dc[selectors>>4], s.ac[selectors&1]; c.dc == nil || c.ac == nil {
			return false
		}
	}
	return true
}

// blocks reads all MCUs, and the end of the image behind them.
func (s *scan) blocks(b *bits) bool {
	for range s.width * s.height {
		for _, c := range s.components {
			for range c.blocks {
				if !b.block(c.dc, c.ac) {
					return false
				}
			}
		}
	}
	return b.end()
}
