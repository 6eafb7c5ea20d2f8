package pcsc

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// How long PC/SC may take for what is neither waiting for a person nor an
// APDU; and how long a call may still take once its caller has given up.
const (
	callTimeout  = 20 * time.Second
	cancelPeriod = 2 * time.Second
)

// worker is a thread that makes blocking calls, one at a time.
type worker struct {
	jobs   chan func()
	turn   chan struct{} // holds a token while a caller is being served
	mu     sync.Mutex
	over   error // why no further call is made
	closed chan struct{}
}

func newWorker() *worker {
	w := &worker{jobs: make(chan func()), turn: make(chan struct{}, 1), closed: make(chan struct{})}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for {
			select {
			case job := <-w.jobs:
				job()
			case <-w.closed:
				return
			}
		}
	}()
	return w
}

// state is why no further call is made, or nil.
func (w *worker) state() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.over
}

// end makes err the reason for which no further call is made, unless there is
// one already.
func (w *worker) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over == nil {
		w.over = err
	}
}

// notMade marks an error of a call that was never made.
type notMade struct{ error }

func (e notMade) Unwrap() error { return e.error }

// do makes a call and waits for it. A call that does not come back within
// limit, or soon after ctx has ended, leaves the worker lost: ErrReaderStuck.
func (w *worker) do(ctx context.Context, limit time.Duration, call func() error) error {
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return notMade{ctx.Err()}
	}
	if err := w.state(); err != nil {
		return notMade{err}
	}
	if err := ctx.Err(); err != nil {
		return notMade{err}
	}
	result := make(chan error, 1)
	w.jobs <- func() { result <- call() }
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-result:
		return err
	case <-timer.C:
		err := fmt.Errorf("%w: no answer for %v", ErrReaderStuck, limit)
		w.end(err)
		return err
	case <-ctx.Done():
	}
	grace := time.NewTimer(min(cancelPeriod, limit))
	defer grace.Stop()
	select {
	case err := <-result:
		return err
	case <-grace.C:
		err := fmt.Errorf("%w: no answer when given up: %w", ErrReaderStuck, ctx.Err())
		w.end(err)
		return err
	}
}

// close ends the thread after a last call. A stuck thread is left to itself:
// it makes the last call if it ever comes back.
func (w *worker) close(last func()) {
	stuck := w.state() != nil
	w.end(ErrClosed)
	var once sync.Once
	finish := func() {
		once.Do(func() {
			if last != nil {
				last()
			}
			close(w.closed)
		})
	}
	if stuck {
		go func() {
			select {
			case w.jobs <- finish:
			case <-w.closed:
			}
		}()
		return
	}
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	select {
	case w.jobs <- finish:
		<-w.closed
	case <-w.closed:
	}
}
