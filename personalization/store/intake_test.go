package store

import (
	"errors"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

func TestAcceptTwice(t *testing.T) {
	b := newBench(t)
	r := b.request(1)
	first, err := b.AcceptRecord(b.ctx, r)
	b.must(err)
	if first.Outcome != Accepted || first.State != OrderAccepted {
		t.Fatalf("first: %+v", first)
	}
	r2 := r
	r2.RecordRow, r2.PersonID = NewID(), NewID()
	again, err := b.AcceptRecord(b.ctx, r2)
	b.must(err)
	if again.Outcome != AlreadyKnown || again.OrderID != first.OrderID {
		t.Fatalf("again: %+v", again)
	}
	r2.Digest = digest("other content")
	if _, err := b.AcceptRecord(b.ctx, r2); !errors.Is(err, ErrRecordContentDiffers) {
		t.Fatalf("other content: %v", err)
	}
	other := b.request(2)
	other.RecordID, other.Revision = r.RecordID, 2
	if _, err := b.AcceptRecord(b.ctx, other); !errors.Is(err, ErrRecordContentDiffers) {
		t.Fatalf("another person's record: %v", err)
	}
	people, err := b.PersonKeys(b.ctx, [][]byte{other.PersonRef, r.PersonRef})
	b.must(err)
	if people[0].Found || !people[1].Found || people[1].ID != r.PersonID || people[1].Key.Epoch != "2026-01" {
		t.Fatalf("a refusal left something behind, or the person is not found: %+v", people)
	}
}

// known looks the person of a request up, as intake does before it seals.
func (b *bench) known(r AcceptRequest) AcceptRequest {
	b.t.Helper()
	p, err := b.PersonKeys(b.ctx, [][]byte{r.PersonRef})
	b.must(err)
	if p[0].Found {
		r.PersonID, r.Key = p[0].ID, p[0].Key
	}
	return r
}

func TestRevisions(t *testing.T) {
	b := newBench(t)
	r := b.request(1)
	r.Revision = 3
	old := b.accept(r)
	b.prepare(old)

	low := b.known(b.request(1))
	low.RecordID, low.Revision, low.Digest = r.RecordID, 2, digest("two")
	if _, err := b.AcceptRecord(b.ctx, low); !errors.Is(err, ErrRevisionOld) {
		t.Fatalf("lower revision: %v", err)
	}
	high := low
	high.Revision, high.Digest = 4, digest("four")
	res, err := b.AcceptRecord(b.ctx, high)
	b.must(err)
	if res.Outcome != Replaced || b.state(old) != OrderSuperseded {
		t.Fatalf("higher revision: %+v, old order %s", res, b.state(old))
	}
	if _, err := b.OrderForPreparation(b.ctx, old); !errors.Is(err, ErrWrongState) {
		t.Fatalf("preparing what was superseded: %v", err)
	}
	if again, err := b.AcceptRecord(b.ctx, r); err != nil || again.Outcome != AlreadyKnown || again.State != OrderSuperseded {
		t.Fatalf("the old revision again: %+v %v", again, err)
	}

	// Once a line has begun it is too late; when it gave the blank back clean it is not.
	b.blanks(1)
	b.prepare(res.OrderID)
	_, err = b.ReleaseLot(b.ctx, LotRequest{Name: "lot", Actor: b.ali})
	b.must(err)
	st := b.station()
	c := b.claim(st, 0)
	late := high
	late.RecordRow, late.Revision, late.Digest = NewID(), 5, digest("five")
	if _, err := b.AcceptRecord(b.ctx, late); !errors.Is(err, ErrRevisionTooLate) {
		t.Fatalf("during personalization: %v", err)
	}
	b.must(st.Finish(b.ctx, finish(c, OutcomeClean)))
	res, err = b.AcceptRecord(b.ctx, late)
	b.must(err)
	if res.Outcome != Replaced {
		t.Fatalf("after a clean end: %+v", res)
	}
	b.prepare(res.OrderID)
	if b.state(res.OrderID) != OrderReleased {
		t.Fatal("the replacement has left the lot")
	}
	b.must(st.Finish(b.ctx, finish(b.claim(st, 0), OutcomeIssued)))
	late.Revision, late.RecordRow = 6, NewID()
	if _, err := b.AcceptRecord(b.ctx, late); !errors.Is(err, ErrRevisionTooLate) {
		t.Fatalf("after issuing: %v", err)
	}
	renewal := b.known(b.request(1))
	renewal.Reason = "renewal"
	b.accept(renewal) // a new record of the same person after the card: a new order
	b.balanced()
}

func TestConflict(t *testing.T) {
	b := newBench(t)
	b.must(b.Withdraw(b.ctx, b.accept(b.request(1)), "test", b.ali))
	r := b.known(b.request(1))
	r.IdentityDigest = digest("another name")
	res, err := b.AcceptRecord(b.ctx, r)
	b.must(err)
	if res.Outcome != Conflict || res.State != OrderConflict {
		t.Fatalf("changed identity: %+v", res)
	}
	queue, err := b.OrdersIn(b.ctx, OrderConflict, 10)
	b.must(err)
	if len(queue) != 1 || queue[0].Reason != "identity-differs" || queue[0].RecordID != r.RecordID {
		t.Fatalf("conflict queue: %+v", queue)
	}
	if _, err := b.OrderForPreparation(b.ctx, res.OrderID); !errors.Is(err, ErrWrongState) {
		t.Fatalf("a conflict was prepared: %v", err)
	}
	d := Decision{OrderID: res.OrderID, Proceed: true, Reason: "name-corrected", Approvers: [2]Actor{b.ali, b.ali}}
	if err := b.Decide(b.ctx, d); !errors.Is(err, ErrTwoPeople) {
		t.Fatalf("one person decided: %v", err)
	}
	d.Approvers[1] = b.program
	if err := b.Decide(b.ctx, d); !errors.Is(err, ErrTwoPeople) {
		t.Fatalf("a program decided: %v", err)
	}
	d.Approvers[1] = b.zahra
	b.must(b.Decide(b.ctx, d))
	b.prepare(res.OrderID)
	if p, _ := b.PersonKeys(b.ctx, [][]byte{r.PersonRef}); string(p[0].IdentityDigest) != string(r.IdentityDigest) {
		t.Fatal("the decided identity is not the person's")
	}
	b.balanced()
}

func TestDailyCap(t *testing.T) {
	b := newBench(t)
	for n := range 4 {
		r := b.request(n)
		r.DailyCap = 3
		_, err := b.AcceptRecord(b.ctx, r)
		if n < 3 {
			b.must(err)
		} else if !errors.Is(err, ErrDailyCap) {
			t.Fatalf("over the cap: %v", err)
		}
		if p, _ := b.PersonKeys(b.ctx, [][]byte{r.PersonRef}); p[0].Found != (n < 3) {
			t.Fatal("a refusal left a person behind")
		}
	}
}

func TestBatch(t *testing.T) {
	b := newBench(t)
	var rs []AcceptRequest
	for n := range 20 {
		rs = append(rs, b.request(n))
	}
	rs = append(rs, rs[3]) // the same line twice
	differs := rs[4]
	differs.Digest = digest("other")
	rs = append(rs, differs)
	before := b.Statements()["intake"]
	out, err := b.AcceptRecords(b.ctx, rs)
	b.must(err)
	if n := b.Statements()["intake"] - before; n != 22 {
		t.Errorf("%d statements for 22 records", n)
	}
	for i, res := range out[:20] {
		if res.Outcome != Accepted || res.Err != nil {
			t.Fatalf("record %d: %+v", i, res)
		}
	}
	if out[20].Outcome != AlreadyKnown || out[20].OrderID != out[3].OrderID || !errors.Is(out[21].Err, ErrRecordContentDiffers) {
		t.Fatalf("repeated lines: %+v", out[20:])
	}

	// The same file twice at once, in any order of lines.
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			mixed := append([]AcceptRequest{}, rs[:20]...)
			for i := range mixed {
				j := (i*7 + k*3) % 20
				mixed[i], mixed[j] = mixed[j], mixed[i]
			}
			out, err := b.AcceptRecords(b.ctx, mixed)
			if err != nil {
				t.Error(err)
			}
			for _, res := range out {
				if res.Outcome != AlreadyKnown {
					t.Errorf("again: %+v", res)
				}
			}
		}()
	}
	wg.Wait()
	b.balanced()
}

// race runs f in 16 goroutines at once.
func race(f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			<-start
			f(i)
		}()
	}
	close(start)
	wg.Wait()
}

func TestSameRecordAtOnce(t *testing.T) {
	b := newBench(t)
	r := b.request(1)
	var mu sync.Mutex
	outcomes, orders := map[AcceptOutcome]int{}, map[uuid.UUID]int{}
	race(func(int) {
		mine := r
		mine.RecordRow, mine.PersonID = NewID(), NewID() // nobody knew the person
		res, err := b.AcceptRecord(b.ctx, mine)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Error(err)
		}
		outcomes[res.Outcome]++
		orders[res.OrderID]++
	})
	if outcomes[Accepted] != 1 || outcomes[AlreadyKnown] != 15 || len(orders) != 1 {
		t.Fatalf("%v, orders %v", outcomes, orders)
	}
	b.balanced()
}

func TestSamePersonAtOnce(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	accepted, refused := 0, 0
	race(func(int) {
		r := b.request(1)
		_, err := b.AcceptRecord(b.ctx, r)
		if errors.Is(err, ErrPersonKeyDiffers) {
			_, err = b.AcceptRecord(b.ctx, b.known(r))
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			accepted++
		case errors.Is(err, ErrPersonHasOpenOrder):
			refused++
		default:
			t.Error(err)
		}
	})
	if accepted != 1 || refused != 15 {
		t.Fatalf("%d accepted, %d refused", accepted, refused)
	}
	counts, err := b.OrderCounts(b.ctx, uuid.Nil)
	b.must(err)
	if counts[OrderAccepted] != 1 {
		t.Fatalf("orders: %v", counts)
	}
	b.balanced()
}

func TestImages(t *testing.T) {
	b := newBench(t)
	order := b.accept(b.request(1))
	p, err := b.OrderForPreparation(b.ctx, order)
	b.must(err)
	if p.Version != 1 || string(p.Sealed) != "sealed record" || p.KeyID != "registry-1" {
		t.Fatalf("preparation: %+v", p)
	}
	im := Image{ID: NewID(), Version: 1, CardNumber: cardNumber(), Profile: "id 1", Content: []byte("c"), Secrets: []byte("s")}
	b.must(b.SaveImage(b.ctx, order, p.Generation, im, b.program))
	b.must(b.SaveImage(b.ctx, order, p.Generation, im, b.program)) // a lost answer
	im.ID = NewID()
	if err := b.SaveImage(b.ctx, order, p.Generation, im, b.program); !errors.Is(err, ErrStale) {
		t.Fatalf("an image nobody needs: %v", err)
	}
	second := b.accept(b.request(2))
	if err := b.SaveImage(b.ctx, second, 1, im, b.program); !errors.Is(err, ErrCardNumberTaken) {
		t.Fatalf("a number twice: %v", err)
	}
	b.prepare(second)
	third := b.accept(b.request(3))
	b.must(b.FailPreparation(b.ctx, third, 1, "photo-unreadable", b.program))
	if err := b.FailPreparation(b.ctx, third, 1, "photo-unreadable", b.program); !errors.Is(err, ErrStale) {
		t.Fatalf("failing twice: %v", err)
	}
	b.accept(b.known(b.request(3))) // a failed order is not open
}

// TestAnalyzed: PostgreSQL analyzes tables by itself while sessions live, which makes
// functions look their row types up again.
func TestAnalyzed(t *testing.T) {
	b := newBench(t)
	conn, err := pgx.Connect(b.ctx, b.url)
	b.must(err)
	defer conn.Close(b.ctx)
	for n := range 8 {
		b.accept(b.request(n))
		_, err := conn.Exec(b.ctx, "SET ROLE cb_owner; ANALYZE cardbureau.record")
		b.must(err)
	}
}
