package pcsc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ebfe/scard"

	"cardbureau/cardio/apdu"
)

// DefaultTimeout is how long a card may take for one APDU. On-card key
// generation takes tens of seconds.
const DefaultTimeout = 90 * time.Second

// Disposition says what becomes of the card when its connection is closed.
type Disposition int

// What can become of a card.
const (
	Leave   Disposition = iota // powered, as it is
	Reset                      // warm reset: sessions and PINs are forgotten
	Unpower                    // cold
	Eject                      // thrown out, where the reader can
)

func (d Disposition) scard() scard.Disposition {
	switch d {
	case Reset:
		return scard.ResetCard
	case Unpower:
		return scard.UnpowerCard
	case Eject:
		return scard.EjectCard
	}
	return scard.LeaveCard
}

// Conn is an exclusive connection to one card. It implements apdu.Card. Its
// methods may be called from any goroutine, and are served one at a time. It
// keeps its reader to itself until it is closed, also when its card is gone.
type Conn struct {
	context *Context
	reader  string
	timeout time.Duration
	mu      sync.Mutex
	card    *scard.Card
	atr     []byte
	broken  error // why no further command is sent
}

// Connect connects exclusively to the card in a reader, with whatever protocol
// the card offers. The first command begins with a freshly powered or reset
// card only after Reset.
func (c *Context) Connect(ctx context.Context, reader string) (*Conn, error) {
	conn := &Conn{context: c, reader: reader, timeout: DefaultTimeout}
	err := c.ask(ctx, func(pc *scard.Context) error {
		card, err := pc.Connect(reader, scard.ShareExclusive, scard.ProtocolAny)
		if err != nil {
			return err
		}
		conn.card = card
		return conn.describe()
	})
	if err != nil {
		if conn.card != nil && c.worker.state() == nil {
			_ = c.do(context.Background(), func() error { return conn.card.Disconnect(scard.LeaveCard) })
		}
		return nil, fmt.Errorf("connect to the card in %s: %w", reader, err)
	}
	return conn, nil
}

// describe checks the protocol and reads the answer to reset. It runs on the
// Context's thread.
func (c *Conn) describe() error {
	if p := c.card.ActiveProtocol(); p != scard.ProtocolT0 && p != scard.ProtocolT1 {
		return scard.ErrProtoMismatch
	}
	status, err := c.card.Status()
	if err != nil {
		return err
	}
	c.atr = append([]byte(nil), status.Atr...)
	return nil
}

// Reader is the name of the reader.
func (c *Conn) Reader() string { return c.reader }

// ATR is the card's answer to its last reset.
func (c *Conn) ATR() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]byte(nil), c.atr...)
}

// SetTimeout sets how long the card may take for one APDU before its reader
// counts as stuck.
func (c *Conn) SetTimeout(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timeout = d
}

// Transmit sends one command APDU and returns the response with its status
// word. Every error after the command may have left is apdu.ErrInDoubt, with
// its cause; the connection then sends nothing more until Reset. A command
// that is certainly not sent gives another error.
//
// A call that has begun is not interrupted by ctx: the card is given two more
// seconds to answer.
func (c *Conn) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return nil, fmt.Errorf("nothing is sent to the card in %s: %w", c.reader, c.broken)
	}
	if len(command) < 4 {
		return nil, fmt.Errorf("%w: %d bytes, a header has 4", apdu.ErrMalformed, len(command))
	}
	if c.card.ActiveProtocol() != scard.ProtocolT0 {
		return c.send(ctx, command)
	}
	tpdu, err := apdu.ForT0(command)
	if err != nil {
		return nil, err
	}
	response, err := c.send(ctx, tpdu)
	if err != nil {
		return nil, err
	}
	if fetch := apdu.AfterWarning(command, response); fetch != nil {
		return c.fetch(ctx, fetch, response)
	}
	return response, nil
}

// fetch asks for the data behind a warning, which stays the status word.
func (c *Conn) fetch(ctx context.Context, command, warning []byte) ([]byte, error) {
	response, err := c.send(ctx, command)
	if err == nil && len(response) == 2 && response[0] == 0x6C {
		command[4] = response[1]
		response, err = c.send(ctx, command)
	}
	switch {
	case err != nil:
		return nil, err
	case len(response) == 2:
		return warning, nil
	case response[len(response)-2] == 0x61:
		return response, nil // more of it: the caller goes on as always
	}
	return append(response[:len(response)-2], warning...), nil
}

// send sends bytes as they are.
func (c *Conn) send(ctx context.Context, command []byte) ([]byte, error) {
	var response []byte
	err := c.context.worker.do(ctx, c.timeout, func() error {
		out, err := c.card.Transmit(command)
		// The binding's buffer has 64 KiB, whatever the card sends.
		response = append(make([]byte, 0, len(out)), out...)
		return err
	})
	var unmade notMade
	if errors.As(err, &unmade) {
		return nil, fmt.Errorf("nothing is sent to the card in %s: %w", c.reader, translate(unmade.error))
	}
	if err == nil && len(response) < 2 {
		// A card lost in the middle comes back as success without an answer.
		err = fmt.Errorf("%w: %d bytes of answer", ErrRemoved, len(response))
	}
	if err != nil {
		err = translate(err)
		if errors.Is(err, ErrNoCard) {
			err = fmt.Errorf("%w: %w", ErrRemoved, err)
		}
		c.broken = err
		return nil, fmt.Errorf("card in %s: %w: %w", c.reader, apdu.ErrInDoubt, err)
	}
	return response, nil
}

// Reset resets the card, by power when cold, and reads its new answer to
// reset. It makes a connection usable again that lost its card, if there is
// one in the reader now: it may be another card.
func (c *Conn) Reset(ctx context.Context, cold bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	how := scard.ResetCard
	if cold {
		how = scard.UnpowerCard
	}
	err := c.context.do(ctx, func() error {
		if err := c.card.Reconnect(scard.ShareExclusive, scard.ProtocolAny, how); err != nil {
			return err
		}
		return c.describe()
	})
	if err != nil {
		c.broken = err
		return fmt.Errorf("reset the card in %s: %w", c.reader, err)
	}
	c.broken = nil
	return nil
}

// Close ends the connection. It may be called more than once.
func (c *Conn) Close(d Disposition) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.card == nil || c.broken == ErrClosed {
		return nil
	}
	c.broken = ErrClosed
	err := c.context.do(context.Background(), func() error { return c.card.Disconnect(d.scard()) })
	if err != nil && !errors.Is(err, ErrRemoved) && !errors.Is(err, ErrNoCard) {
		return fmt.Errorf("close the connection to %s: %w", c.reader, err)
	}
	return nil
}

// Control sends a control code to the reader (SCardControl). After an error the state
// of the card is not known: apdu.ErrInDoubt. within is how long the reader may take,
// a person at its keys included.
func (c *Conn) Control(ctx context.Context, code uint32, in []byte, within time.Duration) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return nil, fmt.Errorf("nothing is sent to the reader %s: %w", c.reader, c.broken)
	}
	var answer []byte
	err := c.context.worker.do(ctx, within, func() error {
		out, err := c.card.Control(code, in)
		answer = append([]byte(nil), out...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reader %s: %w: %w", c.reader, apdu.ErrInDoubt, translate(err))
	}
	return answer, nil
}
