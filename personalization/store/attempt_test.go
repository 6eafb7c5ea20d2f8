package store

import (
	"errors"
	"sync"
	"testing"
	"time"

	"cardbureau/personalization/stock"

	"github.com/google/uuid"
)

func TestOutcomes(t *testing.T) {
	both := func(b *bench) [2]Actor { return [2]Actor{b.ali, b.zahra} }
	for _, tc := range []struct {
		name    string
		outcome Outcome
		nothing bool
		order   OrderState
		blank   stock.State
		image   int // version of the image that the next attempt would have, 0: none
	}{
		{"issued", OutcomeIssued, false, OrderIssued, stock.Issued, 0},
		{"clean", OutcomeClean, false, OrderReleased, stock.OnHand, 1},
		{"in doubt", OutcomeInDoubt, false, OrderInDoubt, stock.InDoubt, 0},
		{"quarantined", OutcomeQuarantined, false, OrderAwaitingDecision, stock.Quarantined, 0},
		{"quarantined before writing", OutcomeQuarantined, true, OrderReleased, stock.Quarantined, 1},
		{"spoiled", OutcomeSpoiled, false, OrderAccepted, stock.Spoiled, 2},
		{"spoiled before writing", OutcomeSpoiled, true, OrderReleased, stock.Spoiled, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			b.blanks(2)
			order := b.released(1, 1)[0]
			st := b.station()
			c := b.claim(st, 0)
			f := finish(c, tc.outcome)
			f.Reason, f.NothingWritten = "test", tc.nothing
			if tc.outcome == OutcomeSpoiled {
				if err := st.Finish(b.ctx, f); !errors.Is(err, ErrTwoPeople) {
					t.Fatalf("nobody approved: %v", err)
				}
				if b.state(order) != OrderInProgress {
					t.Fatal("a refused outcome changed something")
				}
				f.Approvers = both(b)
			}
			b.must(st.Finish(b.ctx, f))
			b.must(st.Finish(b.ctx, f))
			if s := b.state(order); s != tc.order {
				t.Errorf("order %s, want %s", s, tc.order)
			}
			if s := b.blankState(0); s != tc.blank {
				t.Errorf("blank %s, want %s", s, tc.blank)
			}
			other := OutcomeIssued
			if tc.outcome == OutcomeIssued {
				other = OutcomeClean
			}
			if err := st.Finish(b.ctx, finish(c, other)); !errors.Is(err, ErrFenced) {
				t.Errorf("another outcome: %v", err)
			}
			if err := st.Journal(b.ctx, c.AttemptID, c.Fence, []Step{{9, "late", StepDone, 0, time.Now()}}); !errors.Is(err, ErrFenced) {
				t.Errorf("journal after the end: %v", err)
			}
			if tc.order == OrderAccepted {
				b.prepare(order)
			}
			next, err := st.Claim(b.ctx, ClaimRequest{Serial: serial(1), Products: []string{"id"}})
			switch {
			case tc.image == 0 && !errors.Is(err, ErrNoOrder):
				t.Errorf("next claim: %v", err)
			case tc.image > 0:
				b.must(err)
				if next.Image.Version != tc.image || next.Order.ID != order {
					t.Errorf("next claim: %+v", next)
				}
			}
			b.balanced()
		})
	}
}

func TestBlanksRefused(t *testing.T) {
	b := newBench(t)
	b.blanks(3)
	b.released(1, 3)
	st := b.station()
	if _, err := st.Claim(b.ctx, ClaimRequest{Serial: "unknown", Products: []string{"id"}}); !errors.Is(err, ErrUnlistedBlank) {
		t.Fatalf("unlisted: %v", err)
	}
	b.must(st.Finish(b.ctx, finish(b.claim(st, 0), OutcomeIssued)))
	b.must(b.MoveBlank(b.ctx, BlankMove{Serial: serial(1), To: stock.Test, Reason: "test", Approvers: [2]Actor{b.ali}}))
	for n, want := range map[int]stock.State{0: stock.Issued, 1: stock.Test} {
		var not *ErrBlankNotOnHand
		_, err := st.Claim(b.ctx, ClaimRequest{Serial: serial(n), Products: []string{"id"}})
		if !errors.As(err, &not) || not.State != want {
			t.Errorf("blank %d: %v", n, err)
		}
		if _, err := st.Resume(b.ctx, serial(n), "reader 0"); !errors.As(err, &not) {
			t.Errorf("resuming blank %d: %v", n, err)
		}
	}
	if _, err := st.Claim(b.ctx, ClaimRequest{Serial: serial(2), Products: []string{"bank"}}); !errors.Is(err, ErrNoOrder) {
		t.Fatalf("another product: %v", err)
	}
	b.must(b.NoteAuthenticationFailure(b.ctx, serial(2), 48))
	b.must(b.NoteAuthenticationFailure(b.ctx, serial(2), 48))
	if c := b.claim(st, 2); len(c.Blank.FailedKeyVersions) != 1 || c.Blank.FailedKeyVersions[0] != 48 {
		t.Fatalf("failed key versions: %v", c.Blank.FailedKeyVersions)
	}
}

func TestClaimsAtOnce(t *testing.T) {
	b := newBench(t)
	const orders, blanks = 48, 64
	b.blanks(blanks)
	b.released(1, orders)
	stations := []*Station{b.station(), b.station()}
	var (
		mu   sync.Mutex
		seen = map[uuid.UUID]int{}
		top  int64
	)
	race(func(i int) {
		for n := i; n < blanks; n += 16 {
			st := stations[i%2]
			c, err := st.Claim(b.ctx, ClaimRequest{Serial: serial(n), Products: []string{"id"}})
			if errors.Is(err, ErrNoOrder) {
				continue
			}
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			seen[c.Order.ID]++
			top = max(top, c.Fence)
			mu.Unlock()
			if err := st.Finish(b.ctx, finish(c, OutcomeIssued)); err != nil {
				t.Error(err)
			}
		}
	})
	if len(seen) != orders {
		t.Errorf("%d orders were claimed, want %d", len(seen), orders)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("order %s was claimed %d times", id, n)
		}
	}
	if c := b.balanced(); c.Issued != orders || c.OnHand != blanks-orders {
		t.Errorf("counts: %+v", c)
	}
}

func TestOneBlankAtOnce(t *testing.T) {
	b := newBench(t)
	b.blanks(1)
	b.released(1, 4)
	st := b.station()
	var mu sync.Mutex
	claimed, refused := 0, 0
	race(func(int) {
		_, err := st.Claim(b.ctx, ClaimRequest{Serial: serial(0), Products: []string{"id"}})
		mu.Lock()
		defer mu.Unlock()
		var not *ErrBlankNotOnHand
		switch {
		case err == nil:
			claimed++
		case errors.As(err, &not) && not.State == stock.InUse:
			refused++
		default:
			t.Error(err)
		}
	})
	if claimed != 1 || refused != 15 {
		t.Fatalf("%d claimed, %d refused", claimed, refused)
	}
	b.balanced()
}

// TestAnswerLost asks again with the same attempt, as Claim does when the
// connection broke before the answer.
func TestAnswerLost(t *testing.T) {
	b := newBench(t)
	b.blanks(1)
	b.released(1, 2)
	st := b.station()
	id := NewID()
	session, err := st.session.current(b.ctx)
	b.must(err)
	var claims []*Claim
	for range 2 {
		c, err := scanClaim(serial(0), b.line.QueryRow(b.ctx, claimSQL, id, session, serial(0), "reader", []string{"id"}, b.ali.ID, "test"))
		b.must(err)
		claims = append(claims, c)
	}
	if claims[0].Fence != claims[1].Fence || claims[0].Order.ID != claims[1].Order.ID {
		t.Fatalf("two answers: %+v, %+v", claims[0], claims[1])
	}
	counts, err := b.OrderCounts(b.ctx, uuid.Nil)
	b.must(err)
	if counts[OrderInProgress] != 1 || counts[OrderReleased] != 1 {
		t.Fatalf("orders: %v", counts)
	}
}

func TestClosedStation(t *testing.T) {
	b := newBench(t)
	b.blanks(2)
	order := b.released(1, 1)[0]
	st := b.station()
	c := b.claim(st, 0)
	other := b.station()
	if n, err := b.MarkAbandoned(b.ctx); err != nil || n != 0 {
		t.Fatalf("a running attempt was abandoned: %d %v", n, err)
	}
	b.must(st.Close(b.ctx))
	if b.state(order) != OrderInDoubt || b.blankState(0) != stock.InDoubt {
		t.Fatal("what ran is not in doubt")
	}
	if _, err := st.Claim(b.ctx, ClaimRequest{Serial: serial(1), Products: []string{"id"}}); !errors.Is(err, ErrStationClosed) {
		t.Fatalf("claim on a closed station: %v", err)
	}
	if err := st.Finish(b.ctx, finish(c, OutcomeIssued)); !errors.Is(err, ErrFenced) {
		t.Fatalf("late finisher: %v", err)
	}
	if _, err := other.Claim(b.ctx, ClaimRequest{Serial: serial(1), Products: []string{"id"}}); !errors.Is(err, ErrNoOrder) {
		t.Fatalf("the order in doubt was given out: %v", err)
	}
	b.balanced()
}

// TestBrokenSession ends the connection that holds the lock: the station takes
// it up again under the same number, and its attempts go on.
func TestBrokenSession(t *testing.T) {
	b := newBench(t)
	b.blanks(2)
	b.released(1, 2)
	st := b.station()
	c := b.claim(st, 0)
	before, err := st.session.current(b.ctx)
	b.must(err)
	st.session.mu.Lock()
	change := st.session.change
	st.session.mu.Unlock()
	admin(t, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1667393076 AND objid = "+
		itoa(before)+" AND database = (SELECT oid FROM pg_database WHERE datname = '"+b.line.Config().ConnConfig.Database+"')")
	<-change // lost
	after, err := st.session.current(b.ctx)
	b.must(err)
	if after != before {
		t.Fatalf("session %d became %d", before, after)
	}
	b.must(st.Finish(b.ctx, finish(c, OutcomeIssued)))
	b.must(st.Finish(b.ctx, finish(b.claim(st, 1), OutcomeIssued)))

	// Declared over by somebody who found nobody holding the lock: a new number.
	_, err = b.line.Exec(b.ctx, "UPDATE station_session SET ended_at = now() WHERE id = $1", after)
	b.must(err)
	_, err = b.ImportBlanks(b.ctx, []stock.Blank{{Serial: "new", Chip: "virtual", Batch: "b2"}}, b.ali)
	b.must(err)
	b.released(3, 1)
	_, err = st.Claim(b.ctx, ClaimRequest{Serial: "new", Products: []string{"id"}})
	b.must(err)
	if now, _ := st.session.current(b.ctx); now == after {
		t.Fatal("a session that is over was used")
	}
}
