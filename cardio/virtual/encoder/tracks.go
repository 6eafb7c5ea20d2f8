package encoder

import (
	"bytes"
	"errors"
)

var errFormat = errors.New("encoder: the data of a write is not in its format")

// set is the characters of a track: ISO/IEC 7811-2's alphanumeric set has 64 from
// space on and 7 bits a character, the numeric one 16 from 0 on and 5 bits.
type set struct {
	first, start, last byte
	size               int // bits with parity
	most               int
}

var sets = [3]set{{' ', '%', '_', 7, 76}, {'0', ';', '?', 5, 37}, {'0', ';', '?', 5, 104}}

// bitsOf writes a track: zeros, %text? or ;text?, the check character, zeros.
func (s set) bitsOf(text []byte) ([]byte, bool) {
	if len(text) > s.most {
		return nil, false
	}
	line := append(append([]byte{s.start}, text...), '?')
	columns := make([]int, s.size-1)
	out := make([]byte, 22)
	for _, ch := range line {
		if ch < s.first || ch > s.last {
			return nil, false
		}
		ones := 0
		for i := range columns {
			b := int(ch-s.first) >> i & 1
			columns[i] += b
			ones += b
			out = append(out, byte(b))
		}
		out = append(out, byte(1-ones%2))
	}
	ones := 0
	for _, n := range columns { // each column gets an even number of ones
		ones += n % 2
		out = append(out, byte(n%2))
	}
	out = append(out, byte(1-ones%2))
	return append(out, make([]byte, 22)...), true
}

// textOf reads a track with its sentinels; ok is false for one that is not
// readable, and text is nil for one that is empty.
func (s set) textOf(bits []byte) (text []byte, ok bool) {
	first := bytes.IndexByte(bits, 1)
	if first < 0 {
		return nil, true
	}
	columns := make([]int, s.size-1)
	for at := first; at+s.size <= len(bits); at += s.size {
		ones, v := 0, 0
		for i, b := range bits[at : at+s.size] {
			ones += int(b)
			if i < s.size-1 {
				v |= int(b) << i
				columns[i] += int(b)
			}
		}
		if ones%2 == 0 {
			return nil, false
		}
		if n := len(text); n > 0 && text[n-1] == '?' {
			for _, c := range columns {
				if c%2 != 0 {
					return nil, false
				}
			}
			return text, text[0] == s.start
		}
		text = append(text, byte(v)+s.first)
	}
	return nil, false
}

// parts splits the data of an ISO write: ESC s, then each track after ESC n, ? FS.
func parts(b []byte) (out [3][]byte, err error) {
	if !bytes.HasPrefix(b, []byte{esc, 's', esc, 1}) || !bytes.HasSuffix(b, []byte{'?', fs}) {
		return out, errFormat
	}
	b = b[4 : len(b)-2]
	for n := 1; n <= 3; n++ {
		end := len(b)
		if n < 3 {
			if end = bytes.Index(b, []byte{esc, byte(n + 1)}); end < 0 {
				return out, errFormat
			}
		}
		if out[n-1] = b[:end]; n < 3 {
			b = b[end+2:]
		}
	}
	return out, nil
}

func writeISO(s stripe, data []byte) (stripe, error) {
	texts, err := parts(data)
	if err != nil {
		return s, err
	}
	for i, text := range texts {
		if len(text) == 0 {
			continue // a track without data stays as it is
		}
		bits, ok := sets[i].bitsOf(text)
		if !ok {
			return s, errFormat
		}
		s[i] = bits
	}
	return s, nil
}

func writeRaw(s stripe, b []byte) (stripe, error) {
	b = b[2:]
	for i := range s {
		n := int(b[2])
		if n > 0 {
			s[i] = nil
			for _, v := range b[3 : 3+n] {
				for k := range 8 {
					s[i] = append(s[i], v>>k&1)
				}
			}
		}
		b = b[3+n:]
	}
	return s, nil
}

func readISO(s stripe) []byte {
	out := []byte{esc, 's'}
	for i, bits := range s {
		out = append(out, esc, byte(i+1))
		switch text, ok := sets[i].textOf(bits); {
		case !ok:
			out = append(out, esc, '*')
		case text == nil:
			out = append(out, esc, '+')
		default:
			out = append(out, text...)
		}
	}
	return append(out, '?', fs, esc, '0')
}

func readRaw(s stripe) []byte {
	out := []byte{esc, 's'}
	for i, bits := range s {
		packed := make([]byte, (len(bits)+7)/8)
		for k, b := range bits {
			packed[k/8] |= b << (k % 8)
		}
		out = append(append(out, esc, byte(i+1), byte(len(packed))), packed...)
	}
	return append(out, '?', fs, esc, '0')
}
