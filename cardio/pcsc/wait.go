package pcsc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ebfe/scard"
)

// waitSlice bounds one wait inside PC/SC. Cancel ends it sooner, but only if
// the wait has begun.
const waitSlice = 500 * time.Millisecond

// plugAndPlay is the reader whose state is the list of readers.
const plugAndPlay = `\\?PnP?\Notification`

// waiting holds a token for each reader name that a call waits on. The
// binding keeps the C copy of a name alive by the name alone: a second wait
// on it would free the first one's.
var waiting sync.Map // name -> chan struct{}

// change waits until the reader's state is not current any more, or for
// waitSlice, and returns the state.
func (c *Context) change(ctx context.Context, reader string, current scard.StateFlag) (scard.ReaderState, error) {
	token, _ := waiting.LoadOrStore(reader, make(chan struct{}, 1))
	turn := token.(chan struct{})
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return scard.ReaderState{}, ctx.Err()
	}
	states := []scard.ReaderState{{Reader: reader, CurrentState: current}}
	stop := context.AfterFunc(ctx, func() { _ = c.handle().Cancel() })
	defer stop()
	err := c.do(ctx, func() error {
		defer func() { <-turn }()
		return c.connected(func(pc *scard.Context) error { return pc.GetStatusChange(states, waitSlice) })
	})
	var unmade notMade
	if errors.As(err, &unmade) {
		<-turn
	}
	switch {
	case ctx.Err() != nil:
		return scard.ReaderState{}, ctx.Err()
	case errors.Is(err, scard.ErrTimeout) || errors.Is(err, scard.ErrCancelled):
		states[0].EventState = current
		return states[0], nil
	case err != nil:
		return scard.ReaderState{}, err
	}
	return states[0], nil
}

// WaitCard waits until there is a card in the reader and returns its answer
// to reset. A card that gives none is ErrUnresponsive.
func (c *Context) WaitCard(ctx context.Context, reader string) (atr []byte, err error) {
	state, err := c.waitFor(ctx, reader, scard.StatePresent)
	if err != nil {
		return nil, fmt.Errorf("wait for a card in %s: %w", reader, err)
	}
	if state.EventState&scard.StateMute != 0 {
		return nil, fmt.Errorf("card in %s: %w", reader, ErrUnresponsive)
	}
	return state.Atr, nil
}

// WaitRemoved waits until the reader is empty.
func (c *Context) WaitRemoved(ctx context.Context, reader string) error {
	if _, err := c.waitFor(ctx, reader, scard.StateEmpty); err != nil {
		return fmt.Errorf("wait until %s is empty: %w", reader, err)
	}
	return nil
}

// noReader are the flags of a reader that is not there, or does not work.
const noReader = scard.StateUnknown | scard.StateUnavailable | scard.StateIgnore

// waitFor waits until the reader shows one of the wanted flags.
func (c *Context) waitFor(ctx context.Context, reader string, want scard.StateFlag) (scard.ReaderState, error) {
	current := scard.StateUnaware
	for {
		state, err := c.change(ctx, reader, current)
		if err != nil {
			return scard.ReaderState{}, err
		}
		if state.EventState&noReader != 0 {
			return scard.ReaderState{}, ErrNoReader
		}
		if state.EventState&want != 0 {
			return state, nil
		}
		current = state.EventState &^ scard.StateChanged
	}
}

// Present reports whether there is a card in the reader, without waiting. A
// reader that does not work is ErrNoReader.
func (c *Context) Present(reader string) (bool, error) {
	state, err := c.change(context.Background(), reader, scard.StateUnaware)
	if err == nil && state.EventState&noReader != 0 {
		err = ErrNoReader
	}
	if err != nil {
		return false, fmt.Errorf("look into %s: %w", reader, err)
	}
	return state.EventState&scard.StatePresent != 0, nil
}

// WaitForChange waits until the list of readers is another than known, in
// whatever order, and returns it.
func (c *Context) WaitForChange(ctx context.Context, known []string) ([]string, error) {
	old := slices.Sorted(slices.Values(known))
	for {
		now, err := c.Readers()
		if err != nil {
			return nil, err
		}
		if !slices.Equal(old, slices.Sorted(slices.Values(now))) {
			return now, nil
		}
		if _, err := c.change(ctx, plugAndPlay, scard.StateUnaware); err != nil {
			return nil, fmt.Errorf("wait for card readers: %w", err)
		}
	}
}
