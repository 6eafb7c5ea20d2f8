package line

import (
	"context"
	"errors"
	"fmt"

	"cardbureau/personalization/profile"
	"cardbureau/personalization/store"
)

// journal writes an attempt's steps down. The intent to change the card is in
// the database before anything is sent for it; everything else travels with
// the next such intent or with the outcome, since it only advises.
type journal struct {
	line       *Line
	claim      *store.Claim
	base       Event
	seq        int
	pending    []store.Step
	keyVersion byte // of the channel opened last
	banked     bool // the payment application was proven
	striped    bool // the stripe was read back and agrees
}

func (j *journal) add(name string, e store.Event) {
	j.seq++
	j.pending = append(j.pending, store.Step{Seq: j.seq, Name: name, Event: e, At: j.line.now()})
}

// note is profile.Run's Journal.
func (j *journal) note(ctx context.Context, e profile.Event, steps []string, writes bool) error {
	for _, name := range steps {
		j.add(name, store.Event(e))
	}
	if e != profile.Intent {
		return nil
	}
	ev := j.base
	ev.Kind, ev.Step = Working, steps[len(steps)-1]
	j.line.event(ev)
	if !writes {
		return nil
	}
	err := j.line.Station.Journal(ctx, j.claim.AttemptID, j.claim.Fence, j.take())
	if err != nil && !errors.Is(err, store.ErrFenced) {
		err = fmt.Errorf("%w: %w", errJournal, err)
	}
	return err
}

// errJournal marks an intent that the database did not take: nothing was sent
// for it.
var errJournal = errors.New("the intent to change the card could not be written down")

// take returns what is not written down yet.
func (j *journal) take() []store.Step {
	out := j.pending
	j.pending = nil
	return out
}
