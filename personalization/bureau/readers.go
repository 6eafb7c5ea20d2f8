package bureau

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"cardbureau/cardio/feeder"
	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/stripe"
	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/personalization/line"
)

// RunFolder is where running processes of this data folder describe
// themselves.
func (b *Bureau) RunFolder() string { return filepath.Join(b.Dir, "run") }

// UseReaders points this process at the virtual readers that run for this data
// folder, if any; else at the machine's PC/SC service. Call it before the first
// use of readers. It returns the control socket of each virtual reader.
func UseReaders(dir string) (control map[string]int, socket string, err error) {
	r, err := pcscd.ReadReaders(filepath.Join(dir, "run"))
	if err != nil || !answers(r.Socket) {
		return nil, "", nil // none runs here, or what ran was killed
	}
	if err := pcsc.UseSocket(r.Socket); err != nil {
		return nil, "", err
	}
	control = map[string]int{}
	for i, reader := range r.Readers {
		control[reader.Name] = i
		socket = reader.Control
	}
	return control, socket, nil
}

// answers reports whether somebody listens on a unix socket.
func answers(socket string) bool {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// Readers are the readers that a line of this station works: those that are
// there when it begins, and, as a line.Joining, those that are plugged in
// later and fit the same selectors. It is for one line. Close it when the line
// is done.
type Readers struct {
	list      ReaderList
	closeList func()
	selectors []string
	ignored   func(name string) bool // or nil
	open      func(name string) (line.Slot, func(), error)

	first []line.Slot
	known []string // the list as it was last seen

	mu    sync.Mutex
	works map[string]func() // what closes the readers that are open
	came  []string          // readers that came, or may be back, and have not been looked at
	wake  chan struct{}     // holds a token when the work on a reader has ended
}

// ReaderList is what there is to choose readers from. *pcsc.Context is one.
type ReaderList interface {
	// Readers lists the readers' names.
	Readers() ([]string, error)
	// Present reports whether there is a card in a reader; ErrNoReader: there is no
	// such reader, or it does not work.
	Present(reader string) (bool, error)
	// WaitForChange waits until the list is another than known and returns it.
	WaitForChange(ctx context.Context, known []string) ([]string, error)
	// Choose picks readers out of all; see pcsc.Context.Choose.
	Choose(ctx context.Context, all, selectors []string) ([]string, error)
}

// Readers opens the readers of this station, each with its feeder: the rack for
// virtual readers, a person for others, whom ask tells what to do. patterns are
// selectors of pcsc.Context.Choose and override the configuration's.
func (b *Bureau) Readers(ctx context.Context, patterns []string, ask func(feeder.Request)) (*Readers, error) {
	if len(patterns) == 0 {
		patterns = b.Config.Line.Readers
	}
	virtual, socket, err := UseReaders(b.Dir)
	if err != nil {
		return nil, err
	}
	pc, err := pcsc.Open()
	if err != nil {
		return nil, err
	}
	r := &Readers{list: pc, selectors: patterns, closeList: pc.Close}
	if virtual != nil {
		// The driver has two slots a copy: one may be without a rack behind it.
		r.ignored = func(name string) bool { _, ok := virtual[name]; return !ok }
	}
	r.open = func(name string) (line.Slot, func(), error) {
		r, closeReader, err := b.OpenReader(ctx, name)
		if err != nil {
			return line.Slot{}, nil, err
		}
		s := line.Slot{Reader: r, Feeder: &feeder.Hand{Presence: r.Context(), Reader: name, Ask: ask}}
		if i, ok := virtual[name]; ok && socket != "" {
			s.Feeder = &feeder.Virtual{Control: socket, Slot: i, Presence: r.Context(), Reader: name}
		}
		return s, closeReader, nil
	}
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// OpenReader opens a reader by its full name, with the stripe encoder beside it.
func (b *Bureau) OpenReader(ctx context.Context, name string) (r *line.PCSC, closeReader func(), err error) {
	if r, err = line.OpenPCSC(name, time.Duration(b.Config.Line.TransmitTimeout)); err != nil {
		return nil, nil, err
	}
	device, err := b.encoder(ctx, name)
	if err != nil {
		r.Close()
		return nil, nil, err
	}
	if device == nil {
		return r, r.Close, nil
	}
	r.Encoder = device
	return r, func() { _ = device.Close(); r.Close() }, nil
}

// encoder opens the stripe encoder beside a reader; nil where there is none.
func (b *Bureau) encoder(ctx context.Context, reader string) (*stripe.Encoder, error) {
	path := b.Config.Line.Encoders[reader]
	if r, err := pcscd.ReadReaders(b.RunFolder()); err == nil && path == "" {
		for _, one := range r.Readers {
			if one.Name == reader {
				path = one.Encoder
			}
		}
	}
	if path == "" {
		return nil, nil
	}
	e, err := stripe.Open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("reader %s: %w", reader, err)
	}
	return e, nil
}

// begin chooses and opens the readers that are there.
func (r *Readers) begin(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	r.works, r.wake = map[string]func(){}, make(chan struct{}, 1)
	if r.known, err = r.list.Readers(); err != nil {
		return err
	}
	all := slices.Clone(r.known)
	if r.ignored != nil {
		all = slices.DeleteFunc(all, r.ignored)
	}
	names, err := r.list.Choose(ctx, all, r.selectors)
	if err != nil {
		return err
	}
	for _, name := range names {
		s, err := r.take(name)
		if err != nil {
			return err
		}
		r.first = append(r.first, s)
	}
	return nil
}

// take opens a reader.
func (r *Readers) take(name string) (line.Slot, error) {
	s, closeReader, err := r.open(name)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.works[name] = closeReader
	}
	return s, err
}

// Slots are the readers that were there when Readers chose.
func (r *Readers) Slots() []line.Slot { return slices.Clone(r.first) }

// Join waits for a reader that is plugged in and fits the selectors, and opens
// it. One that has not Ended joins only after that.
func (r *Readers) Join(ctx context.Context) (line.Slot, error) {
	for {
		for name := r.next(); name != ""; name = r.next() {
			fits, err := r.there(name)
			if fits {
				fits, err = r.fits(ctx, name)
			}
			if err != nil {
				return line.Slot{}, err
			}
			if fits {
				return r.take(name)
			}
		}
		if err := r.wait(ctx); err != nil {
			return line.Slot{}, err
		}
	}
}

// next takes the next reader that came and is not at work, or none.
func (r *Readers) next() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, name := range r.came {
		if r.works[name] == nil {
			r.came = slices.Delete(r.came, i, i+1)
			return name
		}
	}
	return ""
}

// there reports whether a reader is there and works. One that is not listed is
// forgotten, so that its return is seen; one that is listed and does not work
// must first be unplugged.
func (r *Readers) there(name string) (bool, error) {
	_, err := r.list.Present(name)
	if !errors.Is(err, pcsc.ErrNoReader) {
		return err == nil, err
	}
	now, err := r.list.Readers()
	if err == nil && !slices.Contains(now, name) {
		r.known = slices.DeleteFunc(r.known, func(n string) bool { return n == name })
	}
	return false, err
}

// fits reports whether a reader that came would have been chosen. It is looked
// at alone: others may be at work, and are not to be asked for their serial
// numbers then.
func (r *Readers) fits(ctx context.Context, name string) (bool, error) {
	if len(r.selectors) == 0 {
		return true, nil
	}
	for _, sel := range r.selectors {
		_, err := r.list.Choose(ctx, []string{name}, []string{sel})
		var not *pcsc.ChoiceError
		if !errors.As(err, &not) {
			return err == nil, err
		}
	}
	return false, nil
}

// wait waits until the list of readers changes or the work on one has ended,
// and notes which readers came.
func (r *Readers) wait(ctx context.Context) error {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	awake := make(chan struct{})
	go func() {
		defer close(awake)
		select {
		case <-r.wake:
			cancel()
		case <-waiting.Done():
		}
	}()
	now, err := r.list.WaitForChange(waiting, r.known)
	woken := waiting.Err() != nil
	cancel()
	<-awake
	switch {
	case err != nil && woken && ctx.Err() == nil:
		return nil
	case err != nil:
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.came = slices.DeleteFunc(r.came, func(name string) bool { return !slices.Contains(now, name) })
	for _, name := range now {
		if !slices.Contains(r.known, name) && !slices.Contains(r.came, name) && (r.ignored == nil || !r.ignored(name)) {
			r.came = append(r.came, name)
		}
	}
	r.known = now
	return nil
}

// Ended closes a reader. One that is gone joins again when it is back, which it
// may be already.
func (r *Readers) Ended(s line.Slot, gone bool) {
	name := s.Reader.Name()
	r.mu.Lock()
	closeReader := r.works[name]
	r.mu.Unlock()
	if closeReader == nil {
		return
	}
	closeReader()
	r.mu.Lock()
	delete(r.works, name)
	r.came = slices.DeleteFunc(r.came, func(n string) bool { return n == name })
	if gone {
		r.came = append(r.came, name)
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Close closes all readers that are open.
func (r *Readers) Close() {
	r.mu.Lock()
	works := r.works
	r.works = nil
	r.mu.Unlock()
	for _, closeReader := range works {
		closeReader()
	}
	r.closeList()
}
