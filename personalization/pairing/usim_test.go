package pairing_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/usim"
	"cardbureau/hsm/simkeys"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/lifecycle"
	"cardbureau/personalization/pairing/simoperator"
	"cardbureau/personalization/vault"
)

// chipSIM is the software SIM, whose cryptography is its own, by plain APDUs. It
// reads nothing: which SIM it is, its maker knows.
type chipSIM struct {
	simoperator.SIM
	card apdu.Card
}

func (c *chipSIM) ICCID(context.Context) (pairing.ICCID, error) { return c.SIM.ICCID, nil }
func (c *chipSIM) IMSI(context.Context) (pairing.IMSI, error)   { return c.SIM.IMSI, nil }

// Authenticate is AUTHENTICATE in 3G context (TS 31.102 clause 7.1.2.1).
func (c *chipSIM) Authenticate(ctx context.Context, rand, autn [16]byte) (pairing.Answer, error) {
	aid, err := hex.DecodeString("A0000000871002")
	if err != nil {
		return pairing.Answer{}, err
	}
	if r, err := apdu.Send(ctx, c.card, apdu.Command{INS: 0xA4, P1: 4, P2: 0x0C, Data: aid}); err != nil || !r.SW.OK() {
		return pairing.Answer{}, fmt.Errorf("%v %w", r.SW, err)
	}
	data := append(append(append([]byte{16}, rand[:]...), 16), autn[:]...)
	r, err := apdu.Send(ctx, c.card, apdu.Command{INS: 0x88, P2: 0x81, Data: data, Ne: 256})
	if err != nil {
		return pairing.Answer{}, err
	}
	if !r.SW.OK() || len(r.Data) < 2 || len(r.Data) < 2+int(r.Data[1]) {
		return pairing.Answer{}, errMAC
	}
	defer clear(r.Data)
	value := bytes.Clone(r.Data[2 : 2+r.Data[1]])
	if r.Data[0] == 0xDC {
		return pairing.Answer{AUTS: value}, nil
	}
	return pairing.Answer{RES: vault.Secret(value)}, nil
}

// TestVirtualSIM pairs software SIMs whose counters ran ahead: one that the operator
// challenges, and one that the bureau's token does.
func TestVirtualSIM(t *testing.T) {
	d := newDesk(t)
	own := &pairing.OwnCentre{Store: d.Store, Vault: d.Vault, Forms: map[string]simkeys.Form{"gcm": simkeys.AESGCM}}
	d.Own = own
	for i, mine := range []bool{false, true} {
		s := newSIM(t, house.mci)
		card, err := usim.New(usim.Config{Profile: &usim.Profile{
			ICCID: s.SIM.ICCID.Digits(), IMSI: s.SIM.IMSI.Digits(), K: usim.Secret(s.K), OPc: usim.Secret(s.OPc), PIN1Disabled: true, SQN: 1 << 16, AgeLimit: 100,
		}})
		d.must(err)
		if mine {
			_, _, err := own.Import(t.Context(), bytes.NewReader(d.vendorFile("gcm", "virtual", s)), house.clerk)
			d.must(err)
		}
		for n, resynced := range []bool{true, false} {
			r := d.request(d.card(), newHolder(t), s, house.mci, 5_000_000+10*i+n)
			r.SIM, r.Own = &chipSIM{s.SIM, usim.Terminal{Card: card}}, mine
			out, err := d.Run(t.Context(), r)
			if err != nil || out.State != lifecycle.Active || out.Resynced != resynced {
				t.Fatalf("own %v: %+v, %v", mine, out, err)
			}
			d.must(d.Revoke(t.Context(), out.ID, "test", house.clerk))
		}
	}
}
