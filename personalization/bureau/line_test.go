package bureau_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"cardbureau/cardio/feeder"
	"cardbureau/cardio/lds/sod"
	"cardbureau/cardio/virtual"
	"cardbureau/personalization/line"
	"cardbureau/personalization/line/rehearsal"
	"cardbureau/personalization/store"
)

// A line whose proof could not ask whether the signer is revoked does not
// begin, and does not issue either where the list is lost meanwhile.
func TestNothingIssuedWithoutRevocationList(t *testing.T) {
	w := newWorks(t, 1, 1)
	if err := os.Remove(filepath.Join(w.b.Dir, "certificates", "csca-crl.der")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.b.Line(t.Context(), w.actor, nil); !errors.Is(err, sod.ErrRevocation) {
		t.Fatalf("the line began: %v", err)
	}
	trust, err := w.b.Trusted()
	if err != nil {
		t.Fatal(err)
	}
	station, err := w.b.Store.OpenStation(t.Context(), "test", w.actor)
	if err != nil {
		t.Fatal(err)
	}
	defer station.Close(context.Background())
	var last line.Event
	l := &line.Line{
		Store: w.b.Store, Station: station, Vault: w.b.Vault, Profiles: w.b.Profiles, Trust: trust, Development: true,
		Events: func(e line.Event) {
			if e.Kind == line.Finished {
				last = e
			}
		},
	}
	sum, err := l.Run(t.Context(), []line.Slot{rehearsal.NewReader("A", w.tray).Slot()})
	if err != nil || sum.Issued != 0 || last.Outcome != store.OutcomeQuarantined || last.Reason != "proof-failed" {
		t.Errorf("%+v, %v, %+v", sum, err, last)
	}
	card := w.tray.Bin(feeder.Rejected)
	if len(card) != 1 || card[0].Chip.State() == virtual.Secured {
		t.Error("the card was locked before it was proven")
	}
}
