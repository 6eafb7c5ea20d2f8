package stripe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"go.bug.st/serial"
)

// Errors of encoders.
var (
	ErrNoCard  = errors.New("no card was swiped in time")
	ErrDevice  = errors.New("the encoder gave no sensible answer")
	ErrRefused = errors.New("the encoder refused")
)

// Coercivity is how strongly a stripe is written.
type Coercivity byte

// Coercivities.
const (
	High Coercivity = 'h'
	Low  Coercivity = 'l'
)

// Port is a serial line. serial.Port is one. A Read that has nothing for the time
// that was set returns 0 bytes and no error.
type Port interface {
	io.ReadWriteCloser
	SetReadTimeout(t time.Duration) error
	ResetInputBuffer() error
}

// Encoder drives a serial encoder of the MSR605 class. It is used by one goroutine
// at a time; Close may be called beside.
type Encoder struct {
	port Port
	// Swipe is how long a card is waited for; 0: 30 seconds.
	Swipe time.Duration

	mu     sync.Mutex
	closed bool
}

// answerTime is how long a command without a swipe may take.
const answerTime = time.Second

// patience is how long one read of the port waits: so often a context is looked at.
const patience = 50 * time.Millisecond

// Open opens the serial port at a path, 9600 baud, 8 data bits, no parity, and
// finds out that an encoder answers.
func Open(ctx context.Context, path string) (*Encoder, error) {
	port, err := serial.Open(path, &serial.Mode{BaudRate: 9600, DataBits: 8, Parity: serial.NoParity, StopBits: serial.OneStopBit})
	if err != nil {
		return nil, fmt.Errorf("the encoder at %s: %w", path, err)
	}
	e, err := New(ctx, port)
	if err != nil {
		_ = port.Close()
		return nil, fmt.Errorf("the encoder at %s: %w", path, err)
	}
	return e, nil
}

// New takes an open port: it resets the device and finds out that it answers.
func New(ctx context.Context, port Port) (*Encoder, error) {
	e := &Encoder{port: port}
	if err := port.SetReadTimeout(patience); err != nil {
		return nil, err
	}
	if err := e.Reset(ctx); err != nil {
		return nil, err
	}
	return e, e.Test(ctx)
}

// Close closes the port.
func (e *Encoder) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	return e.port.Close()
}

// Commands and marks of the protocol.
const (
	esc  = 0x1B
	fs   = 0x1C
	done = '0'
)

// Reset ends whatever the device waits for.
func (e *Encoder) Reset(context.Context) error {
	if err := e.send('a'); err != nil {
		return err
	}
	return e.port.ResetInputBuffer()
}

// Test is the communication test.
func (e *Encoder) Test(ctx context.Context) error {
	b, err := e.ask(ctx, 2, 'e')
	if err == nil && b[1] != 'y' {
		return ErrDevice
	}
	return err
}

// Model is the device's model number and firmware revision.
func (e *Encoder) Model(ctx context.Context) (model, firmware string, err error) {
	b, err := e.ask(ctx, 3, 't')
	if err != nil {
		return "", "", err
	}
	f, err := e.ask(ctx, 9, 'v')
	if err != nil {
		return "", "", err
	}
	return string(b[1:2]), string(bytes.TrimSpace(f[1:])), nil
}

// SetCoercivity chooses how strongly stripes are written.
func (e *Encoder) SetCoercivity(ctx context.Context, c Coercivity) error {
	return e.command(ctx, answerTime, map[Coercivity]byte{High: 'x', Low: 'y'}[c])
}

// Coercivity asks for it.
func (e *Encoder) Coercivity(ctx context.Context) (Coercivity, error) {
	b, err := e.ask(ctx, 2, 'd')
	if err != nil {
		return 0, err
	}
	c := Coercivity(b[1] | 0x20)
	if c != High && c != Low {
		return 0, ErrDevice
	}
	return c, nil
}

// SetLeadingZeros sets the clocking bits before tracks 1 and 3, and before track 2.
func (e *Encoder) SetLeadingZeros(ctx context.Context, outer, two byte) error {
	return e.command(ctx, answerTime, 'z', outer, two)
}

// LeadingZeros asks for them.
func (e *Encoder) LeadingZeros(ctx context.Context) (outer, two byte, err error) {
	b, err := e.ask(ctx, 3, 'l')
	if err != nil {
		return 0, 0, err
	}
	return b[1], b[2], nil
}

// SetBits sets the bits of a character in raw mode, of all tracks.
func (e *Encoder) SetBits(ctx context.Context, n byte) error {
	b, err := e.ask(ctx, 5, 'o', n, n, n)
	if err == nil && (b[1] != done || b[2] != n) {
		return ErrRefused
	}
	return err
}

// Write writes tracks in the device's ISO mode; it waits for a swipe.
func (e *Encoder) Write(ctx context.Context, t Tracks) error {
	if _, err := EncodeAll(t); err != nil {
		return err
	}
	return e.command(ctx, e.swipe(), append([]byte{'w'}, block(func(n int) []byte { return t.Track(n) })...)...)
}

// Read reads tracks in the device's ISO mode; it waits for a swipe.
func (e *Encoder) Read(ctx context.Context) (t Tracks, err error) {
	body, err := e.block(ctx, 'r')
	if err != nil {
		return t, err
	}
	defer clear(body)
	for n := 1; n <= 3; n++ {
		text, rest, err := isoTrack(n, body)
		if err != nil {
			return Tracks{}, err
		}
		t.set(n, text)
		body = rest
	}
	return t, nil
}

// isoTrack takes track n off an answer: ESC n, then the characters with their
// sentinels, or ESC + for an empty track, or ESC * for one that cannot be read.
func isoTrack(n int, b []byte) (text, rest []byte, err error) {
	if len(b) < 2 || b[0] != esc || int(b[1]) != n {
		return nil, nil, ErrDevice
	}
	b = b[2:]
	if len(b) >= 2 && b[0] == esc && (b[1] == '+' || b[1] == '*') {
		if b[1] == '*' {
			return nil, nil, fmt.Errorf("track %d: %w", n, ErrLRC)
		}
		return nil, b[2:], nil
	}
	end := bytes.IndexByte(b, esc)
	if end < 0 {
		end = len(b)
	}
	text = b[:end]
	if len(text) == 0 {
		return nil, b[end:], nil
	}
	c := codeOf(n)
	if len(text) < 2 || text[0] != c.start || text[len(text)-1] != c.end {
		return nil, nil, fmt.Errorf("track %d: %w", n, ErrSentinel)
	}
	return bytes.Clone(text[1 : len(text)-1]), b[end:], nil
}

// WriteRaw writes bits as they are; it waits for a swipe.
func (e *Encoder) WriteRaw(ctx context.Context, b Bits) error {
	if err := e.SetBits(ctx, 8); err != nil {
		return err
	}
	data := block(func(n int) []byte {
		p := pack(b[n-1])
		return append([]byte{byte(len(p))}, p...)
	})
	return e.command(ctx, e.swipe(), append([]byte{'n'}, data...)...)
}

// ReadRaw reads the bits of all tracks; it waits for a swipe.
func (e *Encoder) ReadRaw(ctx context.Context) (b Bits, err error) {
	if err := e.SetBits(ctx, 8); err != nil {
		return b, err
	}
	if err := e.send('m'); err != nil {
		return b, err
	}
	deadline := time.Now().Add(e.swipe())
	head, err := e.read(ctx, 2, deadline)
	if err != nil {
		return b, noCard(err)
	}
	if head[0] != esc || head[1] != 's' {
		return b, e.refusal(head)
	}
	deadline = time.Now().Add(answerTime)
	for n := 1; n <= 3; n++ {
		h, err := e.read(ctx, 3, deadline)
		if err != nil {
			return b, err
		}
		if h[0] != esc || int(h[1]) != n {
			return b, ErrDevice
		}
		data, err := e.read(ctx, int(h[2]), deadline)
		if err != nil {
			return b, err
		}
		if len(data) > 0 {
			b[n-1] = unpack(data)
		}
	}
	tail, err := e.read(ctx, 4, deadline)
	if err != nil {
		return b, err
	}
	return b, e.status(tail)
}

// Erase wipes tracks; it waits for a swipe.
func (e *Encoder) Erase(ctx context.Context, tracks ...int) error {
	// Of one track 0, 2 or 4; of several the sum of 1, 2 and 4.
	mask := byte(0)
	for _, n := range tracks {
		mask |= map[int]byte{1: 1, 2: 2, 3: 4}[n]
	}
	if mask == 1 {
		mask = 0
	}
	return e.command(ctx, e.swipe(), 'c', mask)
}

// WriteAndCompare writes tracks and reads them back bit by bit, with this package's
// own check of parity and LRC: the stripe holds them, or it is an error.
func (e *Encoder) WriteAndCompare(ctx context.Context, t Tracks) error {
	if err := e.Write(ctx, t); err != nil {
		return fmt.Errorf("write the stripe: %w", err)
	}
	return e.Compare(ctx, t)
}

// Compare reads the stripe and compares it: ErrDiffers.
func (e *Encoder) Compare(ctx context.Context, t Tracks) error {
	bits, err := e.ReadRaw(ctx)
	if err != nil {
		return fmt.Errorf("read the stripe: %w", err)
	}
	got, err := DecodeAll(bits)
	if err != nil {
		return fmt.Errorf("read the stripe: %w", err)
	}
	defer got.Zero()
	if !got.Equal(t) {
		return ErrDiffers
	}
	return nil
}
