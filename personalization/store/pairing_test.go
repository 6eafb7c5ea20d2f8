package store

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"cardbureau/personalization/pairing/lifecycle"
)

// activeCard issues an order's card and hands it over.
func (b *bench) activeCard(st *Station, n int) BankCard {
	b.t.Helper()
	_, im, _ := b.bankCard(st, n)
	b.must(b.SetCardState(b.ctx, im.CardNumber, "made", "active", "", b.ali))
	c, err := b.CardByStatusIndex(b.ctx, int64(n))
	b.must(err)
	return c
}

func (b *bench) pairable(n int) []BankCard {
	b.t.Helper()
	b.must(b.AddRange(b.ctx, Range{Name: "r", Prefix: "58921099", Length: 16, Size: 100}, b.ali))
	b.blanks(n)
	st := b.station()
	var out []BankCard
	for i := range n {
		out = append(out, b.activeCard(st, i))
	}
	return out
}

// newPairing is a pairing of a card with the SIM and the number of that name.
func newPairing(c BankCard, sim string) NewPairing {
	return NewPairing{
		ID: NewID(), CardID: c.CardID, Operator: "43211", ICCIDRef: digest("iccid", sim), MSISDNRef: digest("msisdn", sim), Sealed: []byte("sealed"), IMSI: []byte("sealed imsi"),
		Session: uuid.New(), Ends: time.Now().Add(time.Minute), Until: time.Date(2031, 11, 24, 0, 0, 0, 0, time.UTC), Limit: 3,
	}
}

func (b *bench) reserve(p NewPairing) error {
	_, err := b.ReservePairing(b.ctx, p, b.ali)
	return err
}

// paired brings a pairing to be active.
func (b *bench) paired(c BankCard, sim string, index int64) NewPairing {
	b.t.Helper()
	p := newPairing(c, sim)
	b.must(b.reserve(p))
	b.must(b.PersonalizePairing(b.ctx, p.ID, p.Session, b.ali))
	b.must(b.ProvePairing(b.ctx, p.ID, p.Session, []byte("claims"), []byte("evidence"), b.ali))
	b.must(b.AskOperator(b.ctx, p.ID, b.ali))
	b.must(b.ActivatePairing(b.ctx, p.ID, []byte("record"), index, b.ali))
	return p
}

func (b *bench) pairingState(id uuid.UUID) lifecycle.State {
	b.t.Helper()
	p, err := b.PairingByID(b.ctx, id)
	b.must(err)
	return p.State
}

// TestPairingTable holds the database to the table of package lifecycle.
func TestPairingTable(t *testing.T) {
	b := newBench(t)
	for _, from := range lifecycle.States {
		for _, to := range lifecycle.States {
			var may bool
			b.must(b.desk.QueryRow(b.ctx, "SELECT pairing_may($1, $2)", from, to).Scan(&may))
			if may != from.May(to) {
				t.Errorf("%s to %s: the database says %v", from, to, may)
			}
		}
	}
}

// TestPairingWay is the whole life of a pairing: each step again changes nothing,
// none can be left out, the IMSI is gone once it is active, and the bank hears of a
// swap by its own references.
func TestPairingWay(t *testing.T) {
	b := newBench(t)
	c := b.pairable(1)[0]
	p := newPairing(c, "a")
	for range 2 {
		b.must(b.reserve(p))
	}
	other := uuid.New()
	if err := b.ProvePairing(b.ctx, p.ID, p.Session, []byte("claims"), []byte("evidence"), b.ali); !errors.Is(err, ErrWrongState) {
		t.Errorf("proven before it is personalized: %v", err)
	}
	if err := b.PersonalizePairing(b.ctx, p.ID, other, b.ali); !errors.Is(err, ErrSessionOver) {
		t.Errorf("another session: %v", err)
	}
	for range 2 {
		b.must(b.PersonalizePairing(b.ctx, p.ID, p.Session, b.ali))
	}
	if err := b.AskOperator(b.ctx, p.ID, b.ali); !errors.Is(err, ErrWrongState) {
		t.Errorf("asked before it is proven: %v", err)
	}
	for range 2 {
		b.must(b.ProvePairing(b.ctx, p.ID, p.Session, []byte("claims"), []byte("evidence"), b.ali))
	}
	if err := b.ActivatePairing(b.ctx, p.ID, []byte("record"), 7, b.ali); !errors.Is(err, ErrWrongState) {
		t.Errorf("active before the operator was asked: %v", err)
	}
	for range 2 {
		b.must(b.AskOperator(b.ctx, p.ID, b.ali))
	}
	if err := b.MovePairing(b.ctx, p.ID, lifecycle.Active, "", b.ali); !errors.Is(err, ErrWrongState) {
		t.Errorf("active without a record: %v", err)
	}
	b.must(b.ActivatePairing(b.ctx, p.ID, []byte("record"), 7, b.ali))
	b.must(b.ActivatePairing(b.ctx, p.ID, []byte("another"), 8, b.ali))
	got, err := b.PairingByStatusIndex(b.ctx, 7)
	b.must(err)
	if got.ID != p.ID || string(got.Record) != "record" || got.IMSI != nil || got.State != lifecycle.Active || got.CardID != c.CardID {
		t.Errorf("%+v", got)
	}
	before, err := b.Outbox(b.ctx, 0, 1000)
	b.must(err)
	for _, to := range []lifecycle.State{lifecycle.Suspended, lifecycle.SwapPending, lifecycle.Active, lifecycle.SwapPending, lifecycle.Revoked} {
		b.must(b.MovePairing(b.ctx, p.ID, to, "test", b.ali))
	}
	if err := b.MovePairing(b.ctx, p.ID, lifecycle.Active, "", b.ali); !errors.Is(err, ErrWrongState) {
		t.Errorf("back from the end: %v", err)
	}
	after, err := b.Outbox(b.ctx, before[len(before)-1].Seq, 1000)
	b.must(err)
	var kinds []string
	for _, e := range after {
		kinds = append(kinds, e.Type)
		if e.Ref != c.Ref || e.StatusIndex == nil || *e.StatusIndex != c.StatusIndex {
			t.Errorf("event %+v is not by the bank's references", e)
		}
	}
	if want := []string{"sim-swap-pending", "sim-swap-ended", "sim-swap-pending", "sim-swap-ended"}; !slices.Equal(kinds, want) {
		t.Errorf("events: %v", kinds)
	}
	// The SIM's fate touched neither card nor account.
	again, err := b.CardByStatusIndex(b.ctx, c.StatusIndex)
	b.must(err)
	if again.State != "active" {
		t.Errorf("the card is %s", again.State)
	}
	events, err := b.PairingEvents(b.ctx, p.ID)
	b.must(err)
	if len(events) != 10 || events[0].From != "" || events[9].To != lifecycle.Revoked {
		t.Errorf("steps: %+v", events)
	}
	all, err := b.PairingsOfCard(b.ctx, c.CardID)
	b.must(err)
	if len(all) != 1 || all[0].State != lifecycle.Revoked || all[0].Reason != "test" {
		t.Errorf("of the card: %+v", all)
	}
	if err := b.owner("UPDATE pairing_event SET reason = ''"); err == nil {
		t.Error("a step was rewritten")
	}
	b.balanced()
}

// TestDesksRaceForOneSIM: of many desks with one SIM one gets it, whoever's it is;
// the database itself would refuse a second.
func TestDesksRaceForOneSIM(t *testing.T) {
	b := newBench(t)
	cards := b.pairable(2)
	var mu sync.Mutex
	won, taken := 0, 0
	race(func(i int) {
		p := newPairing(cards[i%2], "a")
		p.MSISDNRef = digest("number", i)
		err := b.reserve(p)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			won++
		case errors.Is(err, ErrSIMPaired):
			taken++
		default:
			t.Error(err)
		}
	})
	if won != 1 || taken != 15 {
		t.Errorf("%d desks got the SIM, %d did not", won, taken)
	}
	err := b.owner(fmt.Sprintf(`INSERT INTO pairing (id, person_id, card_id, operator, iccid_ref, msisdn_ref, sealed, session_id, session_ends, until)
		SELECT '%s', person_id, card_id, operator, iccid_ref, sha256('x'), sealed, '%s', now(), now() FROM pairing`, uuid.New(), uuid.New()))
	if err == nil {
		t.Error("the database holds two live pairings of a SIM")
	}
}

// TestSIMLimit: a person has at most as many live SIMs as are allowed, also when all
// are asked for at once; an ended one makes room.
func TestSIMLimit(t *testing.T) {
	b := newBench(t)
	c := b.pairable(1)[0]
	var mu sync.Mutex
	var got []uuid.UUID
	refused := 0
	race(func(i int) {
		p := newPairing(c, fmt.Sprint("sim ", i))
		err := b.reserve(p)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			got = append(got, p.ID)
		case errors.Is(err, ErrSIMLimit):
			refused++
		default:
			t.Error(err)
		}
	})
	if len(got) != 3 || refused != 13 {
		t.Fatalf("%d SIMs, %d refused", len(got), refused)
	}
	b.must(b.MovePairing(b.ctx, got[0], lifecycle.Revoked, "lost", b.ali))
	b.must(b.reserve(newPairing(c, "another")))
	if err := b.reserve(newPairing(c, "one more")); !errors.Is(err, ErrSIMLimit) {
		t.Errorf("a fourth: %v", err)
	}
}

// TestDeadSessionsHoldNothing: what a desk that died had set aside is free when its
// session is over, and cannot be proven any more.
func TestDeadSessionsHoldNothing(t *testing.T) {
	b := newBench(t)
	cards := b.pairable(2)
	dead := newPairing(cards[0], "a")
	dead.Ends = time.Now().Add(-time.Second)
	b.must(b.reserve(dead))
	if err := b.PersonalizePairing(b.ctx, dead.ID, dead.Session, b.ali); !errors.Is(err, ErrSessionOver) {
		t.Errorf("after its end: %v", err)
	}
	freed, err := b.ReservePairing(b.ctx, newPairing(cards[1], "a"), b.ali)
	if err != nil || len(freed) != 1 || freed[0] != dead.ID {
		t.Errorf("freed %v, %v", freed, err)
	}
	if s := b.pairingState(dead.ID); s != lifecycle.Expired {
		t.Errorf("the dead one is %s", s)
	}
	twice := newPairing(cards[1], "b")
	twice.Session = dead.Session
	if err := b.reserve(twice); !errors.Is(err, ErrSessionTwice) {
		t.Errorf("a session's second pairing: %v", err)
	}
	number := newPairing(cards[0], "c")
	number.MSISDNRef = digest("msisdn", "a")
	if err := b.reserve(number); !errors.Is(err, ErrNumberPaired) {
		t.Errorf("a number of another: %v", err)
	}
	none := newPairing(cards[0], "d")
	none.CardID = uuid.New()
	if err := b.reserve(none); !errors.Is(err, ErrNotFound) {
		t.Errorf("no card: %v", err)
	}
}

// TestExpiry: what died or is over ends, once, and nothing else does.
func TestExpiry(t *testing.T) {
	b := newBench(t)
	cards := b.pairable(2)
	dead, over := newPairing(cards[0], "a"), newPairing(cards[0], "b")
	dead.Ends = time.Now().Add(-time.Second)
	b.must(b.reserve(over))
	b.must(b.reserve(dead))
	b.must(b.owner("UPDATE pairing SET until = '2020-01-01' WHERE id = '" + over.ID.String() + "'"))
	live := b.paired(cards[1], "c", 7)
	b.must(b.owner("UPDATE pairing SET session_ends = '2020-01-01' WHERE id = '" + live.ID.String() + "'"))
	for want := range 2 {
		ended, err := b.ExpirePairings(b.ctx, 100, b.program)
		b.must(err)
		if len(ended) != 2-2*want {
			t.Errorf("ended: %v", ended)
		}
	}
	for id, want := range map[uuid.UUID]lifecycle.State{dead.ID: lifecycle.Expired, over.ID: lifecycle.Expired, live.ID: lifecycle.Active} {
		if s := b.pairingState(id); s != want {
			t.Errorf("%s is %s, want %s", id, s, want)
		}
	}
}

// TestPairingAfterReplacement: a SIM whose card was revoked is paired again by the
// same person, not by another.
func TestPairingAfterReplacement(t *testing.T) {
	b := newBench(t)
	cards := b.pairable(2)
	p := b.paired(cards[0], "a", 7)
	b.must(b.owner("UPDATE card SET state = 'revoked' WHERE id = '" + cards[0].CardID.String() + "'"))
	if err := b.reserve(newPairing(cards[0], "b")); !errors.Is(err, ErrWrongState) {
		t.Errorf("a revoked card: %v", err)
	}
	if err := b.reserve(newPairing(cards[1], "a")); !errors.Is(err, ErrSIMPaired) {
		t.Errorf("another person: %v", err)
	}
	b.must(b.owner(fmt.Sprintf("UPDATE card SET person_id = (SELECT person_id FROM card WHERE id = '%s') WHERE id = '%s'", cards[0].CardID, cards[1].CardID)))
	b.must(b.reserve(newPairing(cards[1], "a")))
	if s := b.pairingState(p.ID); s != lifecycle.Revoked {
		t.Errorf("the old card's pairing is %s", s)
	}
}

// TestOperatorNotices: a notice counts once, in order, and gets the same answer
// again; with another content it is refused.
func TestOperatorNotices(t *testing.T) {
	b := newBench(t)
	c := b.pairable(1)[0]
	p := newPairing(c, "a")
	b.must(b.reserve(p))
	b.must(b.PersonalizePairing(b.ctx, p.ID, p.Session, b.ali))
	b.must(b.ProvePairing(b.ctx, p.ID, p.Session, []byte("claims"), []byte("evidence"), b.ali))
	from := []lifecycle.State{lifecycle.OperatorPending, lifecycle.Active, lifecycle.Suspended, lifecycle.SwapPending}
	notice := func(jti string, sequence int64, to lifecycle.State) OperatorNotice {
		return OperatorNotice{Operator: "43211", JTI: jti, Digest: digest(jti), Pairing: p.ID, Sequence: sequence, From: from, To: to, Reason: "operator"}
	}
	take := func(n OperatorNotice, want string, wantAgain bool) {
		t.Helper()
		answer, again, err := b.TakeNotice(b.ctx, n, b.program)
		if err != nil || answer != want || again != wantAgain {
			t.Errorf("%s: %q, again %v, %v", n.JTI, answer, again, err)
		}
	}
	take(notice("early", 1, lifecycle.Active), "wrong-state", false)
	take(notice("early", 1, lifecycle.Active), "wrong-state", true)
	b.must(b.AskOperator(b.ctx, p.ID, b.ali))
	n := notice("activated", 1, lifecycle.Active)
	if _, _, err := b.TakeNotice(b.ctx, n, b.program); !errors.Is(err, ErrUnsigned) {
		t.Errorf("without a record: %v", err)
	}
	n.Record, n.Index = []byte("record"), 5
	var mu sync.Mutex
	first := 0
	race(func(int) {
		answer, again, err := b.TakeNotice(b.ctx, n, b.program)
		mu.Lock()
		defer mu.Unlock()
		if err != nil || answer != "done" {
			t.Errorf("%q, %v", answer, err)
		}
		if !again {
			first++
		}
	})
	if first != 1 {
		t.Errorf("the notice counted %d times", first)
	}
	take(notice("early", 1, lifecycle.Active), "wrong-state", true)
	altered := notice("activated", 1, lifecycle.Revoked)
	altered.Digest = digest("altered")
	if _, _, err := b.TakeNotice(b.ctx, altered, b.program); !errors.Is(err, ErrCallbackDiffer) {
		t.Errorf("altered: %v", err)
	}
	take(notice("old", 1, lifecycle.Suspended), "out-of-order", false)
	take(notice("swap", 9, lifecycle.SwapPending), "done", false)
	take(notice("late", 8, lifecycle.Active), "out-of-order", false)
	stranger := notice("stranger", 10, lifecycle.Revoked)
	stranger.Operator = "43235"
	take(stranger, "not-found", false)
	if s := b.pairingState(p.ID); s != lifecycle.SwapPending {
		t.Errorf("the pairing is %s", s)
	}
	only := notice("only", 11, lifecycle.Active)
	only.From = []lifecycle.State{lifecycle.OperatorPending}
	take(only, "wrong-state", false)
	// What the holder has had suspended, no operator resumes, nor does a swap that is stopped.
	take(notice("stopped", 12, lifecycle.Active), "done", false)
	b.must(b.MovePairing(b.ctx, p.ID, lifecycle.Suspended, "lost", b.ali))
	take(notice("resumed", 13, lifecycle.Active), "wrong-state", false)
	take(notice("swap again", 14, lifecycle.SwapPending), "done", false)
	take(notice("stopped again", 15, lifecycle.Active), "done", false)
	if s := b.pairingState(p.ID); s != lifecycle.Suspended {
		t.Errorf("after a swap that was stopped the pairing is %s", s)
	}
	take(notice("resumed again", 16, lifecycle.Active), "wrong-state", false)
	b.balanced()
}
