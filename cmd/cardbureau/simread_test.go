package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/uicc"
	"cardbureau/cardio/virtual/usim"
)

// blocking is a SIM whose PIN1 is blocked, and says it as cards do (TS 102 221 clause
// 11.1.9): 63C0, or 6983.
type blocking struct {
	apdu.Card
	answer []byte
}

func (b blocking) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if bytes.HasPrefix(command, []byte{0x00, 0x20, 0x00, uicc.PIN1}) {
		return b.answer, nil
	}
	return b.Card.Transmit(ctx, command)
}

// TestBlockedPINIsTold: a PIN that is blocked is not one that the SIM lacks.
func TestBlockedPINIsTold(t *testing.T) {
	for answer, want := range map[string]string{
		"\x63\xC0": "PIN1 blocked; PIN2 3 tries left", "\x69\x83": "PIN1 blocked; PIN2 3 tries left",
		"\x63\xC2": "PIN1 2 tries left; PIN2 3 tries left", "\x69\x84": "; PIN2 3 tries left", "\x6A\x88": "; PIN2 3 tries left",
	} {
		sim, err := usim.New(usim.Config{Profile: &usim.Profile{ICCID: "8998110000000000012", IMSI: "432110000000001", K: usim.Secret(make([]byte, 16)), OPc: usim.Secret(make([]byte, 16))}})
		if err != nil {
			t.Fatal(err)
		}
		card, err := uicc.Open(t.Context(), usim.Terminal{Card: blocking{sim, []byte(answer)}})
		if err != nil {
			t.Fatal(err)
		}
		r := simReport{Tries: map[string]int{}}
		if err := r.ask(t.Context(), card); err != nil {
			t.Fatal(err)
		}
		if said := r.said(); !strings.Contains(said, want) || strings.Contains(said, "PIN1") != strings.Contains(want, "PIN1") {
			t.Errorf("%X: %q, want %q", answer, said, want)
		}
	}
}

// TestProgrammingExplained: what a person at the reader can do stands in the sentence.
func TestProgrammingExplained(t *testing.T) {
	refused := &apdu.StatusError{SW: apdu.SWSecurityStatusNotSatisfied}
	for _, c := range []struct {
		command simProgram
		err     error
		want    string
	}{
		{simProgram{}, fmt.Errorf("file 7FFF/6F07: %w", refused), "--sim-pin"},
		{simProgram{PIN1: true}, fmt.Errorf("file 7FFF/6F07: %w", refused), "the SIM in R: file 7FFF/6F07"},
		{simProgram{}, fmt.Errorf("file 7FFF/AF20: %w", apdu.ErrInDoubt), "run the same command again"},
		{simProgram{}, uicc.ErrLastTry, "one try left"},
	} {
		got := c.command.explained("R", c.err)
		if !strings.Contains(got.Error(), c.want) || c.want != "one try left" && !errors.Is(got, c.err) {
			t.Errorf("%v is explained as %q", c.err, got)
		}
	}
}
