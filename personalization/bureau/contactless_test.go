package bureau_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
	"cardbureau/personalization/line"
	"cardbureau/personalization/line/rehearsal"
)

// changing alters the card's answer to commands that begin with some bytes.
type changing struct {
	card   apdu.Card
	header []byte
	answer func([]byte) []byte
}

func (c changing) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	out, err := c.card.Transmit(ctx, command)
	if err == nil && bytes.HasPrefix(command, c.header) {
		out = c.answer(out)
	}
	return out, err
}

// flipped changes the last byte of an answer's data.
func flipped(b []byte) []byte {
	if len(b) > 2 {
		b[len(b)-3] ^= 1
	}
	return b
}

// TestContactlessProof: a card whose contactless directory is not there, or whose
// record for contactless terminals has one wrong byte, is never issued.
func TestContactlessProof(t *testing.T) {
	w := newWorks(t, "identity-bank-contactless", 2, 2)
	for _, c := range []struct {
		header []byte
		answer func([]byte) []byte
		want   string
	}{
		{append([]byte{0x00, 0xA4, 0x04, 0x00, 14}, "2PAY.SYS.DDF01"...), func([]byte) []byte { return []byte{0x6A, 0x82} }, "PPSE"},
		{[]byte{0x00, 0xB2, 0x02, 1<<3 | 4}, flipped, "not what was written"},
	} {
		l, closeLine := w.line(t)
		detail := ""
		l.Events = func(e line.Event) {
			if e.Kind == line.Finished {
				detail = e.Detail
			}
		}
		reader := rehearsal.NewReader("A", w.tray)
		reader.Wrap = func(chip *virtual.Chip) apdu.Card { return changing{chip, c.header, c.answer} }
		sum, err := l.Run(t.Context(), []line.Slot{stopAfterOne(reader)})
		if err != nil || sum.Quarantined != 1 || !strings.Contains(detail, c.want) {
			t.Errorf("%s: %+v, %v: %s", c.want, sum, err, detail)
		}
		if err := closeLine(); err != nil {
			t.Fatal(err)
		}
	}
}
