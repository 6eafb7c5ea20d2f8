package feeder_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cardbureau/cardio/feeder"
	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/cardio/virtual/pcscd/pcscdtest"
)

var daemon *pcscd.Daemon

func TestMain(m *testing.M) { pcscdtest.Main(m, 2, func(d *pcscd.Daemon) { daemon = d }) }

var (
	_ feeder.Feeder   = (*feeder.Hand)(nil)
	_ feeder.Feeder   = (*feeder.Virtual)(nil)
	_ feeder.Presence = (*pcsc.Context)(nil)
)

var atr = []byte{0x3B, 0x80, 0x80, 0x01, 0x01}

func readers(t *testing.T) (*pcsc.Context, []pcscd.Slot) {
	t.Helper()
	if daemon == nil {
		t.Skip("no virtual readers here")
	}
	c, err := pcsc.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, daemon.Slots()
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func ok([]byte) []byte { return []byte{0x90, 0x00} }

// TestHand plays the person: puts a card in when asked, takes it out when
// asked, and says after the second that there are no more.
func TestHand(t *testing.T) {
	presence, slots := readers(t)
	ctx := deadline(t)
	enough := make(chan struct{})
	requests := make(chan feeder.Request, 1)
	hand := &feeder.Hand{Presence: presence, Reader: slots[0].Reader, Enough: enough, Ask: func(r feeder.Request) { requests <- r }}
	for range 2 {
		next := make(chan error)
		go func() { next <- hand.Next(ctx) }()
		if r := <-requests; r != (feeder.Request{Reader: slots[0].Reader}) {
			t.Fatalf("asked to %+v", r)
		}
		card := pcscdtest.Insert(t, slots[0], atr, ok)
		if err := <-next; err != nil {
			t.Fatal(err)
		}
		out := make(chan error)
		go func() { out <- hand.Out(ctx, feeder.Doubt) }()
		if r := <-requests; r.TakeOut != feeder.Doubt {
			t.Fatalf("asked to %+v", r)
		}
		card.Remove()
		if err := <-out; err != nil {
			t.Fatal(err)
		}
	}
	next := make(chan error)
	go func() { next <- hand.Next(ctx) }()
	<-requests
	close(enough)
	if err := <-next; err != io.EOF {
		t.Errorf("no more blanks: %v", err)
	}
	if err := hand.Next(ctx); err != io.EOF {
		t.Errorf("no more blanks, again: %v", err)
	}
	if err := hand.Out(ctx, "pocket"); err == nil {
		t.Error("there is no such bin")
	}
}

func TestHandGivenUp(t *testing.T) {
	presence, slots := readers(t)
	ctx, cancel := context.WithCancel(context.Background())
	hand := &feeder.Hand{Presence: presence, Reader: slots[1].Reader, Ask: func(feeder.Request) { cancel() }}
	if err := hand.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// script is a rack that answers each request line with the next of the replies.
func script(t *testing.T, replies ...string) (socket string, requests <-chan string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "rack")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, len(replies))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, reply := range replies {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(c).ReadString('\n')
			got <- strings.TrimSpace(line)
			_, _ = io.WriteString(c, reply)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return socket, got
}

func TestVirtual(t *testing.T) {
	ctx := deadline(t)
	socket, requests := script(t,
		`{"ok":true,"card":"a"}`+"\n",
		`{"ok":true}`+"\n",
		`{"ok":false,"empty":true}`+"\n",
		`{"ok":false,"error":"the slot is broken"}`+"\n",
		`{"ok":true,"slots":[{"slot":0,"card":"b"},{"slot":1}]}`+"\n",
		`{"ok":false,"error":"the slot is taken"}`+"\n",
		`{"ok":true,"slots":[{"slot":1,"card":"c"}]}`+"\n",
		`{"ok":false}`+"\n",
		`{"ok":true,"slots":[{"slot":1,"card":"c"}]}`+"\n",
		`{"ok":false,"error":"the slot is empty"}`+"\n",
		`{"ok":true,"slots":[{"slot":1}]}`+"\n",
		"",
		"not JSON\n",
	)
	v := &feeder.Virtual{Control: socket, Slot: 1}
	if err := v.Next(ctx); err != nil {
		t.Error(err)
	}
	if err := v.Out(ctx, feeder.Issued); err != nil {
		t.Error(err)
	}
	if err := v.Next(ctx); err != io.EOF {
		t.Errorf("no more blanks: %v", err)
	}
	if err := v.Next(ctx); err == nil || !strings.Contains(err.Error(), "the slot is broken") {
		t.Errorf("refused: %v", err)
	}
	if err := v.Next(ctx); err != nil {
		t.Errorf("the card that is there already: %v", err)
	}
	if err := v.Out(ctx, feeder.Rejected); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("refused without a reason: %v", err)
	}
	if err := v.Out(ctx, feeder.Doubt); err != nil {
		t.Errorf("a card that was pulled out: %v", err)
	}
	if err := v.Next(ctx); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a rack that died is no end of blanks: %v", err)
	}
	if err := v.Next(ctx); err == nil {
		t.Error("nonsense was taken for an answer")
	}
	if err := v.Out(ctx, ""); err == nil {
		t.Error("there is no such bin")
	}
	var got []string
	for range 11 {
		got = append(got, <-requests)
	}
	want := []string{
		`{"op":"next","slot":1}`, `{"op":"out","slot":1,"bin":"issued"}`, `{"op":"next","slot":1}`,
		`{"op":"next","slot":1}`, `{"op":"status","slot":1}`, `{"op":"next","slot":1}`, `{"op":"status","slot":1}`,
		`{"op":"out","slot":1,"bin":"rejected"}`, `{"op":"status","slot":1}`,
		`{"op":"out","slot":1,"bin":"doubt"}`, `{"op":"status","slot":1}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestVirtualGivenUp(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "rack")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = bufio.NewReader(c).ReadString('\n')
			cancel() // and never answers
		}
	}()
	if err := (&feeder.Virtual{Control: socket}).Next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := (&feeder.Virtual{Control: filepath.Join(t.TempDir(), "nobody")}).Next(context.Background()); err == nil {
		t.Error("there is no rack")
	}
}

// TestVirtualWaitsForPCSC: a card counts as there, and as gone, when the
// reader says so.
func TestVirtualWaitsForPCSC(t *testing.T) {
	presence, slots := readers(t)
	ctx := deadline(t)
	socket, requests := script(t, `{"ok":true}`+"\n", `{"ok":true}`+"\n")
	v := &feeder.Virtual{Control: socket, Presence: presence, Reader: slots[1].Reader}
	next := make(chan error)
	go func() { next <- v.Next(ctx) }()
	<-requests
	card := pcscdtest.Insert(t, slots[1], atr, ok)
	if err := <-next; err != nil {
		t.Fatal(err)
	}
	if present, err := presence.Present(slots[1].Reader); err != nil || !present {
		t.Errorf("present: %v, %v", present, err)
	}
	out := make(chan error)
	go func() { out <- v.Out(ctx, feeder.Issued) }()
	<-requests
	card.Remove()
	if err := <-out; err != nil {
		t.Fatal(err)
	}
	if present, err := presence.Present(slots[1].Reader); err != nil || present {
		t.Errorf("present: %v, %v", present, err)
	}
}

func ExampleBin_Valid() {
	fmt.Println(feeder.Unused.Valid(), feeder.Bin("pocket").Valid())
	// Output: true false
}
