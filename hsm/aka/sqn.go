package aka

import (
	"fmt"
)

// SQN is a sequence number, 48 bits: SEQ ‖ IND (TS 33.102 annex C.1.1.1).
type SQN uint64

// maxSQN is 2^48 - 1.
const maxSQN SQN = 1<<48 - 1

// AMF is the authentication management field. Bit 0, the top bit of the first
// byte, says that the vector is for E-UTRAN or later (TS 33.401 6.1.2).
type AMF [AMFSize]byte

// amfResync is AMF* of resynchronization, "a dummy value of all zeros" (TS
// 33.102 clause 6.3.3).
var amfResync = AMF{}

// Bytes is the number as it goes into f1: 6 bytes, big-endian. Bits above 48
// are dropped.
func (s SQN) Bytes() (b [SQNSize]byte) {
	for i := range b {
		b[i] = byte(s >> (8 * (SQNSize - 1 - i)))
	}
	return b
}

// ParseSQN reads 6 bytes, big-endian.
func ParseSQN(b [SQNSize]byte) (s SQN) {
	for _, v := range b {
		s = s<<8 | SQN(v)
	}
	return s
}

// Scheme says how sequence numbers are made and accepted (TS 33.102 annex C).
// Both sides must agree on INDBits.
type Scheme struct {
	// INDBits is how many low bits are the index into the array of the USIM: 5
	// gives 32 places (C.1.1.1, C.3.1). 0 to 16.
	INDBits int
	// Delta is Δ: how far SEQ may jump ahead (C.2.1), 0: no bound.
	Delta uint64
	// L is how far an unused SEQ may lie behind the highest one (C.2.2), 0: no
	// bound.
	L uint64
}

// DefaultScheme is profile 1 and 2 of annex C.3: IND of 5 bits, Δ = 2^28, and
// no limit of age.
func DefaultScheme() Scheme { return Scheme{INDBits: 5, Delta: 1 << 28} }

// Check refuses a scheme outside the ranges.
func (s Scheme) Check() error {
	if s.INDBits < 0 || s.INDBits > 16 {
		return fmt.Errorf("%w: IND has 0 to 16 bits, not %d", ErrInput, s.INDBits)
	}
	return nil
}

// Split takes a number apart.
func (s Scheme) Split(n SQN) (seq uint64, ind int) {
	return uint64(n) >> s.INDBits, int(uint64(n) & (1<<s.INDBits - 1))
}

// Join puts a number together. It fails when SEQ or IND does not fit.
func (s Scheme) Join(seq uint64, ind int) (SQN, error) {
	if seq > uint64(maxSQN)>>s.INDBits || ind < 0 || ind >= 1<<s.INDBits {
		return 0, fmt.Errorf("%w: SEQ or IND is too large", ErrInput)
	}
	return SQN(seq<<s.INDBits | uint64(ind)), nil
}

// Next is the number after n, for the authentication centre: SEQ one higher, IND
// the next in turn (C.1.1.3, with a counter that is no clock). It fails when the
// numbers are used up: the subscriber then needs a new key.
func (s Scheme) Next(n SQN) (SQN, error) {
	_, ind := s.Split(n)
	return s.NextIn(n, (ind+1)&(1<<s.INDBits-1))
}

// NextIn is Next with an index of the caller's. A USIM keeps a SEQ for each IND
// (C.2.2), so that an authentication centre beside the network's, which uses one
// IND that the network does not, spoils none of the network's numbers.
func (s Scheme) NextIn(n SQN, ind int) (SQN, error) {
	seq, _ := s.Split(n)
	next, err := s.Join(seq+1, ind)
	if err != nil {
		return 0, fmt.Errorf("there is no next sequence number: %w", err)
	}
	return next, nil
}

// Acceptable says whether a USIM whose highest accepted number is highest
// accepts n, as far as one can know without its array: SEQ is higher, and by no
// more than Δ. An authentication centre asks it of its next number before it
// gives up its own count for what AUTS says (clause 6.3.5 step 2).
func (s Scheme) Acceptable(n, highest SQN) bool {
	seq, _ := s.Split(n)
	top, _ := s.Split(highest)
	return seq > top && (s.Delta == 0 || seq-top <= s.Delta)
}

// Window is what a USIM remembers of sequence numbers: the highest SEQ of each
// IND (annex C.2.2). It is here so that the home network can predict an answer
// and rehearse; a USIM has its own.
type Window struct {
	Scheme Scheme
	SEQ    []uint64 // by IND; 1 << INDBits of them
}

// NewWindow is that of a USIM that has accepted nothing.
func NewWindow(s Scheme) (*Window, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	return &Window{Scheme: s, SEQ: make([]uint64, 1<<s.INDBits)}, nil
}

// Highest is SQN_MS: the highest number accepted (C.2.1).
func (w *Window) Highest() SQN {
	best := 0
	for i, v := range w.SEQ {
		if v > w.SEQ[best] {
			best = i
		}
	}
	return SQN(w.SEQ[best]<<w.Scheme.INDBits | uint64(best))
}

// Accept takes a number that is fresh and remembers it; false: it is not fresh,
// and nothing changed. Fresh means that SEQ is above that of its IND, no more than Δ above the
// highest of all (C.2.1), and no more than L below it (C.2.2).
func (w *Window) Accept(n SQN) bool {
	seq, ind := w.Scheme.Split(n)
	if ind >= len(w.SEQ) || n > maxSQN {
		return false
	}
	top, _ := w.Scheme.Split(w.Highest())
	switch {
	case w.Scheme.Delta != 0 && seq > top && seq-top > w.Scheme.Delta,
		w.Scheme.L != 0 && seq < top && top-seq > w.Scheme.L,
		seq <= w.SEQ[ind]:
		return false
	}
	w.SEQ[ind] = seq
	return true
}
