package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"

	"cardbureau/cardio/lds"
	"cardbureau/cardio/uicc"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/lifecycle"
	"cardbureau/personalization/store"
)

// TestSIMWords: what is said of SIMs and their PINs is for people.
func TestSIMWords(t *testing.T) {
	r := simReport{
		Reader: "Reader 7", ICCID: "8998110000000000012", CheckDigit: true, Application: "USIM",
		Tries: map[string]int{"pin1": 3, "pin2": 1, "adm1": 0}, Kinds: []string{"sysmocom-sja2"},
	}
	for want, got := range map[string]string{
		"Reader 7: USIM 8998110000000000012; PIN1 3 tries left; PIN2 1 try left; ADM1 blocked; answer to reset of sysmocom-sja2": r.said(),
		"Reader 7: SIM 1 (check digit differs); PIN1 does not tell its tries; no kind of the profiles has this answer to reset":  simReport{Reader: "Reader 7", ICCID: "1", Application: "SIM", Tries: map[string]int{"pin1": -1}}.said(),
		"PIN1 is wrong, 1 try is left":                           (&uicc.PINError{Reference: uicc.PIN1, Left: 1}).Error(),
		"PIN2 is wrong, 2 tries are left":                        (&uicc.PINError{Reference: uicc.PIN2, Left: 2}).Error(),
		"the administrative key ADM1 is wrong, 2 tries are left": (&uicc.PINError{Reference: uicc.ADM1, Left: 2}).Error(),
		"the PIN of reference 83 is wrong":                       (&uicc.PINError{Reference: 0x83, Left: -1}).Error(),
		"the PIN is wrong, 1 try is left":                        (&lds.PINError{Tries: 1}).Error(),
		"the PIN is wrong, 2 tries are left":                     (&lds.PINError{Tries: 2}).Error(),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestPairingWords: a command that is repeated says so.
func TestPairingWords(t *testing.T) {
	id := uuid.MustParse("0198c0de-7a11-7000-8000-000000000001")
	for _, c := range []struct {
		err  error
		want string
	}{
		{store.ErrNotFound, "no pairing has the identifier " + id.String() + ": cardbureau sim list names a card's"},
		{store.ErrWrongState, "pairing " + id.String() + " is expired, which does not allow this"},
		{pairing.ErrNoOperator, "pairing " + id.String() + ": " + pairing.ErrNoOperator.Error()},
		{fmt.Errorf("%w: being moved", store.ErrWrongState), "pairing " + id.String() + ": " + store.ErrWrongState.Error() + ": being moved"},
	} {
		if got := onPairing(id, lifecycle.Expired, c.err); got.Error() != c.want || !errors.Is(got, c.err) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	const pending, active, suspended, revoked = lifecycle.OperatorPending, lifecycle.Active, lifecycle.Suspended, lifecycle.Revoked
	for _, c := range []struct {
		said    func(was, is lifecycle.State) string
		was, is lifecycle.State
		want    string
	}{
		{ended, active, revoked, "ended; it is revoked"},
		{ended, revoked, revoked, "it was ended before, and is revoked; its first reason stays"},
		{finished, pending, pending, "the operator was asked again and has not decided; it still waits"},
		{finished, pending, active, "the operator has confirmed; it is active. cardbureau desk pair-record writes its record to the card"},
		{finished, active, active, "it waits for no operator, and is active: nobody was asked"},
		{moved(false), active, suspended, "out of service; it is suspended"},
		{moved(true), suspended, active, "back in service; it is active"},
		{moved(false), suspended, suspended, "this was done before; it is suspended"},
	} {
		if got := c.said(c.was, c.is); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
