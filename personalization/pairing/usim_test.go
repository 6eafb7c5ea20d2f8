package pairing_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/uicc"
	"cardbureau/cardio/virtual/usim"
	"cardbureau/hsm/aka"
	"cardbureau/hsm/simkeys"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/lifecycle"
)

// TestVirtualSIM pairs software SIMs, whose cryptography is their own and whose
// counters ran ahead, over APDUs: one that the operator challenges, and one that the
// bureau's token does. A SIM with another key takes no challenge.
func TestVirtualSIM(t *testing.T) {
	d := newDesk(t)
	own := &pairing.OwnCentre{Store: d.Store, Vault: d.Vault, Forms: map[string]simkeys.Form{"gcm": simkeys.AESGCM}}
	d.Own = own
	for i, mine := range []bool{false, true} {
		s := newSIM(t, house.mci)
		card := d.chip(s, usim.Secret(s.K))
		if mine {
			_, _, err := own.Import(t.Context(), bytes.NewReader(d.vendorFile("gcm", "virtual", s)), house.clerk)
			d.must(err)
		}
		for n, resynced := range []bool{true, false} {
			r := d.request(d.card(), newHolder(t), s, house.mci, 5_000_000+10*i+n)
			r.SIM, r.Own = pairing.CardSIM(card), mine
			out, err := d.Run(t.Context(), r)
			if err != nil || out.State != lifecycle.Active || out.Resynced != resynced {
				t.Fatalf("own %v: %+v, %v", mine, out, err)
			}
			d.must(d.Revoke(t.Context(), out.ID, "test", house.clerk))
		}
		clone := d.card()
		r := d.request(clone, newHolder(t), s, house.mci, 5_000_000+10*i+5)
		r.SIM, r.Own = pairing.CardSIM(d.chip(s, "another key of 16")), mine
		out, err := d.Run(t.Context(), r)
		if !errors.Is(err, uicc.ErrMAC) {
			t.Errorf("another key: %v", err)
		}
		d.nothing(clone, out, house.mci, lifecycle.Revoked, "sim-key")
	}
}

// TestTUAKSIM pairs a software SIM that authenticates by TUAK and whose keys came in a
// vendor's file: with a resynchronization, and then without one. A SIM with another key
// takes no challenge.
func TestTUAKSIM(t *testing.T) {
	d := newDesk(t)
	own := &pairing.OwnCentre{Store: d.Store, Vault: d.Vault, Forms: forms}
	d.Own = own
	for i, profile := range []string{"gcm", "ecb"} {
		s := newSIM(t, house.mci)
		s.tuak = &aka.TUAKParameters{MAC: 8, RES: 8 << i, CK: 16 << i, IK: 16 << i, Iterations: 1 + i}
		s.K, s.OPc = bytes.Repeat([]byte{0x5A, byte(i)}, 16), bytes.Repeat([]byte{0xA5, byte(i)}, 16)
		_, _, err := own.Import(t.Context(), bytes.NewReader(d.vendorFile(profile, "tuak "+profile, s)), house.clerk)
		d.must(err)
		card := d.chip(s, usim.Secret(s.K))
		for n, resynced := range []bool{true, false} {
			r := d.request(d.card(), newHolder(t), s, house.mci, 6_000_000+10*i+n)
			r.SIM, r.Own = pairing.CardSIM(card), true
			out, err := d.Run(t.Context(), r)
			if err != nil || out.State != lifecycle.Active || out.Resynced != resynced {
				t.Fatalf("%s: %+v, %v", profile, out, err)
			}
			d.must(d.Revoke(t.Context(), out.ID, "test", house.clerk))
		}
		clone := d.card()
		r := d.request(clone, newHolder(t), s, house.mci, 6_000_000+10*i+5)
		r.SIM, r.Own = pairing.CardSIM(d.chip(s, usim.Secret(bytes.Repeat([]byte{1}, 32)))), true
		out, err := d.Run(t.Context(), r)
		if !errors.Is(err, uicc.ErrMAC) {
			t.Errorf("another key: %v", err)
		}
		d.nothing(clone, out, house.mci, lifecycle.Revoked, "sim-key")
	}
}

// chip is a software SIM with a SIM's numbers, in its terminal.
func (d *desk) chip(s *sim, k usim.Secret) *uicc.Card {
	d.t.Helper()
	profile := &usim.Profile{ICCID: s.SIM.ICCID.Digits(), IMSI: s.SIM.IMSI.Digits(), K: k, OPc: usim.Secret(s.OPc), PIN1Disabled: true, SQN: 1 << 16, AgeLimit: 100}
	if s.tuak == nil {
		profile.K = k[:16]
	} else {
		profile.TUAK = &usim.TUAK{RES: s.tuak.RES, Keys: s.tuak.CK, Permutations: s.tuak.Iterations}
	}
	chip, err := usim.New(usim.Config{Profile: profile})
	d.must(err)
	card, err := uicc.Open(d.t.Context(), usim.Terminal{Card: chip})
	d.must(err)
	return card
}

// TestUnlockSIM: a SIM that wants its PIN1 says so before anything is refused; one whose
// PIN1 is disabled is paired without, and takes no notice of one that is given.
func TestUnlockSIM(t *testing.T) {
	ctx := t.Context()
	d := newDesk(t)
	for name, c := range map[string]struct {
		disabled bool
		pin      string
		want     error
	}{
		"disabled":                {true, "", nil},
		"disabled, and one given": {true, "1357", nil},
		"wanted":                  {false, "", pairing.ErrSIMPIN},
		"given":                   {false, "1357", nil},
		"malformed":               {false, "13", uicc.ErrPINFormat},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSIM(t, house.mci)
			chip, err := usim.New(usim.Config{Profile: &usim.Profile{
				ICCID: s.SIM.ICCID.Digits(), IMSI: s.SIM.IMSI.Digits(), K: usim.Secret(s.K), OPc: usim.Secret(s.OPc), PIN1: "1357", PIN1Disabled: c.disabled,
			}})
			d.must(err)
			card, err := uicc.Open(ctx, usim.Terminal{Card: chip})
			d.must(err)
			var pin []byte
			if c.pin != "" {
				pin = []byte(c.pin)
			}
			if err := pairing.UnlockSIM(ctx, card, pin); !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if c.want != nil {
				return
			}
			r := d.request(d.card(), newHolder(t), s, house.mci, s.number())
			r.SIM = pairing.CardSIM(card)
			if out, err := d.Run(ctx, r); err != nil || out.State != lifecycle.Active {
				t.Errorf("%+v, %v", out, err)
			}
		})
	}
	var wrong *uicc.PINError
	chip, err := usim.New(usim.Config{Profile: &usim.Profile{ICCID: "8998110000000000012", K: "0123456789abcdef", OPc: "0123456789abcdef"}})
	d.must(err)
	card, err := uicc.Open(ctx, usim.Terminal{Card: chip})
	d.must(err)
	if err := pairing.UnlockSIM(ctx, card, []byte("9999")); !errors.As(err, &wrong) || wrong.Left != 2 {
		t.Error(err)
	}
}

// reticent is a card that tells of no PIN that it is disabled before it is given: its
// SELECT and STATUS return nothing, and VERIFY without data asks for the tries alone
// (TS 102 221 clause 11.1.9).
type reticent struct{ apdu.Card }

func (r reticent) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	switch {
	case len(command) > 1 && command[1] == 0xF2:
		return []byte{0x6D, 0x00}, nil
	case len(command) <= 5 && command[1] == 0x20:
		return []byte{0x63, 0xC3}, nil
	}
	return r.Card.Transmit(ctx, command)
}

// TestUnlockReticentSIM: such a SIM is asked for its PIN1, and one that then says that it
// has none to give is unlocked.
func TestUnlockReticentSIM(t *testing.T) {
	ctx := t.Context()
	chip, err := usim.New(usim.Config{Profile: &usim.Profile{
		ICCID: "8998110000000000012", IMSI: "432110000000001", K: "0123456789abcdef", OPc: "0123456789abcdef", PIN1Disabled: true, Variant: usim.Variant{Select: []byte{0x0C}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	card, err := uicc.Open(ctx, reticent{usim.Terminal{Card: chip}})
	if err != nil {
		t.Fatal(err)
	}
	if err := pairing.UnlockSIM(ctx, card, nil); !errors.Is(err, pairing.ErrSIMPIN) {
		t.Error(err)
	}
	if err := pairing.UnlockSIM(ctx, card, []byte("1357")); err != nil {
		t.Error(err)
	}
}
