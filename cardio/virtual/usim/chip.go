package usim

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/nvm"
)

// ErrNoPower is what Transmit returns while the chip has no power.
var ErrNoPower = errors.New("usim: the chip has no power")

// Config is what a Chip runs on.
type Config struct {
	// Memory holds the card; nil is a new memory without a file.
	Memory *nvm.Memory
	// Profile is manufactured into an empty memory; ignored when the memory
	// holds a card already.
	Profile *Profile
	// Random is the chip's random number generator; crypto/rand when nil.
	Random io.Reader
	// Log gets the stack of a command that panicked (it is answered 6F00 and
	// undone). No command or response data is logged.
	Log *slog.Logger
}

// Chip is a SIM at T=0: Transmit takes one TPDU, as a reader sends it. It
// implements apdu.Card and is safe for concurrent use; commands are executed one
// after the other. See Terminal for whole command APDUs.
type Chip struct {
	mu     sync.Mutex
	mem    *nvm.Memory
	space  nvm.Space
	random io.Reader
	log    *slog.Logger

	root    *file
	atr     []byte
	powered bool

	ram
}

// ram is what a reset takes.
type ram struct {
	folder   *file // the current DF or ADF
	current  *file // the current EF
	adf      *file // the application that 7FFF names
	pointer  int   // the current record, 0: none
	verified map[byte]bool
	pending  *outgoing
	toolkit  toolkit
}

// New makes a chip and powers it on.
func New(cfg Config) (*Chip, error) {
	c := &Chip{mem: cfg.Memory, random: cfg.Random, log: cfg.Log}
	if c.mem == nil {
		c.mem = nvm.InMemory()
	}
	if c.random == nil {
		c.random = rand.Reader
	}
	if !Is(c.mem) && cfg.Profile != nil {
		if err := Manufacture(c.mem, *cfg.Profile); err != nil {
			return nil, err
		}
	}
	if !Is(c.mem) {
		return nil, ErrNoCard
	}
	c.space = c.mem.Space(chipSpace)
	root, err := loadTree(c.space)
	if err != nil {
		return nil, err
	}
	c.root, c.atr = root, slices.Clone(c.space.Get(keyATR))
	c.PowerOn()
	return c, nil
}

// ATR is the answer to reset.
func (c *Chip) ATR() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.atr)
}

// T0 reports that Transmit takes TPDUs.
func (c *Chip) T0() bool { return true }

// PowerOn powers the chip, which resets it, and returns the answer to reset.
func (c *Chip) PowerOn() []byte { return c.Reset() }

// PowerOff takes the power away: RAM is lost, what no command committed is
// undone.
func (c *Chip) PowerOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.powered = false
	c.lose()
}

// Reset resets the chip (warm or cold alike), powers it when it was off, and
// returns the answer to reset. The MF is selected.
func (c *Chip) Reset() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.powered = true
	c.lose()
	return slices.Clone(c.atr)
}

func (c *Chip) lose() {
	c.mem.Rollback()
	c.ram = ram{folder: c.root, verified: map[byte]bool{}}
}

// Transmit executes one TPDU. It fails with ErrNoPower, or with the context's
// error when that is done before the command begins; everything else is a status
// word.
func (c *Chip) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.powered {
		return nil, ErrNoPower
	}
	data, sw := c.guarded(command)
	return apdu.Response{Data: data, SW: sw}.Bytes(), nil
}

// guarded runs one TPDU and commits what it wrote. A panic undoes it.
func (c *Chip) guarded(command []byte) (data []byte, sw apdu.StatusWord) {
	defer func() {
		if p := recover(); p != nil {
			if c.log != nil {
				c.log.Error("usim: a command failed", "stack", string(debug.Stack()))
			}
			c.lose()
			data, sw = nil, apdu.SWNoPreciseDiagnosis
		}
	}()
	data, sw = c.tpdu(command)
	if err := c.mem.Commit(); err != nil {
		c.lose()
		return nil, apdu.SWMemoryFailure
	}
	return slices.Clone(data), sw
}

// Terminal is a card behind a reader that speaks T=0 to it: it takes whole
// command APDUs and keeps back the Le of those with data (ISO/IEC 7816-3:2006
// clause 12.2), as PC/SC readers do. 61xx, 9Fxx and 6Cxx go to the caller.
type Terminal struct{ Card apdu.Card }

// Transmit sends one command.
func (t Terminal) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	out, err := apdu.ForT0(command)
	if err != nil {
		return nil, err
	}
	return t.Card.Transmit(ctx, out)
}
