package store

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"
)

// renewed issues a second card to person 0, on blank n.
func (b *bench) renewed(st *Station, n int) Image {
	b.t.Helper()
	r := b.request(0)
	r.Reason, r.Digest = "renewal", digest("renewal", n)
	order := b.accept(b.known(r))
	im := b.prepare(order)
	_, err := b.ReleaseLot(b.ctx, LotRequest{Name: fmt.Sprint("lot ", n), Orders: []uuid.UUID{order}, Actor: b.ali})
	b.must(err)
	b.must(st.Finish(b.ctx, finish(b.claim(st, n), OutcomeIssued)))
	return im
}

func (b *bench) cardState(number string) CardState {
	b.t.Helper()
	c, err := b.CardByNumber(b.ctx, number, "test", b.ali)
	b.must(err)
	return c.State
}

// visit opens a visit and checks it.
func (b *bench) visit(number string, kind VisitKind) Visit {
	b.t.Helper()
	v, err := b.OpenVisit(b.ctx, NewID(), number, kind, 3, b.ali)
	b.must(err)
	b.must(b.CheckVisit(b.ctx, v.ID, map[string]string{"photo": "confirmed"}, false, uuid.Nil, b.ali))
	return v
}

var receipt = HolderReceipt{Content: []byte("receipt"), Signature: make([]byte, 64), Key: make([]byte, 65)}

// activate hands a card over.
func (b *bench) activate(number string) Visit {
	b.t.Helper()
	v := b.visit(number, VisitActivate)
	_, err := b.ReleaseSecrets(b.ctx, v.ID, b.ali)
	b.must(err)
	b.must(b.FinishVisit(b.ctx, v.ID, receipt, b.ali))
	return v
}

// TestActivation: received, checked, released once, and the card before is revoked in
// the same commit; office and signed record are forgotten, and the bank is told.
func TestActivation(t *testing.T) {
	b := newBench(t)
	b.must(b.AddRange(b.ctx, Range{Name: "r", Prefix: "58921099", Length: 16, Size: 100}, b.ali))
	b.blanks(3)
	st := b.station()
	_, first, _ := b.bankCard(st, 0)
	number := first.CardNumber

	_, err := b.OpenVisit(b.ctx, NewID(), number, VisitActivate, 3, b.ali)
	want(t, err, ErrNotReceived)
	want(t, b.ReceiveCard(b.ctx, number, "o2", false, b.ali), ErrOtherOffice)
	want(t, b.ReceiveCard(b.ctx, "C99999999", "o1", false, b.ali), ErrNotFound)
	b.must(b.ReceiveCard(b.ctx, number, "o1", false, b.ali))
	want(t, b.ReceiveCard(b.ctx, number, "o1", false, b.ali), ErrAlready)
	want(t, b.ReceiveCard(b.ctx, number, "o2", false, b.ali), ErrOtherOffice)
	b.must(b.ReceiveCard(b.ctx, number, "o2", true, b.ali))
	if list, err := b.OfficeStock(b.ctx, "o2"); err != nil || len(list) != 1 || list[0].Number != number {
		t.Errorf("the office has %v, %v", list, err)
	}
	want(t, b.BlockCard(b.ctx, number, "lost", b.ali), ErrWrongState)

	v, err := b.OpenVisit(b.ctx, NewID(), number, VisitActivate, 3, b.ali)
	b.must(err)
	if string(v.Sealed) != "sealed record" || v.ReleasedBefore || v.Product != "id" {
		t.Errorf("visit %+v", v)
	}
	_, err = b.ReleaseSecrets(b.ctx, v.ID, b.ali) // not before the check
	want(t, err, ErrWrongState)
	want(t, b.FinishVisit(b.ctx, v.ID, receipt, b.ali), ErrWrongState)
	want(t, b.CheckVisit(b.ctx, v.ID, nil, true, uuid.Nil, b.ali), ErrTwoPeople)
	want(t, b.CheckVisit(b.ctx, v.ID, nil, true, b.ali.ID, b.ali), ErrTwoPeople)
	b.must(b.CheckVisit(b.ctx, v.ID, map[string]string{"fingerprint": "override", "override": "bandaged"}, true, b.zahra.ID, b.ali))
	secrets, err := b.ReleaseSecrets(b.ctx, v.ID, b.ali)
	if err != nil || string(secrets) != "secrets" {
		t.Fatal(string(secrets), err)
	}
	_, err = b.ReleaseSecrets(b.ctx, v.ID, b.ali)
	want(t, err, ErrWrongState)

	// The program dies here: the next visit is told that the PIN may be set.
	v, err = b.OpenVisit(b.ctx, NewID(), number, VisitActivate, 3, b.ali)
	b.must(err)
	if !v.ReleasedBefore {
		t.Error("nobody says that the secret was released before")
	}
	v = b.activate(number)
	b.must(b.FinishVisit(b.ctx, v.ID, receipt, b.ali)) // the answer was lost
	if got := b.cardState(number); got != CardActive {
		t.Errorf("the card is %s", got)
	}
	if list, err := b.OfficeStock(b.ctx, "o2"); err != nil || len(list) != 0 {
		t.Errorf("the office still has %v, %v", list, err)
	}
	if n := b.count("SELECT count(*) FROM record WHERE sealed IS NOT NULL"); n != 0 {
		t.Errorf("%d signed records are kept", n)
	}
	if n := b.count("SELECT count(*) FROM card_order WHERE office <> ''"); n != 0 {
		t.Errorf("%d offices are kept", n)
	}
	want(t, b.ReceiveCard(b.ctx, number, "o1", false, b.ali), ErrWrongState)

	second := b.renewed(st, 1)
	b.must(b.ReceiveCard(b.ctx, second.CardNumber, "o1", false, b.ali))
	b.activate(second.CardNumber)
	if a, c := b.cardState(number), b.cardState(second.CardNumber); a != CardRevoked || c != CardActive {
		t.Errorf("the old card is %s, the new one %s", a, c)
	}
	b.events("bound", "issued", "activated", "replaced")
	b.balanced()
}

// events compares the outbox.
func (b *bench) events(want ...string) {
	b.t.Helper()
	list, err := b.Outbox(b.ctx, 0, 100)
	b.must(err)
	var kinds []string
	for _, e := range list {
		kinds = append(kinds, e.Type)
	}
	if !slices.Equal(kinds, want) {
		b.t.Errorf("events %v, want %v", kinds, want)
	}
}

func want(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func (b *bench) count(sql string) (n int) {
	b.t.Helper()
	c, err := adminConn(b)
	b.must(err)
	defer c.Close(b.ctx)
	b.must(c.QueryRow(b.ctx, sql).Scan(&n))
	return n
}

// TestLoss: a holder's block, lifted by a visit; replacement; tries.
func TestLoss(t *testing.T) {
	b := newBench(t)
	b.must(b.AddRange(b.ctx, Range{Name: "r", Prefix: "58921099", Length: 16, Size: 100}, b.ali))
	b.blanks(3)
	st := b.station()
	_, im, _ := b.bankCard(st, 0)
	number := im.CardNumber
	b.must(b.ReceiveCard(b.ctx, number, "o1", false, b.ali))
	for range 3 {
		v, err := b.OpenVisit(b.ctx, NewID(), number, VisitActivate, 3, b.ali)
		b.must(err)
		b.must(b.RefuseVisit(b.ctx, v.ID, "photo", b.ali))
		want(t, b.RefuseVisit(b.ctx, v.ID, "photo", b.ali), ErrWrongState)
	}
	_, err := b.OpenVisit(b.ctx, NewID(), number, VisitActivate, 3, b.ali)
	want(t, err, ErrTooManyTries)
	v, err := b.OpenVisit(b.ctx, NewID(), number, VisitActivate, 4, b.ali)
	b.must(err)
	b.must(b.AbandonVisit(b.ctx, v.ID, "gone", b.ali))
	v = b.visitWith(number, VisitActivate, 4)
	_, err = b.ReleaseSecrets(b.ctx, v.ID, b.ali)
	b.must(err)
	b.must(b.FinishVisit(b.ctx, v.ID, HolderReceipt{}, b.ali)) // a chip that cannot sign

	b.must(b.BlockCard(b.ctx, number, "lost", b.ali))
	want(t, b.BlockCard(b.ctx, number, "lost", b.ali), ErrAlready)
	v = b.visitWith(number, VisitUnblock, 4)
	_, err = b.ReleaseSecrets(b.ctx, v.ID, b.ali) // there is none for this
	want(t, err, ErrWrongState)
	b.must(b.FinishVisit(b.ctx, v.ID, receipt, b.ali))
	b.must(b.SetCardState(b.ctx, number, "active", "suspended", "authority", b.ali))
	_, err = b.OpenVisit(b.ctx, NewID(), number, VisitUnblock, 4, b.ali)
	want(t, err, ErrNotByHolder)
	b.must(b.SetCardState(b.ctx, number, "suspended", "active", "authority", b.ali))
	b.must(b.ReplaceCard(b.ctx, number, "stolen", uuid.Nil, b.ali))
	if got := b.cardState(number); got != CardSuspended {
		t.Errorf("the card is %s", got)
	}

	second := b.renewed(st, 1)
	want(t, b.ReplaceCard(b.ctx, second.CardNumber, "lost", uuid.Nil, b.ali), ErrTwoPeople)
	want(t, b.ReplaceCard(b.ctx, second.CardNumber, "lost", b.ali.ID, b.ali), ErrTwoPeople)
	b.must(b.ReplaceCard(b.ctx, second.CardNumber, "lost", b.zahra.ID, b.ali))
	want(t, b.ReplaceCard(b.ctx, second.CardNumber, "lost", b.zahra.ID, b.ali), ErrWrongState)
	b.events("bound", "issued", "activated", "suspended", "resumed", "suspended", "resumed", "suspended")
	b.balanced()
}

func (b *bench) visitWith(number string, kind VisitKind, limit int) Visit {
	b.t.Helper()
	v, err := b.OpenVisit(b.ctx, NewID(), number, kind, limit, b.ali)
	b.must(err)
	b.must(b.CheckVisit(b.ctx, v.ID, map[string]string{"photo": "confirmed"}, false, uuid.Nil, b.ali))
	return v
}

// TestTwoDesks race for one card: one visit gets the secret.
func TestTwoDesks(t *testing.T) {
	b := newBench(t)
	b.released(0, 1)
	b.blanks(1)
	st := b.station()
	c := b.claim(st, 0)
	b.must(st.Finish(b.ctx, finish(c, OutcomeIssued)))
	number := c.Image.CardNumber
	b.must(b.ReceiveCard(b.ctx, number, "o1", false, b.ali))
	var wg sync.WaitGroup
	released := make([]bool, 4)
	for i := range released {
		wg.Go(func() {
			v, err := b.OpenVisit(b.ctx, NewID(), number, VisitActivate, 3, b.ali)
			if err != nil || b.CheckVisit(b.ctx, v.ID, nil, false, uuid.Nil, b.ali) != nil {
				return
			}
			_, err = b.ReleaseSecrets(b.ctx, v.ID, b.ali)
			released[i] = err == nil && b.FinishVisit(b.ctx, v.ID, receipt, b.ali) == nil
		})
	}
	wg.Wait()
	n := 0
	for _, r := range released {
		if r {
			n++
		}
	}
	if n > 1 || n == 1 && b.cardState(number) != CardActive {
		t.Errorf("%d desks activated the card, which is %s", n, b.cardState(number))
	}
	b.balanced()
}
