package bureau_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/feeder"
	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/line"
	"cardbureau/personalization/line/rehearsal"
)

// plugs is a list of readers that a test plugs in and out: the drivers of the
// private pcscd know no plugging.
type plugs struct {
	mu      sync.Mutex
	names   []string
	err     error
	changed chan struct{}
	chooser pcsc.Context // finds serial numbers in names only
}

func plugged(names ...string) *plugs { return &plugs{names: names, changed: make(chan struct{})} }

func (p *plugs) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *plugs) in(name string) { p.set(func() { p.names = append(p.names, name) }) }

func (p *plugs) out(name string) {
	p.set(func() { p.names = slices.DeleteFunc(slices.Clone(p.names), func(n string) bool { return n == name }) })
}

func (p *plugs) fail(err error) { p.set(func() { p.err = err }) }

func (p *plugs) look() ([]string, chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.names), p.changed, p.err
}

func (p *plugs) Readers() ([]string, error) {
	names, _, err := p.look()
	return names, err
}

func (p *plugs) Present(reader string) (bool, error) {
	names, _, err := p.look()
	if err == nil && !slices.Contains(names, reader) {
		err = pcsc.ErrNoReader
	}
	return false, err
}

func (p *plugs) WaitForChange(ctx context.Context, known []string) ([]string, error) {
	for {
		names, changed, err := p.look()
		if err != nil || !slices.Equal(names, known) {
			return names, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (p *plugs) Choose(ctx context.Context, all, selectors []string) ([]string, error) {
	return p.chooser.Choose(ctx, all, selectors)
}

// socket is a reader whose next blank is a test's business.
type socket struct {
	*rehearsal.Reader
	next func(blank int) error
	out  func() error
	n    int
}

func (s *socket) Next(ctx context.Context) error {
	s.n++
	if err := s.next(s.n); err != nil {
		return err
	}
	return s.Reader.Next(ctx)
}

func (s *socket) Out(ctx context.Context, b feeder.Bin) error {
	if err := s.Reader.Out(ctx, b); err != nil || s.out == nil {
		return err
	}
	return s.out()
}

func (s *socket) slot() line.Slot { return line.Slot{Reader: s.Reader, Feeder: s} }

var errGone = fmt.Errorf("wait for a card: %w", pcsc.ErrNoReader)

// waiter waits for events of a line.
type waiter struct {
	mu    sync.Mutex
	seen  map[string]chan struct{}
	order []string
}

func (w *waiter) of(kind line.EventKind, reader string) chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := string(kind) + " " + reader
	if w.seen == nil {
		w.seen = map[string]chan struct{}{}
	}
	if w.seen[key] == nil {
		w.seen[key] = make(chan struct{})
	}
	return w.seen[key]
}

// event is the line's.
func (w *waiter) event(e line.Event) {
	if e.Kind == line.Finished || e.Kind == line.Working {
		return
	}
	c := w.of(e.Kind, e.Reader)
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-c:
	default:
		close(c)
	}
	if e.Kind == line.Joined || e.Kind == line.Left || e.Kind == line.Deserted {
		w.order = append(w.order, string(e.Kind)+" "+e.Reader)
	}
}

const (
	readerA = "Maker A (K1) 00 00"
	readerB = "Maker B (K2) 00 00"
	readerC = "Other C (K3) 00 00"
)

// lost is a card whose reader is pulled out while the card is written.
type lost struct {
	apdu.Card
	left int
	lose func()
}

func (l *lost) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if l.left--; l.left < 0 {
		l.lose()
		return nil, fmt.Errorf("%w: %w", apdu.ErrInDoubt, pcsc.ErrNoReader)
	}
	return l.Card.Transmit(ctx, command)
}

// TestReadersComeAndGo: a reader is plugged in and joins, another is pulled out
// and joins again, and one is pulled out with a card in hand; none stops the
// others, and no order is lost or made twice.
func TestReadersComeAndGo(t *testing.T) {
	const orders = 5
	w := newWorks(t, "identity", orders, orders)
	var events waiter
	list := plugged(readerA, readerC)
	opened := map[string]int{}
	var closed sync.Map
	open := func(name string) (line.Slot, func(), error) {
		opened[name]++
		s := &socket{Reader: rehearsal.NewReader(name, w.tray), next: func(int) error { return nil }}
		switch {
		case name == readerC:
			t.Error("C fits no selector")
		case name == readerA && opened[name] == 1:
			s.next = func(blank int) error {
				if blank == 1 {
					return nil
				}
				list.in(readerB)
				<-events.of(line.Joined, readerB)
				list.out(readerA)
				return errGone
			}
		case name == readerB:
			s.next = func(blank int) error {
				if blank == 1 {
					<-events.of(line.Left, readerA)
					return nil
				}
				list.in(readerA)
				<-events.of(line.Joined, readerA)
				s.Wrap = func(c *virtual.Chip) apdu.Card {
					return &lost{c, 12, func() { list.out(readerB) }}
				}
				s.out = func() error { return errGone }
				return nil
			}
		}
		return s.slot(), func() { closed.Store(fmt.Sprint(name, opened[name]), true) }, nil
	}
	readers, err := bureau.NewReaders(t.Context(), list, []string{"k1", "Maker ?*"}, open)
	if err != nil {
		t.Fatal(err)
	}
	defer readers.Close()
	l, closeLine, err := w.b.Line(t.Context(), w.actor, events.event)
	if err != nil {
		t.Fatal(err)
	}
	defer closeLine()
	sum, err := l.RunJoining(t.Context(), readers.Slots(), readers)
	if sum.Issued != orders-1 || sum.InDoubt != 1 {
		t.Errorf("%+v", sum)
	}
	want := "reader " + readerB + " left the line: the card could not be taken out: wait for a card: there is no such card reader"
	if err == nil || err.Error() != want || !errors.Is(err, pcsc.ErrNoReader) {
		t.Errorf("%v, want %s", err, want)
	}
	if want := []string{"joined " + readerB, "left " + readerA, "joined " + readerA, "left " + readerB}; !slices.Equal(events.order, want) {
		t.Errorf("%q", events.order)
	}
	for _, name := range []string{readerA + "1", readerA + "2", readerB + "1"} {
		if _, ok := closed.Load(name); !ok {
			t.Errorf("%s was not closed", name)
		}
	}
	counts, err := w.b.Store.Counts(t.Context())
	if err != nil || counts.Balance() != nil || counts.Issued != orders-1 {
		t.Errorf("%+v, %v", counts, err)
	}
}

// deserted begins a line whose only reader is pulled out before it has made a
// card, and calls then when nobody is left. A reader that comes back stays.
func deserted(t *testing.T, orders int, then func(list *plugs, stop func())) (line.Summary, []string, error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	w := newWorks(t, "identity", orders, orders)
	var events waiter
	list := plugged(readerA)
	n := 0
	open := func(name string) (line.Slot, func(), error) {
		n++
		s := &socket{Reader: rehearsal.NewReader(name, w.tray), next: func(int) error { return nil }}
		if n == 1 {
			s.next = func(int) error {
				list.out(name)
				return errGone
			}
		}
		return s.slot(), func() {}, nil
	}
	readers, err := bureau.NewReaders(ctx, list, []string{"Maker *"}, open)
	if err != nil {
		t.Fatal(err)
	}
	defer readers.Close()
	l, closeLine, err := w.b.Line(ctx, w.actor, func(e line.Event) {
		events.event(e)
		if e.Kind == line.Deserted {
			then(list, stop)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closeLine()
	sum, err := l.RunJoining(ctx, readers.Slots(), readers)
	return sum, events.order, err
}

// TestLastReaderComesBack: while orders are left, a line without readers waits
// for one that fits.
func TestLastReaderComesBack(t *testing.T) {
	sum, events, err := deserted(t, 2, func(list *plugs, _ func()) {
		list.in(readerC) // no reader of this line
		list.in(readerA)
	})
	if err != nil || sum.Issued != 2 {
		t.Errorf("%+v, %v", sum, err)
	}
	if want := []string{"left " + readerA, "deserted ", "joined " + readerA}; !slices.Equal(events, want) {
		t.Errorf("%q", events)
	}
}

// TestServiceEndsReaders: a PC/SC service that ends takes its readers away one
// by one before it is gone.
func TestServiceEndsReaders(t *testing.T) {
	sum, _, err := deserted(t, 1, func(list *plugs, _ func()) { list.fail(pcsc.ErrServiceDown) })
	if !errors.Is(err, pcsc.ErrServiceDown) || sum.Issued != 0 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// TestStopWithoutReaders: the operator may end a line that waits for a reader.
func TestStopWithoutReaders(t *testing.T) {
	sum, _, err := deserted(t, 1, func(_ *plugs, stop func()) { stop() })
	if !errors.Is(err, pcsc.ErrNoReader) || sum.Issued != 0 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// TestOrderOfAReaderThatLeft: what a reader that left was to make, another
// makes, also one that had found nothing to do.
func TestOrderOfAReaderThatLeft(t *testing.T) {
	w := newWorks(t, "identity", 1, 1)
	var events waiter
	other := map[string]string{readerA: readerB, readerB: readerA}
	var first sync.Once
	var slots []line.Slot
	for name := range other {
		s := &socket{Reader: rehearsal.NewReader(name, w.tray)}
		s.next = func(int) (err error) {
			first.Do(func() {
				<-events.of(line.Stopped, other[name])
				err = errGone
			})
			return err
		}
		slots = append(slots, s.slot())
	}
	l, closeLine, err := w.b.Line(t.Context(), w.actor, events.event)
	if err != nil {
		t.Fatal(err)
	}
	defer closeLine()
	if sum, err := l.Run(t.Context(), slots); !errors.Is(err, pcsc.ErrNoReader) || sum.Issued != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// TestPluggedInAgainInTime: a reader may come back before the line has noticed
// that it was gone, and joins when it has.
func TestPluggedInAgainInTime(t *testing.T) {
	list := plugged(readerA)
	readers, err := bureau.NewReaders(t.Context(), list, nil, func(name string) (line.Slot, func(), error) {
		return line.Slot{Reader: rehearsal.NewReader(name, nil)}, func() {}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer readers.Close()
	joined := make(chan string)
	go func() {
		defer close(joined)
		for {
			s, err := readers.Join(t.Context())
			if err != nil {
				return
			}
			joined <- s.Reader.Name()
		}
	}()
	list.out(readerA)
	list.in(readerB)
	if got := <-joined; got != readerB { // so the list without A was seen
		t.Fatal(got)
	}
	list.in(readerA)
	list.in(readerC)
	if got := <-joined; got != readerC {
		t.Fatalf("%s joins and is at work", got)
	}
	a := readers.Slots()[0]
	readers.Ended(a, true)
	if got := <-joined; got != readerA {
		t.Error(got)
	}
	// Nobody saw it go this time.
	readers.Ended(a, true)
	if got := <-joined; got != readerA {
		t.Error(got)
	}
	list.out(readerA)
	readers.Ended(a, true)
	list.in(readerA)
	if got := <-joined; got != readerA {
		t.Error(got)
	}
	// One that ended for another reason does not join by itself.
	readers.Ended(a, false)
	list.in("D")
	if got := <-joined; got != "D" {
		t.Error(got)
	}
	list.fail(pcsc.ErrServiceDown)
	if got, ok := <-joined; ok {
		t.Error(got)
	}
}

// socketLink is the one name under which the PC/SC library finds the daemons of
// this process.
var socketLink = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "cbl")
	if err != nil {
		panic(err)
	}
	return filepath.Join(dir, "csock")
})

// TestServiceDiesUnderTheLine: the private pcscd is killed while the line waits
// for blanks and for readers. The line ends and says what it was.
func TestServiceDiesUnderTheLine(t *testing.T) {
	w := newWorks(t, "identity", 1, 1)
	d, err := pcscd.Start(t.Context(), pcscd.Options{Readers: 2, Dir: w.b.RunFolder()})
	if errors.Is(err, pcscd.ErrNotInstalled) || errors.Is(err, pcscd.ErrNamespace) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop()
	link := socketLink()
	defer os.RemoveAll(filepath.Dir(link))
	if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o700), os.Symlink(d.Socket(), link)); err != nil {
		t.Fatal(err)
	}
	running := pcscd.Readers{Socket: link}
	for _, s := range d.Slots() {
		running.Readers = append(running.Readers, pcscd.Reader{Name: s.Reader, Port: s.Port})
	}
	if err := pcscd.WriteReaders(w.b.RunFolder(), running); err != nil {
		t.Fatal(err)
	}
	readers, err := w.b.Readers(t.Context(), []string{"Virtual *"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer readers.Close()
	if n := len(readers.Slots()); n != 2 {
		t.Errorf("%d readers", n)
	}
	var once sync.Once
	l, closeLine, err := w.b.Line(t.Context(), w.actor, func(e line.Event) {
		if e.Kind == line.Waiting {
			once.Do(func() {
				if err := syscall.Kill(d.PID(), syscall.SIGKILL); err != nil {
					t.Error(err)
				}
				<-d.Done()
			})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closeLine()
	if _, err := l.RunJoining(t.Context(), readers.Slots(), readers); !errors.Is(err, pcsc.ErrServiceDown) || errors.Is(err, pcsc.ErrNoReader) {
		t.Errorf("the service died: %v", err)
	}
}
