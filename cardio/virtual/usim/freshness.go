package usim

// Sequence numbers (TS 33.102 annex C.2), laid out as SJA2's EF.USIM_SQN: two
// bytes of flags, Δ and the limit of age in 6 bytes each, in units of SQN, and
// the last accepted SQN of each IND in 6 bytes.
const (
	flagSkipNext = 0x80 // take the next one, whatever it is
	flagDelta    = 0x40
	flagAge      = 0x20
	flagCheck    = 0x10
	indMask      = 0x0F
	flagsSecond  = 0x03 // SQN is concealed in AUTN and in AUTS

	atDelta = 2
	atAge   = 8
	atArray = 14
	places  = 32

	usualDelta = 1 << 28 // TS 33.102 annex C.3.2
)

func put48(b []byte, v uint64) {
	for i := range 6 {
		b[i] = byte(v >> (8 * (5 - i)))
	}
}

func get48(b []byte) (v uint64) {
	for _, x := range b[:6] {
		v = v<<8 | uint64(x)
	}
	return v
}

func newFreshness(p Profile) []byte {
	b := make([]byte, atArray+6*places)
	b[0], b[1] = flagDelta|flagCheck|byte(p.INDBits), flagsSecond
	if p.AgeLimit != 0 {
		b[0] |= flagAge
	}
	put48(b[atDelta:], p.Delta<<p.INDBits)
	put48(b[atAge:], p.AgeLimit<<p.INDBits)
	put48(b[atArray+6*int(p.SQN&(1<<p.INDBits-1)):], p.SQN)
	return b
}

// highest is SQN_MS.
func highest(state []byte) (top uint64) {
	for i := range places {
		top = max(top, get48(state[atArray+6*i:]))
	}
	return top
}

// fresh says whether a number is accepted, and gives the state with it.
func fresh(state []byte, sqn uint64) (next []byte, ok bool) {
	flags, bits := state[0], min(int(state[0]&indMask), 5)
	ind := int(sqn & (1<<bits - 1))
	top, last := highest(state), get48(state[atArray+6*ind:])
	seq, topSEQ := sqn>>bits, top>>bits
	delta, age := get48(state[atDelta:])>>bits, get48(state[atAge:])>>bits
	next = append([]byte(nil), state...)
	switch {
	case flags&flagSkipNext != 0:
		next[0] &^= flagSkipNext
	case flags&flagCheck == 0:
	case seq <= last>>bits,
		flags&flagDelta != 0 && seq > topSEQ && seq-topSEQ > delta,
		flags&flagAge != 0 && seq < topSEQ && topSEQ-seq > age:
		return nil, false
	}
	put48(next[atArray+6*ind:], sqn)
	return next, true
}
