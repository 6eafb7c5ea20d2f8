package rack

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"cardbureau/cardio/virtual/nvm"
	"cardbureau/cardio/virtual/vpcd"
)

// slot is one slot with the card that is in it.
type slot struct {
	Slot
	rack  *rack
	index int

	order sync.Mutex // one insertion or removal at a time

	mu   sync.Mutex
	in   *inserted // nil: empty
	next *hold     // for the card that comes next
}

// inserted is a card in a slot.
type inserted struct {
	vpcd.Card
	name string
	from Bin
	mem  *nvm.Memory
	stop context.CancelFunc
	done chan struct{} // closed when the connection's goroutine is gone

	mu        sync.Mutex
	count     int // APDUs since insertion
	connected bool
	hold      *hold
}

// hold is an order to stop at an APDU.
type hold struct {
	at      int
	before  bool          // stop before the execution, not after it
	held    chan struct{} // closed when the card has stopped
	release chan struct{} // closed to let it go on
	once    sync.Once
}

func newHold(at int, before bool) *hold {
	return &hold{at: at, before: before, held: make(chan struct{}), release: make(chan struct{})}
}

func (h *hold) let() { h.once.Do(func() { close(h.release) }) }

// Transmit counts APDUs and stops where it was told to.
func (c *inserted) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	c.mu.Lock()
	c.count++
	h := c.hold
	if h != nil && h.at != c.count {
		h = nil
	}
	c.mu.Unlock()
	if h != nil && h.before {
		if err := h.wait(ctx); err != nil {
			return nil, err
		}
	}
	out, err := c.Card.Transmit(ctx, command)
	if h != nil && !h.before && err == nil {
		err = h.wait(ctx)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (h *hold) wait(ctx context.Context) error {
	close(h.held)
	select {
	case <-h.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resume puts in the card that was in the slot when the rack stopped.
func (s *slot) resume() error {
	found, err := filepath.Glob(filepath.Join(s.rack.cfg.Dir, "slots", strconv.Itoa(s.index), "*", "*"+extension))
	if err != nil {
		return fmt.Errorf("rack: %w", err)
	}
	if len(found) == 0 {
		return nil
	}
	if len(found) > 1 {
		return fmt.Errorf("rack: slot %d holds %d cards", s.index, len(found))
	}
	name := strings.TrimSuffix(filepath.Base(found[0]), extension)
	from := Bin(filepath.Base(filepath.Dir(found[0])))
	s.order.Lock()
	defer s.order.Unlock()
	return s.start(name, from)
}

// insert takes a card out of a bin and puts it into the reader; no name takes
// the next blank.
func (s *slot) insert(card string) (string, error) {
	s.order.Lock()
	defer s.order.Unlock()
	if c := s.current(); c != nil {
		return "", fmt.Errorf("rack: slot %d holds the card %s", s.index, c.name)
	}
	name, from, err := s.rack.take(s.index, card)
	if err != nil {
		return "", err
	}
	if err := s.start(name, from); err != nil {
		return "", errors.Join(err, s.rack.put(s.index, from, name, from))
	}
	return name, nil
}

// start powers a card up and connects it. The chip has no power until the
// reader gives it.
func (s *slot) start(name string, from Bin) error {
	mem, err := nvm.Open(s.rack.slotPath(s.index, from, name))
	if err != nil {
		return err
	}
	chip, err := s.rack.cfg.Factory(mem)
	if err != nil {
		mem.Close()
		return err
	}
	chip.PowerOff()
	ctx, cancel := context.WithCancel(s.rack.ctx)
	c := &inserted{Card: chip, name: name, from: from, mem: mem, stop: cancel, done: make(chan struct{})}
	s.mu.Lock()
	c.hold, s.next = s.next, nil
	s.in = c
	s.mu.Unlock()
	if s.Encoder != nil {
		s.Encoder.Insert(name)
	}
	// The connection is tried once before the answer, so that whoever waits
	// for the card need not wait for a retry.
	conn, err := vpcd.Dial(ctx, s.address())
	if err != nil {
		s.rack.log.Warn("rack: the reader is not there yet", "slot", s.index, "error", err)
	}
	c.setConnected(err == nil)
	go s.play(ctx, c, conn)
	return nil
}

func (s *slot) address() string { return "127.0.0.1:" + strconv.Itoa(s.Port) }

// play keeps a card connected to its reader, also when the driver restarts.
func (s *slot) play(ctx context.Context, c *inserted, conn *vpcd.Conn) {
	defer close(c.done)
	const shortest, longest = 20 * time.Millisecond, time.Second
	pause := shortest
	for ctx.Err() == nil {
		if conn != nil {
			c.setConnected(true)
			before := c.apdus()
			if err := conn.Serve(ctx, c); err != nil && ctx.Err() == nil {
				s.rack.log.Warn("rack: the connection to the reader broke", "slot", s.index, "error", err)
			}
			c.setConnected(false)
			if c.apdus() != before {
				pause = shortest
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, longest)
		var err error
		if conn, err = vpcd.Dial(ctx, s.address()); err != nil {
			conn = nil
		}
	}
	if conn != nil {
		conn.Close()
	}
}

func (c *inserted) setConnected(v bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connected = v
}

func (c *inserted) apdus() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

func (s *slot) current() *inserted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in
}

// remove takes the card out of the reader and puts it into a bin; no bin puts
// it where it came from.
func (s *slot) remove(to Bin) (string, error) {
	s.order.Lock()
	defer s.order.Unlock()
	c := s.current()
	if c == nil {
		return "", fmt.Errorf("rack: slot %d is empty", s.index)
	}
	if to == "" {
		to = c.from
	}
	err := s.halt(c)
	return c.name, errors.Join(err, s.rack.put(s.index, c.from, c.name, to))
}

// halt disconnects a card and closes its memory; its file stays.
func (s *slot) halt(c *inserted) error {
	if s.Encoder != nil {
		s.Encoder.Eject()
	}
	c.stop()
	<-c.done
	s.mu.Lock()
	s.in = nil
	s.mu.Unlock()
	return c.mem.Close()
}

// shut is the end of the rack.
func (s *slot) shut() {
	s.order.Lock()
	defer s.order.Unlock()
	if c := s.current(); c != nil {
		if err := s.halt(c); err != nil {
			s.rack.log.Error("rack: closing a card", "slot", s.index, "error", err)
		}
	}
}

// holdAt makes the card in the slot, or the next one, stop at an APDU.
func (s *slot) holdAt(at int, before bool) error {
	if at < 1 {
		return errors.New("rack: APDUs are counted from 1")
	}
	h := newHold(at, before)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in == nil {
		s.next = h
		return nil
	}
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	if s.in.count >= at {
		return fmt.Errorf("rack: the card has got %d APDUs already", s.in.count)
	}
	if s.in.hold != nil {
		s.in.hold.let()
	}
	s.in.hold = h
	return nil
}

// pending is the hold that was ordered last, if any.
func (s *slot) pending() *hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in == nil {
		return s.next
	}
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	return s.in.hold
}

// waitHeld returns when the card has stopped.
func (s *slot) waitHeld(ctx context.Context) error {
	h := s.pending()
	if h == nil {
		return fmt.Errorf("rack: nothing is to be held in slot %d", s.index)
	}
	select {
	case <-h.held:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release lets a held card go on, and forgets a hold that has not come.
func (s *slot) release() error {
	h := s.pending()
	if h == nil {
		return fmt.Errorf("rack: nothing is held in slot %d", s.index)
	}
	h.let()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = nil
	if s.in != nil {
		s.in.mu.Lock()
		s.in.hold = nil
		s.in.mu.Unlock()
	}
	return nil
}

// status is what the control socket tells of a slot.
func (s *slot) status() SlotStatus {
	out := SlotStatus{Slot: s.index, Reader: s.Reader, Port: s.Port}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.in; c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		out.Card, out.From, out.APDUs, out.Connected = c.name, c.from, c.count, c.connected
		if c.hold != nil {
			select {
			case <-c.hold.held:
				out.Held = true
			default:
			}
		}
	}
	return out
}
