package store

import (
	"errors"
	"testing"

	"cardbureau/personalization/stock"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

func TestImport(t *testing.T) {
	b := newBench(t)
	list := []stock.Blank{{Serial: "a", Chip: "virtual", Batch: "1"}, {Serial: "b", Chip: "virtual", Batch: "1"}, {Serial: "a", Chip: "x", Batch: "2"}}
	res, err := b.ImportBlanks(b.ctx, list, b.ali)
	b.must(err)
	if res.Added != 2 || res.Known != 1 {
		t.Fatalf("import: %+v", res)
	}
	res, err = b.ImportBlanks(b.ctx, list, b.ali)
	b.must(err)
	if res.Added != 0 || res.Known != 3 {
		t.Fatalf("again: %+v", res)
	}
	if c := b.balanced(); c.Received != 2 || c.OnHand != 2 {
		t.Fatalf("counts: %+v", c)
	}
	if err := b.ownerOrSuper("UPDATE blank SET state = 'issued'; UPDATE blank SET state = 'on-hand'"); err == nil {
		t.Error("an issued blank came back")
	}
	if err := b.ownerOrSuper("DELETE FROM blank"); err == nil {
		t.Error("blanks were removed")
	}
}

func TestMoves(t *testing.T) {
	b := newBench(t)
	b.blanks(3)
	two := [2]Actor{b.ali, b.zahra}
	for _, tc := range []struct {
		n    int
		to   stock.State
		by   [2]Actor
		want error
	}{
		{0, stock.Spoiled, [2]Actor{b.ali}, ErrTwoPeople},
		{0, stock.Quarantined, [2]Actor{b.ali}, nil},
		{0, stock.Returned, [2]Actor{b.ali}, ErrTwoPeople},
		{0, stock.Returned, two, nil},
		{0, stock.Test, two, ErrWrongState},
		{1, stock.Issued, two, ErrWrongState},
		{1, stock.Spoiled, two, nil},
		{9, stock.Test, two, ErrUnlistedBlank},
	} {
		err := b.MoveBlank(b.ctx, BlankMove{Serial: serial(tc.n), To: tc.to, Reason: "test", Approvers: tc.by})
		if !errors.Is(err, tc.want) {
			t.Errorf("blank %d to %s: %v, want %v", tc.n, tc.to, err, tc.want)
		}
	}
	if got, want := b.balanced(), (stock.Counts{Received: 3, OnHand: 1, Spoiled: 1, Returned: 1}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

func TestShifts(t *testing.T) {
	b := newBench(t)
	b.blanks(4)
	b.released(1, 3)
	if _, err := b.CloseShift(b.ctx, b.ali); !errors.Is(err, ErrWrongState) {
		t.Fatalf("closing none: %v", err)
	}
	first, err := b.OpenShift(b.ctx, b.ali)
	b.must(err)
	if _, err := b.OpenShift(b.ctx, b.ali); !errors.Is(err, ErrWrongState) {
		t.Fatalf("opening two: %v", err)
	}
	if first.Counts != (stock.Counts{CarriedIn: 4, OnHand: 4}) {
		t.Fatalf("at the opening: %+v", first.Counts)
	}
	st := b.station()
	b.must(st.Finish(b.ctx, finish(b.claim(st, 0), OutcomeIssued)))
	b.must(st.Finish(b.ctx, finish(b.claim(st, 1), OutcomeQuarantined)))
	closed, err := b.CloseShift(b.ctx, b.zahra)
	b.must(err)
	if want := (stock.Counts{CarriedIn: 4, Issued: 1, Quarantined: 1, OnHand: 2}); closed.Counts != want || closed.Counts.Balance() != nil || closed.ClosedAt.IsZero() {
		t.Fatalf("first shift: %+v", closed)
	}
	_, err = b.OpenShift(b.ctx, b.ali)
	b.must(err)
	_, err = b.ImportBlanks(b.ctx, []stock.Blank{{Serial: "new", Chip: "virtual", Batch: "2"}}, b.ali)
	b.must(err)
	b.claim(st, 2)
	now, err := b.CurrentShift(b.ctx)
	b.must(err)
	if want := (stock.Counts{Received: 1, CarriedIn: 3, Quarantined: 1, InUse: 1, OnHand: 2}); now.Counts != want || now.Counts.Balance() != nil {
		t.Fatalf("second shift: %+v", now.Counts)
	}
	b.must(st.Close(b.ctx))
	closed, err = b.CloseShift(b.ctx, b.ali)
	b.must(err)
	if want := (stock.Counts{Received: 1, CarriedIn: 3, Quarantined: 1, InDoubt: 1, OnHand: 2}); closed.Counts != want {
		t.Fatalf("second shift: %+v", closed.Counts)
	}
	if _, err := b.CurrentShift(b.ctx); !errors.Is(err, ErrNotFound) {
		t.Fatalf("no shift is open: %v", err)
	}
}

func TestLots(t *testing.T) {
	b := newBench(t)
	prepared, waiting := b.accept(b.request(1)), b.accept(b.request(2))
	b.prepare(prepared)
	r := b.request(3)
	r.Office = "o2"
	elsewhere := b.accept(r)
	lot, err := b.ReleaseLot(b.ctx, LotRequest{Name: "office 1", Office: "o1", Actor: b.ali})
	b.must(err)
	if lot.Orders != 2 || lot.Ready != 1 || b.state(prepared) != OrderReleased || b.state(waiting) != OrderAccepted {
		t.Fatalf("lot: %+v", lot)
	}
	b.prepare(waiting)
	if b.state(waiting) != OrderReleased || b.state(elsewhere) != OrderAccepted {
		t.Fatal("an order of a released lot waits")
	}
	again, err := b.ReleaseLot(b.ctx, LotRequest{Name: "office 1", Office: "o1", Actor: b.ali})
	b.must(err)
	if again.Orders != 0 {
		t.Fatalf("released twice: %+v", again)
	}
	none, err := b.ReleaseLot(b.ctx, LotRequest{Name: "none", Orders: []uuid.UUID{}, Actor: b.ali})
	b.must(err)
	if none.Orders != 0 {
		t.Fatalf("an empty list released %d", none.Orders)
	}
	counts, err := b.OrderCounts(b.ctx, lot.ID)
	b.must(err)
	if counts[OrderReleased] != 2 || len(counts) != 1 {
		t.Fatalf("counts of the lot: %v", counts)
	}
}

// TestAnything does what stations and people may do in any order and looks
// after each step whether the books balance and no order has two cards.
func TestAnything(t *testing.T) {
	b := newBench(t)
	const blanks, orders = 80, 40
	b.blanks(blanks)
	b.released(1, orders)
	st := b.station()
	var running []*Claim
	two := [2]Actor{b.ali, b.zahra}
	outcomes := []Outcome{OutcomeIssued, OutcomeClean, OutcomeInDoubt, OutcomeSpoiled, OutcomeQuarantined}
	rapid.Check(t, func(rt *rapid.T) {
		for range 8 {
			n := rapid.IntRange(0, blanks-1).Draw(rt, "blank")
			switch rapid.IntRange(0, 7).Draw(rt, "what") {
			case 0, 1, 2:
				if c, err := st.Claim(b.ctx, ClaimRequest{Serial: serial(n), Products: []string{"id"}}); err == nil {
					running = append(running, c)
				}
			case 3:
				if c, err := st.Resume(b.ctx, serial(n), "reader"); err == nil {
					running = append(running, c)
				}
			case 4, 5:
				if len(running) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(running)-1).Draw(rt, "attempt")
				f := finish(running[i], rapid.SampledFrom(outcomes).Draw(rt, "outcome"))
				f.NothingWritten, f.Approvers = rapid.Bool().Draw(rt, "nothing"), two
				if running[i].Resumed { // what was written before is there: the database refuses to hear otherwise
					f.NothingWritten = false
					if f.Outcome == OutcomeClean {
						f.Outcome = OutcomeInDoubt
					}
				}
				if err := st.Finish(b.ctx, f); err != nil && !errors.Is(err, ErrFenced) {
					rt.Fatal(err)
				}
			case 6:
				doubts, err := b.InDoubt(b.ctx)
				if err != nil {
					rt.Fatal(err)
				}
				if len(doubts) > 0 {
					if err := b.SettleInDoubt(b.ctx, Settlement{doubts[0].AttemptID, stock.Spoiled, "test", two}); err != nil {
						rt.Fatal(err)
					}
				}
			case 7:
				for _, state := range []OrderState{OrderAccepted, OrderAwaitingDecision} {
					list, err := b.OrdersIn(b.ctx, state, orders)
					if err != nil {
						rt.Fatal(err)
					}
					for _, o := range list {
						if state == OrderAccepted {
							b.prepare(o.ID)
						} else if err := b.Decide(b.ctx, Decision{o.ID, true, "test", two}); err != nil {
							rt.Fatal(err)
						}
					}
				}
			}
		}
		b.balanced()
		if bad := b.contradictions(); bad != "" {
			rt.Fatal(bad)
		}
	})
}

// contradictions looks for rows that must not be there together.
func (b *bench) contradictions() string {
	b.t.Helper()
	var bad string
	b.must(func() error {
		return scanOne(b, &bad, `SELECT coalesce(string_agg(what, ', '), '') FROM (
			SELECT 'issued order without card' AS what FROM cardbureau.card_order o WHERE o.state = 'issued' AND NOT EXISTS (SELECT FROM cardbureau.card c WHERE c.order_id = o.id)
			UNION ALL SELECT 'card of an order that is ' || o.state FROM cardbureau.card c JOIN cardbureau.card_order o ON o.id = c.order_id WHERE o.state <> 'issued'
			UNION ALL SELECT 'card on a blank that is ' || l.state FROM cardbureau.card c JOIN cardbureau.blank l ON l.id = c.blank_id WHERE l.state <> 'issued'
			UNION ALL SELECT 'blank in use without attempt' FROM cardbureau.blank l WHERE l.state = 'in-use' AND NOT EXISTS (SELECT FROM cardbureau.attempt a WHERE a.blank_id = l.id AND a.outcome IS NULL)
			UNION ALL SELECT 'attempt on a blank that is ' || l.state FROM cardbureau.attempt a JOIN cardbureau.blank l ON l.id = a.blank_id WHERE a.outcome IS NULL AND l.state <> 'in-use'
			UNION ALL SELECT 'attempt for an order that is ' || o.state FROM cardbureau.attempt a JOIN cardbureau.card_order o ON o.id = a.order_id WHERE a.outcome IS NULL AND o.state <> 'in-progress'
			UNION ALL SELECT 'order in doubt without attempt' FROM cardbureau.card_order o WHERE o.state = 'in-doubt' AND NOT EXISTS (SELECT FROM cardbureau.attempt a WHERE a.order_id = o.id AND a.outcome = 'in-doubt' AND a.settled IS NULL)
			UNION ALL SELECT 'released order without image' FROM cardbureau.card_order o LEFT JOIN cardbureau.image i ON i.id = o.image_id AND i.voided_at IS NULL WHERE o.state = 'released' AND i.id IS NULL
			UNION ALL SELECT 'state of a blank is not its last move' FROM cardbureau.blank l WHERE l.state <> (SELECT m.to_state FROM cardbureau.blank_move m WHERE m.blank_id = l.id ORDER BY m.seq DESC LIMIT 1)
		) x`)
	}())
	return bad
}

func scanOne(b *bench, dest any, sql string) error {
	b.t.Helper()
	conn, err := adminConn(b)
	b.must(err)
	defer conn.Close(b.ctx)
	return conn.QueryRow(b.ctx, sql).Scan(dest)
}
