package desk_test

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"cardbureau/cardio/lds"
	"cardbureau/cardio/uicc"
	"cardbureau/cardio/virtual/usim"
	"cardbureau/personalization/desk"
	"cardbureau/personalization/identity"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/lifecycle"
	"cardbureau/personalization/pairing/simoperator"
	"cardbureau/personalization/statement"
	"cardbureau/personalization/store"
)

// company is one operator that all tests buy SIMs of.
var company struct {
	sync.Once
	*simoperator.Operator
	err error
}

// pairing is the service, with the operator.
func (o *office) pairing() *pairing.Service {
	o.t.Helper()
	company.Do(func() {
		ctx := context.Background()
		if company.Operator, company.err = simoperator.New(simoperator.MCI, nil); company.err != nil {
			return
		}
		plan, err := simoperator.Plan(1, time.Now(), company.Operator)
		if err == nil {
			_, err = (&pairing.Service{Store: house.Store}).TakePlan(ctx, plan, o.clerk)
		}
		company.err = err
	})
	o.must(company.err)
	s, err := house.Pairing(map[string]pairing.Network{simoperator.MCI: company.Network()})
	o.must(err)
	return s
}

// sold is a SIM that the operator has sold, and its number.
type sold struct {
	simoperator.SIM
	number pairing.MSISDN
}

func (o *office) sim() sold {
	o.t.Helper()
	s, err := company.Sell()
	o.must(err)
	digits := s.IMSI.Digits()
	n, err := strconv.Atoi(digits[len(digits)-7:])
	o.must(err)
	return sold{s, company.Number(n)}
}

// chip is the SIM as a software chip, in its terminal.
func (o *office) chip(s sold) pairing.SIM {
	o.t.Helper()
	chip, err := usim.New(usim.Config{Profile: &usim.Profile{
		ICCID: s.ICCID.Digits(), IMSI: s.IMSI.Digits(), K: usim.Secret(s.K), OPc: usim.Secret(s.OPc), PIN1Disabled: true,
	}})
	o.must(err)
	card, err := uicc.Open(o.t.Context(), usim.Terminal{Card: chip})
	o.must(err)
	return pairing.CardSIM(card)
}

// chipHolder is the identity card as a pairing asks it to sign.
type chipHolder struct {
	visit  *desk.Visit
	key    identity.HolderKey
	thumb  []byte
	before func() // it signs
}

func (h *chipHolder) Sign(ctx context.Context, digest [32]byte) ([]byte, error) {
	if h.before != nil {
		h.before()
	}
	return lds.Sign(ctx, h.visit.Session(), identity.PairingKeyReference, digest[:])
}
func (h *chipHolder) PublicKey() *ecdsa.PublicKey { k, _ := h.key.Public(); return k }
func (h *chipHolder) CardThumbprint() []byte      { return h.thumb }

// attended opens a visit to pair a card, with the holder's PIN given.
func (o *office) attended(c *card) (*desk.Visit, *chipHolder) {
	o.t.Helper()
	v := o.visit(c, store.VisitPair, seen)
	o.must(v.VerifyPIN(o.t.Context(), holderPIN{current: c.pin}))
	key, ok := v.Keys().Key(identity.PairingKeyReference)
	if !ok {
		o.t.Fatal("the card has no pairing key")
	}
	thumb, err := statement.Thumbprint(v.ChipKey())
	o.must(err)
	return v, &chipHolder{visit: v, key: key, thumb: thumb}
}

// request is one pairing, in a session of its own. Its record is written by the visit.
func (o *office) request(c *card, h *chipHolder, s sold) pairing.Request {
	o.t.Helper()
	session, err := pairing.NewSession(o.t.Context(), pairing.SessionRequest{Terminal: "desk", IdentityReader: "a", SIMReader: "b"})
	o.must(err)
	return pairing.Request{
		Session: session, Card: c.Card, Holder: h, SIM: o.chip(s), Operator: simoperator.MCI, MSISDN: s.number, Until: time.Now().AddDate(1, 0, 0), Actor: o.clerk,
		Write: func(ctx context.Context, _ []byte) error { _, _, err := h.visit.KeepPairings(ctx); return err },
	}
}

// holds compares the records on a card with pairings, and verifies each.
func (o *office) holds(v *desk.Visit, thumb []byte, want ...uuid.UUID) {
	o.t.Helper()
	places, err := lds.ReadRecords(o.t.Context(), v.Session(), identity.PairingFID)
	o.must(err)
	keys, err := house.PairingKeys()
	o.must(err)
	found := map[uuid.UUID]bool{}
	for _, p := range places {
		if p.Record == nil {
			continue
		}
		r, err := pairing.VerifyRecord(p.Record, keys)
		o.must(err)
		o.must(r.Of(thumb))
		found[uuid.UUID(r.ID)] = true
	}
	for _, id := range want {
		if !found[id] {
			o.t.Errorf("the card does not hold the record of %s", id)
		}
	}
	if len(found) != len(want) || len(places) != 3 {
		o.t.Errorf("%d records in %d places, not %d in 3", len(found), len(places), len(want))
	}
}

// TestThreeSIMs pairs three SIMs with one card, one after the other. The card holds the
// record of each; a fourth is refused before anything is begun; one that was ended is
// dropped at the next visit and makes room; and what the server has can be written
// again to a card that lost it.
func TestThreeSIMs(t *testing.T) {
	o, ctx := newOffice(t), t.Context()
	c, service := o.active(), o.pairing()
	service.SIMs = 5 // places, not the limit of a person, are what is tested
	var made []uuid.UUID
	pair := func() *desk.Visit {
		v, h := o.attended(c)
		o.must(v.RoomForPairing(ctx))
		out, err := service.Run(ctx, o.request(c, h, o.sim()))
		o.must(errors.Join(err, out.WriteError))
		made = append(made, out.ID)
		o.holds(v, h.thumb, made...)
		return v
	}
	for range 3 {
		pair().Close(ctx)
	}
	v, h := o.attended(c)
	o.is(v.RoomForPairing(ctx), desk.ErrNoPlace)
	o.holds(v, h.thumb, made...)
	// A desk that does not ask has the record with the server alone.
	out, err := service.Run(ctx, o.request(c, h, o.sim()))
	o.must(err)
	o.is(out.WriteError, desk.ErrNoPlace)
	o.holds(v, h.thumb, made...)
	o.must(service.Revoke(ctx, out.ID, "test", o.clerk))

	// Suspended is alive, revoked is not.
	o.must(service.Suspend(ctx, made[0], true, "lost", o.clerk))
	o.must(service.Revoke(ctx, made[1], "lost", o.clerk))
	made = []uuid.UUID{made[0], made[2]}
	v.Close(ctx)
	v, h = o.attended(c)
	if kept, places, err := v.KeepPairings(ctx); err != nil || kept != 2 || places != 3 {
		t.Errorf("%d of %d, %v", kept, places, err)
	}
	o.holds(v, h.thumb, made...)

	// The card loses them, and gets them back.
	_, err = lds.KeepRecords(ctx, v.Session(), identity.PairingFID, nil)
	o.must(err)
	o.holds(v, h.thumb)
	_, _, err = v.KeepPairings(ctx)
	o.must(err)
	o.holds(v, h.thumb, made...)
	v.Close(ctx)
	pair()
}

// TestSIMLimit: a person has as many live SIMs as are allowed, whatever the card takes.
func TestSIMLimit(t *testing.T) {
	o, ctx := newOffice(t), t.Context()
	c, service := o.active(), o.pairing()
	service.SIMs = 1
	v, h := o.attended(c)
	_, err := service.Run(ctx, o.request(c, h, o.sim()))
	o.must(err)
	v.Close(ctx)
	v, h = o.attended(c)
	o.must(v.RoomForPairing(ctx))
	_, err = service.Run(ctx, o.request(c, h, o.sim()))
	o.is(err, store.ErrSIMLimit)
}

// TestTwoDesksOneSIM: of two desks that pair one ICCID at once, one pairs it and the
// other says that it is taken; nothing of the other's is left.
func TestTwoDesksOneSIM(t *testing.T) {
	o, ctx := newOffice(t), t.Context()
	service := o.pairing()
	cards := []*card{o.active(), o.active()}
	s := o.sim()
	var requests []pairing.Request
	var visits []*chipHolder
	for _, c := range cards {
		_, h := o.attended(c)
		visits, requests = append(visits, h), append(requests, o.request(c, h, s))
	}
	outs, errs := make([]pairing.Result, 2), make([]error, 2)
	var wg sync.WaitGroup
	for i := range cards {
		wg.Go(func() { outs[i], errs[i] = service.Run(ctx, requests[i]) })
	}
	wg.Wait()
	won, lost := 0, 1
	if errs[0] != nil {
		won, lost = 1, 0
	}
	if errs[won] != nil || outs[won].State != lifecycle.Active || outs[won].WriteError != nil {
		t.Fatalf("nobody has it: %v, %v", errs[won], errs[lost])
	}
	o.is(errs[lost], store.ErrSIMPaired)
	if outs[lost].ID != uuid.Nil {
		t.Errorf("the desk that lost has pairing %s", outs[lost].ID)
	}
	if list, err := house.Store.PairingsOfCard(ctx, cards[lost].ID); err != nil || len(list) != 0 {
		t.Errorf("the card that lost has %v, %v", list, err)
	}
	o.holds(visits[won].visit, visits[won].thumb, outs[won].ID)
	o.holds(visits[lost].visit, visits[lost].thumb)
}

// TestSessionOver: a session whose 120 seconds pass while the card signs pairs nothing.
func TestSessionOver(t *testing.T) {
	o, ctx := newOffice(t), t.Context()
	c, service := o.active(), o.pairing()
	for _, late := range []time.Duration{pairing.Life + time.Second, pairing.Life - time.Second} {
		v, h := o.attended(c)
		start := time.Now()
		now := start
		h.before = func() { now = start.Add(late) }
		r := o.request(c, h, o.sim())
		session, err := pairing.NewSession(ctx, pairing.SessionRequest{Terminal: "desk", IdentityReader: "a", SIMReader: "b", Now: func() time.Time { return now }})
		o.must(err)
		r.Session = session
		out, err := service.Run(ctx, r)
		if late < pairing.Life {
			o.must(err)
			o.holds(v, h.thumb, out.ID)
			continue
		}
		o.is(err, pairing.ErrSessionExpired)
		if out.State != lifecycle.Expired || out.Record != nil {
			t.Errorf("%+v", out)
		}
		o.holds(v, h.thumb)
		v.Close(ctx)
	}
}
