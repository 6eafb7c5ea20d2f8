package stock

import (
	"fmt"
	"time"
)

// Shift is one shift of the bureau. Its sheet counts what was present when it
// opened as carried in; issued, spoiled, test and returned are those of the
// shift alone.
type Shift struct {
	Number   int64     `json:"number"`
	OpenedAt time.Time `json:"openedAt"`
	ClosedAt time.Time `json:"closedAt,omitzero"` // zero while it is open: the counts are then those of this moment
	Counts   Counts    `json:"counts"`
}

// Follows says whether a shift's sheet continues the one before it: what that
// one left is what this one carried in. A difference is an error that names
// both numbers, as is a sheet that does not balance in itself.
func (s Shift) Follows(before Shift) error {
	if err := before.Counts.Balance(); err != nil {
		return fmt.Errorf("shift %d: %w", before.Number, err)
	}
	if err := s.Counts.Balance(); err != nil {
		return fmt.Errorf("shift %d: %w", s.Number, err)
	}
	if left, carried := before.Counts.Present(), s.Counts.CarriedIn; left != carried {
		return fmt.Errorf("shift %d left %d blanks, shift %d carried %d in", before.Number, left, s.Number, carried)
	}
	return nil
}
