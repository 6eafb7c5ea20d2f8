package store

import (
	"errors"
	"slices"
	"testing"

	"cardbureau/personalization/stock"
)

func TestSheetByReader(t *testing.T) {
	b := newBench(t)
	b.blanks(6)
	b.released(1, 6)
	st := b.station()
	before := b.claim(st, 0) // of the shift before
	b.must(st.Finish(b.ctx, finish(before, OutcomeIssued)))

	sh, err := b.OpenShift(b.ctx, b.ali)
	b.must(err)
	if counts, err := b.ReaderCounts(b.ctx, sh); err != nil || len(counts) != 0 {
		t.Fatalf("a new shift has %+v, %v", counts, err)
	}
	b.must(st.Finish(b.ctx, finish(b.claim(st, 1), OutcomeIssued)))
	b.must(st.Finish(b.ctx, finish(b.claim(st, 2), OutcomeClean)))
	torn := b.claim(st, 2)
	b.must(st.Finish(b.ctx, finish(torn, OutcomeInDoubt)))
	again, err := st.Resume(b.ctx, serial(2), "another reader")
	b.must(err)
	b.must(st.Finish(b.ctx, finish(again, OutcomeIssued)))
	given := b.claim(st, 3)
	b.must(st.Finish(b.ctx, finish(given, OutcomeInDoubt)))
	b.must(b.SettleInDoubt(b.ctx, Settlement{AttemptID: given.AttemptID, To: stock.Spoiled, Reason: "torn", Approvers: [2]Actor{b.ali, b.zahra}}))
	doubt := b.claim(st, 4)
	b.must(st.Finish(b.ctx, finish(doubt, OutcomeInDoubt)))

	got, err := b.ReaderCounts(b.ctx, sh)
	b.must(err)
	if len(got) != 2 {
		t.Fatalf("got %+v", got)
	}
	reader, station := got[1].Reader, got[1].Station
	want := []ReaderCount{
		{Reader: "another reader", Station: station, Attempts: 1, Issued: 1},
		{Reader: reader, Station: station, Attempts: 4, Issued: 1, Clean: 1, Spoiled: 1, InDoubt: 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}

	number, err := b.AttemptCard(b.ctx, doubt.AttemptID)
	b.must(err)
	if number != doubt.Image.CardNumber {
		t.Errorf("card %q, want %q", number, doubt.Image.CardNumber)
	}
	if _, err := b.AttemptCard(b.ctx, NewID()); !errors.Is(err, ErrNotFound) {
		t.Errorf("an attempt that never was: %v", err)
	}

	if _, err := b.ClosedShift(b.ctx, 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("no shift was closed: %v", err)
	}
	closed, err := b.CloseShift(b.ctx, b.ali)
	b.must(err)
	for _, n := range []int64{0, closed.Number} {
		last, err := b.ClosedShift(b.ctx, n)
		b.must(err)
		if !last.ClosedAt.Equal(closed.ClosedAt) || last.Number != closed.Number || last.Counts != closed.Counts {
			t.Errorf("shift %d again: %+v, was %+v", n, last, closed)
		}
	}
	after := b.claim(st, 5) // of no shift
	b.must(st.Finish(b.ctx, finish(after, OutcomeIssued)))
	if again, err := b.ReaderCounts(b.ctx, closed); err != nil || !slices.Equal(again, want) {
		t.Errorf("after the shift: %+v, %v", again, err)
	}
}
