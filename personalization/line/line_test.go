package line

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/feeder"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/lds"
	"cardbureau/cardio/lds/ec"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// TestJudge: what reached the card decides what a failure means.
func TestJudge(t *testing.T) {
	step := func(written bool, err error) error {
		return &profile.StepError{Step: "files", Written: written, Err: err}
	}
	refused := &apdu.StatusError{SW: apdu.SWConditionsOfUseNotSatisfied}
	for _, c := range []struct {
		name    string
		err     error
		outcome store.Outcome
		reason  string
		bin     feeder.Bin
	}{
		{"no error", nil, store.OutcomeIssued, "", feeder.Issued},
		{"foreign keys", step(false, gp.ErrCardCryptogram), store.OutcomeQuarantined, reasonKeysDiffer, feeder.Rejected},
		{"foreign chip", fmt.Errorf("%w: it is another", errChip), store.OutcomeQuarantined, reasonChip, feeder.Rejected},
		{"image unreadable", fmt.Errorf("%w: sealed elsewhere", errImage), store.OutcomeClean, reasonImage, feeder.Unused},
		{"gone before the first write", step(false, apdu.ErrInDoubt), store.OutcomeClean, reasonCardSilent, feeder.Unused},
		{"gone after it", step(true, apdu.ErrInDoubt), store.OutcomeInDoubt, reasonCardSilent, feeder.Doubt},
		{"agent gone before", step(false, vault.ErrAgentGone), store.OutcomeClean, reasonKeysAbsent, feeder.Unused},
		{"agent gone after", step(true, vault.ErrChannelGone), store.OutcomeInDoubt, reasonKeysAbsent, feeder.Doubt},
		{"card refuses", step(true, refused), store.OutcomeQuarantined, reasonCardRefused, feeder.Rejected},
		{"key check value", step(true, gp.ErrKCV), store.OutcomeQuarantined, reasonKCV, feeder.Rejected},
		{"response altered", step(true, gp.ErrResponseMAC), store.OutcomeInDoubt, reasonCardSilent, feeder.Doubt},
		{"proof fails", step(true, failed(lds.ErrChipAuthentication)), store.OutcomeQuarantined, reasonProof, feeder.Rejected},
		{"card lost in the proof", step(true, failed(apdu.ErrInDoubt)), store.OutcomeInDoubt, reasonCardSilent, feeder.Doubt},
		{"database gone before", step(false, errJournal), store.OutcomeClean, reasonDatabase, feeder.Unused},
		{"database gone after", step(true, errJournal), store.OutcomeInDoubt, reasonDatabase, feeder.Doubt},
		{"a point that is none", step(true, failed(fmt.Errorf("mapping: %w", ec.ErrPoint))), store.OutcomeQuarantined, reasonProof, feeder.Rejected},
		{"overtaken", step(true, store.ErrFenced), store.OutcomeInDoubt, reasonInterrupted, feeder.Doubt},
		{"something else", step(true, errors.New("?")), store.OutcomeInDoubt, reasonCardSilent, feeder.Doubt},
	} {
		r := judge(c.err)
		if r.outcome != c.outcome || r.reason != c.reason || r.bin() != c.bin {
			t.Errorf("%s: %s (%s) into %s, want %s (%s) into %s", c.name, r.outcome, r.reason, r.bin(), c.outcome, c.reason, c.bin)
		}
	}
}

// TestQueue: however many readers ask at once, no more blanks are fetched than
// there are orders.
func TestQueue(t *testing.T) {
	const readers, orders = 8, 100
	var (
		q  queue
		db = struct {
			sync.Mutex
			released int
		}{released: orders}
		wg   sync.WaitGroup
		made sync.Map
	)
	for i := range readers {
		wg.Go(func() {
			n := 0
			for {
				promised := q.take()
				for again := !promised; again && !promised; {
					since := q.counting()
					db.Lock()
					released := db.released
					db.Unlock()
					promised, again = q.counted(since, released)
				}
				if !promised {
					break
				}
				db.Lock()
				db.released--
				if db.released < 0 {
					t.Error("a blank was fetched for no order")
				}
				db.Unlock()
				q.kept()
				n++
			}
			made.Store(i, n)
		})
	}
	wg.Wait()
	sum := 0
	made.Range(func(_, n any) bool { sum += n.(int); return true })
	if sum != orders || db.released != 0 {
		t.Errorf("%d cards of %d orders, %d left", sum, orders, db.released)
	}
}
