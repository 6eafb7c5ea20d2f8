package store

import (
	"errors"
	"sync"
	"testing"
)

func TestNumberPlans(t *testing.T) {
	b := newBench(t)
	if _, err := b.NumberPlan(b.ctx); !errors.Is(err, ErrNotFound) {
		t.Errorf("none: %v", err)
	}
	for range 2 {
		b.must(b.AddNumberPlan(b.ctx, 5, digest("five"), []byte("five"), b.ali))
	}
	for serial, content := range map[int64]string{5: "other", 4: "four"} {
		if err := b.AddNumberPlan(b.ctx, serial, digest(content), []byte(content), b.ali); !errors.Is(err, ErrStale) {
			t.Errorf("%d: %v", serial, err)
		}
	}
	if doc, err := b.NumberPlan(b.ctx); err != nil || string(doc) != "five" {
		t.Errorf("%q, %v", doc, err)
	}
}

// TestSIMBatches: a file is taken in whole, once; sequence numbers are never given
// twice.
func TestSIMBatches(t *testing.T) {
	b := newBench(t)
	sims := func(first, n int, fail error) func(func(SIMKey, error) bool) {
		return func(yield func(SIMKey, error) bool) {
			for i := range n {
				if !yield(SIMKey{ID: NewID(), ICCIDRef: digest("sim", first+i), Sealed: []byte("keys")}, nil) {
					return
				}
			}
			if fail != nil {
				yield(SIMKey{}, fail)
			}
		}
	}
	batch := SIMBatch{ID: NewID(), Name: "B-1", Digest: digest("file"), SIMs: simsAtOnce + 1}
	broken := errors.New("line 9 is malformed")
	if _, err := b.ImportSIMs(b.ctx, batch, sims(0, simsAtOnce+1, broken), b.ali); !errors.Is(err, broken) {
		t.Errorf("a broken file: %v", err)
	}
	if _, err := b.ImportSIMs(b.ctx, batch, sims(0, 7, nil), b.ali); !errors.Is(err, ErrSIMKnown) {
		t.Errorf("too few: %v", err)
	}
	for i, want := range []bool{false, true} {
		if already, err := b.ImportSIMs(b.ctx, batch, sims(0, simsAtOnce+1, nil), b.ali); err != nil || already != want {
			t.Errorf("%d: %v, %v", i, already, err)
		}
	}
	differs := batch
	differs.Digest = digest("other")
	if _, err := b.ImportSIMs(b.ctx, differs, sims(0, 1, nil), b.ali); !errors.Is(err, ErrBatchDiffers) {
		t.Errorf("other content: %v", err)
	}
	known := SIMBatch{ID: NewID(), Name: "B-2", Digest: digest("second"), SIMs: 2}
	if _, err := b.ImportSIMs(b.ctx, known, sims(simsAtOnce, 2, nil), b.ali); !errors.Is(err, ErrSIMKnown) {
		t.Errorf("a known SIM: %v", err)
	}
	var mu sync.Mutex
	given := map[uint64]int{}
	race(func(int) {
		_, n, err := b.NextSQN(b.ctx, digest("sim", 3), func(_ SIMKey, last uint64) (uint64, error) { return last + 33, nil })
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Error(err)
		}
		given[n]++
	})
	if len(given) != 16 || given[16*33] != 1 {
		t.Errorf("numbers: %v", given)
	}
	if _, _, err := b.NextSQN(b.ctx, digest("nobody"), nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("no SIM: %v", err)
	}
	if _, _, err := b.NextSQN(b.ctx, digest("sim", 3), func(SIMKey, uint64) (uint64, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Errorf("a failure: %v", err)
	}
}
