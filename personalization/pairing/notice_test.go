package pairing_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/lifecycle"
	"cardbureau/personalization/pairing/simoperator"
)

// waitingPairing is one that waits for the operator's notice.
func (d *desk) waitingPairing(number int) pairing.Result {
	d.t.Helper()
	house.mci.Later(true)
	defer house.mci.Later(false)
	out, err := d.Run(d.t.Context(), d.request(d.card(), newHolder(d.t), newSIM(d.t, house.mci), house.mci, number))
	if err != nil || out.State != lifecycle.OperatorPending {
		d.t.Fatalf("%+v, %v", out, err)
	}
	return out
}

// TestNotices: a notice completes what waits, counts once, and a swap only ever
// marks.
func TestNotices(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	out := d.waitingPairing(2_000_001)
	take := func(event, want string) []byte {
		t.Helper()
		notice, err := house.mci.Notice(out.ID, event)
		d.must(err)
		answer, err := d.Take(ctx, simoperator.MCI, notice, house.clerk)
		if err != nil || answer.Code != want || (answer.Status == "done") != (want == "") {
			t.Fatalf("%s: %+v, %v", event, answer, err)
		}
		return notice
	}
	state := func(want lifecycle.State) {
		t.Helper()
		p, err := d.Store.PairingByID(ctx, out.ID)
		if err != nil || p.State != want {
			t.Fatalf("it is %s, want %s (%v)", p.State, want, err)
		}
	}
	take(pairing.EventResumed, "wrong-state")
	take(pairing.EventSwap, "wrong-state")
	activated := take(pairing.EventActivated, "")
	state(lifecycle.Active)
	p, err := d.Store.PairingByID(ctx, out.ID)
	d.must(err)
	record, err := pairing.VerifyRecord(p.Record, house.keys)
	if err != nil || !record.HasNumber(out.Salt, house.mci.Number(2_000_001)) || p.IMSI != nil {
		t.Errorf("the record: %v", err)
	}
	swap := take(pairing.EventSwap, "")
	state(lifecycle.SwapPending)
	for range 2 { // again: the same answer, and nothing changes
		answer, err := d.Take(ctx, simoperator.MCI, activated, house.clerk)
		if err != nil || answer.Status != "done" {
			t.Errorf("again: %+v, %v", answer, err)
		}
	}
	state(lifecycle.SwapPending)
	take(pairing.EventResumed, "wrong-state")
	take(pairing.EventSuspended, "wrong-state")
	if err := d.Suspend(ctx, out.ID, false, "desk", house.clerk); err == nil {
		t.Error("a desk ended a swap")
	}
	// The number is still this pairing's: another SIM cannot have it silently.
	sim := newSIM(t, house.mci)
	if other, err := d.Run(ctx, d.request(d.card(), newHolder(t), sim, house.mci, 2_000_001)); err == nil || other.ID != uuid.Nil {
		t.Errorf("the number went to another SIM: %+v, %v", other, err)
	}
	take(pairing.EventSwapStopped, "")
	state(lifecycle.Active)
	take(pairing.EventSuspended, "")
	take(pairing.EventResumed, "")
	d.must(d.Suspend(ctx, out.ID, true, "lost", house.clerk))
	take(pairing.EventResumed, "wrong-state")
	state(lifecycle.Suspended)
	take(pairing.EventClosed, "")
	state(lifecycle.Revoked)
	if answer, err := d.Take(ctx, simoperator.MCI, swap, house.clerk); err != nil || answer.Status != "done" {
		t.Errorf("the old notice again: %+v, %v", answer, err)
	}
	state(lifecycle.Revoked)
}

// TestBadNotices: what is altered, old, of another operator or out of order is
// refused, and changes nothing.
func TestBadNotices(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	out := d.waitingPairing(2_000_002)
	now := time.Now().Unix()
	good := pairing.Notice{ID: "n-1", IssuedAt: now, Operator: simoperator.MCI, Pairing: out.ID, Sequence: 50, Event: pairing.EventActivated}
	sign := func(o *simoperator.Operator, change func(*pairing.Notice)) []byte {
		n := good
		change(&n)
		b, err := o.Sign(n)
		d.must(err)
		return b
	}
	same := func(*pairing.Notice) {}
	stranger, err := simoperator.New(simoperator.MCI, nil)
	d.must(err)
	altered := sign(house.mci, same)
	if at := len(altered) / 2; altered[at] == 'A' {
		altered[at] = 'B'
	} else {
		altered[at] = 'A'
	}
	for name, tc := range map[string]struct {
		notice []byte
		want   error
	}{
		"another key of the same name": {sign(stranger, same), pairing.ErrNoticeSignature},
		"another operator's key":       {sign(house.mtn, same), pairing.ErrNoticeSignature},
		"another operator's name":      {sign(house.mci, func(n *pairing.Notice) { n.Operator = simoperator.Irancell }), pairing.ErrNotice},
		"altered":                      {altered, pairing.ErrNoticeSignature},
		"old":                          {sign(house.mci, func(n *pairing.Notice) { n.IssuedAt = now - 25*3600 }), pairing.ErrNoticeAge},
		"from the future":              {sign(house.mci, func(n *pairing.Notice) { n.IssuedAt = now + 3600 }), pairing.ErrNoticeAge},
		"no event":                     {sign(house.mci, func(n *pairing.Notice) { n.Event = "transfer" }), pairing.ErrNotice},
		"no sequence":                  {sign(house.mci, func(n *pairing.Notice) { n.Sequence = 0 }), pairing.ErrNotice},
		"no name":                      {sign(house.mci, func(n *pairing.Notice) { n.ID = "" }), pairing.ErrNotice},
		"nothing":                      {nil, pairing.ErrNotice},
		"long":                         {bytes.Repeat([]byte("a"), pairing.MaxNotice+1), pairing.ErrNotice},
	} {
		if _, err := d.Take(ctx, simoperator.MCI, tc.notice, house.clerk); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if _, err := d.Take(ctx, "43220", sign(house.mci, same), house.clerk); !errors.Is(err, pairing.ErrNoOperator) {
		t.Errorf("no such operator: %v", err)
	}
	p, err := d.Store.PairingByID(ctx, out.ID)
	if err != nil || p.State != lifecycle.OperatorPending {
		t.Fatalf("a bad notice changed the pairing: %s, %v", p.State, err)
	}
	for i, want := range []string{"", "", "differs", "out-of-order", "not-found"} {
		notice := sign(house.mci, func(n *pairing.Notice) {
			switch want {
			case "differs":
				n.Event = pairing.EventClosed
			case "out-of-order":
				n.ID = "n-2"
			case "not-found":
				n.ID, n.Pairing = "n-3", uuid.New()
			}
		})
		answer, err := d.Take(ctx, simoperator.MCI, notice, house.clerk)
		if want == "differs" && errors.Is(err, pairing.ErrNoticeDiffers) {
			continue
		}
		if err != nil || answer.Code != want {
			t.Errorf("%d: %+v, %v, want %q", i, answer, err, want)
		}
	}
}

func FuzzParseNotice(f *testing.F) {
	o, err := simoperator.New(simoperator.MCI, nil)
	if err != nil {
		f.Fatal(err)
	}
	notice, err := o.Notice(uuid.New(), pairing.EventSwap)
	if err != nil {
		f.Fatal(err)
	}
	document, err := simoperator.Plan(1, time.Now(), o)
	if err != nil {
		f.Fatal(err)
	}
	plan, err := pairing.OpenPlan(document, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(notice)
	f.Add(document)
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := pairing.ParseNotice(b, plan.Operators[simoperator.MCI].Keys); err == nil && (n.Sequence < 1 || n.ID == "") {
			t.Error("an incomplete notice was taken")
		}
		_, _ = pairing.OpenPlan(b, nil)
		_, _ = pairing.OpenPlan(b, []jose.JSONWebKey{})
	})
}
