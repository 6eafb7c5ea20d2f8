package rack

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/nvm"
	"cardbureau/cardio/virtual/usim"
	"cardbureau/cardio/virtual/vpcd"
)

// counter is an applet: INS 10 counts, lastingly, and answers the count; INS 20
// gives its data back with a warning.
type counter struct{}

func (counter) Select(virtual.Env, apdu.Command) ([]byte, apdu.StatusWord) {
	return nil, apdu.SWSuccess
}
func (counter) Deselect(virtual.Env) {}
func (counter) Process(e virtual.Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if cmd.INS == 0x20 {
		return cmd.Data, 0x6310
	}
	n := append([]byte{0}, e.Memory().Get("n")...)
	v := []byte{n[len(n)-1] + 1}
	e.Memory().Set("n", v)
	return v, apdu.SWSuccess
}
func (counter) StoreData(virtual.Env, byte, byte, []byte) ([]byte, apdu.StatusWord) {
	return nil, apdu.SWSuccess
}

func factory(mem *nvm.Memory) (vpcd.Card, error) {
	if usim.Is(mem) {
		return usim.New(usim.Config{Memory: mem})
	}
	return virtual.New(virtual.Config{
		Memory:  mem,
		Applets: map[string]func() virtual.Applet{virtual.LDSAID: func() virtual.Applet { return counter{} }},
	})
}

func blank(t testing.TB, dir string, number uint32) string {
	t.Helper()
	return blankOf(t, dir, number, func(*virtual.Blank) {})
}

func blankOf(t testing.TB, dir string, number uint32, change func(*virtual.Blank)) string {
	t.Helper()
	key := bytes.Repeat([]byte{0x40}, 16)
	b := virtual.LDSBlank(virtual.NewSerial(1, number), virtual.Keys{Version: 0x30, ENC: key, MAC: key, DEK: key})
	change(&b)
	name, err := NewBlank(dir, b)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// driver stands in for the reader's driver: it listens, and takes one card at
// a time.
type driver struct {
	t    testing.TB
	l    net.Listener
	card net.Conn
}

func newDriver(t testing.TB) *driver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &driver{t: t, l: l}
}

func (d *driver) slot(name string) Slot {
	return Slot{Reader: name, Port: d.l.Addr().(*net.TCPAddr).Port}
}

func (d *driver) accept() {
	d.t.Helper()
	var err error
	if d.card, err = d.l.Accept(); err != nil {
		d.t.Fatal(err)
	}
	d.send(1)
}

func (d *driver) send(payload ...byte) {
	d.t.Helper()
	frame := binary.BigEndian.AppendUint16(nil, uint16(len(payload)))
	if _, err := d.card.Write(append(frame, payload...)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *driver) answer() ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(d.card, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(head[:]))
	_, err := io.ReadFull(d.card, b)
	return b, err
}

// count sends the command that counts and returns the count.
func (d *driver) count() byte {
	d.t.Helper()
	d.send(0, 0x10, 0, 0)
	b, err := d.answer()
	if err != nil || len(b) != 3 || b[1] != 0x90 {
		d.t.Fatalf("%X %v", b, err)
	}
	return b[0]
}

// gone checks that the card was taken out. A card that had not read all that
// it was sent resets the connection instead of ending it: gone all the same.
func (d *driver) gone() {
	d.t.Helper()
	if b, err := io.ReadAll(d.card); err != nil && !errors.Is(err, syscall.ECONNRESET) || len(b) != 0 {
		d.t.Fatalf("%X %v", b, err)
	}
	d.card.Close()
}

type running struct {
	Client
	t    testing.TB
	stop context.CancelFunc
	done chan error
}

func start(t testing.TB, dir string, slots ...Slot) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Client: Client{Socket: filepath.Join(socketFolder(t), "rack")}, t: t, stop: cancel, done: make(chan error, 1)}
	ready := make(chan struct{})
	go func() {
		r.done <- Run(ctx, Config{Dir: dir, Slots: slots, ControlSocket: r.Socket, Factory: factory, Ready: func() { close(ready) }})
	}()
	select {
	case <-ready:
	case err := <-r.done:
		t.Fatal(err)
	}
	t.Cleanup(r.end)
	return r
}

func (r *running) end() {
	r.stop()
	if err, ok := <-r.done; ok {
		close(r.done)
		if err != nil {
			r.t.Error(err)
		}
	}
}

// socketFolder is short: a socket's path has at most 107 bytes.
func socketFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cb-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (r *running) do(q Request) Answer {
	r.t.Helper()
	a, err := r.Do(r.t.Context(), q)
	if err != nil {
		r.t.Fatalf("%+v: %v", q, err)
	}
	return a
}

func (r *running) fails(q Request) {
	r.t.Helper()
	if a, err := r.Do(r.t.Context(), q); err == nil {
		r.t.Fatalf("%+v: %+v", q, a)
	}
}

func count(t testing.TB, dir string, bin Bin) int {
	t.Helper()
	names, err := Cards(dir, bin)
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func TestCardsGoThroughTheSlots(t *testing.T) {
	dir := t.TempDir()
	first, second := blank(t, dir, 1), blank(t, dir, 2)
	d := newDriver(t)
	r := start(t, dir, d.slot("reader"))

	if a := r.do(Request{Op: "next"}); a.Card != first {
		t.Fatalf("%+v", a)
	}
	d.accept()
	r.fails(Request{Op: "next"}) // occupied
	if n := d.count() + d.count(); n != 3 {
		t.Fatal(n)
	}
	s := r.do(Request{Op: "status"})
	want := SlotStatus{Reader: "reader", Port: d.slot("").Port, Card: first, From: Blanks, APDUs: 2, Connected: true}
	if len(s.Slots) != 1 || s.Slots[0] != want || s.Cards[Blanks] != 1 {
		t.Fatalf("%+v", s)
	}
	r.fails(Request{Op: "out", Bin: "elsewhere"})
	if a := r.do(Request{Op: "out", Bin: Issued}); a.Card != first {
		t.Fatalf("%+v", a)
	}
	d.gone()
	r.fails(Request{Op: "out", Bin: Issued}) // nothing there

	if a := r.do(Request{Op: "next"}); a.Card != second {
		t.Fatalf("%+v", a)
	}
	d.accept()
	r.do(Request{Op: "out", Bin: Doubt})
	d.gone()
	if a := r.do(Request{Op: "next"}); !a.Empty || a.OK {
		t.Fatalf("%+v", a)
	}
	if count(t, dir, Issued) != 1 || count(t, dir, Doubt) != 1 || count(t, dir, Blanks) != 0 {
		t.Error("a card went astray")
	}

	// An issued card again: it knows what it knew, and goes back.
	if a := r.do(Request{Op: "insert", Card: first}); a.Card != first {
		t.Fatalf("%+v", a)
	}
	d.accept()
	if n := d.count(); n != 3 {
		t.Fatalf("the card forgot: %d", n)
	}
	r.do(Request{Op: "remove"})
	d.gone()
	if count(t, dir, Issued) != 1 {
		t.Error("the card did not go back")
	}
	for _, q := range []Request{
		{Op: "insert", Card: "nobody"}, {Op: "insert"}, {Op: "insert", Card: "../x"}, {Op: "next", Slot: 1}, {Op: "next", Slot: -1},
		{Op: "dance"}, {Op: "hold"}, {Op: "release"}, {Op: "wait-held"},
	} {
		r.fails(q)
	}
}

func TestHold(t *testing.T) {
	for _, before := range []bool{false, true} {
		dir := t.TempDir()
		blank(t, dir, 1)
		d := newDriver(t)
		r := start(t, dir, d.slot("reader"))
		r.do(Request{Op: "hold", At: 2, Before: before}) // of the card that comes
		r.do(Request{Op: "next"})
		d.accept()
		d.count()
		d.send(0, 0x10, 0, 0)
		r.do(Request{Op: "wait-held"})
		if s := r.do(Request{Op: "status"}).Slots[0]; !s.Held || s.APDUs != 2 {
			t.Fatalf("%+v", s)
		}
		r.do(Request{Op: "release"})
		if b, err := d.answer(); err != nil || b[0] != 2 {
			t.Fatalf("%X %v", b, err)
		}
		r.fails(Request{Op: "hold", At: 2}) // too late
		// A held card that is taken out gives no answer; the command was
		// executed or not, as ordered.
		r.do(Request{Op: "hold", At: 3, Before: before})
		d.send(0, 0x10, 0, 0)
		r.do(Request{Op: "wait-held"})
		name := r.do(Request{Op: "out", Bin: Doubt}).Card
		d.gone()
		r.do(Request{Op: "insert", Card: name})
		d.accept()
		want := byte(4)
		if before {
			want = 3
		}
		if n := d.count(); n != want {
			t.Errorf("before %v: count %d, want %d", before, n, want)
		}
		// A wait ends with the connection of who waits.
		r.do(Request{Op: "hold", At: 99})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := r.Do(ctx, Request{Op: "wait-held"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		r.do(Request{Op: "release"})
		r.end()
	}
}

func TestCardStaysInItsSlot(t *testing.T) {
	dir := t.TempDir()
	name := blank(t, dir, 1)
	d := newDriver(t)
	r := start(t, dir, d.slot("reader"))
	r.do(Request{Op: "next"})
	d.accept()
	d.count()
	// The driver restarts: the card connects again.
	d.card.Close()
	d.accept()
	if d.count() != 2 {
		t.Fatal("the card forgot")
	}
	// The rack restarts: the card is where it was.
	r.end()
	d.gone()
	if count(t, dir, Blanks) != 0 {
		t.Fatal("the card is a blank again")
	}
	if _, err := NewBlank(dir, virtual.LDSBlank(virtual.NewSerial(1, 1), virtual.Keys{})); !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	r = start(t, dir, d.slot("reader"))
	d.accept()
	if s := r.do(Request{Op: "status"}).Slots[0]; s.Card != name || s.From != Blanks {
		t.Fatalf("%+v", s)
	}
	if d.count() != 3 {
		t.Fatal("the card forgot")
	}
}

func TestReaderThatComesLate(t *testing.T) {
	dir := t.TempDir()
	blank(t, dir, 1)
	d := newDriver(t)
	slot, addr := d.slot("reader"), d.l.Addr().String()
	d.l.Close()
	r := start(t, dir, slot)
	r.do(Request{Op: "next"})
	if s := r.do(Request{Op: "status"}).Slots[0]; s.Connected {
		t.Fatalf("%+v", s)
	}
	var err error
	if d.l, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	d.accept()
	d.count()
}

func TestTwoRacksOnOneFolderAreRefused(t *testing.T) {
	dir := t.TempDir()
	d := newDriver(t)
	r := start(t, dir, d.slot("reader"))
	cfg := Config{Dir: dir, Slots: []Slot{d.slot("reader")}, ControlSocket: r.Socket + "2", Factory: factory}
	if err := Run(t.Context(), cfg); !errors.Is(err, ErrInUse) {
		t.Fatal(err)
	}
	cfg.Dir, cfg.ControlSocket = t.TempDir(), r.Socket
	if err := Run(t.Context(), cfg); !errors.Is(err, ErrInUse) {
		t.Fatal(err)
	}
}

func TestSocketOfAKilledRackIsReplaced(t *testing.T) {
	path := filepath.Join(socketFolder(t), "rack")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	next, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	next.Close()
}

func TestBlanks(t *testing.T) {
	dir := t.TempDir()
	name := blank(t, dir, 9)
	if name != "CBCB0001000100000009" {
		t.Error(name)
	}
	if _, err := NewBlank(dir, virtual.LDSBlank(virtual.NewSerial(1, 8), virtual.Keys{Version: 0x30})); err == nil {
		t.Error("a blank without keys was made")
	}
	names, err := Cards(dir, Blanks)
	if err != nil || len(names) != 1 || names[0] != name {
		t.Errorf("%v %v", names, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "blanks", ".*")); len(left) != 0 {
		t.Error(left)
	}
}

func TestControlSocketSpeaksLines(t *testing.T) {
	d := newDriver(t)
	r := start(t, t.TempDir(), d.slot("reader"))
	c, err := net.Dial("unix", r.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "{\"op\":\"next\",\"slot\":0}\nnonsense\n{\"op\":\"status\"}\n"); err != nil {
		t.Fatal(err)
	}
	// Who writes and then closes its side is answered all the same.
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) != 3 || lines[0] != `{"ok":false,"empty":true}` || !strings.Contains(lines[1], "no JSON") || !strings.Contains(lines[2], `"slots":[`) {
		t.Fatalf("%q", lines)
	}
}
