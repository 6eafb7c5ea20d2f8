package vpcd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// fakeCard answers with what it was sent, and says what else was done to it.
type fakeCard struct {
	log  []string
	fail error
}

func (f *fakeCard) ATR() []byte     { return []byte{0x3B, 0x00} }
func (f *fakeCard) PowerOn() []byte { f.log = append(f.log, "on"); return f.ATR() }
func (f *fakeCard) PowerOff()       { f.log = append(f.log, "off") }
func (f *fakeCard) Reset() []byte   { f.log = append(f.log, "reset"); return f.ATR() }
func (f *fakeCard) Transmit(_ context.Context, c []byte) ([]byte, error) {
	if f.fail != nil {
		return nil, f.fail
	}
	return append(bytes.Clone(c), 0x90, 0x00), nil
}

// reader is the driver's end.
type reader struct {
	t *testing.T
	c net.Conn
}

func (r reader) send(payload ...byte) {
	r.t.Helper()
	// As vpcd does: length and payload apart.
	if _, err := r.c.Write(binary.BigEndian.AppendUint16(nil, uint16(len(payload)))); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.c.Write(payload); err != nil {
		r.t.Fatal(err)
	}
}

func (r reader) answer() []byte {
	r.t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(r.c, head[:]); err != nil {
		r.t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint16(head[:]))
	if _, err := io.ReadFull(r.c, b); err != nil {
		r.t.Fatal(err)
	}
	return b
}

// connect makes a listener in the driver's place, and a card in it.
func connect(t *testing.T, ctx context.Context, card Card) (reader, <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Dial(ctx, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Serve(ctx, card) }()
	r, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return reader{t, r}, done
}

func TestProtocol(t *testing.T) {
	card := &fakeCard{}
	r, done := connect(t, t.Context(), card)
	r.send(controlATR)
	if got := r.answer(); !bytes.Equal(got, []byte{0x3B, 0x00}) {
		t.Fatalf("%X", got)
	}
	r.send(controlOn)
	r.send(controlReset)
	r.send()     // nothing
	r.send(0x77) // unknown
	r.send(0, 0xA4, 4, 0)
	if got := r.answer(); !bytes.Equal(got, []byte{0, 0xA4, 4, 0, 0x90, 0}) {
		t.Fatalf("%X", got)
	}
	r.send(controlOff)
	long := bytes.Repeat([]byte{7}, 65533)
	r.send(long...)
	if got := r.answer(); len(got) != 65535 {
		t.Fatalf("%d bytes", len(got))
	}
	r.c.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	want := []string{"on", "reset", "off", "off"}
	if len(card.log) != len(want) {
		t.Fatal(card.log)
	}
	for i := range want {
		if card.log[i] != want[i] {
			t.Fatal(card.log)
		}
	}
}

func TestFailedCardIsPulledOutWithoutAByte(t *testing.T) {
	card := &fakeCard{fail: errors.New("torn")}
	r, done := connect(t, t.Context(), card)
	r.send(0, 0xA4, 4, 0)
	if b, err := io.ReadAll(r.c); err != nil || len(b) != 0 {
		t.Fatalf("%X %v", b, err)
	}
	if err := <-done; !errors.Is(err, card.fail) {
		t.Fatal(err)
	}
}

func TestAnswerTooLongForAFrameIsNotSent(t *testing.T) {
	r, done := connect(t, t.Context(), &fakeCard{})
	r.send(bytes.Repeat([]byte{7}, 65535)...)
	if b, err := io.ReadAll(r.c); err != nil || len(b) != 0 {
		t.Fatalf("%X %v", b, err)
	}
	if <-done == nil {
		t.Fatal("no error")
	}
}

func TestCutFrame(t *testing.T) {
	r, done := connect(t, t.Context(), &fakeCard{})
	if _, err := r.c.Write([]byte{0, 9, 1}); err != nil {
		t.Fatal(err)
	}
	r.c.Close()
	if err := <-done; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
}

func TestContextTakesTheCardOut(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, done := connect(t, ctx, &fakeCard{})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r.c); err != nil || len(b) != 0 {
		t.Fatalf("%X %v", b, err)
	}
}

// TestRoundTripsAreQuick would take 40 ms a round trip without TCP_QUICKACK.
func TestRoundTripsAreQuick(t *testing.T) {
	r, _ := connect(t, t.Context(), &fakeCard{})
	if err := r.c.(*net.TCPConn).SetNoDelay(false); err != nil {
		t.Fatal(err)
	}
	const n = 500
	start := time.Now()
	for range n {
		r.send(0, 0xB0, 0, 0, 0)
		r.answer()
	}
	if each := time.Since(start) / n; each > 10*time.Millisecond {
		t.Errorf("%v a round trip", each)
	} else {
		t.Logf("%v a round trip", each)
	}
}

// FuzzServe reads any bytes as a reader's: the card's answers are whole
// frames, and the end is an end.
func FuzzServe(f *testing.F) {
	f.Add([]byte{0, 1, 4, 0, 1, 1, 0, 4, 0, 0xA4, 4, 0, 0, 1, 0})
	f.Add([]byte{0xFF, 0xFF, 1})
	f.Add([]byte{0, 0, 0, 1, 9})
	f.Fuzz(func(t *testing.T, in []byte) {
		pipe := &pipeConn{in: bytes.NewReader(in)}
		_ = NewConn(pipe).Serve(t.Context(), &fakeCard{})
		for out := pipe.out.Bytes(); len(out) > 0; {
			if len(out) < 2 || len(out) < 2+int(binary.BigEndian.Uint16(out)) {
				t.Fatalf("a frame in part: %X", out)
			}
			out = out[2+int(binary.BigEndian.Uint16(out)):]
		}
	})
}

// pipeConn is a connection that was sent everything already.
type pipeConn struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (p *pipeConn) Read(b []byte) (int, error)  { return p.in.Read(b) }
func (p *pipeConn) Write(b []byte) (int, error) { return p.out.Write(b) }
func (p *pipeConn) Close() error                { return nil }
