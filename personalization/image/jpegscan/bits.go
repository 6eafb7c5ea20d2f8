package jpegscan

// Lengths in bits of codes that are looked up at once, and at most (T.81 C.2).
const (
	quick   = 9
	longest = 16
)

// table is a Huffman table.
type table struct {
	// quick has the length of the code that its index begins with in the upper
	// byte, 0 for a longer one, and its value in the lower.
	quick [1 << quick]uint16
	// Of each length in bits: one more than the greatest code, and what to add to a
	// code for the place of its value (T.81 F.2.2.3).
	limit, place [longest + 1]int
	values       []byte
}

// newTable makes a table of BITS and HUFFVAL, and says how many values it took;
// nil where there are none, too few, or more codes than bits can tell apart.
func newTable(counts [16]byte, values []byte) (*table, int) {
	t := &table{}
	code, n := 0, 0
	for i, count := range counts {
		length := i + 1
		t.place[length] = n - code
		n += int(count)
		code += int(count)
		if code > 1<<length || n > len(values) || n > 256 {
			return nil, 0
		}
		t.limit[length] = code
		if length <= quick {
			for at := n - int(count); at < n; at++ {
				first := (at - t.place[length]) << (quick - length)
				for j := range 1 << (quick - length) {
					t.quick[first+j] = uint16(length)<<8 | uint16(values[at])
				}
			}
		}
		code <<= 1
	}
	if n == 0 {
		return nil, 0
	}
	t.values = values[:n]
	return t, n
}

// bits reads entropy-coded data: FF is followed by a 00 that is no data (T.81
// F.1.2.3), and by anything else where the data ends.
type bits struct {
	data []byte
	acc  uint64 // its lowest n bits are unread
	n    int
}

// fill reads as long as whole bytes fit.
func (b *bits) fill() {
	for b.n <= 56 && len(b.data) > 0 {
		next := b.data[0]
		if next == 0xFF {
			if len(b.data) < 2 || b.data[1] != 0 {
				return
			}
			b.data = b.data[1:]
		}
		b.data = b.data[1:]
		b.acc = b.acc<<8 | uint64(next)
		b.n += 8
	}
}

// code reads a code of t and as many bits behind it as the lower half of its value
// says.
func (b *bits) code(t *table) (value byte, ok bool) {
	const need = longest + 15
	if b.n < need {
		b.fill()
	}
	// What follows the data's end reads as zeros, and is noticed below.
	var ahead int
	if b.n >= longest {
		ahead = int(b.acc>>(b.n-longest)) & (1<<longest - 1)
	} else {
		ahead = int(b.acc<<(longest-b.n)) & (1<<longest - 1)
	}
	length := 0
	if q := t.quick[ahead>>(longest-quick)]; q != 0 {
		length, value = int(q>>8), byte(q)
	} else {
		for l := quick + 1; l <= longest; l++ {
			if code := ahead >> (longest - l); code < t.limit[l] {
				length, value = l, t.values[code+t.place[l]]
				break
			}
		}
	}
	if length == 0 {
		return 0, false
	}
	b.n -= length + int(value&15)
	return value, b.n >= 0
}

// Most bits of a coefficient of 8-bit samples (T.81 tables F.1 and F.2).
const (
	mostDC = 11
	mostAC = 10
)

// block reads the codes of 64 coefficients (T.81 F.2.2.1, F.2.2.2).
func (b *bits) block(dc, ac *table) bool {
	if v, ok := b.code(dc); !ok || v > mostDC {
		return false
	}
	for k := 1; k < 64; k++ {
		v, ok := b.code(ac)
		switch run, size := int(v>>4), v&15; {
		case !ok || size > mostAC:
			return false
		case v == 0: // the rest is zero
			return true
		case size == 0 && run != 15:
			return false
		default:
			if k += run; k > 63 {
				return false
			}
		}
	}
	return true
}

// end reports that nothing but filling is left before the end of the image.
func (b *bits) end() bool {
	b.fill()
	return b.n < 8 && len(b.data) >= 2 && b.data[0] == 0xFF && b.data[1] == markEOI
}
