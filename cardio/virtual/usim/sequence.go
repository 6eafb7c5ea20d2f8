package usim

import (
	"errors"
	"fmt"

	"cardbureau/cardio/virtual/nvm"
)

// Ahead puts the SIM in a memory out of step: of every index it has accepted a number
// that is seq higher than the highest, so that its authentication centre must be
// resynchronized by what AUTS says (TS 33.102 clause 6.3.5). closed also sets Δ to 0,
// which no number can keep: the SIM then answers every challenge with AUTS. Without
// closed Δ is the usual 2^28. It is for rehearsal, on a SIM that is in no reader.
func Ahead(m *nvm.Memory, seq uint64, closed bool) error {
	space := m.Space("usim")
	old := space.Get(dataPrefix + dataSQN)
	if len(old) != atArray+6*places {
		return errors.New("usim: this is no SIM with a counter")
	}
	state := append([]byte(nil), old...)
	bits := min(int(state[0]&indMask), 5)
	top := highest(state)
	if seq >= 1<<43 || top>>bits+seq >= 1<<(48-bits) {
		return fmt.Errorf("usim: a counter of 48 bits cannot be %d numbers ahead", seq)
	}
	for ind := range uint64(1) << bits { // else an old number of another index were good
		put48(state[atArray+6*int(ind):], (top>>bits+seq)<<bits|ind)
	}
	state[0] |= flagDelta
	put48(state[atDelta:], usualDelta<<bits)
	if closed {
		put48(state[atDelta:], 0)
	}
	space.Set(dataPrefix+dataSQN, state)
	return m.Commit()
}
