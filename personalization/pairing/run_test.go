package pairing_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"cardbureau/cardio/apdu"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/lifecycle"
	"cardbureau/personalization/pairing/simoperator"
	"cardbureau/personalization/store"
)

// TestPairing: with SIMs of both operators the record is signed, is of this card and
// this number, rests on its transcript, and is written; the IMSI is gone.
func TestPairing(t *testing.T) {
	d := newDesk(t)
	card := d.card()
	for i, o := range []*simoperator.Operator{house.mci, house.mtn} {
		h, s := newHolder(t), newSIM(t, o)
		r := d.request(card, h, s, o, 100+i)
		var written []byte
		r.Write = func(_ context.Context, record []byte) error { written = record; return nil }
		out, err := d.Run(t.Context(), r)
		if err != nil || out.State != lifecycle.Active || out.WriteError != nil || out.Resynced {
			t.Fatalf("%s: %+v, %v", o.Code, out, err)
		}
		if !bytes.Equal(written, out.Record) {
			t.Error("the card has another record")
		}
		record, err := pairing.VerifyRecord(out.Record, house.keys)
		if err != nil {
			t.Fatal(err)
		}
		if err := record.Of(h.thumb); err != nil || record.Operator != o.Code || !record.HasNumber(out.Salt, r.MSISDN) || !bytes.Equal(record.ID, out.ID[:]) {
			t.Errorf("%v, %+v", err, record)
		}
		evidence, err := d.Evidence(t.Context(), out.ID)
		d.must(err)
		transcript, err := record.Verify(evidence)
		if err != nil || [16]byte(transcript.RAND) != s.asked[0][0] {
			t.Errorf("evidence: %v", err)
		}
		p, err := d.Store.PairingByStatusIndex(t.Context(), record.StatusIndex)
		if err != nil || p.ID != out.ID || p.IMSI != nil || p.State != lifecycle.Active || o.State(out.ID) != "active" {
			t.Errorf("%+v, %v", p, err)
		}
		for _, secret := range []string{s.SIM.ICCID.Digits(), s.SIM.IMSI.Digits(), r.MSISDN.Digits()[1:], r.Session.Terminal} {
			if bytes.Contains(evidence, []byte(secret)) || bytes.Contains(out.Record, []byte(secret)) || bytes.Contains(p.Claims, []byte(secret)) {
				t.Error("a number or the terminal stands in record or evidence")
			}
		}
		rows := d.tables()
		if !strings.Contains(rows, out.ID.String()) {
			t.Error("the tables do not have the pairing")
		}
		for what, secret := range map[string]string{
			"ICCID": s.SIM.ICCID.Digits(), "IMSI": s.SIM.IMSI.Digits(), "number": r.MSISDN.Digits()[1:], "terminal": r.Session.Terminal,
			"salt": string(out.Salt[:]), "K": string(s.K), "OPc": string(s.OPc),
		} {
			if strings.Contains(rows, secret) || strings.Contains(rows, hex.EncodeToString([]byte(secret))) {
				t.Errorf("%s stands in the database", what)
			}
		}
		for _, res := range s.given {
			if !bytes.Equal(res, make([]byte, len(res))) {
				t.Error("RES was not overwritten")
			}
		}
		if _, err := d.Run(t.Context(), r); !errors.Is(err, pairing.ErrSessionUsed) {
			t.Errorf("the session again: %v", err)
		}
	}
}

// nothing checks that a run that failed left nothing paired: no live pairing of the
// card, nothing at the operator, and a reason.
func (d *desk) nothing(card store.Card, out pairing.Result, o *simoperator.Operator, state lifecycle.State, reason string) {
	d.t.Helper()
	all, err := d.Store.PairingsOfCard(d.t.Context(), card.ID)
	d.must(err)
	for _, p := range all {
		if p.State.Live() {
			d.t.Errorf("pairing is %s", p.State)
		}
	}
	if state == "" {
		if out.ID != uuid.Nil || len(all) > 0 {
			d.t.Errorf("something was begun: %+v", out)
		}
		return
	}
	if len(all) != 1 || all[0].State != state || all[0].Reason != reason || out.State != state || out.Record != nil {
		d.t.Errorf("ended as %+v (%+v), want %s %s", all, out, state, reason)
	}
	if s := o.State(out.ID); s != "released" && s != "" {
		d.t.Errorf("at the operator it is %s", s)
	}
}

// replaying gives the vector of another session again.
type replaying struct {
	pairing.AuthenticationCentre
	c pairing.Challenge
}

func (r *replaying) Challenge(context.Context, pairing.ChallengeRequest) (pairing.Challenge, error) {
	return r.c, nil
}

// TestRefusals: whatever goes wrong, the run says what, nothing is paired, and the
// same SIM is paired afterwards.
func TestRefusals(t *testing.T) {
	o, broken := "the chip says 63C2: wrong PIN, 2 tries left", errors.New("reader: no card")
	wrongPIN := errors.New(o)
	tests := map[string]struct {
		spoil  func(d *desk, r *pairing.Request, h *holder, s *sim, o *simoperator.Operator)
		want   error
		state  lifecycle.State
		reason string
	}{
		"wrong PIN": {func(_ *desk, _ *pairing.Request, h *holder, _ *sim, _ *simoperator.Operator) {
			h.before = func() error { return wrongPIN }
		}, wrongPIN, lifecycle.Revoked, "failed"},
		"another card than was read": {func(d *desk, _ *pairing.Request, h *holder, _ *sim, _ *simoperator.Operator) {
			h.shown = newHolder(d.t).shown
		}, pairing.ErrHolder, lifecycle.Revoked, "holder-signature"},
		"wrong SIM": {func(d *desk, r *pairing.Request, _ *holder, _ *sim, o *simoperator.Operator) {
			r.ICCID = newSIM(d.t, o).SIM.ICCID
		}, pairing.ErrWrongSIM, "", ""},
		"a SIM of the other operator": {func(d *desk, r *pairing.Request, _ *holder, _ *sim, _ *simoperator.Operator) {
			r.SIM, r.ICCID = newSIM(d.t, house.mtn), pairing.ICCID{}
		}, pairing.ErrWrongSIM, "", ""},
		"a SIM that the operator does not know": {func(d *desk, r *pairing.Request, _ *holder, _ *sim, o *simoperator.Operator) {
			other, err := simoperator.New(o.Code, nil)
			d.must(err)
			for range 900 { // past what the operator has sold
				r.SIM = newSIM(d.t, other)
			}
			r.ICCID = pairing.ICCID{}
		}, pairing.ErrOperatorRefused, lifecycle.Revoked, "operator-refused"},
		"a SIM with another key": {func(_ *desk, _ *pairing.Request, _ *holder, s *sim, _ *simoperator.Operator) {
			s.K = slices.Clone(s.K)
			s.K[0] ^= 1
		}, errMAC, lifecycle.Revoked, "failed"},
		"card taken out while it signs": {func(_ *desk, r *pairing.Request, h *holder, _ *sim, _ *simoperator.Operator) {
			h.before = func() error { r.Session.Removed("reader a"); return broken }
		}, pairing.ErrRemoved, lifecycle.Revoked, "card-removed"},
		"card taken out while the SIM answers": {func(_ *desk, r *pairing.Request, _ *holder, s *sim, _ *simoperator.Operator) {
			s.before = func() error { r.Session.Removed("reader a"); return nil }
		}, pairing.ErrRemoved, lifecycle.Revoked, "card-removed"},
		"SIM taken out": {func(_ *desk, r *pairing.Request, _ *holder, s *sim, _ *simoperator.Operator) {
			s.before = func() error { r.Session.Removed("reader b"); return broken }
		}, pairing.ErrRemoved, lifecycle.Revoked, "card-removed"},
		"a line that dies before the reader tells": {func(_ *desk, _ *pairing.Request, _ *holder, s *sim, _ *simoperator.Operator) {
			s.before = func() error { return apdu.ErrInDoubt }
		}, apdu.ErrInDoubt, lifecycle.Revoked, "card-removed"},
		"SIM exchanged": {func(d *desk, r *pairing.Request, _ *holder, s *sim, o *simoperator.Operator) {
			s.before = func() error { s.SIM.ICCID = newSIM(d.t, o).SIM.ICCID; return nil }
		}, pairing.ErrWrongSIM, lifecycle.Revoked, "wrong-sim"},
		"replayed vector": {func(d *desk, r *pairing.Request, _ *holder, s *sim, o *simoperator.Operator) {
			c, err := o.Challenge(d.t.Context(), pairing.ChallengeRequest{ICCID: s.SIM.ICCID, Session: uuid.New()})
			d.must(err)
			d.Networks = map[string]pairing.Network{o.Code: {Operator: o, Centre: &replaying{o, c}}}
		}, pairing.ErrChallenge, lifecycle.Revoked, "challenge"},
		"second resynchronization": {func(_ *desk, _ *pairing.Request, _ *holder, s *sim, _ *simoperator.Operator) {
			s.auts = 2
		}, pairing.ErrResync, lifecycle.Revoked, "resync"},
		"operator refuses": {func(d *desk, _ *pairing.Request, _ *holder, _ *sim, o *simoperator.Operator) {
			o.Refuse("no-contract")
			d.t.Cleanup(func() { o.Refuse("") })
		}, pairing.ErrOperatorRefused, lifecycle.Revoked, "operator-refused"},
		"number of another SIM": {func(d *desk, r *pairing.Request, _ *holder, _ *sim, o *simoperator.Operator) {
			r.MSISDN = o.Number(newSIM(d.t, o).number())
		}, pairing.ErrOperatorRefused, lifecycle.Revoked, "operator-refused"},
		"number outside of the prefixes": {func(_ *desk, r *pairing.Request, _ *holder, _ *sim, _ *simoperator.Operator) {
			r.MSISDN = house.mtn.Number(1)
		}, pairing.ErrPrefix, "", ""},
		"no such operator": {func(_ *desk, r *pairing.Request, _ *holder, _ *sim, _ *simoperator.Operator) {
			r.Operator = "43220"
		}, pairing.ErrNoOperator, "", ""},
		"session over before it began": {func(d *desk, r *pairing.Request, _ *holder, _ *sim, _ *simoperator.Operator) {
			past := time.Now().Add(-pairing.Life)
			late, err := pairing.NewSession(d.t.Context(), pairing.SessionRequest{Terminal: "t", IdentityReader: "a", SIMReader: "b", Now: func() time.Time {
				defer func() { past = time.Now() }()
				return past
			}})
			d.must(err)
			r.Session = late
		}, pairing.ErrSessionExpired, "", ""},
		"session over while the SIM answers": {func(d *desk, r *pairing.Request, _ *holder, s *sim, _ *simoperator.Operator) {
			now := time.Now()
			session, err := pairing.NewSession(d.t.Context(), pairing.SessionRequest{Terminal: "t", IdentityReader: "a", SIMReader: "b", Now: func() time.Time { return now }})
			d.must(err)
			r.Session = session
			s.before = func() error { now = now.Add(pairing.Life); return nil }
		}, pairing.ErrSessionExpired, lifecycle.Expired, "session-expired"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			card, h, s := d.card(), newHolder(t), newSIM(t, house.mci)
			number := 1_000_000 + int(house.cardCount.Load())
			r := d.request(card, h, s, house.mci, number)
			iccid := s.SIM.ICCID
			tc.spoil(d, &r, h, s, house.mci)
			out, err := d.Run(t.Context(), r)
			if !errors.Is(err, tc.want) {
				t.Fatalf("%v, want %v", err, tc.want)
			}
			d.nothing(card, out, house.mci, tc.state, tc.reason)
			if tc.want == errMAC {
				return
			}
			// The next session pairs the same SIM and number.
			d = newDesk(t)
			house.mci.Refuse("")
			h, s.before, s.auts, s.SIM.ICCID = newHolder(t), nil, 0, iccid
			if again, err := d.Run(t.Context(), d.request(card, h, s, house.mci, number)); err != nil || again.State != lifecycle.Active {
				t.Errorf("afterwards: %+v, %v", again, err)
			}
		})
	}
}

// TestResynchronization: a SIM whose counter ran ahead is brought in line once.
func TestResynchronization(t *testing.T) {
	d := newDesk(t)
	card, s := d.card(), newSIM(t, house.mci)
	out, err := d.Run(t.Context(), d.request(card, newHolder(t), s, house.mci, 5001))
	d.must(err)
	d.must(d.Revoke(t.Context(), out.ID, "test", house.clerk))
	if house.mci.State(out.ID) != "released" {
		t.Error("the operator was not told")
	}
	house.mci.Forget(s.SIM.ICCID)
	s.asked = nil
	out, err = d.Run(t.Context(), d.request(card, newHolder(t), s, house.mci, 5001))
	if err != nil || !out.Resynced || len(s.asked) != 2 || s.asked[0][0] == s.asked[1][0] {
		t.Fatalf("%+v, %d challenges, %v", out, len(s.asked), err)
	}
}

// TestTwoDesksOneSIM: of desks that pair one SIM at the same moment one does, and the
// others leave nothing behind.
func TestTwoDesksOneSIM(t *testing.T) {
	d := newDesk(t)
	s := newSIM(t, house.mci)
	var requests []pairing.Request
	for i := range 4 {
		copied := *s
		requests = append(requests, d.request(d.card(), newHolder(t), &copied, house.mci, 6000+i))
	}
	var wg sync.WaitGroup
	start := make(chan struct{})
	errs, outs := make([]error, len(requests)), make([]pairing.Result, len(requests))
	for i, r := range requests {
		wg.Add(1)
		go func() {
			defer wg.Done()
			<-start
			outs[i], errs[i] = d.Run(context.Background(), r)
		}()
	}
	close(start)
	wg.Wait()
	won := 0
	for i, err := range errs {
		switch {
		case err == nil:
			won++
		case errors.Is(err, store.ErrSIMPaired):
			d.nothing(requests[i].Card, outs[i], house.mci, "", "")
		default:
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d desks paired the SIM", won)
	}
}

// TestRequestsShowNothing: what a request, a result or a SIM's answer hold is not
// printed.
func TestRequestsShowNothing(t *testing.T) {
	d := newDesk(t)
	s := newSIM(t, house.mci)
	r := d.request(store.Card{}, newHolder(t), s, house.mci, 9001)
	text := fmt.Sprintf("%v %+v %#v", r, pairing.Subscription{ICCID: s.SIM.ICCID, IMSI: s.SIM.IMSI, MSISDN: r.MSISDN}, pairing.Answer{RES: []byte("12345678")})
	for _, secret := range []string{s.SIM.ICCID.Digits(), s.SIM.IMSI.Digits(), r.MSISDN.Digits(), "49, 50, 51", "0x31, 0x32"} {
		if bytes.Contains([]byte(text), []byte(secret)) {
			t.Errorf("printed: %s", text)
		}
	}
	r.Session.Close()
}
