package aka

import (
	"encoding/binary"
	"math/bits"
)

// keccakRounds is the number of rounds of Keccak-f[1600].
const keccakRounds = 24

// keccakConstants are the round constants of ι. They follow from the linear
// feedback shift register of FIPS 202 section 3.2.5.
var keccakConstants = func() (out [keccakRounds]uint64) {
	r := byte(1)
	for round := range out {
		for j := range 7 {
			if r&1 == 1 {
				out[round] |= 1 << (1<<j - 1)
			}
			carry := r >> 7
			r = r<<1 ^ carry*0x71
		}
	}
	return out
}()

// keccakF is the permutation Keccak-f[1600] (FIPS 202 section 3.3) on 200 bytes:
// lane (x, y) is the little-endian number at 8(5y + x).
func keccakF(state *[200]byte) {
	var a [25]uint64
	for i := range a {
		a[i] = binary.LittleEndian.Uint64(state[8*i:])
	}
	for _, constant := range keccakConstants {
		keccakRound(&a, constant)
	}
	for i, lane := range a {
		binary.LittleEndian.PutUint64(state[8*i:], lane)
	}
	clear(a[:])
}

func keccakRound(a *[25]uint64, constant uint64) {
	// θ
	var column [5]uint64
	defer clear(column[:])
	for x := range column {
		column[x] = a[x] ^ a[x+5] ^ a[x+10] ^ a[x+15] ^ a[x+20]
	}
	for i := range a {
		a[i] ^= column[(i+4)%5] ^ bits.RotateLeft64(column[(i+1)%5], 1)
	}
	// ρ and π: lane after lane along the path (x, y) to (y, 2x + 3y), turned by
	// the triangular numbers.
	x, y, moved := 1, 0, a[1]
	for t := range 24 {
		x, y = y, (2*x+3*y)%5
		i := 5*y + x
		a[i], moved = bits.RotateLeft64(moved, (t+1)*(t+2)/2), a[i]
	}
	// χ
	var r [5]uint64
	defer clear(r[:])
	for row := 0; row < len(a); row += 5 {
		copy(r[:], a[row:row+5])
		for x := range r {
			a[row+x] = r[x] ^ ^r[(x+1)%5]&r[(x+2)%5]
		}
	}
	// ι
	a[0] ^= constant
}
