package feeder

import (
	"context"
	"errors"
	"io"

	"cardbureau/cardio/pcsc"
)

// Request is what a person at a reader is asked to do: put a blank in, or,
// where TakeOut names a bin, take the card out and put it there.
type Request struct {
	Reader  string
	TakeOut Bin
}

// Hand is a person who changes the cards.
type Hand struct {
	// Presence sees the cards come and go.
	Presence Presence
	// Reader is the reader's PC/SC name.
	Reader string
	// Ask tells the person what to do. It must not block.
	Ask func(Request)
	// Enough is closed when the person says that there are no more blanks;
	// nil never is.
	Enough <-chan struct{}
}

// Next asks for a blank and waits for it. A card that is in the reader
// already is taken as the one. A card that does not answer counts as there:
// its reader finds that out.
func (h *Hand) Next(ctx context.Context) error {
	select {
	case <-h.Enough:
		return io.EOF
	default:
	}
	h.ask(Request{Reader: h.Reader})
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-h.Enough:
			cancel()
		case <-waiting.Done():
		}
	}()
	_, err := h.Presence.WaitCard(waiting, h.Reader)
	switch {
	case err == nil || errors.Is(err, pcsc.ErrUnresponsive):
		return nil
	case waiting.Err() != nil && ctx.Err() == nil:
		return io.EOF
	}
	return err
}

// Out asks for the card to be put into a bin and waits until the reader is
// empty.
func (h *Hand) Out(ctx context.Context, bin Bin) error {
	if err := bin.check(); err != nil {
		return err
	}
	h.ask(Request{Reader: h.Reader, TakeOut: bin})
	return h.Presence.WaitRemoved(ctx, h.Reader)
}

func (h *Hand) ask(r Request) {
	if h.Ask != nil {
		h.Ask(r)
	}
}
