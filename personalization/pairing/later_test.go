package pairing_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/lifecycle"
	"cardbureau/personalization/pairing/simoperator"
	"cardbureau/personalization/store"
)

// TestLaterAnswers: the operator that answers by a notice, or is not heard, leaves a
// pairing that waits and is completed, once.
func TestLaterAnswers(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	o, err := simoperator.New(simoperator.MCI, nil)
	d.must(err)
	mine := func(s *sim) { // the SIM is this operator's
		sold, err := o.Sell()
		d.must(err)
		s.SIM = sold
	}
	d.Networks = map[string]pairing.Network{o.Code: o.Network()}
	for range 300 { // ICCIDs of its own
		_, err := o.Sell()
		d.must(err)
	}

	o.Later(true)
	s := newSIM(t, house.mci)
	mine(s)
	out, err := d.Run(ctx, d.request(d.card(), newHolder(t), s, o, 7001))
	if err != nil || out.State != lifecycle.OperatorPending || out.Record != nil || out.Salt == (pairing.Salt{}) {
		t.Fatalf("%+v, %v", out, err)
	}
	if again, err := d.Continue(ctx, out.ID, house.clerk); err != nil || again.State != lifecycle.OperatorPending {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	o.Later(false)
	done, err := d.Continue(ctx, out.ID, house.clerk)
	if err != nil || done.State != lifecycle.Active {
		t.Fatalf("%+v, %v", done, err)
	}
	record, err := pairing.VerifyRecord(done.Record, house.keys)
	if err != nil || !record.HasNumber(out.Salt, o.Number(7001)) {
		t.Errorf("the late record: %v", err)
	}
	if again, err := d.Continue(ctx, out.ID, house.clerk); err != nil || !bytes.Equal(again.Record, done.Record) {
		t.Errorf("once more: %v", err)
	}

	s = newSIM(t, house.mci)
	mine(s)
	r := d.request(d.card(), newHolder(t), s, o, 7002)
	gone := errors.New("connection reset")
	s.before = func() error { return nil }
	d.Networks = map[string]pairing.Network{o.Code: {Operator: &muted{o, gone}, Centre: o}}
	out, err = d.Run(ctx, r)
	if !errors.Is(err, pairing.ErrWaits) || !errors.Is(err, gone) || out.State != lifecycle.OperatorPending {
		t.Fatalf("%+v, %v", out, err)
	}
	d.Networks = map[string]pairing.Network{o.Code: o.Network()}
	o.Refuse("fraud")
	if out, err := d.Continue(ctx, out.ID, house.clerk); !errors.Is(err, pairing.ErrOperatorRefused) || out.State != lifecycle.Revoked {
		t.Errorf("%+v, %v", out, err)
	}
}

// TestRefusalMeanwhile: a notice that refuses while the operator still answers yes
// leaves nothing paired.
func TestRefusalMeanwhile(t *testing.T) {
	d := newDesk(t)
	card := d.card()
	d.Networks = map[string]pairing.Network{house.mci.Code: {Operator: &wavering{house.mci, d}, Centre: house.mci}}
	out, err := d.Run(t.Context(), d.request(card, newHolder(t), newSIM(t, house.mci), house.mci, 7003))
	if !errors.Is(err, pairing.ErrOperatorRefused) {
		t.Fatalf("%+v, %v", out, err)
	}
	d.nothing(card, out, house.mci, lifecycle.Revoked, "operator-refused")
}

// wavering says no by a notice and yes by its answer.
type wavering struct {
	*simoperator.Operator
	d *desk
}

func (w *wavering) Activate(ctx context.Context, s pairing.Subscription) (pairing.OperatorAnswer, error) {
	notice, err := w.Notice(s.Pairing, pairing.EventRefused)
	if err == nil {
		_, err = w.d.Take(ctx, w.Code, notice, house.clerk)
	}
	return pairing.Confirmed, err
}

// muted does not answer when it activates.
type muted struct {
	*simoperator.Operator
	err error
}

func (m *muted) Activate(context.Context, pairing.Subscription) (pairing.OperatorAnswer, error) {
	return 0, m.err
}

// TestSweep: what a desk that died has left is ended, and its operator told.
func TestSweep(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	card, s := d.card(), newSIM(t, house.mci)
	id := store.NewID()
	d.must(house.mci.Reserve(ctx, pairing.Subscription{Pairing: id, ICCID: s.SIM.ICCID, IMSI: s.SIM.IMSI, MSISDN: house.mci.Number(7004)}))
	_, err := d.Store.ReservePairing(ctx, store.NewPairing{
		ID: id, CardID: card.ID, Operator: house.mci.Code, ICCIDRef: make([]byte, 32), MSISDNRef: make([]byte, 32), Sealed: []byte("s"), IMSI: []byte("i"),
		Session: uuid.New(), Ends: time.Now().Add(-time.Second), Until: time.Now().AddDate(1, 0, 0), Limit: 3,
	}, house.clerk)
	d.must(err)
	if n, err := d.Sweep(ctx, house.clerk); err != nil || n != 1 || house.mci.State(id) != "released" {
		t.Errorf("%d ended, %v, at the operator it is %s", n, err, house.mci.State(id))
	}
	d.nothing(card, pairing.Result{State: lifecycle.Expired, ID: id}, house.mci, lifecycle.Expired, "session-died")
}

// TestLossAndLimit: a lost SIM is suspended and comes back, the card stays as it is,
// and a person has three live SIMs and no more.
func TestLossAndLimit(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	card := d.card()
	var ids []uuid.UUID
	for i := range 3 {
		out, err := d.Run(ctx, d.request(card, newHolder(t), newSIM(t, house.mci), house.mci, 8000+i))
		d.must(err)
		ids = append(ids, out.ID)
	}
	out, err := d.Run(ctx, d.request(card, newHolder(t), newSIM(t, house.mci), house.mci, 8009))
	if !errors.Is(err, store.ErrSIMLimit) || out.ID != uuid.Nil {
		t.Errorf("a fourth: %+v, %v", out, err)
	}
	d.must(d.Suspend(ctx, ids[0], true, "lost", house.clerk))
	if house.mci.State(ids[0]) != "suspended" {
		t.Error("the operator was not told")
	}
	d.must(d.Suspend(ctx, ids[0], false, "found", house.clerk))
	d.must(d.Suspend(ctx, ids[0], true, "lost", house.clerk))
	again, err := d.Store.CardByNumber(ctx, card.Number, "test", house.clerk)
	if err != nil || again.State != store.CardActive {
		t.Errorf("the card is %s, %v", again.State, err)
	}
	house.mci.Silent(errors.New("no line"))
	defer house.mci.Silent(nil)
	if err := d.Revoke(ctx, ids[1], "holder", house.clerk); err == nil {
		t.Error("nobody says that the operator was not told")
	}
	p, err := d.Store.PairingByID(ctx, ids[1])
	if err != nil || p.State != lifecycle.Revoked {
		t.Errorf("%s, %v", p.State, err)
	}
}

// TestCardReplaced: the operator of a SIM hears once that its card was replaced, later
// if it cannot be reached, and the subscription goes on.
func TestCardReplaced(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	card := d.card()
	out, err := d.Run(ctx, d.request(card, newHolder(t), newSIM(t, house.mci), house.mci, 8200))
	d.must(err)
	d.must(d.TellReplaced(ctx, house.clerk))
	if house.mci.WasReplaced(out.ID) {
		t.Error("the operator was told of a card that is active")
	}
	d.must(d.Store.SetCardState(ctx, card.Number, "active", "revoked", "replaced", house.clerk))
	house.mci.Silent(errors.New("no line"))
	if err := d.TellReplaced(ctx, house.clerk); err == nil || house.mci.WasReplaced(out.ID) {
		t.Errorf("told over a broken line: %v", err)
	}
	house.mci.Silent(nil)
	d.must(d.TellReplaced(ctx, house.clerk))
	list, err := d.Store.ReplacedPairings(ctx, 10)
	d.must(err)
	if !house.mci.WasReplaced(out.ID) || len(list) != 0 || house.mci.State(out.ID) != "active" {
		t.Errorf("told: %v, %d are left, the subscription is %s", house.mci.WasReplaced(out.ID), len(list), house.mci.State(out.ID))
	}
}
