// Package feeder is how a card gets into a reader and where it goes
// afterwards: by a person's hand, or by the rack of virtual cards. It knows
// nothing of what is written on a card.
package feeder

import (
	"context"
	"fmt"
)

// Bin is where a card goes when its reader is done with it.
type Bin string

// The bins of a reader.
const (
	Issued   Bin = "issued"   // proven: to the bag
	Rejected Bin = "rejected" // spoiled or refused: to be accounted for and destroyed or returned
	Unused   Bin = "blanks"   // untouched: back to the blanks
	Doubt    Bin = "doubt"    // to be presented again when its attempt is resolved
)

// Valid reports whether there is such a bin.
func (b Bin) Valid() bool { return b == Issued || b == Rejected || b == Unused || b == Doubt }

func (b Bin) check() error {
	if !b.Valid() {
		return fmt.Errorf("there is no bin %q", string(b))
	}
	return nil
}

// Feeder serves one reader. It is used by one goroutine at a time.
type Feeder interface {
	// Next puts the next blank into the reader and returns when it is there.
	// It returns io.EOF when there are no more.
	Next(ctx context.Context) error
	// Out takes the card from the reader into a bin and returns when the
	// reader is empty.
	Out(ctx context.Context, bin Bin) error
}

// Presence watches a reader. *pcsc.Context is one.
type Presence interface {
	// WaitCard waits for a card and returns its answer to reset.
	WaitCard(ctx context.Context, reader string) (atr []byte, err error)
	// WaitRemoved waits until the reader is empty.
	WaitRemoved(ctx context.Context, reader string) error
}
