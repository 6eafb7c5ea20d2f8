package intake_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"cardbureau/personalization/intake"
	"cardbureau/personalization/record"
	"cardbureau/personalization/stock"
	"cardbureau/personalization/store"
)

// TestConflicts: under a known unique id, another name, birth date or photo
// waits for two people; what is none of these does not.
func TestConflicts(t *testing.T) {
	h := open(t)
	const seed = 10
	p := h.people(seed, 6)
	photo := h.people(seed+1, 1)[0].Person.Photo
	changes := []struct {
		name string
		do   func(*record.Record)
		want string
	}{
		{"name", func(r *record.Record) { r.Person.Name.Local.Given, r.Person.Name.Latin.Given = "پروین", "Parwin" }, intake.Conflict},
		{"birth date", func(r *record.Record) { r.Person.BirthDate.Year-- }, intake.Conflict},
		{"photo", func(r *record.Record) { r.Person.Photo = photo }, intake.Conflict},
		{"office", func(r *record.Record) { r.Residence.Office = "ZZ-1111" }, intake.Accepted},
		{"Arabic letters for Persian ones", func(r *record.Record) {
			n := &r.Person.Name.Local
			n.Given, n.Family = strings.ReplaceAll(n.Given, "ی", "ي"), strings.ReplaceAll(n.Family, "ک", "ك")
		}, intake.Accepted},
		{"nothing", func(*record.Record) {}, intake.Accepted},
	}
	for i, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.t = t
			first := p[i]
			first.Person.Name = record.Names{
				Local: record.Name{Family: "کریمی", Given: "یاسین"}, Latin: record.Name{Family: "Karimi", Given: "Yasin"},
			}
			order := h.want(h.one(sign(t, registry, first)), intake.Accepted)
			next := first
			next.RecordID, next.Reason = uuid.NewString(), "renewal"
			c.do(&next)
			h.want(h.one(sign(t, registry, next)), record.PersonHasOrder)
			h.must(h.Store.Withdraw(t.Context(), order, "test", h.ali))
			a := h.one(sign(t, registry, next))
			second := h.want(a, c.want)
			if a.HTTPStatus != 201 || a.State != string(h.state(second)) {
				t.Errorf("answer %+v, order is %s", a, h.state(second))
			}
			if c.want != intake.Conflict {
				h.prepare(second)
				h.wantState(second, store.OrderPrepared)
				return
			}
			h.prepare(second) // no image is made of what is not decided
			h.wantState(second, store.OrderConflict)
			again := h.one(sign(t, registry, next))
			if h.want(again, intake.AlreadyKnown) != second || again.State != intake.Conflict {
				t.Errorf("again: %+v", again)
			}
			err := h.Store.Decide(t.Context(), store.Decision{
				OrderID: second, Proceed: true, Reason: "looked-at", Approvers: [2]store.Actor{h.ali, h.ali},
			})
			if !errors.Is(err, store.ErrTwoPeople) {
				t.Errorf("one person decided: %v", err)
			}
			h.decide(second, true)
			h.prepare(second)
			h.wantState(second, store.OrderPrepared)
			// From now on this is who the person is.
			h.must(h.Store.Withdraw(t.Context(), second, "test", h.ali))
			third := next
			third.RecordID = uuid.NewString()
			h.want(h.one(sign(t, registry, third)), intake.Accepted)
		})
	}
}

// TestConflictRefused: what two people turn down changes nothing about who the
// person is.
func TestConflictRefused(t *testing.T) {
	h := open(t)
	first := h.people(12, 1)[0]
	h.must(h.Store.Withdraw(t.Context(), h.want(h.one(sign(t, registry, first)), intake.Accepted), "test", h.ali))
	other := first
	other.RecordID = uuid.NewString()
	other.Person.BirthDate.Year++
	order := h.want(h.one(sign(t, registry, other)), intake.Conflict)
	h.decide(order, false)
	h.wantState(order, store.OrderWithdrawn)
	again := first
	again.RecordID = uuid.NewString()
	h.want(h.one(sign(t, registry, again)), intake.Accepted)
}

// TestAwaitingDecision: a minor with nobody waits for people.
func TestAwaitingDecision(t *testing.T) {
	h := open(t)
	for _, i := range []int{2, 17} { // a child; one whose birthday is not known
		r := h.person(13, i)
		r.Person.Guardian = nil
		h.want(h.one(sign(t, registry, r)), record.NoGuardian)
		r.Person.Guardian = &record.Guardian{Kind: "none"}
		a := h.one(sign(t, registry, r))
		order := h.want(a, intake.Accepted)
		if a.State != string(store.OrderAwaitingDecision) {
			t.Fatalf("answer %+v", a)
		}
		h.prepare(order)
		h.wantState(order, store.OrderAwaitingDecision)
		lot, err := h.Store.ReleaseLot(t.Context(), store.LotRequest{Name: "none", Orders: []uuid.UUID{order}, Actor: h.ali})
		if err != nil || lot.Orders != 0 {
			t.Errorf("released %d undecided orders: %v", lot.Orders, err)
		}
		h.decide(order, true)
		h.prepare(order)
		h.wantState(order, store.OrderPrepared)
	}
}

// TestDailyCap counts what a key brings in, and nothing else.
func TestDailyCap(t *testing.T) {
	h := open(t)
	p := h.people(14, 6)
	bad := p[5]
	bad.Audience = "another-bureau"
	lines := []string{sign(t, capped, bad), sign(t, capped, p[0])}
	h.want(h.take(file(lines...))[1], intake.Accepted)
	h.want(h.take(file(lines...))[1], intake.AlreadyKnown) // costs nothing
	var rest []string
	for _, r := range p[1:5] {
		rest = append(rest, sign(t, capped, r))
	}
	var got []string
	for _, a := range h.take(file(rest...)) {
		got = append(got, a.Status+a.Code)
	}
	// One in, two more may follow, in whatever order.
	if n := count(got, intake.Accepted); n != 2 || count(got, intake.Refused+record.DailyCap) != 2 {
		t.Errorf("after one record of three: %v", got)
	}
	h.want(h.one(sign(t, capped, p[0])), intake.AlreadyKnown)
	h.want(h.one(sign(t, registry, h.people(15, 1)[0])), intake.Accepted) // another key's records
}

func count(all []string, s string) (n int) {
	for _, v := range all {
		if v == s {
			n++
		}
	}
	return n
}

// TestRevisions: a higher one replaces the record until its card is begun.
func TestRevisions(t *testing.T) {
	h := open(t)
	ctx := t.Context()
	r := h.people(16, 1)[0]
	revision := func(n int) string {
		c := r
		c.Revision = n
		c.Residence.Office = fmt.Sprintf("TH-%04d", n)
		return sign(t, registry, c)
	}
	// Accepted, prepared and released orders are replaced; a lot is kept.
	first := h.want(h.one(revision(1)), intake.Accepted)
	second := h.want(h.one(revision(2)), intake.Replaced)
	h.wantState(first, store.OrderSuperseded)
	h.prepare(second)
	third := h.want(h.one(revision(4)), intake.Replaced)
	h.wantState(second, store.OrderSuperseded)
	h.prepare(third)
	lot, err := h.Store.ReleaseLot(ctx, store.LotRequest{Name: "revisions", Orders: []uuid.UUID{third}, Actor: h.ali})
	if err != nil || lot.Ready != 1 {
		t.Fatalf("released %d: %v", lot.Ready, err)
	}
	fourth := h.want(h.one(revision(5)), intake.Replaced)
	h.wantState(third, store.OrderSuperseded)
	h.prepare(fourth)
	h.wantState(fourth, store.OrderReleased)

	// A lower one changes nothing any more, nor does one already replaced.
	h.want(h.one(revision(3)), record.RevisionOld)
	if h.want(h.one(revision(2)), intake.AlreadyKnown) != second {
		t.Error("a replaced revision has another order now")
	}

	// The line takes it.
	const serial = "4790-00FF-00000001"
	_, err = h.Store.ImportBlanks(ctx, []stock.Blank{{Serial: serial, Chip: "virtual-gp", Batch: "00FF"}}, h.ali)
	h.must(err)
	st, err := h.Store.OpenStation(ctx, "intake-test", h.actor)
	h.must(err)
	defer st.Close(ctx)
	claim := func() *store.Claim {
		t.Helper()
		c, err := st.Claim(ctx, store.ClaimRequest{Serial: serial, Reader: "test", Products: []string{"identity"}})
		h.must(err)
		return c
	}
	c := claim()
	if c.Order.ID != fourth {
		t.Fatalf("the line took order %s", c.Order.ID)
	}
	h.want(h.one(revision(6)), record.RevisionTooLate)

	// The card was never touched: the record may be replaced again.
	h.must(st.Finish(ctx, store.FinishRequest{AttemptID: c.AttemptID, Fence: c.Fence, Outcome: store.OutcomeClean, Reason: "test"}))
	fifth := h.want(h.one(revision(6)), intake.Replaced)
	h.prepare(fifth)
	c = claim()
	h.must(st.Finish(ctx, store.FinishRequest{AttemptID: c.AttemptID, Fence: c.Fence, Outcome: store.OutcomeInDoubt, Reason: "test"}))
	h.want(h.one(revision(7)), record.RevisionTooLate)
	h.wantState(fifth, store.OrderInDoubt)

	// Nor after the blank was given up: a card of it may lie somewhere.
	h.must(h.Store.SettleInDoubt(ctx, store.Settlement{
		AttemptID: c.AttemptID, To: stock.Spoiled, Reason: "test", Approvers: [2]store.Actor{h.ali, h.zahra},
	}))
	h.want(h.one(revision(7)), record.RevisionTooLate)
	h.wantState(fifth, store.OrderAccepted)

	// A recordId belongs to one person for good.
	stolen := h.people(17, 1)[0]
	stolen.RecordID, stolen.Revision = r.RecordID, 9
	h.want(h.one(sign(t, registry, stolen)), record.ContentDiffers)
}
