package pairing_test

import (
	"bytes"
	"errors"
	"testing"

	"cardbureau/cardio/uicc"
	"cardbureau/cardio/virtual/usim"
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

// chip is a software SIM with a SIM's numbers, in its terminal.
func (d *desk) chip(s *sim, k usim.Secret) *uicc.Card {
	d.t.Helper()
	chip, err := usim.New(usim.Config{Profile: &usim.Profile{
		ICCID: s.SIM.ICCID.Digits(), IMSI: s.SIM.IMSI.Digits(), K: k[:16], OPc: usim.Secret(s.OPc), PIN1Disabled: true, SQN: 1 << 16, AgeLimit: 100,
	}})
	d.must(err)
	card, err := uicc.Open(d.t.Context(), usim.Terminal{Card: chip})
	d.must(err)
	return card
}
