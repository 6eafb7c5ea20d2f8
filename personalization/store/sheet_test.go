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
	b.released(1, 7)
	st := b.station()
	b.must(st.Finish(b.ctx, finish(b.claim(st, 0), OutcomeIssued))) // before the shift

	sh, err := b.OpenShift(b.ctx, b.ali)
	b.must(err)
	if w, err := b.ShiftWork(b.ctx, sh); err != nil || len(w.Readers)+len(w.InDoubt) != 0 {
		t.Fatalf("a new shift has %+v, %v", w, err)
	}
	b.must(st.Finish(b.ctx, finish(b.claim(st, 1), OutcomeIssued)))
	b.must(st.Finish(b.ctx, finish(b.claim(st, 2), OutcomeClean)))
	b.must(st.Finish(b.ctx, finish(b.claim(st, 2), OutcomeInDoubt)))
	again, err := st.Resume(b.ctx, serial(2), "another reader")
	b.must(err)
	b.must(st.Finish(b.ctx, finish(again, OutcomeIssued)))
	given := b.claim(st, 3)
	b.must(st.Finish(b.ctx, finish(given, OutcomeInDoubt)))
	b.must(b.SettleInDoubt(b.ctx, Settlement{AttemptID: given.AttemptID, To: stock.Spoiled, Reason: "torn", Approvers: [2]Actor{b.ali, b.zahra}}))
	doubt := b.claim(st, 4)
	b.must(st.Finish(b.ctx, finish(doubt, OutcomeInDoubt)))
	running := b.claim(st, 5)

	check := func(sh stock.Shift) {
		t.Helper()
		got, err := b.ShiftWork(b.ctx, sh)
		b.must(err)
		if len(got.Readers) != 2 || len(got.InDoubt) != 1 {
			t.Fatalf("got %+v", got)
		}
		reader, station := got.Readers[1].Reader, got.Readers[1].Station
		want := []ReaderCount{
			{Reader: "another reader", Station: station, Attempts: 1, Issued: 1},
			{Reader: reader, Station: station, Attempts: 5, Issued: 1, Clean: 1, Spoiled: 1, InDoubt: 1, Running: 1},
		}
		if !slices.Equal(got.Readers, want) {
			t.Errorf("got %+v, want %+v", got.Readers, want)
		}
		d := got.InDoubt[0]
		if d.AttemptID != doubt.AttemptID || d.Card != doubt.Image.CardNumber || d.Serial != serial(4) || d.Reader != reader || d.StartedAt.IsZero() {
			t.Errorf("in doubt: %+v", d)
		}
	}
	check(sh)

	if _, err := b.ClosedShift(b.ctx, 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("no shift was closed: %v", err)
	}
	closed, err := b.CloseShift(b.ctx, b.ali)
	b.must(err)
	// What happens later does not change the sheet.
	b.must(st.Finish(b.ctx, finish(running, OutcomeIssued)))
	again, err = st.Resume(b.ctx, serial(4), "another reader")
	b.must(err)
	b.must(st.Finish(b.ctx, finish(again, OutcomeIssued)))
	for _, n := range []int64{0, closed.Number} {
		last, err := b.ClosedShift(b.ctx, n)
		b.must(err)
		if !last.ClosedAt.Equal(closed.ClosedAt) || last.Number != closed.Number || last.Counts != closed.Counts {
			t.Errorf("shift %d again: %+v, was %+v", n, last, closed)
		}
		check(last)
	}
	if _, err := b.ClosedShift(b.ctx, closed.Number+1); !errors.Is(err, ErrNotFound) {
		t.Errorf("a shift that never was: %v", err)
	}
}
