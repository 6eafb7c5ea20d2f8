package bureau_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/feeder"
	"cardbureau/cardio/virtual"
	"cardbureau/personalization/line"
	"cardbureau/personalization/line/rehearsal"
	"cardbureau/personalization/manage"
	"cardbureau/personalization/stock"
)

// authentications counts how often a chip is asked for one.
type authentications struct {
	apdu.Card
	initialize, external *int
}

func (a authentications) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	switch command[1] {
	case 0x50:
		*a.initialize++
	case 0x82:
		*a.external++
	}
	return a.Card.Transmit(ctx, command)
}

// TestWrongKeysAreNotTriedTwice: a blank whose keys are not those of the profile
// is found out by its cryptogram, before EXTERNAL AUTHENTICATE. Brought back by
// two people, and after a restart, its key version is not tried again: the chip
// has counted no failure at all.
func TestWrongKeysAreNotTriedTwice(t *testing.T) {
	for product, other := range map[string]string{"identity": "cmk.issuer/1", "identity-scp02-55": "cmk.issuer-des/1"} {
		t.Run(product, func(t *testing.T) { wrongKeys(t, product, other) })
	}
}

func wrongKeys(t *testing.T, product, other string) {
	ctx := t.Context()
	w := newWorks(t, product, 1, 0)
	chip := *w.b.Profiles.ProductChip(w.b.Profiles.Products[product])
	chip.Keys = maps.Clone(chip.Keys)
	transport := chip.Keys["transport"]
	transport.Set = other
	chip.Keys["transport"] = transport
	var err error
	if w.tray, err = rehearsal.NewTray(ctx, w.b.Vault, &chip, 9, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := w.b.Store.ImportBlanks(ctx, w.tray.List(chip.Name, "0009"), w.actor); err != nil {
		t.Fatal(err)
	}
	initialize, external := 0, 0
	reader := rehearsal.NewReader("A", w.tray)
	reader.Wrap = func(c *virtual.Chip) apdu.Card { return authentications{c, &initialize, &external} }
	if err := reader.Next(ctx); err != nil {
		t.Fatal(err)
	}
	// A person looks at the blank, twice, as two processes would.
	for look := range 2 {
		s, err := reader.Present(ctx)
		if err != nil {
			t.Fatal(err)
		}
		desk := manage.Desk{Store: w.b.Store, Vault: w.b.Vault, Profiles: w.b.Profiles, Development: true, Actor: w.actor}
		_, err = desk.Open(ctx, s, "transport", false)
		if !errors.Is(err, manage.ErrKeysFailed) || look == 1 && !strings.Contains(err.Error(), "before") {
			t.Fatalf("look %d: %v", look+1, err)
		}
		s.Close()
	}
	if initialize != 1 {
		t.Errorf("INITIALIZE UPDATE was sent %d times in two looks", initialize)
	}
	// A line that starts later takes the blank, and does not try its keys either.
	l, closeLine := w.line(t)
	detail := ""
	l.Events = func(e line.Event) {
		if e.Kind == line.Finished {
			detail = e.Reason + ": " + e.Detail
		}
	}
	sum, err := l.Run(ctx, []line.Slot{stopAfterOne(reader)})
	if err != nil || sum.Quarantined != 1 || !strings.HasPrefix(detail, "keys-differ") || !strings.Contains(detail, "not tried again") {
		t.Fatalf("%+v, %v: %s", sum, err, detail)
	}
	if err := closeLine(); err != nil {
		t.Fatal(err)
	}
	blank, err := w.b.Store.BlankBySerial(ctx, w.tray.Bin(feeder.Rejected)[0].Serial)
	if err != nil || len(blank.FailedKeyVersions) != 1 || blank.FailedKeyVersions[0] != int(transport.Version) || blank.State != stock.Quarantined {
		t.Fatalf("noted with the blank: %+v, %v", blank, err)
	}
	if external != 0 {
		t.Errorf("EXTERNAL AUTHENTICATE was sent %d times", external)
	}
}

// refusesAuthentication is a chip that finds the host's authentication wrong, as
// one does whose MAC key alone is another.
type refusesAuthentication struct {
	apdu.Card
	n *int
}

func (r refusesAuthentication) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if command[0] == 0x84 && command[1] == 0x82 {
		*r.n++
		return []byte{0x63, 0x00}, nil
	}
	return r.Card.Transmit(ctx, command)
}

// TestRefusedAuthenticationIsNoted: a chip that refuses EXTERNAL AUTHENTICATE has
// counted a failure. It is the last one.
func TestRefusedAuthenticationIsNoted(t *testing.T) {
	ctx := t.Context()
	w := newWorks(t, "identity", 1, 1)
	l, closeLine := w.line(t)
	n := 0
	reader := rehearsal.NewReader("A", w.tray)
	reader.Wrap = func(c *virtual.Chip) apdu.Card { return refusesAuthentication{c, &n} }
	sum, err := l.Run(ctx, []line.Slot{stopAfterOne(reader)})
	if cerr := closeLine(); cerr != nil || err != nil || sum.Quarantined != 1 {
		t.Fatalf("%+v, %v, %v", sum, err, cerr)
	}
	card := w.tray.Bin(feeder.Rejected)[0]
	blank, err := w.b.Store.BlankBySerial(ctx, card.Serial)
	if err != nil || len(blank.FailedKeyVersions) != 1 {
		t.Fatalf("noted with the blank: %+v, %v", blank, err)
	}
	reader.Insert(card)
	s, err := reader.Present(ctx)
	if err != nil {
		t.Fatal(err)
	}
	desk := manage.Desk{Store: w.b.Store, Vault: w.b.Vault, Profiles: w.b.Profiles, Development: true, Actor: w.actor}
	if _, err := desk.Open(ctx, s, "transport", false); !errors.Is(err, manage.ErrKeysFailed) {
		t.Errorf("tried again: %v", err)
	}
	if n != 1 {
		t.Errorf("%d failed authentications", n)
	}
}
