package store

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/google/uuid"
)

// TestJobs: an accepted record is prepared without anybody asking, an error is
// tried again, and what needs no image any more is done.
func TestJobs(t *testing.T) {
	b := newBench(t)
	early := b.accept(b.request(1)) // before anybody works
	withdrawn := b.accept(b.request(2))
	b.must(b.Withdraw(b.ctx, withdrawn, "test", b.ali))

	var mu sync.Mutex
	failed := map[uuid.UUID]bool{}
	done := make(chan uuid.UUID, 10)
	jobs, err := b.StartJobs(b.ctx, JobOptions{Actor: b.program, Prepare: func(ctx context.Context, order uuid.UUID) error {
		p, err := b.OrderForPreparation(ctx, order)
		if err != nil {
			return err
		}
		mu.Lock()
		first := !failed[order]
		failed[order] = true
		mu.Unlock()
		if first {
			return errors.New("the key agent is starting")
		}
		im := Image{ID: NewID(), Version: p.Version, CardNumber: cardNumber(), Profile: "id 1", Content: []byte("c"), Secrets: []byte("s")}
		if err := b.SaveImage(ctx, order, p.Generation, im, b.program); err != nil {
			return err
		}
		done <- order
		return nil
	}})
	b.must(err)
	late := b.accept(b.request(3)) // while they work
	got := map[uuid.UUID]bool{}
	for range 2 {
		select {
		case id := <-done:
			got[id] = true
		case <-b.ctx.Done():
			t.Fatal("jobs were not worked off")
		}
	}
	b.must(jobs.Stop(b.ctx))
	if !got[early] || !got[late] || b.state(early) != OrderPrepared || b.state(late) != OrderPrepared || b.state(withdrawn) != OrderWithdrawn {
		t.Fatalf("prepared %v", got)
	}
	if b.Statements()["jobs"] == 0 {
		t.Error("River's statements are not counted")
	}
}

// TestKilledJobs: a job that a killed process had taken is worked off by the
// next one at once.
func TestKilledJobs(t *testing.T) {
	b := newBench(t)
	order := b.accept(b.request(1))
	line, kill := spawn(t, "job", "STORE_TEST_URL="+b.url)
	if line != order.String() {
		t.Fatalf("the child took %s", line)
	}
	kill()
	_, err := b.line.Exec(b.ctx, "SELECT pg_advisory_xact_lock(station_class(), max(id)) FROM station_session") // the server has noticed
	b.must(err)
	done := make(chan struct{}, 1)
	jobs, err := b.StartJobs(b.ctx, JobOptions{Actor: b.program, Prepare: func(ctx context.Context, id uuid.UUID) error {
		if id == order {
			done <- struct{}{}
		}
		return nil
	}})
	b.must(err)
	select {
	case <-done:
	case <-b.ctx.Done():
		t.Fatal("the job was not taken over")
	}
	b.must(jobs.Stop(b.ctx))
}

// TestGivenUpJobs: preparation that failed too often begins anew with the next
// process, as long as its order waits for it.
func TestGivenUpJobs(t *testing.T) {
	b := newBench(t)
	waits := b.accept(b.request(1))
	gone := b.accept(b.request(2))
	b.must(b.Withdraw(b.ctx, gone, "test", b.ali))
	_, err := b.line.Exec(b.ctx, "UPDATE river_job SET state = 'discarded', finalized_at = now(), attempt = max_attempts")
	b.must(err)
	done := make(chan uuid.UUID, 2)
	jobs, err := b.StartJobs(b.ctx, JobOptions{Actor: b.program, Prepare: func(_ context.Context, id uuid.UUID) error {
		done <- id
		return nil
	}})
	b.must(err)
	select {
	case id := <-done:
		if id != waits {
			t.Errorf("order %s was begun, which waits for nothing", id)
		}
	case <-b.ctx.Done():
		t.Fatal("the job was not begun anew")
	}
	b.must(jobs.Stop(b.ctx))
	if len(done) != 0 {
		t.Error("another order was begun")
	}
}
