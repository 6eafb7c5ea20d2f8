package emv_test

import (
	"context"
	"errors"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/emv"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
)

// TestBadCards: a terminal ends the transaction with what does not keep to the
// standard.
func TestBadCards(t *testing.T) {
	for name, test := range map[string]struct {
		id     uint16
		change func([]byte) []byte
		want   error
	}{
		"twice":      {0x0301, func(b []byte) []byte { return addTo(t, b, obj(0x5F34, "01")) }, emv.ErrTwice},
		"bad digits": {0x0201, func(b []byte) []byte { return replaceTag(t, b, 0x5F24, []byte{0x31, 0x1A, 0x31}) }, emv.ErrFormat},
		"no date":    {0x0201, func(b []byte) []byte { return replaceTag(t, b, 0x5F24, []byte{0x31, 0x13, 0x31}) }, emv.ErrFormat},
		"bad list":   {0x0202, func(b []byte) []byte { return replaceTag(t, b, 0x8C, []byte{0x9F}) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := standard()
			f.records = map[uint16]func([]byte) []byte{test.id: test.change}
			_, err := terminal(nil).Run(t.Context(), f.card(t), emv.Transaction{})
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestLost: a card that is pulled out at any command ends the transaction with an
// error that says so, and never with an approval.
func TestLost(t *testing.T) {
	f := standard()
	h := &host{t: t, f: f, csu: approve, arc: "00"}
	card := &counter{Card: f.card(t)}
	run(t, terminal(h), card, emv.Transaction{Amount: 5000})
	total := card.n
	for at := 1; at <= total; at++ {
		chip := f.card(t)
		c := &counter{Card: chip, lose: at}
		r, err := terminal(h).Run(t.Context(), c, emv.Transaction{Amount: 5000})
		if !errors.Is(err, apdu.ErrInDoubt) || r.Approved {
			t.Errorf("lost at command %d of %d: %v %v", at, total, r, err)
		}
	}
}

type counter struct {
	apdu.Card
	n, lose int
}

func (c *counter) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if c.n++; c.n == c.lose {
		return nil, virtual.ErrTorn
	}
	return c.Card.Transmit(ctx, command)
}

// replaceTag gives a data object of a record another value.
func replaceTag(t *testing.T, record []byte, tag tlv.Tag, value []byte) []byte {
	t.Helper()
	inner, ok := tlv.Find(record, 0x70)
	list, err := tlv.Parse(inner)
	if !ok || err != nil {
		t.Fatal("no record")
	}
	var out []byte
	for _, o := range list {
		if o.Tag == tag {
			o.Value = value
		}
		out = tlv.Append(out, o.Tag, o.Value)
	}
	return tlv.Encode(0x70, out)
}

func addTo(t *testing.T, record, object []byte) []byte {
	t.Helper()
	inner, _ := tlv.Find(record, 0x70)
	return tlv.Encode(0x70, inner, object)
}
