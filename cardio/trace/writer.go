package trace

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"cardbureau/cardio/apdu"
)

// Options say how a trace is written. The zero value is what is meant to be
// used.
type Options struct {
	// Reader is noted in the first line.
	Reader string
	// Full keeps every byte, keys and personal data with them. It is refused
	// without Development.
	Full bool
	// Development says that cards and people are invented.
	Development bool
	// Key makes the digests of a test's trace comparable; it is refused without
	// Development. Nil: a random one for each card, which nobody ever has.
	Key []byte
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// ErrDevelopment: an option was asked for that is for development only.
var ErrDevelopment = errors.New("a trace that can be undone is for development only")

// Writer writes a trace, of one card or of one after another. It may be used
// from several goroutines. What it cannot write is lost and the card goes on:
// Err says so.
type Writer struct {
	o     Options
	start time.Time

	mu    sync.Mutex
	w     io.Writer
	n     int // events
	cards int
	err   error
}

// NewWriter writes a trace's first line.
func NewWriter(w io.Writer, o Options) (*Writer, error) {
	if !o.Development && (o.Full || o.Key != nil) {
		return nil, ErrDevelopment
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	t := &Writer{o: o, start: o.Now(), w: w}
	h := Header{Format: Format, Version: Version, Mode: Redacted, Started: t.start.UTC().Truncate(time.Second), Reader: o.Reader}
	if o.Full {
		h.Mode = Full
	}
	t.put(h)
	return t, t.Err()
}

// Err is the first error of writing the trace.
func (t *Writer) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// put writes a line. It is not called twice at a time.
func (t *Writer) put(v any) {
	if t.err != nil {
		return
	}
	line, err := json.Marshal(v)
	if err == nil {
		_, err = t.w.Write(append(line, '\n'))
	}
	if err != nil {
		t.err = fmt.Errorf("write the trace: %w", err)
	}
}

// event numbers and writes an event and returns its number.
func (t *Writer) event(e Event, at time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
	e.N, e.At = t.n, max(0, at.Sub(t.start).Microseconds())
	t.put(e)
	return t.n
}

// Card is a card that is traced. It is an apdu.Card, to be used in the place
// of the one it stands before, by one goroutine at a time.
type Card struct {
	card  apdu.Card
	trace *Writer
	key   []byte // of this card's digests

	mu     sync.Mutex
	policy policy
	inside inside
}

// New traces one card: NewWriter and Writer.Card in one. atr is its answer to
// reset.
func New(card apdu.Card, atr []byte, w io.Writer, o Options) (*Card, error) {
	t, err := NewWriter(w, o)
	if err != nil {
		return nil, err
	}
	return t.Card(card, atr), nil
}

// Card begins another card.
func (t *Writer) Card(card apdu.Card, atr []byte) *Card {
	c := &Card{card: card, trace: t, key: make([]byte, sha256.Size)}
	t.mu.Lock()
	t.cards++
	n := t.cards
	t.mu.Unlock()
	if t.o.Key != nil {
		c.key = cardKey(t.o.Key, n)
	} else {
		_, _ = rand.Read(c.key) // never fails
	}
	t.event(Event{Kind: CardIn, ATR: upper(atr)}, t.o.Now())
	return c
}

// cardKey is the key of a trace's nth card where the trace's own is given.
func cardKey(key []byte, n int) []byte {
	h := hmac.New(sha256.New, key)
	_ = binary.Write(h, binary.BigEndian, uint32(n))
	return h.Sum(nil)
}

// Err is the first error of writing the trace.
func (c *Card) Err() error { return c.trace.Err() }

// NoteReset records that the card was reset, with its new answer to reset.
func (c *Card) NoteReset(atr []byte, cold bool) {
	c.mu.Lock()
	c.policy, c.inside = policy{}, inside{}
	c.mu.Unlock()
	c.trace.event(Event{Kind: Reset, ATR: upper(atr), Cold: cold}, c.trace.o.Now())
}

// Transmit sends a command to the card and records it with its answer.
func (c *Card) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	begin := c.trace.o.Now()
	out, err := c.card.Transmit(ctx, command)
	took := c.trace.o.Now().Sub(begin)

	c.mu.Lock()
	defer c.mu.Unlock()
	e := Event{Kind: Exchange, Took: max(0, took.Microseconds())}
	cmd, rules := c.command(command)
	e.Command = &cmd
	sent, queued := c.inside.sent(c.digest(command))
	if queued {
		e.Inside = &sent.command
	}
	r, parseErr := apdu.ParseResponse(out)
	switch {
	case err == nil && parseErr == nil:
		e.Answer = c.answer(r, rules)
	case err == nil || errors.Is(err, apdu.ErrInDoubt):
		e.Error = InDoubt
	default:
		e.Error = NotSent
	}
	c.policy.after(command, r, e.Error == "", rules)
	n := c.trace.event(e, begin)
	if queued && e.Error == "" {
		c.inside.answered(n, sent)
	}
	return out, err
}

// command describes a command by the allow-list.
func (c *Card) command(raw []byte) (Command, rules) {
	parsed, err := apdu.Parse(raw)
	if err != nil {
		return Command{Lc: len(raw), Data: c.parts(raw, hidden)}, rules{}
	}
	r := c.policy.rules(parsed)
	return c.describe(parsed, r), r
}

func (c *Card) describe(cmd apdu.Command, r rules) Command {
	return Command{
		Header: upper([]byte{cmd.CLA, cmd.INS, cmd.P1, cmd.P2}), Name: Name(cmd.CLA, cmd.INS),
		Channel: channel(cmd.CLA), Secured: secured(cmd.CLA),
		Lc: len(cmd.Data), Ne: cmd.Ne, Extended: cmd.Extended, Data: c.parts(cmd.Data, r.command),
	}
}

func (c *Card) answer(r apdu.Response, rules rules) Answer {
	return Answer{SW: fmt.Sprintf("%04X", uint16(r.SW)), Length: len(r.Data), Response: c.parts(r.Data, rules.response)}
}

// parts shows of data what the rule allows.
func (c *Card) parts(data []byte, allow rule) Parts {
	if len(data) == 0 {
		return nil
	}
	if c.trace.o.Full {
		return Parts{{Hex: upper(data)}}
	}
	var spans []span
	if allow != nil {
		spans = allow(data)
	}
	var out Parts
	for _, s := range whole(spans, len(data)) {
		piece := data[:s.n]
		data = data[s.n:]
		if s.show {
			out = append(out, Part{Hex: upper(piece)})
		} else {
			out = append(out, Part{Length: s.n, Digest: c.digest(piece)})
		}
	}
	return out
}

// digestSize is how many bytes of an HMAC a trace shows.
const digestSize = 16

func (c *Card) digest(data []byte) string { return digest(c.key, data) }

func digest(key, data []byte) string {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil)[:digestSize])
}

func upper(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }

// equal compares what a part stands for with data. known is false where the
// part is a digest and its key is not at hand: then only the length counts.
func (p Part) equal(data, key []byte) (same, known bool) {
	if p.size() != len(data) {
		return false, true
	}
	if p.Hex != "" {
		b, err := hex.DecodeString(p.Hex)
		return err == nil && bytes.Equal(b, data), true
	}
	if key == nil {
		return true, false
	}
	return hmac.Equal([]byte(p.Digest), []byte(digest(key, data))), true
}
