package aka

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"errors"
	"fmt"
)

// Sizes in bytes.
const (
	RANDSize = 16
	SQNSize  = 6
	AMFSize  = 2
	AUTNSize = 16
	AUTSSize = 14
	macSize  = 8
	akSize   = 6
	block    = 16
)

// ErrInput marks an input of a wrong length or range.
var ErrInput = errors.New("aka: wrong input")

// Algorithm is a set of the functions f1 to f5* under one subscriber's keys
// (TS 33.102 clause 6.3.2). Results belong to the caller. It is safe for
// concurrent use until Zero.
type Algorithm interface {
	// F1 is the network authentication function: MAC-A, 8 bytes.
	F1(rand [RANDSize]byte, sqn [SQNSize]byte, amf [AMFSize]byte) Secret
	// F1Star is the resynchronization message authentication function: MAC-S,
	// 8 bytes.
	F1Star(rand [RANDSize]byte, sqn [SQNSize]byte, amf [AMFSize]byte) Secret
	// F2345 gives RES, CK, IK and AK.
	F2345(rand [RANDSize]byte) Keys
	// F5Star gives the anonymity key of resynchronization.
	F5Star(rand [RANDSize]byte) Secret
	// Zero overwrites the subscriber's keys where Go lets it.
	Zero()
}

// Keys is what f2 to f5 give.
type Keys struct {
	RES Secret // 4 to 32 bytes: 8 in MILENAGE
	CK  Secret // 16 or 32 bytes: 16 in MILENAGE
	IK  Secret // as CK
	AK  Secret // 6 bytes
}

// Zero overwrites them.
func (k Keys) Zero() {
	k.RES.Zero()
	k.CK.Zero()
	k.IK.Zero()
	k.AK.Zero()
}

// Constants are the parameters c1 to c5 (16 bytes) and r1 to r5 (bits to the
// left, 0 to 127) of MILENAGE, which an operator may choose (TS 35.206 clause
// 5.3). They are public here.
type Constants struct {
	C [5][block]byte
	R [5]int
}

// DefaultConstants are those of TS 35.206 clause 4.1.
func DefaultConstants() Constants {
	c := Constants{R: [5]int{64, 0, 32, 64, 96}}
	for i, v := range []byte{0, 1, 2, 4, 8} {
		c.C[i][block-1] = v
	}
	return c
}

// Check refuses rotations outside 0 to 127, and equal pairs of c and r: TS
// 35.206 clause 5.3 demands that the pairs differ.
func (c Constants) Check() error {
	for i, r := range c.R {
		if r < 0 || r > 127 {
			return fmt.Errorf("%w: r%d is %d, outside 0 to 127", ErrInput, i+1, r)
		}
		for j := range i {
			if c.R[j] == r && c.C[j] == c.C[i] {
				return fmt.Errorf("%w: c and r of number %d are those of %d", ErrInput, i+1, j+1)
			}
		}
	}
	return nil
}

// Milenage is the algorithm set of TS 35.206 with AES-128 as its kernel.
type Milenage struct {
	constants Constants
	opc       [block]byte
	kernel    cipher.Block
}

// OPc derives the subscriber's OPc from K and the operator's OP, 16 bytes each
// (TS 35.206 clause 4.1): OP ⊕ E_K(OP).
func OPc(k, op Secret) (Secret, error) {
	if len(k) != block || len(op) != block {
		return nil, fmt.Errorf("%w: K and OP have 16 bytes", ErrInput)
	}
	kernel, err := aes.NewCipher(k)
	if err != nil {
		return nil, fmt.Errorf("aka: %w", err)
	}
	out := make(Secret, block)
	kernel.Encrypt(out, op)
	subtle.XORBytes(out, out, op)
	return out, nil
}

// NewMilenage takes a subscriber's K and OPc, 16 bytes each, with the default
// constants.
func NewMilenage(k, opc Secret) (*Milenage, error) {
	return NewMilenageWith(k, opc, DefaultConstants())
}

// NewMilenageWith is NewMilenage with an operator's own constants.
func NewMilenageWith(k, opc Secret, c Constants) (*Milenage, error) {
	if len(k) != block || len(opc) != block {
		return nil, fmt.Errorf("%w: K and OPc have 16 bytes", ErrInput)
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	kernel, err := aes.NewCipher(k)
	if err != nil {
		return nil, fmt.Errorf("aka: %w", err)
	}
	return &Milenage{constants: c, opc: [block]byte(opc), kernel: kernel}, nil
}

// String hides the keys.
func (*Milenage) String() string { return "MILENAGE " + redacted }

// Format hides the keys from every verb.
func (m *Milenage) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(m.String())) }

// Zero overwrites OPc and lets go of the expanded K, which crypto/aes gives no
// way to overwrite. Its user must not use it again.
func (m *Milenage) Zero() {
	clear(m.opc[:])
	m.kernel = nil
}

// temp is E_K(RAND ⊕ OPc). It is secret: whoever asks clears it.
func (m *Milenage) temp(rand *[RANDSize]byte) (t [block]byte) {
	subtle.XORBytes(t[:], rand[:], m.opc[:])
	m.kernel.Encrypt(t[:], t[:])
	return t
}

// out1 is OUT1 of TS 35.206 clause 4.1: MAC-A ‖ MAC-S.
func (m *Milenage) out1(out *[block]byte, rand [RANDSize]byte, sqn [SQNSize]byte, amf [AMFSize]byte) {
	var in [block]byte
	defer clear(in[:])
	copy(in[0:], sqn[:])
	copy(in[6:], amf[:])
	copy(in[8:], in[:8])
	subtle.XORBytes(in[:], in[:], m.opc[:])
	rotate(out, &in, m.constants.R[0])
	t := m.temp(&rand)
	defer clear(t[:])
	subtle.XORBytes(out[:], out[:], t[:])
	subtle.XORBytes(out[:], out[:], m.constants.C[0][:])
	m.kernel.Encrypt(out[:], out[:])
	subtle.XORBytes(out[:], out[:], m.opc[:])
}

// out is OUT2 to OUT5, n from 2.
func (m *Milenage) out(out, temp *[block]byte, n int) {
	var in [block]byte
	defer clear(in[:])
	subtle.XORBytes(in[:], temp[:], m.opc[:])
	rotate(out, &in, m.constants.R[n-1])
	subtle.XORBytes(out[:], out[:], m.constants.C[n-1][:])
	m.kernel.Encrypt(out[:], out[:])
	subtle.XORBytes(out[:], out[:], m.opc[:])
}

// take gives a part of a block memory of its own, so that Zero reaches all that is left
// once the block is cleared.
func take(part []byte) Secret { return append(make(Secret, 0, len(part)), part...) }

// F1 is MAC-A: OUT1[0..63].
func (m *Milenage) F1(rand [RANDSize]byte, sqn [SQNSize]byte, amf [AMFSize]byte) Secret {
	var o [block]byte
	defer clear(o[:])
	m.out1(&o, rand, sqn, amf)
	return take(o[:macSize])
}

// F1Star is MAC-S: OUT1[64..127].
func (m *Milenage) F1Star(rand [RANDSize]byte, sqn [SQNSize]byte, amf [AMFSize]byte) Secret {
	var o [block]byte
	defer clear(o[:])
	m.out1(&o, rand, sqn, amf)
	return take(o[macSize:])
}

// F2345 is RES of 8 bytes and AK from OUT2, CK from OUT3 and IK from OUT4.
func (m *Milenage) F2345(rand [RANDSize]byte) Keys {
	t := m.temp(&rand)
	defer clear(t[:])
	var two, three, four [block]byte
	m.out(&two, &t, 2)
	defer clear(two[:])
	m.out(&three, &t, 3)
	defer clear(three[:])
	m.out(&four, &t, 4)
	defer clear(four[:])
	return Keys{RES: take(two[8:]), CK: take(three[:]), IK: take(four[:]), AK: take(two[:akSize])}
}

// F5Star is AK of resynchronization: OUT5[0..47].
func (m *Milenage) F5Star(rand [RANDSize]byte) Secret {
	t := m.temp(&rand)
	defer clear(t[:])
	var o [block]byte
	defer clear(o[:])
	m.out(&o, &t, 5)
	return take(o[:akSize])
}

// rotate turns x by r bits to the left, towards the most significant bit. r is
// no secret.
func rotate(out, x *[block]byte, r int) {
	whole, bits := r/8, uint(r%8)
	for i := range out {
		high, low := x[(i+whole)%block], x[(i+whole+1)%block]
		out[i] = high<<bits | byte(uint16(low)>>(8-bits))
	}
}
