package line

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"cardbureau/cardio/pcsc"
)

// Joining brings readers to a line at work. Both methods are called while the
// other one may be under way.
type Joining interface {
	// Join waits for the next reader that is to join. io.EOF: there will be no
	// more. After an error it is not called again.
	Join(ctx context.Context) (Slot, error)
	// Ended is told once for each slot, also for those that the line began
	// with, when nothing is done with it any more. gone: because its reader is
	// not there any more; it may join again.
	Ended(s Slot, gone bool)
}

// Run works all slots until no released order is left, the blanks run out, or
// ctx ends: a card in hand is then finished first. The error joins what
// stopped single readers.
func (l *Line) Run(ctx context.Context, slots []Slot) (Summary, error) {
	return l.RunJoining(ctx, slots, nil)
}

// RunJoining is Run with readers that come and go. A reader that is unplugged
// (pcsc.ErrNoReader) leaves and stops no other: what it was to make, others
// make, and if it was the last one and orders are left, the line waits for a
// reader until ctx ends. The error names those that left and did not come
// back, and has what ended more.Join.
func (l *Line) RunJoining(ctx context.Context, slots []Slot, more Joining) (Summary, error) {
	start := l.now()
	r := &run{line: l, more: more, ended: make(chan ending), gone: map[string]error{}}
	for _, s := range slots {
		r.start(ctx, s)
	}
	joined, stop := r.join(ctx)
	for r.working > 0 || r.deserted {
		select {
		case e := <-r.ended:
			r.end(ctx, e)
			if r.working == 0 && e.gone() && joined != nil {
				r.desert(ctx)
			}
		case s, ok := <-joined:
			r.deserted = false
			if !ok {
				joined = nil
				break
			}
			delete(r.gone, s.Reader.Name())
			l.event(Event{Reader: s.Reader.Name(), Kind: Joined})
			r.start(ctx, s)
		}
	}
	stop()
	for _, s := range r.idle {
		r.over(s, false)
	}
	for _, name := range slices.Sorted(maps.Keys(r.gone)) {
		r.errs = append(r.errs, r.gone[name])
	}
	r.total.Elapsed = l.now().Sub(start)
	return r.total, errors.Join(r.errs...)
}

// run is a Run under way. Its fields belong to the goroutine of RunJoining, but
// for total.
type run struct {
	line    *Line
	more    Joining // or nil
	ended   chan ending
	working int
	// idle are slots that found nothing to do. They look again when a reader
	// leaves, for an order that it was to make.
	idle     []Slot
	gone     map[string]error // readers that left, and why
	deserted bool             // nobody works, and a reader is waited for
	errs     []error

	mu    sync.Mutex
	total Summary
}

// ending is the end of the work on a slot.
type ending struct {
	slot Slot
	err  error
}

func (e ending) gone() bool { return errors.Is(e.err, pcsc.ErrNoReader) }

// start works a slot in a goroutine of its own.
func (r *run) start(ctx context.Context, s Slot) {
	r.working++
	go func() {
		e := ending{slot: s}
		defer func() { r.ended <- e }() // also when the goroutine ends otherwise
		e.err = r.line.work(ctx, s, r.note)
	}()
}

// note counts a card.
func (r *run) note(res result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if res.refused {
		r.total.Refused++
	}
	r.total.count(res)
}

// end takes note of the end of the work on a slot.
func (r *run) end(ctx context.Context, e ending) {
	r.working--
	name := e.slot.Reader.Name()
	if e.err == nil {
		r.idle = append(r.idle, e.slot)
		r.line.event(Event{Reader: name, Kind: Stopped})
		return
	}
	if !e.gone() {
		err := fmt.Errorf("reader %s: %w", name, e.err)
		r.errs = append(r.errs, err)
		r.line.event(Event{Reader: name, Kind: Stopped, Detail: err.Error()})
		r.over(e.slot, false)
		return
	}
	r.gone[name] = fmt.Errorf("reader %s left the line: %w", name, e.err)
	r.line.event(Event{Reader: name, Kind: Left, Detail: e.err.Error()})
	r.over(e.slot, true)
	idle := r.idle
	r.idle = nil
	for _, s := range idle {
		r.start(ctx, s)
	}
}

func (r *run) over(s Slot, gone bool) {
	if r.more != nil {
		r.more.Ended(s, gone)
	}
}

// desert has the line wait for a reader, where there is something for it to do.
func (r *run) desert(ctx context.Context) {
	left, err := r.line.ordersLeft(ctx)
	if err != nil || !left {
		if err = ignoreStop(ctx, err); err != nil {
			r.errs = append(r.errs, err)
		}
		return
	}
	r.line.queue.kept() // only asked
	r.deserted = true
	r.line.event(Event{Kind: Deserted})
}

// join receives the readers that join, until ctx ends, none is to come, or
// stop: joined is then closed. stop gives back what nobody took.
func (r *run) join(ctx context.Context) (joined <-chan Slot, stop func()) {
	if r.more == nil {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	slots := make(chan Slot)
	var failed error
	go func() {
		defer close(slots)
		for {
			s, err := r.more.Join(ctx)
			if err != nil {
				if ctx.Err() == nil && !errors.Is(err, io.EOF) {
					failed = fmt.Errorf("no more readers join: %w", err)
				}
				return
			}
			slots <- s
		}
	}()
	return slots, func() {
		cancel()
		for s := range slots {
			r.over(s, false)
		}
		if failed != nil {
			r.errs = append(r.errs, failed)
		}
	}
}
