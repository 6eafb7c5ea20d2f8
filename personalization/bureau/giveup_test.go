package bureau_test

import (
	"context"
	"errors"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
	"cardbureau/personalization/line"
	"cardbureau/personalization/line/rehearsal"
)

// refusing is a chip that refuses STORE DATA.
type refusing struct{ apdu.Card }

func (r refusing) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if len(command) > 1 && command[1] == 0xE2 {
		return []byte{0x6A, 0x84}, nil
	}
	return r.Card.Transmit(ctx, command)
}

// What goes wrong card after card is not the cards' fault: the blanks that are
// left are spared.
func TestReaderGivesUp(t *testing.T) {
	const blanks = 6
	w := newWorks(t, "identity", blanks, blanks)
	l, closeLine := w.line(t)
	reader := rehearsal.NewReader("A", w.tray)
	reader.Wrap = func(c *virtual.Chip) apdu.Card { return refusing{c} }
	sum, err := l.Run(t.Context(), []line.Slot{reader.Slot()})
	if err := closeLine(); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, line.ErrReaderGivesUp) || sum.Quarantined != 3 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// Orders for another chip do not make a reader draw the same blank for ever.
func TestNoOrderFits(t *testing.T) {
	w := newWorks(t, "identity", 1, 1)
	l, closeLine := w.line(t)
	defer closeLine()
	product := w.b.Profiles.Products["identity"]
	product.Chip = "another"
	sum, err := l.Run(t.Context(), []line.Slot{rehearsal.NewReader("A", w.tray).Slot()})
	if !errors.Is(err, line.ErrNoOrderFits) || sum.Issued+sum.Refused+sum.Quarantined != 0 {
		t.Errorf("%+v, %v", sum, err)
	}
}
