package apdu

import (
	"context"
	"errors"
	"fmt"
)

// ErrInDoubt marks an exchange after which nobody knows whether the chip
// executed the command. It is never retried: the chip's state is read first.
var ErrInDoubt = errors.New("the card's answer is missing: whether the command was executed is in doubt")

// maxContinuations bounds GET RESPONSE and Le-correction loops: 65,536 bytes
// in pieces of 256, and one to spare.
const maxContinuations = 257

// Send encodes and sends one command and returns the whole response,
// continuing 61xx with GET RESPONSE and repeating on 6Cxx. Status words other
// than success are returned in the Response, not as an error.
func Send(ctx context.Context, card Card, c Command) (Response, error) {
	raw, err := c.Bytes()
	if err != nil {
		return Response{}, err
	}
	return SendRaw(ctx, card, raw)
}

// SendRaw sends command bytes as they are (a wrapped command must not be
// re-encoded) with the same continuation rules as Send: GET RESPONSE goes to
// the same logical channel without the secure messaging bits, and 6Cxx repeats
// the very same bytes with the Le the card asked for (ISO/IEC 7816-3 12.2),
// once: a card that corrects its own correction would be sent the command
// again and again. A command without Le has nothing to correct: 6Cxx is its
// final status, and it is not executed a second time.
func SendRaw(ctx context.Context, card Card, raw []byte) (Response, error) {
	if len(raw) < 4 {
		return Response{}, fmt.Errorf("%w: %d bytes, a header has 4", ErrMalformed, len(raw))
	}
	out, err := card.Transmit(ctx, raw)
	if err != nil {
		return Response{}, err
	}
	r, err := ParseResponse(out)
	if err != nil {
		return Response{}, err
	}
	if r.SW.SW1() != 0x6C && r.SW.SW1() != 0x61 {
		return r, nil
	}
	var data []byte
	last, corrected := raw, false
	for i := 0; i < maxContinuations; i++ {
		var next []byte
		switch r.SW.SW1() {
		case 0x61:
			data = append(data, r.Data...)
			next, corrected = []byte{channelOnly(raw[0]), 0xC0, 0, 0, r.SW.SW2()}, false
		case 0x6C:
			if corrected {
				return Response{}, fmt.Errorf("apdu: the card corrected the Le that it asked for")
			}
			corrected = true
			if next, err = withLe(last, r.SW.SW2()); err != nil {
				return Response{}, err
			}
		}
		if next == nil {
			r.Data = append(data, r.Data...)
			return r, nil
		}
		last = next
		if out, err = card.Transmit(ctx, last); err != nil {
			return Response{}, err
		}
		if r, err = ParseResponse(out); err != nil {
			return Response{}, err
		}
	}
	return Response{}, fmt.Errorf("apdu: the card asked for more than %d continuations of one command", maxContinuations)
}

// channelOnly keeps the logical channel of a class byte and drops secure
// messaging and chaining (ISO/IEC 7816-4 clause 5.4.1, both codings). The
// proprietary bit goes too: GET RESPONSE is an interindustry command.
func channelOnly(cla byte) byte {
	if cla&0x40 != 0 { // further interindustry, channels 4 to 19
		return 0x40 | cla&0x0F
	}
	return cla & 0x03
}

// withLe is a short command with another Le, or nil where it has none.
func withLe(raw []byte, le byte) ([]byte, error) {
	c, err := Parse(raw)
	if err != nil {
		return nil, err
	}
	if c.Ne == 0 {
		return nil, nil
	}
	if c.Extended {
		return nil, fmt.Errorf("apdu: the card corrected Le of an extended command")
	}
	c.Ne = int(le)
	if le == 0 {
		c.Ne = MaxShortNe
	}
	return c.Bytes()
}

// Must sends a command and turns any status word but 9000 into a StatusError.
func Must(ctx context.Context, card Card, c Command) ([]byte, error) {
	r, err := Send(ctx, card, c)
	if err != nil {
		return nil, fmt.Errorf("command %02X%02X%02X%02X: %w", c.CLA, c.INS, c.P1, c.P2, err)
	}
	if !r.SW.OK() {
		return r.Data, &StatusError{Header: [4]byte{c.CLA, c.INS, c.P1, c.P2}, SW: r.SW}
	}
	return r.Data, nil
}

// Item is one command of a batch: the bytes to send and the status words to
// go on after (none listed means 9000).
type Item struct {
	Command []byte
	Expect  []StatusWord
}

func (it Item) expects(sw StatusWord) bool {
	if len(it.Expect) == 0 {
		return sw.OK()
	}
	for _, e := range it.Expect {
		if e == sw {
			return true
		}
	}
	return false
}

// ExchangeError says at which command of a batch an Exchange stopped, and why.
type ExchangeError struct {
	Index int // of the command that ended the batch, from 0
	Err   error
}

func (e *ExchangeError) Error() string {
	return fmt.Sprintf("command %d of the batch: %v", e.Index+1, e.Err)
}

// Unwrap gives the cause.
func (e *ExchangeError) Unwrap() error { return e.Err }

// Exchange sends a batch in order and stops at the first status word that is
// not expected or the first transport error. It returns the responses it has,
// the unexpected one included, with an *ExchangeError that says where it
// stopped.
func Exchange(ctx context.Context, card Card, batch []Item) ([]Response, error) {
	out := make([]Response, 0, len(batch))
	for i, it := range batch {
		r, err := SendRaw(ctx, card, it.Command)
		if err != nil {
			return out, &ExchangeError{Index: i, Err: err}
		}
		out = append(out, r)
		if !it.expects(r.SW) {
			e := &StatusError{SW: r.SW}
			copy(e.Header[:], it.Command)
			return out, &ExchangeError{Index: i, Err: e}
		}
	}
	return out, nil
}
