package line

import (
	"context"
	"errors"
	"time"

	"cardbureau/cardio/pcsc"
)

// PCSC is a reader of the PC/SC service. It keeps a context, and with it an OS
// thread, of its own.
type PCSC struct {
	context *pcsc.Context
	name    string
	timeout time.Duration
	// Encoder is beside the reader; nil: none.
	Encoder Stripe
}

// OpenPCSC opens a reader by its full name. timeout bounds one command; a
// reader that takes longer is given up. Close it.
func OpenPCSC(name string, timeout time.Duration) (*PCSC, error) {
	c, err := pcsc.Open()
	if err != nil {
		return nil, err
	}
	return &PCSC{context: c, name: name, timeout: timeout}, nil
}

// Name is the reader's name in PC/SC.
func (r *PCSC) Name() string { return r.name }

// Close ends the reader's context.
func (r *PCSC) Close() { r.context.Close() }

// Context is the reader's own, for a feeder that watches the same reader.
func (r *PCSC) Context() *pcsc.Context { return r.context }

// Present waits for a card and connects to it exclusively. A card that is gone
// again before it could be connected is waited for anew.
func (r *PCSC) Present(ctx context.Context) (Session, error) {
	for {
		if _, err := r.context.WaitCard(ctx, r.name); err != nil {
			return nil, err
		}
		conn, err := r.context.Connect(ctx, r.name)
		if errors.Is(err, pcsc.ErrNoCard) || errors.Is(err, pcsc.ErrRemoved) {
			// The service has not noticed yet that the card is gone.
			select {
			case <-time.After(50 * time.Millisecond):
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if err != nil {
			return nil, err
		}
		conn.SetTimeout(r.timeout)
		return &pcscSession{conn, r.Encoder}, nil
	}
}

// pcscSession is a card in a PC/SC reader.
type pcscSession struct {
	*pcsc.Conn
	encoder Stripe
}

// Stripe is the encoder beside the reader.
func (s *pcscSession) Stripe() Stripe { return s.encoder }

func (s *pcscSession) Reset(ctx context.Context) error { return s.Conn.Reset(ctx, true) }

func (s *pcscSession) Close() error { return s.Conn.Close(pcsc.Unpower) }
