package bureau_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/google/uuid"

	"cardbureau/cardio/feeder"
	"cardbureau/cardio/virtual/encoder"
	"cardbureau/personalization/line"
	"cardbureau/personalization/line/rehearsal"
	"cardbureau/personalization/store"
)

// TestCrashAtEveryStripeStep tears the encoder's line at every command of a card, in
// two ways: the card is in doubt, and finished when it is presented again.
func TestCrashAtEveryStripeStep(t *testing.T) {
	const commands = 8 // reset and test when it is opened; reset, coercivity, write, bits, raw read, read
	w := newWorks(t, "identity-bank", 2*commands+1, 2*commands+1)
	issued := 0
	for at := 3; at <= commands; at++ {
		for _, f := range []encoder.Fault{encoder.Silence, encoder.Deaf} {
			if os.Getenv("CARDBUREAU_TORTURE") == "" && (at%2 == 0) != (f == encoder.Deaf) {
				continue // every second one
			}
			where := fmt.Sprintf("command %d, fault %d", at, f)
			l, closeLine := w.line(t)
			reader := rehearsal.NewReader("A", w.tray)
			reader.Encoder.Fail(at, f)
			if _, err := l.Run(t.Context(), []line.Slot{stopAfterOne(reader)}); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			if at == 3 { // a reset has no answer: nothing was torn
				issued++
				if err := closeLine(); err != nil {
					t.Fatal(err)
				}
				continue
			}
			bin := w.tray.Bin(feeder.Doubt)
			if len(bin) == 0 {
				t.Fatalf("%s: no card is in doubt", where)
			}
			reader.Encoder.Fail(0, encoder.None)
			reader.Insert(bin[len(bin)-1])
			s, err := reader.Present(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			e, err := l.Resume(t.Context(), reader.Name(), s)
			if err != nil || e.Outcome != store.OutcomeIssued {
				t.Fatalf("%s: resumed to %+v, %v", where, e, err)
			}
			issued++
			if err := closeLine(); err != nil {
				t.Fatal(err)
			}
		}
	}
	orders, err := w.b.Store.OrderCounts(t.Context(), uuid.Nil)
	if err != nil || orders[store.OrderIssued] != issued || orders[store.OrderInDoubt] != 0 {
		t.Errorf("orders are %v, %v, want %d issued", orders, err, issued)
	}
}

// TestBadStripe: an encoder that loses what it writes, or writes one wrong bit, is
// found out; once it is mended by writing again, always is a bad card that is never
// issued.
func TestBadStripe(t *testing.T) {
	w := newWorks(t, "identity-bank", 6, 6)
	for _, f := range []encoder.Fault{encoder.Lose, encoder.Flip, encoder.Refuse} {
		l, closeLine := w.line(t)
		reader := rehearsal.NewReader("A", w.tray)
		reader.Encoder.Fail(encoder.EveryWrite, f)
		sum, err := l.Run(t.Context(), []line.Slot{stopAfterOne(reader)})
		if err != nil || sum.Quarantined != 1 {
			t.Errorf("fault %d always: %+v, %v", f, sum, err)
		}
		if err := closeLine(); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []encoder.Fault{encoder.Lose, encoder.Flip, encoder.Refuse} {
		l, closeLine := w.line(t)
		reader := rehearsal.NewReader("A", w.tray)
		reader.Encoder.Fail(5, f) // the first write
		sum, err := l.Run(t.Context(), []line.Slot{stopAfterOne(reader)})
		if err != nil || sum.Issued != 1 {
			t.Errorf("fault %d once: %+v, %v", f, sum, err)
		}
		if err := closeLine(); err != nil {
			t.Fatal(err)
		}
	}
}
