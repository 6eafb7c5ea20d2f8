// Package encoder is a software encoder of magnetic stripes: a device of the MSR605
// class with the stripes of software cards, in process or behind a pseudo terminal.
// It is strict: what a device would refuse is refused with its status. Each card's
// stripe is a file of its own, which outlives the process.
//
// Inserting a card is what a swipe is: while one is in, every command that needs a
// swipe gets it at once; while none is, it waits.
package encoder

import (
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// Fault is what an encoder can be told to do wrong.
type Fault int

// Faults.
const (
	None    Fault = iota
	Refuse        // answers a write with its error status, and writes nothing
	Lose          // writes nothing and says that it did
	Flip          // writes one wrong bit
	Silence       // executes and gives no answer: the line is torn
	Deaf          // does not even execute
)

// Encoder is one device.
type Encoder struct {
	stripes Stripes

	mu       sync.Mutex
	changed  *sync.Cond
	card     string
	in       []byte // received and not executed yet
	out      []byte // answers
	closed   bool
	timeout  time.Duration
	commands int

	high    bool
	outer   byte
	two     byte
	bpc     byte
	faultAt int // number of the command that goes wrong, from 1; 0: none
	fault   Fault
}

// New makes a device.
func New(s Stripes) *Encoder {
	e := &Encoder{stripes: s, high: true, outer: 61, two: 22, bpc: 8, timeout: time.Second}
	e.changed = sync.NewCond(&e.mu)
	return e
}

// Insert puts a card in; its stripe is at the head.
func (e *Encoder) Insert(card string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.card = card
	e.work()
}

// Eject takes the card out.
func (e *Encoder) Eject() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.card = ""
}

// EveryWrite in Fail's place of a number makes all ISO writes go wrong.
const EveryWrite = -1

// Fail makes the command of a number, counted from 1 from now on, go wrong.
func (e *Encoder) Fail(at int, f Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.commands, e.faultAt, e.fault = 0, at, f
}

// Commands is how many commands were executed since Fail.
func (e *Encoder) Commands() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.commands
}

// Write takes bytes from the host.
func (e *Encoder) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return 0, os.ErrClosed
	}
	e.in = append(e.in, b...)
	e.work()
	return len(b), nil
}

// Read gives answers to the host; nothing for the time that was set gives 0 bytes.
func (e *Encoder) Read(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	deadline := time.Now().Add(e.timeout)
	timer := time.AfterFunc(e.timeout, func() { e.changed.Broadcast() })
	defer timer.Stop()
	for len(e.out) == 0 && !e.closed && time.Now().Before(deadline) {
		e.changed.Wait()
	}
	if e.closed {
		return 0, io.EOF
	}
	n := copy(b, e.out)
	e.out = e.out[n:]
	return n, nil
}

// SetReadTimeout sets how long Read waits.
func (e *Encoder) SetReadTimeout(t time.Duration) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.timeout = t
	return nil
}

// ResetInputBuffer forgets answers that were not read.
func (e *Encoder) ResetInputBuffer() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.out = nil
	return nil
}

// Close ends the device.
func (e *Encoder) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.changed.Broadcast()
	return nil
}

// marks of the protocol.
const (
	esc = 0x1B
	fs  = 0x1C
)

// work executes what was received, as far as it is whole and has its swipe.
func (e *Encoder) work() {
	for len(e.in) > 0 {
		if e.in[0] != esc {
			e.in = e.in[1:] // noise
			continue
		}
		if len(e.in) < 2 {
			return
		}
		n, whole, good := e.length()
		if !whole {
			return
		}
		command := e.in[:n]
		if needsSwipe(command[1]) && good && e.card == "" {
			// Until a card comes, only a reset is heard.
			if i := strings.Index(string(e.in[n:]), string([]byte{esc, 'a'})); i >= 0 {
				e.in = e.in[n+i:]
				continue
			}
			return
		}
		e.in = append([]byte{}, e.in[n:]...)
		e.commands++
		fault := None
		if e.commands == e.faultAt || e.faultAt == EveryWrite && command[1] == 'w' {
			fault = e.fault
		}
		if fault == Deaf {
			continue
		}
		answer := []byte{esc, '2'}
		if good {
			answer = e.execute(command, fault)
		}
		if fault != Silence {
			e.out = append(e.out, answer...)
		}
		e.changed.Broadcast()
	}
}

func needsSwipe(c byte) bool { return strings.IndexByte("rwmnc", c) >= 0 }

// length is how long the first command is, and whether its form is right.
func (e *Encoder) length() (n int, whole, good bool) {
	fixed := map[byte]int{'z': 4, 'b': 3, 'c': 3, 'o': 5}
	switch c := e.in[1]; c {
	case 'w':
		end := strings.Index(string(e.in), string([]byte{'?', fs}))
		if end < 0 {
			if len(e.in) > 400 {
				return len(e.in), true, false
			}
			return 0, false, false
		}
		return end + 2, true, true
	case 'n':
		at := 4
		for track := 1; track <= 3; track++ {
			if len(e.in) < at+3 {
				return 0, false, false
			}
			if e.in[at] != esc || int(e.in[at+1]) != track {
				return len(e.in), true, false
			}
			at += 3 + int(e.in[at+2])
		}
		if len(e.in) < at+2 {
			return 0, false, false
		}
		return at + 2, true, e.in[2] == esc && e.in[3] == 's' && e.in[at] == '?' && e.in[at+1] == fs
	default:
		if k := fixed[c]; k > 0 {
			return k, len(e.in) >= k, true
		}
		return 2, true, true
	}
}

func ok() []byte { return []byte{esc, '0'} }

func (e *Encoder) execute(c []byte, f Fault) []byte {
	switch c[1] {
	case 'a':
		e.out = nil
		return nil
	case 'e':
		return []byte{esc, 'y'}
	case 't':
		return []byte{esc, '3', 'S'}
	case 'v':
		return append([]byte{esc}, "REVH7.31"...)
	case 'x', 'y':
		e.high = c[1] == 'x'
		return ok()
	case 'd':
		if e.high {
			return []byte{esc, 'h'}
		}
		return []byte{esc, 'l'}
	case 'z':
		e.outer, e.two = c[2], c[3]
		return ok()
	case 'l':
		return []byte{esc, e.outer, e.two}
	case 'o':
		if c[2] < 5 || c[2] > 8 || c[3] != c[2] || c[4] != c[2] {
			return []byte{esc, '2', c[2], c[3], c[4]}
		}
		e.bpc = c[2]
		return []byte{esc, '0', c[2], c[3], c[4]}
	case 'b':
		return ok()
	case 0x81, 0x82, 0x83, 0x84, 0x85: // lamps
		return nil
	case 0x86, 0x87:
		return ok()
	case 'r', 'm', 'w', 'n', 'c':
		return e.swipe(c, f)
	}
	return []byte{esc, '4'}
}

// swipe executes a command on the stripe of the card that is in.
func (e *Encoder) swipe(c []byte, f Fault) []byte {
	s, err := e.load()
	if err != nil {
		return []byte{esc, '1'}
	}
	switch c[1] {
	case 'r':
		return readISO(s)
	case 'm':
		return readRaw(s)
	}
	next := s
	switch c[1] {
	case 'w':
		next, err = writeISO(s, c[2:])
	case 'n':
		next, err = writeRaw(s, c[2:])
	case 'c':
		for i, bit := range []byte{1, 2, 4} {
			if c[2]&bit != 0 || c[2] == 0 && i == 0 {
				next[i] = nil
			}
		}
	}
	switch {
	case err != nil:
		return []byte{esc, '2'}
	case f == Refuse:
		return []byte{esc, '1'}
	case f == Lose:
		return ok()
	case f == Flip:
		for i := range next {
			if n := len(next[i]); n > 0 {
				next[i][n/2] ^= 1
				break
			}
		}
	}
	if e.save(next) != nil {
		return []byte{esc, '1'}
	}
	return ok()
}
