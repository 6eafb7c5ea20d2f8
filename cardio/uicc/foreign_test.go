package uicc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/uicc"
)

// odd is a card that answers one command in its own way.
type odd struct {
	apdu.Card
	command, answer []byte
}

func (o odd) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if bytes.HasPrefix(command, o.command) {
		return o.answer, nil
	}
	return o.Card.Transmit(ctx, command)
}

// TestDirectoryOfOthers: a card without EF.DIR, or with one that cannot be read, has its
// USIM all the same.
func TestDirectoryOfOthers(t *testing.T) {
	ctx := t.Context()
	for name, o := range map[string]odd{
		"no EF.DIR":        {command: unhex(t, "00A40004022F00"), answer: unhex(t, "6A82")},
		"a strange record": {command: unhex(t, "00B2"), answer: append(bytes.Repeat([]byte{0xA5}, 38), 0x90, 0x00)},
	} {
		_, r := chip(t, operators(t))
		o.Card = r
		c, err := uicc.Open(ctx, o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.Application() != uicc.USIM || !strings.HasPrefix(fmt.Sprintf("%X", c.AID()), "A0000000871002") {
			t.Errorf("%s: %v %X", name, c.Application(), c.AID())
		}
	}
	_, r := chip(t, operators(t))
	if _, err := uicc.Open(ctx, odd{Card: r, command: unhex(t, "00A40004022F00"), answer: unhex(t, "6581")}); !errors.Is(err, apdu.StatusWord(0x6581)) {
		t.Errorf("a memory that failed: %v", err)
	}
}

// TestAuthenticateFromAnywhere: cards refuse AUTHENTICATE outside of the application
// (TS 31.102 clause 7.1.1.1), so that it is selected again after the ICCID was read, and
// not when it is current.
func TestAuthenticateFromAnywhere(t *testing.T) {
	ctx := t.Context()
	c, r := opened(t, operators(t))
	must(t, c.VerifyPIN(ctx, uicc.PIN1, []byte("0000"), false))
	if _, err := c.ICCID(ctx); err != nil {
		t.Fatal(err)
	}
	before := len(r.sent)
	if _, err := c.Authenticate(ctx, array(t, setRAND), array(t, setAUTN)); err != nil {
		t.Fatal(err)
	}
	if got := r.sent[before]; !strings.HasPrefix(got, "00A40004027FFF") {
		t.Errorf("before AUTHENTICATE: %s", got)
	}
	before = len(r.sent)
	if _, err := c.Authenticate(ctx, array(t, setRAND), array(t, setAUTN)); err != nil || !strings.HasPrefix(r.sent[before], "0088") {
		t.Errorf("again: %s, %v", r.sent[before], err)
	}
}

// TestIncreaseByShortIdentifier: INCREASE names another file in P1, which the list does
// not see.
func TestIncreaseByShortIdentifier(t *testing.T) {
	_, r := chip(t, operators(t))
	g := uicc.Guarded(r)
	for _, s := range []string{"00A4040C07A0000000871002", "00A4000C026F07"} {
		if _, err := g.Transmit(t.Context(), unhex(t, s)); err != nil {
			t.Fatal(err)
		}
	}
	before := len(r.sent)
	if _, err := g.Transmit(t.Context(), unhex(t, "00328C000300000100")); !errors.Is(err, uicc.ErrNotAllowed) || len(r.sent) != before {
		t.Errorf("%v, sent %v", err, r.sent[before:])
	}
}

// TestDisabledPINThatTellsItsTries: the PIN status template says whether PIN1 is asked
// for (TS 102 221 clause 11.1.1.4.10, which wpa_supplicant's SIM reader goes by too), and
// not VERIFY without data: cards answer that by the tries of a disabled PIN.
func TestDisabledPINThatTellsItsTries(t *testing.T) {
	ctx := t.Context()
	for _, disabled := range []bool{true, false} {
		p := operators(t)
		p.PIN1Disabled = disabled
		_, r := chip(t, p)
		tries := odd{r, unhex(t, "0020000100"), unhex(t, "63C3")}
		c, err := uicc.Open(ctx, tries)
		if err != nil {
			t.Fatal(err)
		}
		if asks, n, err := c.AsksPIN1(ctx); err != nil || asks == disabled || !disabled && n != 3 {
			t.Errorf("PIN1 disabled %v: asks %v, %d tries, %v", disabled, asks, n, err)
		}
		if disabled {
			must(t, c.EnablePIN(ctx, []byte("0000"), false))
		} else {
			must(t, c.DisablePIN(ctx, []byte("0000"), false))
		}
		if asks, _, err := c.AsksPIN1(ctx); err != nil || asks != disabled {
			t.Errorf("after the change: asks %v, %v", asks, err)
		}
	}
}

// TestPINWithoutABit: a PIN whose bit the card leaves out is not one that it says is
// disabled.
func TestPINWithoutABit(t *testing.T) {
	for list, enabled := range map[string]bool{"C606900160830101": false, "C606900180830101": true, "C603830101": true, "C6059000830101": true} {
		f, err := uicc.ParseFCP(unhex(t, fmt.Sprintf("62%02X82027821%s", 4+len(list)/2, list)))
		if err != nil || len(f.PINs) != 1 || f.PINs[0].Enabled != enabled {
			t.Errorf("%s: %+v, %v", list, f, err)
		}
	}
}

// strict is a card whose application is no sibling of the directories under the master
// file: what a SELECT by identifier reaches from where is counted as TS 102 221 clause
// 8.4.2 lists it.
type strict struct {
	apdu.Card
	inADF bool
}

func (s *strict) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(command, []byte{0x00, 0xA4, 0x04}), bytes.HasPrefix(command, []byte{0x00, 0xA4, 0x00, 0x04, 0x02, 0x7F, 0xFF}):
		s.inADF = true
	case bytes.HasPrefix(command, []byte{0x00, 0xA4, 0x00, 0x04, 0x02, 0x3F, 0x00}):
		s.inADF = false
	case s.inADF && bytes.HasPrefix(command, []byte{0x00, 0xA4, 0x00, 0x04, 0x02, 0xA5, 0x15}):
		return []byte{0x6A, 0x82}, nil
	}
	return s.Card.Transmit(ctx, command)
}

// TestDirectoryFromApplication: DF.SYSTEM of a blank is reached through the master file,
// as osmocom's pySim reaches it (SysmoISIMSJA2.program in pySim/cards.py selects 3F00,
// then A515): from the application it need not be selectable.
func TestDirectoryFromApplication(t *testing.T) {
	ctx := t.Context()
	_, r := chip(t, blank())
	c, err := uicc.Open(ctx, &strict{Card: r})
	must(t, err)
	p, err := c.Program(ctx, sja2(), []byte("12345678"), subscription(t))
	if err != nil || p.Written < 6 {
		t.Errorf("%+v, %v", p, err)
	}
}
