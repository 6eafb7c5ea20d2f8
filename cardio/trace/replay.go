package trace

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"

	"cardbureau/cardio/apdu"
)

// ReplayOptions say how a trace is played back.
type ReplayOptions struct {
	// Card is which of the trace's cards to play, from 1; 0 is the first.
	Card int
	// Key is the one that the trace was written with, where a test gave one:
	// digests are then compared too.
	Key []byte
	// Development allows a trace that holds every byte.
	Development bool
}

// Player is a card that answers as one did when it was traced. It takes the
// commands in the order in which they were sent, and no others. Bytes of an
// answer that the trace does not show are zeros.
type Player struct {
	atr    []byte
	key    []byte
	events []recorded
}

type recorded struct {
	Event
	line int
}

// Mismatch says what of a command is not as it was recorded. It unwraps to
// ErrMismatch.
type Mismatch struct {
	Line int    // of the trace; 0 after its end
	What string // one clause, without data
}

// ErrMismatch: the card is asked something else than when it was traced.
var ErrMismatch = errors.New("the card was not asked this when it was traced")

func (m *Mismatch) Error() string {
	if m.Line == 0 {
		return fmt.Sprintf("%v: %s", ErrMismatch, m.What)
	}
	return fmt.Sprintf("%v: line %d: %s", ErrMismatch, m.Line, m.What)
}

// Unwrap gives ErrMismatch.
func (m *Mismatch) Unwrap() error { return ErrMismatch }

// Replay makes a card of a trace.
func Replay(r io.Reader, o ReplayOptions) (*Player, error) {
	t, err := NewReader(r)
	if err != nil {
		return nil, err
	}
	if t.Header().Mode == Full && !o.Development {
		return nil, ErrDevelopment
	}
	wanted := max(1, o.Card)
	p := &Player{}
	if o.Key != nil {
		p.key = cardKey(o.Key, wanted)
	}
	card := 0
	for {
		e, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if e.Kind == CardIn {
			card++
			if card == wanted {
				p.atr = unhex(e.ATR)
			}
			continue
		}
		if card == wanted && e.Kind != Opened {
			p.events = append(p.events, recorded{e, t.Line()})
		}
	}
	if card < wanted {
		return nil, fmt.Errorf("the trace has %d cards, not %d", card, wanted)
	}
	return p, nil
}

func unhex(s string) []byte {
	b, _ := hex.DecodeString(s) // checked by Reader
	return b
}

// ATR is the answer to the last reset.
func (p *Player) ATR() []byte { return append([]byte(nil), p.atr...) }

// Left is how many events are still to be played.
func (p *Player) Left() int { return len(p.events) }

// Reset must come where the card was reset when it was traced.
func (p *Player) Reset(context.Context) error {
	if len(p.events) == 0 {
		return &Mismatch{What: "a reset after the trace's end"}
	}
	if e := p.events[0]; e.Kind != Reset {
		return &Mismatch{Line: e.line, What: "a reset where a command was sent"}
	}
	p.atr = unhex(p.events[0].ATR)
	p.events = p.events[1:]
	return nil
}

// Transmit answers a command as it was answered. What the card did not answer
// then it does not answer now: apdu.ErrInDoubt, or another error where the
// command had not been sent. Another command is a *Mismatch, and the one
// recorded stays the next.
func (p *Player) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(p.events) == 0 {
		return nil, &Mismatch{What: "a command after the trace's end"}
	}
	e := p.events[0]
	if e.Kind != Exchange {
		return nil, &Mismatch{Line: e.line, What: "a command where the card was reset"}
	}
	if what := p.differs(*e.Command, command); what != "" {
		return nil, &Mismatch{Line: e.line, What: what}
	}
	p.events = p.events[1:]
	switch e.Error {
	case InDoubt:
		return nil, fmt.Errorf("trace, line %d: %w", e.line, apdu.ErrInDoubt)
	case NotSent:
		return nil, fmt.Errorf("trace, line %d: the command was not sent", e.line)
	}
	out := make([]byte, 0, e.Length+2)
	for _, part := range e.Response {
		if part.Hex != "" {
			out = append(out, unhex(part.Hex)...)
		} else {
			out = append(out, make([]byte, part.Length)...)
		}
	}
	sw, _ := strconv.ParseUint(e.SW, 16, 16)
	return append(out, byte(sw>>8), byte(sw)), nil
}

// differs says in what a command is not the one recorded, without its data.
func (p *Player) differs(want Command, raw []byte) string {
	got, err := apdu.Parse(raw)
	if want.Header == "" || err != nil {
		if (want.Header == "") != (err != nil) {
			return "what was sent is no command, or what was recorded is none"
		}
		return p.differ(want.Data, raw)
	}
	if h := upper(raw[:4]); h != want.Header {
		return fmt.Sprintf("header %s was sent, %s is recorded", h, want.Header)
	}
	switch {
	case len(got.Data) != want.Lc:
		return fmt.Sprintf("%d bytes of data were sent, %d are recorded", len(got.Data), want.Lc)
	case got.Ne != want.Ne:
		return fmt.Sprintf("%d bytes of answer are asked for, %d are recorded", got.Ne, want.Ne)
	case got.Extended != want.Extended:
		return "the lengths are encoded another way"
	}
	return p.differ(want.Data, got.Data)
}

func (p *Player) differ(want Parts, data []byte) string {
	if want.Size() != len(data) {
		return fmt.Sprintf("%d bytes were sent, %d are recorded", len(data), want.Size())
	}
	at := 0
	for _, part := range want {
		n := part.size()
		if same, _ := part.equal(data[at:at+n], p.key); !same {
			return fmt.Sprintf("the data differs in bytes %d to %d", at+1, at+n)
		}
		at += n
	}
	return ""
}
