package store

import (
	"errors"
	"testing"

	"github.com/google/uuid"
)

// A first card for a person who has one waits for two people; a renewal does not.
func TestFirstCardOfSomebodyWhoHasOne(t *testing.T) {
	b := newBench(t)
	b.blanks(1)
	b.released(1, 1)
	st := b.station()
	b.must(st.Finish(b.ctx, finish(b.claim(st, 0), OutcomeIssued)))

	again := b.known(b.request(1))
	again.RecordID = uuid.NewString()
	res, err := b.AcceptRecord(b.ctx, again)
	b.must(err)
	if res.State != OrderAwaitingDecision || b.state(res.OrderID) != OrderAwaitingDecision {
		t.Fatalf("the order is %s", res.State)
	}
	if _, err := b.OrderForPreparation(b.ctx, res.OrderID); !errors.Is(err, ErrWrongState) {
		t.Errorf("it would be prepared: %v", err)
	}
	b.must(b.Decide(b.ctx, Decision{OrderID: res.OrderID, Proceed: false, Reason: "sent-twice", Approvers: [2]Actor{b.ali, b.zahra}}))
	renewal := b.known(b.request(1))
	renewal.RecordID, renewal.Reason = uuid.NewString(), "renewal"
	if order := b.accept(renewal); b.state(order) != OrderAccepted {
		t.Errorf("a renewal is %s", b.state(order))
	}
	b.balanced()
}

// An order whose blank was written is not withdrawn by one person.
func TestWithdrawAfterWriting(t *testing.T) {
	b := newBench(t)
	b.blanks(1)
	order := b.released(1, 1)[0]
	st := b.station()
	f := finish(b.claim(st, 0), OutcomeQuarantined)
	f.Reason = "proof-failed"
	b.must(st.Finish(b.ctx, f))
	if err := b.Withdraw(b.ctx, order, "test", b.ali); !errors.Is(err, ErrTwoPeople) {
		t.Fatalf("one person withdrew it: %v", err)
	}
	b.must(b.Decide(b.ctx, Decision{OrderID: order, Proceed: false, Reason: "test", Approvers: [2]Actor{b.ali, b.zahra}}))
	b.balanced()
}

// The database takes no card without a proof, and no resumed attempt that
// claims to have touched nothing.
func TestUnprovenIsRefused(t *testing.T) {
	b := newBench(t)
	b.blanks(1)
	order := b.released(1, 1)[0]
	st := b.station()
	c := b.claim(st, 0)
	f := finish(c, OutcomeIssued)
	f.Evidence = nil
	if err := st.Finish(b.ctx, f); err == nil || b.state(order) != OrderInProgress {
		t.Fatalf("issued without proof: %v, the order is %s", err, b.state(order))
	}
	b.must(st.Finish(b.ctx, finish(c, OutcomeInDoubt)))
	resumed, err := st.Resume(b.ctx, serial(0), "reader 0")
	b.must(err)
	if err := st.Finish(b.ctx, finish(resumed, OutcomeClean)); err == nil || b.state(order) != OrderInProgress {
		t.Fatalf("a blank in doubt went back to stock: %v, the order is %s", err, b.state(order))
	}
	b.must(st.Finish(b.ctx, finish(resumed, OutcomeIssued)))
	b.balanced()
}
