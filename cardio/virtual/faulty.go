package virtual

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cardbureau/cardio/apdu"
)

// Fault is what goes wrong between a host and a chip.
type Fault int

// Faults.
const (
	// TearBefore cuts the power before the command is executed.
	TearBefore Fault = iota + 1
	// TearAfter cuts the power after the command was executed and before its
	// answer is out.
	TearAfter
	// Garbage turns one bit of the answer's last byte of data, or of SW2
	// when there is no data.
	Garbage
	// Silence answers with no bytes at all and no error, which is what some
	// readers do when a card is lost.
	Silence
)

// ErrTorn is what Transmit returns at a tear. It is also apdu.ErrInDoubt: the
// host cannot know on which side of the execution the power went.
var ErrTorn = fmt.Errorf("virtual: the card was torn out: %w", apdu.ErrInDoubt)

// Powered is a software chip as far as a reader's faults reach it: *Chip, or that
// of another package.
type Powered interface {
	apdu.Card
	PowerOff()
}

// Faulty is a chip behind a bad reader: something happens at one APDU, counted
// from 1 since the Faulty was made. It implements apdu.Card. Set its fields
// before use.
type Faulty struct {
	Chip  Powered
	At    int           // number of the APDU at which Fault happens; 0 is never
	Fault Fault         //
	Delay time.Duration // before every answer

	mu    sync.Mutex
	count int
}

// Count is how many APDUs were sent so far, the one at fault included.
func (f *Faulty) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// Transmit executes a command on the chip, or does what Fault says. After a
// tear the chip is without power until it is reset.
func (f *Faulty) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	f.mu.Lock()
	f.count++
	now := f.At != 0 && f.count == f.At
	f.mu.Unlock()
	if now && f.Fault == TearBefore {
		f.Chip.PowerOff()
		return nil, ErrTorn
	}
	if f.Delay > 0 {
		if err := wait(ctx, f.Delay); err != nil {
			return nil, err
		}
	}
	out, err := f.Chip.Transmit(ctx, command)
	if err != nil || !now {
		return out, err
	}
	switch f.Fault {
	case TearAfter:
		f.Chip.PowerOff()
		return nil, ErrTorn
	case Garbage:
		i := len(out) - 1
		if i >= 2 {
			i -= 2
		}
		out[i] ^= 0x01
		return out, nil
	case Silence:
		f.Chip.PowerOff()
		return nil, nil
	}
	return nil, errors.New("virtual: unknown fault")
}
