package aka

import (
	"fmt"
)

// Layout of the input and output of TUAK's permutation, in bytes (TS 35.231
// clause 6). The standard numbers bits from the least significant one of the
// first byte and fields from their most significant bit, so every field stands
// with its bytes reversed.
const (
	tuakTOPc     = 0
	tuakInstance = 32
	tuakName     = 33
	tuakRAND     = 40
	tuakAMF      = 56
	tuakSQN      = 58
	tuakK        = 64
	tuakPad      = 96 // 1F
	tuakEnd      = 135

	tuakCK = 32 // of the output; MAC and RES are at 0
	tuakIK = 64
	tuakAK = 96
)

// TOPcSize is the length of TOP and TOPc in bytes.
const TOPcSize = 32

const tuakAlgorithmName = "TUAK1.0"

// INSTANCE: the function, and the lengths that it depends on.
const (
	instanceF1     = 0x00
	instanceF2345  = 0x40
	instanceF1Star = 0x80
	instanceF5Star = 0xC0
	instanceCK256  = 0x04
	instanceIK256  = 0x02
	instanceK256   = 0x01
)

// TUAKParameters are what an operator chooses of TUAK (TS 35.231 clause 5.1):
// lengths in bytes and how often the permutation runs. They are public here.
type TUAKParameters struct {
	MAC        int // 8, 16 or 32; AUTN and AUTS have room for 8
	RES        int // 4, 8, 16 or 32
	CK, IK     int // 16 or 32
	Iterations int // of Keccak-f[1600]: 1 by default
}

// DefaultTUAK are parameters that a USIM's AUTHENTICATE can carry: MAC and RES
// of 8 bytes, CK and IK of 16, one iteration.
func DefaultTUAK() TUAKParameters {
	return TUAKParameters{MAC: 8, RES: 8, CK: 16, IK: 16, Iterations: 1}
}

// Check refuses what the standard does not have. Iterations are 1 to 255.
func (p TUAKParameters) Check() error {
	ok := (p.MAC == 8 || p.MAC == 16 || p.MAC == 32) &&
		(p.RES == 4 || p.RES == 8 || p.RES == 16 || p.RES == 32) &&
		(p.CK == 16 || p.CK == 32) && (p.IK == 16 || p.IK == 32) &&
		p.Iterations >= 1 && p.Iterations <= 255
	if !ok {
		return fmt.Errorf("%w: these are no parameters of TUAK", ErrInput)
	}
	return nil
}

// TUAK is the algorithm set of TS 35.231.
type TUAK struct {
	parameters TUAKParameters
	k          [32]byte
	keySize    int
	topc       [TOPcSize]byte
}

// NewTUAK takes a subscriber's K of 16 or 32 bytes and TOPc of 32.
func NewTUAK(k, topc Secret, p TUAKParameters) (*TUAK, error) {
	if len(k) != 16 && len(k) != 32 || len(topc) != TOPcSize {
		return nil, fmt.Errorf("%w: K has 16 or 32 bytes and TOPc 32", ErrInput)
	}
	if err := p.Check(); err != nil {
		return nil, err
	}
	t := &TUAK{parameters: p, keySize: len(k), topc: [TOPcSize]byte(topc)}
	copy(t.k[:], k)
	return t, nil
}

// TOPc derives the subscriber's TOPc from K, 16 or 32 bytes, and the operator's
// TOP, 32 bytes (TS 35.231 clause 6.1).
func TOPc(k, top Secret, iterations int) (Secret, error) {
	p := DefaultTUAK()
	p.Iterations = iterations
	t, err := NewTUAK(k, top, p)
	if err != nil {
		return nil, err
	}
	defer t.Zero()
	var out [200]byte
	defer clear(out[:])
	t.run(&out, 0x00, [RANDSize]byte{}, [SQNSize]byte{}, [AMFSize]byte{})
	return reversed(out[:TOPcSize]), nil
}

// String hides the keys.
func (*TUAK) String() string { return "TUAK " + redacted }

// Format hides the keys from every verb.
func (t *TUAK) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.String())) }

// Zero overwrites K and TOPc.
func (t *TUAK) Zero() {
	clear(t.k[:])
	clear(t.topc[:])
}

// run fills the state, which is zeros before, and permutes it.
func (t *TUAK) run(s *[200]byte, instance byte, rand [RANDSize]byte, sqn [SQNSize]byte, amf [AMFSize]byte) {
	if t.keySize == 32 {
		instance |= instanceK256
	}
	s[tuakInstance] = instance
	place(s[tuakTOPc:], t.topc[:])
	place(s[tuakName:], []byte(tuakAlgorithmName))
	place(s[tuakRAND:], rand[:])
	place(s[tuakAMF:], amf[:])
	place(s[tuakSQN:], sqn[:])
	place(s[tuakK:], t.k[:t.keySize])
	s[tuakPad], s[tuakEnd] = 0x1F, 0x80
	for range t.parameters.Iterations {
		keccakF(s)
	}
}

func place(at, field []byte) {
	for i, b := range field {
		at[len(field)-1-i] = b
	}
}

func reversed(field []byte) Secret {
	out := make(Secret, len(field))
	place(out, field)
	return out
}

// lengthCode is how INSTANCE says the length of MAC and RES: 0 for 4 bytes.
func lengthCode(size int) byte { return byte(size&^7) & 0x38 }

// F1 is MAC-A.
func (t *TUAK) F1(rand [RANDSize]byte, sqn [SQNSize]byte, amf [AMFSize]byte) Secret {
	return t.mac(instanceF1, rand, sqn, amf)
}

// F1Star is MAC-S.
func (t *TUAK) F1Star(rand [RANDSize]byte, sqn [SQNSize]byte, amf [AMFSize]byte) Secret {
	return t.mac(instanceF1Star, rand, sqn, amf)
}

func (t *TUAK) mac(function byte, rand [RANDSize]byte, sqn [SQNSize]byte, amf [AMFSize]byte) Secret {
	var out [200]byte
	defer clear(out[:])
	t.run(&out, function|lengthCode(t.parameters.MAC), rand, sqn, amf)
	return reversed(out[:t.parameters.MAC])
}

// F2345 is RES, CK, IK and AK.
func (t *TUAK) F2345(rand [RANDSize]byte) Keys {
	p := t.parameters
	instance := instanceF2345 | lengthCode(p.RES)
	if p.CK == 32 {
		instance |= instanceCK256
	}
	if p.IK == 32 {
		instance |= instanceIK256
	}
	var out [200]byte
	defer clear(out[:])
	t.run(&out, instance, rand, [SQNSize]byte{}, [AMFSize]byte{})
	return Keys{
		RES: reversed(out[:p.RES]), CK: reversed(out[tuakCK : tuakCK+p.CK]),
		IK: reversed(out[tuakIK : tuakIK+p.IK]), AK: reversed(out[tuakAK : tuakAK+akSize]),
	}
}

// F5Star is AK of resynchronization.
func (t *TUAK) F5Star(rand [RANDSize]byte) Secret {
	var out [200]byte
	defer clear(out[:])
	t.run(&out, instanceF5Star, rand, [SQNSize]byte{}, [AMFSize]byte{})
	return reversed(out[tuakAK : tuakAK+akSize])
}
