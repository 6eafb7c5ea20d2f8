package usim

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// tuak is the algorithm set of TS 35.231, with a MAC of 64 bits: AUTN has room for
// no other.
type tuak struct {
	k, topc      []byte // 16 or 32 bytes, and 32
	res, ck, ik  int    // bytes
	permutations int
}

// newTUAK takes TOPc, or TOP.
func newTUAK(k, top []byte, isTOPc bool, res, ckik, permutations int) *tuak {
	t := &tuak{k: k, topc: top, res: res, ck: ckik, ik: ckik, permutations: permutations}
	if !isTOPc {
		out := t.compute(0, nil, 0, 0) // clause 6.1: INSTANCE is zero but for the key's length
		t.topc = field(out, 0, 32)
	}
	return t
}

// compute fills IN of clause 6.1 and runs the permutation over it. Fields stand in it
// from their last byte to their first.
func (t *tuak) compute(instance byte, challenge []byte, amf uint16, sqn uint64) []byte {
	if len(t.k) == 32 {
		instance |= 1
	}
	in := backwards(t.topc)
	in = append(in, instance)
	in = append(in, backwards([]byte("TUAK1.0"))...)
	in = append(in, padded0(backwards(challenge), 16)...)
	in = binary.LittleEndian.AppendUint16(in, amf)
	in = append(in, binary.LittleEndian.AppendUint64(nil, sqn)[:6]...)
	in = append(in, padded0(backwards(t.k), 32)...)
	in = append(in, 0x1F)
	in = padded0(in, 135)
	in = padded0(append(in, 0x80), 200)
	var s sponge
	for i := range 25 {
		s[i%5][i/5] = binary.LittleEndian.Uint64(in[8*i:])
	}
	for range t.permutations {
		s.permute()
	}
	out := in[:0]
	for i := range 25 {
		out = binary.LittleEndian.AppendUint64(out, s[i%5][i/5])
	}
	return out
}

func backwards(b []byte) []byte {
	out := slices.Clone(b)
	slices.Reverse(out)
	return out
}

func padded0(b []byte, n int) []byte { return append(b, make([]byte, n-len(b))...) }

// field is n bytes of OUT from a place on.
func field(out []byte, at, n int) []byte { return backwards(out[at : at+n]) }

// macs are MAC-A and MAC-S (f1 and f1*); 08 says that they have 64 bits.
func (t *tuak) macs(challenge []byte, sqn uint64, amf uint16) (a, s uint64) {
	a = binary.LittleEndian.Uint64(t.compute(0x08, challenge, amf, sqn))
	return a, binary.LittleEndian.Uint64(t.compute(0x88, challenge, amf, sqn))
}

// answer is what f2 to f5 give: ak has 48 bits.
func (t *tuak) answer(challenge []byte) (res, ck, ik []byte, ak uint64) {
	instance := byte(0x40) | byte(t.res/8)<<3
	if t.ck == 32 {
		instance |= 0x04
	}
	if t.ik == 32 {
		instance |= 0x02
	}
	out := t.compute(instance, challenge, 0, 0)
	return field(out, 0, t.res), field(out, 32, t.ck), field(out, 64, t.ik), get48(field(out, 96, 6))
}

// akStar is f5*, 48 bits.
func (t *tuak) akStar(challenge []byte) uint64 {
	return get48(field(t.compute(0xC0, challenge, 0, 0), 96, 6))
}

// sponge is the state of Keccak-f[1600] (FIPS 202 section 3.1.2), by x and then y.
type sponge [5][5]uint64

// turns are the rotations of ρ (FIPS 202 table 2), by x and then y.
var turns = [5][5]int{{0, 36, 3, 41, 18}, {1, 44, 10, 45, 2}, {62, 6, 43, 15, 61}, {28, 55, 25, 21, 56}, {27, 20, 39, 8, 14}}

// permute is Keccak-f[1600], step by step as FIPS 202 section 3.2 writes it.
func (s *sponge) permute() {
	register := uint16(1)
	for range 24 {
		var parity [5]uint64
		for x := range 5 {
			for y := range 5 {
				parity[x] ^= s[x][y]
			}
		}
		var b sponge
		for x := range 5 {
			d := parity[(x+4)%5] ^ bits.RotateLeft64(parity[(x+1)%5], 1)
			for y := range 5 {
				b[y][(2*x+3*y)%5] = bits.RotateLeft64(s[x][y]^d, turns[x][y])
			}
		}
		for x := range 5 {
			for y := range 5 {
				s[x][y] = b[x][y] ^ b[(x+2)%5][y]&^b[(x+1)%5][y]
			}
		}
		for j := range 7 { // the constants come out of a register, bit after bit
			if register&1 != 0 {
				s[0][0] ^= 1 << (1<<j - 1)
			}
			if register <<= 1; register&0x100 != 0 {
				register ^= 0x171
			}
		}
	}
}
