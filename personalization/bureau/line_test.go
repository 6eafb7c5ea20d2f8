package bureau_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
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
	w := newWorks(t, "identity", 1, 1)
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

// telling is a chip that gives its files to anybody.
type telling struct{ apdu.Card }

func (o telling) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	out, err := o.Card.Transmit(ctx, command)
	if err != nil || command[0] != 0 || len(out) != 2 || out[0] != 0x69 {
		return out, err
	}
	switch command[1] {
	case 0xA4:
		return []byte{0x90, 0x00}, nil
	case 0xB0:
		return []byte{0x61, 0x00, 0x90, 0x00}, nil
	}
	return out, nil
}

// A card that anybody could read in passing is not issued.
func TestOpenCardIsNotIssued(t *testing.T) {
	w := newWorks(t, "identity", 1, 1)
	var last line.Event
	l, closeLine, err := w.b.Line(t.Context(), w.actor, func(e line.Event) {
		if e.Kind == line.Finished {
			last = e
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closeLine()
	reader := rehearsal.NewReader("A", w.tray)
	reader.Wrap = func(c *virtual.Chip) apdu.Card { return telling{c} }
	sum, err := l.Run(t.Context(), []line.Slot{reader.Slot()})
	if err != nil || sum.Issued != 0 || !strings.Contains(last.Detail, "without access control") {
		t.Errorf("%+v, %v, %+v", sum, err, last)
	}
}
