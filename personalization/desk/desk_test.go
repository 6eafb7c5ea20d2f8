package desk_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"

	"cardbureau/cardio/lds"
	"cardbureau/personalization/desk"
	"cardbureau/personalization/record"
	"cardbureau/personalization/store"
)

// TestReceivedFirst: no card is handed over that no office has received, and none is
// received by another office unless it follows its holder.
func TestReceivedFirst(t *testing.T) {
	o, ctx := newOffice(t), t.Context()
	c := o.issue(o.people(1, false)...)[0]
	_, err := o.Open(ctx, c.Number, store.VisitActivate, o.clerk)
	o.is(err, store.ErrNotReceived)
	if o.Receive(ctx, c.Number, "", false, o.clerk) == nil {
		t.Error("an office without a code received a card")
	}
	o.is(o.Receive(ctx, c.Number, "another", false, o.clerk), store.ErrOtherOffice)
	o.is(o.Receive(ctx, "7KXW2M4BC", "another", false, o.clerk), store.ErrNotFound)
	_, err = o.Open(ctx, c.Number, store.VisitActivate, o.clerk)
	o.is(err, store.ErrNotReceived)
	o.must(o.Receive(ctx, c.Number, "another", true, o.clerk))
	o.is(o.Receive(ctx, c.Number, "another", false, o.clerk), store.ErrAlready)
	o.activate(c)
	o.states(store.CardActive, c)
	_, err = o.Open(ctx, c.Number, store.VisitActivate, o.clerk)
	o.is(err, store.ErrWrongState)
}

// TestTransportPINOnce: the server releases it after the check alone, once a visit; a
// visit that was cut off after the PIN was set is begun again with the PIN that the
// holder wants then.
func TestTransportPINOnce(t *testing.T) {
	o, ctx := newOffice(t), t.Context()
	c := o.issue(o.people(1, false)...)[0]
	o.receive(c)

	v, err := o.Open(ctx, c.Number, store.VisitActivate, o.clerk)
	o.must(err)
	o.must(v.Prove(ctx, c))
	o.is(v.SetPIN(ctx, holderPIN{fresh: "753190"}), store.ErrWrongState) // not checked
	o.must(v.Check(ctx, seen))
	for _, weak := range []string{"12345", "111111", "123456", "654321", "75319a", "753190753"} {
		o.is(v.SetPIN(ctx, holderPIN{fresh: weak}), desk.ErrWeakPIN)
	}
	o.must(v.SetPIN(ctx, holderPIN{fresh: "753190"}))
	o.is(v.SetPIN(ctx, holderPIN{fresh: "864201"}), store.ErrWrongState)
	v.Close(ctx)
	o.states("made", c)

	v = o.visit(c, store.VisitActivate, seen)
	o.must(v.SetPIN(ctx, holderPIN{fresh: "864203"}))
	o.finish(v)
	o.states(store.CardActive, c)
	v = o.visit(c, store.VisitPair, seen)
	o.must(v.VerifyPIN(ctx, holderPIN{current: "864203"}))
}

// TestOtherCard: the card in the reader is the one that was named, or the visit ends.
func TestOtherCard(t *testing.T) {
	o, ctx := newOffice(t), t.Context()
	cards := o.issue(o.people(2, false)...)
	o.receive(cards[0])
	v, err := o.Open(ctx, cards[0].Number, store.VisitActivate, o.clerk)
	o.must(err)
	o.refuses(v.Prove(ctx, cards[1]), desk.CodeOtherCard)
	if v.Check(ctx, seen) == nil || v.SetPIN(ctx, holderPIN{fresh: "753190"}) == nil {
		t.Error("a visit without a card went on")
	}
}

// TestLimits: refused visits count for a day. Wrong PINs close visits too, but never
// the one that unblocks the PIN, after which they count no more.
func TestLimits(t *testing.T) {
	o, ctx := newOffice(t), t.Context()
	o.Tries = 3
	cards := o.issue(o.people(2, false)...)
	for _, c := range cards {
		o.receive(c)
	}
	for range 3 {
		v, err := o.Open(ctx, cards[0].Number, store.VisitActivate, o.clerk)
		o.must(err)
		o.must(v.Prove(ctx, cards[0]))
		o.refuses(v.Check(ctx, desk.HolderCheck{Document: "passport"}), desk.CodePhoto)
	}
	_, err := o.Open(ctx, cards[0].Number, store.VisitActivate, o.clerk)
	o.is(err, store.ErrTooManyTries)
	o.states("made", cards[0])

	c := cards[1]
	o.activate(c)
	for n := range 3 {
		v := o.visit(c, store.VisitPair, seen)
		err := v.VerifyPIN(ctx, holderPIN{current: "000001"})
		o.refuses(err, desk.CodePIN)
		if wrong := new(lds.PINError); n < 2 && !errors.As(err, &wrong) {
			t.Error(err)
		}
	}
	_, err = o.Open(ctx, c.Number, store.VisitPair, o.clerk)
	o.is(err, store.ErrTooManyTries)
	v := o.visit(c, store.VisitUnblockPIN, seen)
	o.must(v.UnblockPIN(ctx, holderPIN{fresh: "864203"}))
	o.finish(v)
	v = o.visit(c, store.VisitPair, seen)
	o.must(v.VerifyPIN(ctx, holderPIN{current: "864203"}))
	o.states(store.CardActive, c)
}

// TestChecks: who may have a card. A refusal says why with its code; nothing is
// released then.
func TestChecks(t *testing.T) {
	o, ctx := newOffice(t), t.Context()
	people := append(o.people(1, false), o.people(2, true)...)
	people[2].Person.Guardian = &record.Guardian{Kind: "none"} // unaccompanied
	cards := o.issue(people...)
	for _, c := range cards {
		o.receive(c)
	}
	adult, minor, alone := cards[0], cards[1], cards[2]
	second, clerk := house.second.ID, o.clerk.ID
	for _, c := range []struct {
		name  string
		card  *card
		check desk.HolderCheck
		code  string // of the refusal
		err   error  // of the server
	}{
		{"photo", adult, desk.HolderCheck{Document: "passport", Override: "lost-papers", Second: second}, desk.CodePhoto, nil},
		{"document", adult, desk.HolderCheck{Photo: true}, desk.CodeDocument, nil},
		{"override alone", adult, desk.HolderCheck{Photo: true, Override: "lost-papers"}, "", store.ErrTwoPeople},
		{"override by oneself", adult, desk.HolderCheck{Photo: true, Override: "lost-papers", Second: clerk}, "", store.ErrTwoPeople},
		{"override", adult, desk.HolderCheck{Photo: true, Override: "lost-papers", Second: second}, "", nil},
		{"adult", adult, desk.HolderCheck{Photo: true, Document: "passport"}, "", nil},
		{"minor", minor, desk.HolderCheck{Photo: true, Document: "passport"}, desk.CodeGuardian, nil},
		{"minor, override", minor, desk.HolderCheck{Photo: true, Document: "passport", Override: "lost-papers", Second: second}, desk.CodeGuardian, nil},
		{"guardian", minor, desk.HolderCheck{Photo: true, Document: "passport", Guardian: "amayesh"}, "", nil},
		{"decision alone", minor, desk.HolderCheck{Photo: true, Document: "passport", Decision: "court-12"}, desk.CodeDecision, nil},
		{"decision", minor, desk.HolderCheck{Photo: true, Document: "passport", Decision: "court-12", Second: second}, "", nil},
		{"unaccompanied, somebody", alone, desk.HolderCheck{Photo: true, Document: "passport", Guardian: "passport"}, desk.CodeDecision, nil},
		{"unaccompanied, by oneself", alone, desk.HolderCheck{Photo: true, Document: "passport", Decision: "court-12", Second: clerk}, "", store.ErrTwoPeople},
		{"unaccompanied", alone, desk.HolderCheck{Photo: true, Document: "passport", Decision: "court-12", Second: second}, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &office{o.Desk, t, o.clerk}
			v, err := o.Open(ctx, c.card.Number, store.VisitActivate, o.clerk)
			o.must(err)
			defer v.Close(ctx)
			o.must(v.Prove(ctx, c.card))
			h, err := v.Holder()
			if err != nil || h.Minor != (c.card != adult) || len(h.Photo) == 0 || h.Latin == "" {
				t.Errorf("the holder: minor %v, %d bytes of photo, %v", h.Minor, len(h.Photo), err)
			}
			err = v.Check(ctx, c.check)
			if c.code != "" {
				o.refuses(err, c.code)
			} else {
				o.is(err, c.err)
			}
			if err != nil {
				o.is(v.SetPIN(ctx, holderPIN{fresh: "753190"}), store.ErrWrongState)
			}
		})
	}
}

// fingers is a matcher that says one thing.
type fingers struct {
	fits bool
	err  error
}

func (f fingers) Match(context.Context, string) (bool, error) { return f.fits, f.err }

// TestFingerprint: where one is compared it counts, and what cannot be compared is not
// a match.
func TestFingerprint(t *testing.T) {
	o, ctx := newOffice(t), t.Context()
	c := o.issue(o.people(1, false)...)[0]
	o.receive(c)
	for _, m := range []fingers{{false, nil}, {true, errors.New("no reader")}, {true, nil}} {
		o.Matcher = m
		v, err := o.Open(ctx, c.Number, store.VisitActivate, o.clerk)
		o.must(err)
		o.must(v.Prove(ctx, c))
		if err = v.Check(ctx, seen); m.fits && m.err == nil {
			o.must(err)
		} else {
			o.refuses(err, desk.CodeFingerprint)
		}
		v.Close(ctx)
	}
}

// TestRenewal: the new card becomes active and the one before is revoked in one
// transaction, or neither.
func TestRenewal(t *testing.T) {
	o, ctx := newOffice(t), t.Context()
	person := o.people(1, false)[0]
	old := o.issue(person)[0]
	o.receive(old)
	o.activate(old)
	person.RecordID, person.Reason = uuid.NewString(), "renewal"
	renewed := o.issue(person)[0]
	o.receive(renewed)

	v := o.visit(renewed, store.VisitActivate, seen)
	o.must(v.SetPIN(ctx, holderPIN{fresh: "864203"}))
	r, err := v.Sign(ctx)
	o.must(err)
	over, cancel := context.WithCancel(ctx)
	cancel()
	if v.Finish(over, r) == nil {
		t.Error("a visit was finished by a program that had ended")
	}
	o.states(store.CardActive, old)
	o.states("made", renewed)
	o.must(v.Finish(ctx, r))
	o.states(store.CardRevoked, old)
	o.states(store.CardActive, renewed)
	_, err = o.Open(ctx, old.Number, store.VisitPair, o.clerk)
	o.is(err, store.ErrWrongState)
}

// TestLossAndReplacement: one clerk blocks at the holder's request, the holder's visit
// lifts it, and a card that was never handed over takes two people to revoke.
func TestLossAndReplacement(t *testing.T) {
	o, ctx := newOffice(t), t.Context()
	cards := o.issue(o.people(2, false)...)
	for _, c := range cards {
		o.receive(c)
	}
	c := cards[0]
	o.is(o.Block(ctx, c.Number, "lost", o.clerk), store.ErrWrongState) // not handed over
	o.activate(c)
	_, err := o.Open(ctx, c.Number, store.VisitUnblock, o.clerk)
	o.is(err, store.ErrWrongState)
	o.must(o.Block(ctx, c.Number, "lost", o.clerk))
	o.is(o.Block(ctx, c.Number, "lost", o.clerk), store.ErrAlready)
	o.states(store.CardSuspended, c)
	_, err = o.Open(ctx, c.Number, store.VisitPair, o.clerk)
	o.is(err, store.ErrWrongState)

	// The PIN is set anew, and the card stays blocked until the visit that lifts it.
	v := o.visit(c, store.VisitUnblockPIN, seen)
	o.must(v.UnblockPIN(ctx, holderPIN{fresh: "864203"}))
	o.finish(v)
	o.states(store.CardSuspended, c)
	v = o.visit(c, store.VisitUnblock, seen)
	o.must(v.VerifyPIN(ctx, holderPIN{current: "864203"}))
	o.finish(v)
	o.states(store.CardActive, c)

	o.must(house.Store.SetCardState(ctx, c.Number, "active", "suspended", "authority", o.clerk))
	_, err = o.Open(ctx, c.Number, store.VisitUnblock, o.clerk)
	o.is(err, store.ErrNotByHolder)
	o.must(house.Store.SetCardState(ctx, c.Number, "suspended", "active", "authority", o.clerk))

	o.must(o.Replace(ctx, c.Number, "damaged", uuid.Nil, o.clerk))
	o.states(store.CardSuspended, c)
	fresh := cards[1]
	o.is(o.Replace(ctx, fresh.Number, "damaged", uuid.Nil, o.clerk), store.ErrTwoPeople)
	o.is(o.Replace(ctx, fresh.Number, "damaged", o.clerk.ID, o.clerk), store.ErrTwoPeople)
	o.states("made", fresh)
	o.must(o.Replace(ctx, fresh.Number, "damaged", house.second.ID, o.clerk))
	o.states(store.CardRevoked, fresh)
}
