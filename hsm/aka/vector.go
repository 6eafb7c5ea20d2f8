package aka

import (
	"crypto/subtle"
	"errors"
	"fmt"
)

// ErrAUTS marks an AUTS that this subscriber's key did not make.
var ErrAUTS = errors.New("aka: the resynchronization token is not this subscriber's")

// ErrAUTN marks an AUTN that this subscriber's key did not make.
var ErrAUTN = errors.New("aka: the network's authentication token is not this subscriber's")

// Vector is an authentication vector, or quintet (TS 33.102 clause 6.3.2). RAND
// and AUTN go to the SIM; the others go nowhere.
type Vector struct {
	RAND [RANDSize]byte
	AUTN [AUTNSize]byte
	XRES Secret
	CK   Secret
	IK   Secret
}

// Zero overwrites what is secret.
func (v Vector) Zero() {
	v.XRES.Zero()
	v.CK.Zero()
	v.IK.Zero()
}

// NewVector makes the vector of a challenge and a sequence number: AUTN = SQN ⊕
// AK ‖ AMF ‖ MAC-A. The caller sees to it that no number is used twice. A
// number above 48 bits fails, and so do results of an algorithm that AUTN has no
// room for.
func NewVector(a Algorithm, rand [RANDSize]byte, sqn SQN, amf AMF) (Vector, error) {
	if sqn > maxSQN {
		return Vector{}, fmt.Errorf("%w: a sequence number has 48 bits", ErrInput)
	}
	s := sqn.Bytes()
	defer clear(s[:])
	mac := a.F1(rand, s, amf)
	defer mac.Zero()
	if len(mac) != macSize {
		return Vector{}, fmt.Errorf("%w: AUTN has room for a MAC of 8 bytes", ErrInput)
	}
	k := a.F2345(rand)
	defer k.AK.Zero()
	v := Vector{RAND: rand, XRES: k.RES, CK: k.CK, IK: k.IK}
	subtle.XORBytes(v.AUTN[:], s[:], k.AK)
	copy(v.AUTN[SQNSize:], amf[:])
	copy(v.AUTN[SQNSize+AMFSize:], mac)
	return v, nil
}

// CheckRES compares a response with the expected one in constant time. It fails
// for a length that is not that of XRES.
func CheckRES(xres Secret, res []byte) bool {
	return len(xres) > 0 && subtle.ConstantTimeCompare(xres, res) == 1
}

// OpenAUTN is what a USIM does with RAND and AUTN (clause 6.3.3): it gives the
// number and AMF of one whose MAC is right, and otherwise ErrAUTN. Whether the
// number is fresh is another question (Window).
func OpenAUTN(a Algorithm, rand [RANDSize]byte, autn [AUTNSize]byte) (SQN, AMF, error) {
	k := a.F2345(rand)
	defer k.Zero()
	var s [SQNSize]byte
	defer clear(s[:])
	subtle.XORBytes(s[:], autn[:SQNSize], k.AK)
	amf := AMF(autn[SQNSize:])
	mac := a.F1(rand, s, amf)
	defer mac.Zero()
	if subtle.ConstantTimeCompare(mac, autn[SQNSize+AMFSize:]) != 1 {
		return 0, AMF{}, ErrAUTN
	}
	return ParseSQN(s), amf, nil
}

// MakeAUTS is what a USIM answers to a number that is not fresh (clause 6.3.3):
// SQN_MS ⊕ AK* ‖ MAC-S, with AMF* of zeros.
func MakeAUTS(a Algorithm, rand [RANDSize]byte, sqnMS SQN) (out [AUTSSize]byte, err error) {
	if sqnMS > maxSQN {
		return out, fmt.Errorf("%w: a sequence number has 48 bits", ErrInput)
	}
	s := sqnMS.Bytes()
	defer clear(s[:])
	mac := a.F1Star(rand, s, amfResync)
	defer mac.Zero()
	if len(mac) != macSize {
		return out, fmt.Errorf("%w: AUTS has room for a MAC of 8 bytes", ErrInput)
	}
	ak := a.F5Star(rand)
	defer ak.Zero()
	subtle.XORBytes(out[:], s[:], ak)
	copy(out[SQNSize:], mac)
	return out, nil
}

// OpenAUTS gives SQN_MS of an AUTS that answers RAND (clause 6.3.5). ErrAUTS when
// its MAC-S is wrong.
func OpenAUTS(a Algorithm, rand [RANDSize]byte, auts [AUTSSize]byte) (SQN, error) {
	ak := a.F5Star(rand)
	defer ak.Zero()
	var s [SQNSize]byte
	defer clear(s[:])
	subtle.XORBytes(s[:], auts[:SQNSize], ak)
	mac := a.F1Star(rand, s, amfResync)
	defer mac.Zero()
	if subtle.ConstantTimeCompare(mac, auts[SQNSize:]) != 1 {
		return 0, ErrAUTS
	}
	return ParseSQN(s), nil
}

// Resynchronize is clause 6.3.5: next is the number that the authentication
// centre would use, sqnMS what a right AUTS said. It keeps next where the USIM
// accepts it, and otherwise gives the number after sqnMS.
func (s Scheme) Resynchronize(next, sqnMS SQN) (SQN, error) {
	if s.Acceptable(next, sqnMS) {
		return next, nil
	}
	return s.Next(sqnMS)
}

// Triplet is a GSM authentication vector: SRES of 4 bytes and Kc of 8.
type Triplet struct {
	RAND [RANDSize]byte
	SRES Secret
	Kc   Secret
}

// Zero overwrites what is secret.
func (t Triplet) Zero() {
	t.SRES.Zero()
	t.Kc.Zero()
}

// Triplet converts a quintet for GSM (TS 33.102 clause 6.8.1.2): SRES by c2, the
// response of 16 bytes, padded with zeros, folded by exclusive-or; Kc by c3, CK
// and IK folded. CK and IK of 32 bytes have no conversion, nor has a response
// above 16.
func (v Vector) Triplet() (Triplet, error) {
	if len(v.CK) != block || len(v.IK) != block || len(v.XRES) > block {
		return Triplet{}, fmt.Errorf("%w: c2 and c3 take a response of at most 16 bytes and keys of 16", ErrInput)
	}
	t := Triplet{RAND: v.RAND, SRES: make(Secret, 4), Kc: make(Secret, 8)}
	for i, b := range v.XRES {
		t.SRES[i%4] ^= b
	}
	for i := range block {
		t.Kc[i%8] ^= v.CK[i] ^ v.IK[i]
	}
	return t, nil
}
