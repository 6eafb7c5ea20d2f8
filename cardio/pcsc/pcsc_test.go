package pcsc_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/cardio/virtual/pcscd/pcscdtest"
)

var daemon *pcscd.Daemon

func TestMain(m *testing.M) { pcscdtest.Main(m, 4, func(d *pcscd.Daemon) { daemon = d }) }

var (
	atrT1 = []byte{0x3B, 0x80, 0x80, 0x01, 0x01}
	atrT0 = []byte{0x3B, 0x00}
)

// slot is a reader of the test daemon.
func slot(t testing.TB, i int) pcscd.Slot {
	t.Helper()
	if daemon == nil {
		t.Skip("no virtual readers here")
	}
	return daemon.Slots()[i]
}

func open(t testing.TB) *pcsc.Context {
	t.Helper()
	c, err := pcsc.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// connected inserts a card and connects to it.
func connected(t testing.TB, s pcscd.Slot, atr []byte, respond pcscdtest.Respond) (*pcscdtest.Card, *pcsc.Conn) {
	t.Helper()
	c := open(t)
	ctx := deadline(t)
	if err := c.WaitRemoved(ctx, s.Reader); err != nil {
		t.Fatal(err)
	}
	card := pcscdtest.Insert(t, s, atr, respond)
	got, err := c.WaitCard(ctx, s.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, atr) {
		t.Errorf("ATR %x while waiting, want %x", got, atr)
	}
	conn, err := c.Connect(ctx, s.Reader)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(pcsc.Leave) })
	if !bytes.Equal(conn.ATR(), atr) {
		t.Errorf("ATR %x, want %x", conn.ATR(), atr)
	}
	return card, conn
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// echo answers with the command.
func echo(command []byte) []byte { return append(slices.Clone(command), 0x90, 0x00) }

func TestReaders(t *testing.T) {
	slot(t, 0)
	names, err := open(t).Readers()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range daemon.Slots() {
		if !slices.Contains(names, s.Reader) {
			t.Errorf("%q is not among %q", s.Reader, names)
		}
	}
}

func TestTransmit(t *testing.T) {
	_, conn := connected(t, slot(t, 0), atrT1, echo)
	for _, n := range []int{4, 5, 261, 5000} {
		command := bytes.Repeat([]byte{0xA5}, n)
		got, err := conn.Transmit(deadline(t), command)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, echo(command)) {
			t.Errorf("%d bytes came back as %d", n, len(got))
		}
	}
	_, err := conn.Transmit(deadline(t), nil)
	wantError(t, err, apdu.ErrMalformed)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = conn.Transmit(cancelled, []byte{0, 0, 0, 0})
	wantError(t, err, context.Canceled)
	if errors.Is(err, apdu.ErrInDoubt) {
		t.Error("a command that was not sent is in doubt")
	}
	if _, err := conn.Transmit(deadline(t), []byte{0, 0, 0, 0}); err != nil {
		t.Errorf("the connection did not survive a cancelled call: %v", err)
	}
}

func TestT0LeavesLeBehind(t *testing.T) {
	_, conn := connected(t, slot(t, 0), atrT0, func(c []byte) []byte {
		if c[1] == 0xC0 {
			return []byte{0x6F, 0x00, 0x90, 0x00}
		}
		if len(c) != 5+2 {
			return []byte{0x67, 0x00}
		}
		return []byte{0x61, 0x02}
	})
	got, err := apdu.Must(deadline(t), conn, apdu.Command{INS: 0xA4, P1: 4, Data: []byte{1, 2}, Ne: 256})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, []byte{0x6F, 0x00}) {
		t.Errorf("%x", got)
	}
}

func TestExclusive(t *testing.T) {
	s := slot(t, 0)
	connected(t, s, atrT1, echo)
	_, err := open(t).Connect(deadline(t), s.Reader)
	wantError(t, err, pcsc.ErrBusy)
}

func TestReset(t *testing.T) {
	card, conn := connected(t, slot(t, 0), atrT1, echo)
	cold, warm := card.Resets()
	if err := conn.Reset(deadline(t), false); err != nil {
		t.Fatal(err)
	}
	if _, w := card.Resets(); w != warm+1 {
		t.Errorf("%d warm resets, want %d", w, warm+1)
	}
	if err := conn.Reset(deadline(t), true); err != nil {
		t.Fatal(err)
	}
	if c, _ := card.Resets(); c != cold+1 {
		t.Errorf("%d cold resets, want %d", c, cold+1)
	}
	if _, err := conn.Transmit(deadline(t), []byte{0, 0, 0, 0}); err != nil {
		t.Error(err)
	}
}

// TestTornCommand: a card that leaves during a command leaves it in doubt, and
// nothing more is sent.
func TestTornCommand(t *testing.T) {
	s := slot(t, 1)
	var commands atomic.Int32
	_, conn := connected(t, s, atrT1, func(c []byte) []byte {
		if commands.Add(1) == 2 {
			return nil
		}
		return echo(c)
	})
	if _, err := conn.Transmit(deadline(t), []byte{0, 1, 0, 0}); err != nil {
		t.Fatal(err)
	}
	_, err := conn.Transmit(deadline(t), []byte{0, 2, 0, 0})
	wantError(t, err, apdu.ErrInDoubt)
	_, err = conn.Transmit(deadline(t), []byte{0, 3, 0, 0})
	if err == nil || errors.Is(err, apdu.ErrInDoubt) {
		t.Errorf("after the tear: %v", err)
	}
	if n := commands.Load(); n != 2 {
		t.Errorf("the card saw %d commands", n)
	}
	if err := open(t).WaitRemoved(deadline(t), s.Reader); err != nil {
		t.Error(err)
	}
}

func TestRemovedCard(t *testing.T) {
	s := slot(t, 1)
	card, conn := connected(t, s, atrT1, echo)
	card.Remove()
	if err := open(t).WaitRemoved(deadline(t), s.Reader); err != nil {
		t.Fatal(err)
	}
	_, err := conn.Transmit(deadline(t), []byte{0, 1, 0, 0})
	wantError(t, err, pcsc.ErrRemoved)
	if err := conn.Close(pcsc.Leave); err != nil {
		t.Error(err)
	}
	_, err = open(t).Connect(deadline(t), s.Reader)
	wantError(t, err, pcsc.ErrNoCard)
	pcscdtest.Insert(t, s, atrT1, echo)
	again := open(t)
	if _, err := again.WaitCard(deadline(t), s.Reader); err != nil {
		t.Fatal(err)
	}
	next, err := again.Connect(deadline(t), s.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Close(pcsc.Unpower); err != nil {
		t.Error(err)
	}
	_, err = next.Transmit(deadline(t), []byte{0, 1, 0, 0})
	wantError(t, err, pcsc.ErrClosed)
}

// TestStuckReader: the watchdog gives up a command that has no end, and the
// rest of the program goes on.
func TestStuckReader(t *testing.T) {
	s := slot(t, 2)
	release := make(chan struct{})
	card, conn := connected(t, s, atrT1, func(c []byte) []byte {
		if c[1] == 0xFF {
			<-release
		}
		return echo(c)
	})
	conn.SetTimeout(50 * time.Millisecond)
	_, err := conn.Transmit(deadline(t), []byte{0, 0xFF, 0, 0})
	wantError(t, err, pcsc.ErrReaderStuck)
	wantError(t, err, apdu.ErrInDoubt)
	_, err = conn.Transmit(deadline(t), []byte{0, 1, 0, 0})
	wantError(t, err, pcsc.ErrReaderStuck)
	wantError(t, conn.Reset(deadline(t), true), pcsc.ErrReaderStuck)
	wantError(t, conn.Close(pcsc.Leave), pcsc.ErrReaderStuck)
	// Another reader works meanwhile.
	_, other := connected(t, slot(t, 3), atrT1, echo)
	if _, err := other.Transmit(deadline(t), []byte{0, 1, 0, 0}); err != nil {
		t.Error(err)
	}
	close(release)
	card.Remove()
}

// TestGivenUp: a caller that no longer waits gets its answer soon, and the
// command is in doubt.
func TestGivenUp(t *testing.T) {
	release := make(chan struct{})
	reached := make(chan struct{})
	card, conn := connected(t, slot(t, 3), atrT1, func(c []byte) []byte {
		close(reached)
		<-release
		return echo(c)
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-reached
		cancel()
	}()
	conn.SetTimeout(100 * time.Millisecond)
	_, err := conn.Transmit(ctx, []byte{0, 1, 0, 0})
	wantError(t, err, apdu.ErrInDoubt)
	wantError(t, err, pcsc.ErrReaderStuck)
	close(release)
	card.Remove()
}

func TestWaitingCanBeGivenUp(t *testing.T) {
	s := slot(t, 1)
	c := open(t)
	if err := c.WaitRemoved(deadline(t), s.Reader); err != nil {
		t.Fatal(err)
	}
	if present, err := c.Present(s.Reader); err != nil || present {
		t.Errorf("present %v, %v", present, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := c.WaitCard(ctx, s.Reader)
	wantError(t, err, context.DeadlineExceeded)
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	names, err := c.Readers()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WaitForChange(ctx, names); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if now, err := c.WaitForChange(deadline(t), nil); err != nil || len(now) != len(names) {
		t.Errorf("%q, %v", now, err)
	}
	// Two waits on one reader at a time.
	other := open(t)
	done := make(chan error, 2)
	for _, c := range []*pcsc.Context{c, other} {
		go func() {
			_, err := c.WaitCard(deadline(t), s.Reader)
			done <- err
		}()
	}
	pcscdtest.Insert(t, s, atrT1, echo)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestUnknownReader(t *testing.T) {
	slot(t, 0)
	c := open(t)
	_, err := c.WaitCard(deadline(t), "no such reader")
	wantError(t, err, pcsc.ErrNoReader)
	_, err = c.Connect(deadline(t), "no such reader")
	wantError(t, err, pcsc.ErrNoReader)
	c.Close()
	c.Close()
	_, err = c.Connect(deadline(t), "no such reader")
	wantError(t, err, pcsc.ErrClosed)
	if err := pcsc.UseSocket("/nowhere"); err == nil {
		t.Error("the socket was changed in a running program")
	}
}

// BenchmarkTransmit is the floor of every card: one small APDU through the
// daemon and the virtual reader.
func BenchmarkTransmit(b *testing.B) {
	_, conn := connected(b, slot(b, 0), atrT1, func([]byte) []byte { return []byte{0x90, 0x00} })
	ctx := context.Background()
	for b.Loop() {
		if _, err := conn.Transmit(ctx, []byte{0, 0xB0, 0, 0}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTwoReaders shows whether readers work side by side.
func BenchmarkTwoReaders(b *testing.B) {
	var conns []*pcsc.Conn
	for i := range 2 {
		_, conn := connected(b, slot(b, i), atrT1, func([]byte) []byte { return []byte{0x90, 0x00} })
		conns = append(conns, conn)
	}
	ctx := context.Background()
	b.ResetTimer()
	n := b.N
	done := make(chan error, len(conns))
	for _, conn := range conns {
		go func() {
			for range n {
				if _, err := conn.Transmit(ctx, []byte{0, 0xB0, 0, 0}); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range conns {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}
