package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/usim"
	"cardbureau/personalization/store"
)

// TestDeskWords: an error is said once, and stays the error that it is.
func TestDeskWords(t *testing.T) {
	other := errors.New("something else")
	for _, c := range []struct {
		err  error
		want string
	}{
		{store.ErrNotFound, "card X: no issued card has this number"},
		{fmt.Errorf("reading: %w", store.ErrNotFound), "card X: no issued card has this number: reading: " + store.ErrNotFound.Error()},
		{other, "card X: something else"},
	} {
		got := onCard("X", c.err)
		if got.Error() != c.want || !errors.Is(got, c.err) {
			t.Errorf("%q, not %q", got, c.want)
		}
	}
	if got := onPlan("plan.json", store.ErrStale); !strings.Contains(got.Error(), "higher serial") || strings.Contains(got.Error(), "order") {
		t.Error(got)
	}
	if got := onPlan("plan.json", other); !errors.Is(got, other) {
		t.Error(got)
	}
}

// inReader is a card in a reader that notes resets.
type inReader struct {
	apdu.Card
	resets int
}

func (*inReader) Reader() string                      { return "Reader 7" }
func (*inReader) ATR() []byte                         { return nil }
func (r *inReader) Reset(context.Context, bool) error { r.resets++; return nil }

// refuser is a card that answers everything with one status word.
type refuser apdu.StatusWord

func (r refuser) Transmit(context.Context, []byte) ([]byte, error) {
	return apdu.Response{SW: apdu.StatusWord(r)}.Bytes(), nil
}

// TestInPlace: an identity card in the SIM's reader is found before a visit begins.
func TestInPlace(t *testing.T) {
	chip, err := usim.New(usim.Config{Profile: &usim.Profile{ICCID: "8998110000000000012", K: "0123456789abcdef", OPc: "0123456789abcdef"}})
	if err != nil {
		t.Fatal(err)
	}
	sim := &inReader{Card: usim.Terminal{Card: chip}}
	if err := (&twoReaders{sim: sim}).inPlace(t.Context()); err != nil || sim.resets != 1 {
		t.Errorf("a SIM: %v, %d resets", err, sim.resets)
	}
	for name, sw := range map[string]apdu.StatusWord{"class": apdu.SWClassNotSupported, "file": apdu.SWFileNotFound} {
		card := &inReader{Card: refuser(sw)}
		if err := (&twoReaders{sim: card}).inPlace(t.Context()); err == nil || !strings.Contains(err.Error(), "Reader 7") {
			t.Errorf("no SIM, by its %s: %v", name, err)
		}
	}
}
