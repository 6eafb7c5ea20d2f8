package store

import (
	"testing"
	"time"

	"cardbureau/personalization/stock"
)

func TestOneCard(t *testing.T) {
	b := newBench(t)
	b.blanks(2)
	order := b.released(1, 1)[0]
	st := b.station()

	before := b.Statements()["line"]
	c := b.claim(st, 0)
	if c.Order.ID != order || c.Resumed || string(c.Image.Content) != "content" || c.Key.Epoch != "2026-01" {
		t.Fatalf("claim: %+v", c)
	}
	if b.state(order) != OrderInProgress || b.blankState(0) != stock.InUse {
		t.Fatal("the claim is not committed")
	}
	steps := []Step{{1, "open-channel", StepIntent, 0, time.Now()}, {2, "open-channel", StepDone, 0x9000, time.Now()}}
	b.must(st.Journal(b.ctx, c.AttemptID, c.Fence, steps))
	f := finish(c, OutcomeIssued)
	f.Steps = []Step{{3, "prove", StepDone, 0, time.Now()}}
	b.must(st.Finish(b.ctx, f))
	if n := b.Statements()["line"] - before - 1; n != 3 { // one was ours, to look at the blank
		t.Errorf("a card took %d statements, want 3", n)
	}
	b.must(st.Finish(b.ctx, f)) // the answer may have been lost

	card, err := b.CardByNumber(b.ctx, c.Image.CardNumber, "test", b.ali)
	b.must(err)
	if card.State != CardMade || card.Serial != serial(0) || card.OrderID != order || len(card.Image.Secrets) != 0 { // a visit releases them
		t.Fatalf("card: %+v", card)
	}
	o, err := b.Order(b.ctx, order)
	b.must(err)
	if o.State != OrderIssued || o.CardNumber != card.Number {
		t.Fatalf("order: %+v", o)
	}
	want := stock.Counts{Received: 2, Issued: 1, OnHand: 1}
	if got := b.balanced(); got != want {
		t.Fatalf("counts %+v, want %+v", got, want)
	}
}
