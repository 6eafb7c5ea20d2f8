package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// link is one child and the connection to it.
type link struct {
	cmd        *exec.Cmd
	stdin      io.Closer
	conn       *net.UnixConn
	out        *writer
	generation uint64
	grace      time.Duration
	readers    sync.WaitGroup // of standard output, standard error and the socket

	mu      sync.Mutex
	next    uint64
	pending map[uint64]*call
	cause   error
	dead    chan struct{}
}

type call struct {
	answer chan answer
	// taken is set by the one side that decides a call: its answer, or its
	// caller that gave up.
	taken atomic.Bool
}

type answer struct {
	m   message
	raw []byte
}

func (l *link) pid() int { return l.cmd.Process.Pid }

func (l *link) isDead() bool {
	select {
	case <-l.dead:
		return true
	default:
		return false
	}
}

// connect dials the child's socket and checks who is there.
func (l *link) connect(ctx context.Context, socket string) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("connect to the HSM agent: %w", err)
	}
	l.conn = c.(*net.UnixConn)
	cred, err := PeerCredentials(l.conn)
	if err != nil {
		return err
	}
	if cred.PID != l.pid() || cred.UID != os.Geteuid() {
		return fmt.Errorf("%w: process %d of user %d answers in place of process %d", ErrPeer, cred.PID, cred.UID, l.pid())
	}
	l.out = &writer{w: deadlineWriter{l.conn}}
	l.readers.Add(1)
	go func() {
		defer l.readers.Done()
		l.read()
	}()
	return nil
}

// deadlineWriter gives every write ten seconds: a child that is stopped does
// not read, and a half-written message makes the connection useless anyway.
type deadlineWriter struct{ c *net.UnixConn }

func (w deadlineWriter) Write(b []byte) (int, error) {
	if err := w.c.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, err
	}
	return w.c.Write(b)
}

func (l *link) read() {
	for {
		m, raw, err := readMessage(l.conn)
		if err != nil {
			l.kill(errors.New("its connection ended"))
			return
		}
		l.mu.Lock()
		c := l.pending[m.ID]
		delete(l.pending, m.ID)
		l.mu.Unlock()
		if c == nil || !c.taken.CompareAndSwap(false, true) {
			clear(raw)
			continue
		}
		c.answer <- answer{m, raw}
	}
}

// kill ends the child at once and everything that waits for it.
func (l *link) kill(cause error) {
	l.mu.Lock()
	if l.cause == nil {
		l.cause = cause
		close(l.dead)
	}
	l.mu.Unlock()
	_ = l.cmd.Process.Kill()
	if l.conn != nil {
		l.conn.Close()
	}
}

// shut asks the child to end and makes sure of it.
func (l *link) shut() {
	l.stdin.Close()
	time.AfterFunc(2*time.Second, func() { l.kill(ErrClosed) })
}

// wait returns when the child has ended and been reaped.
func (l *link) wait() error {
	if l.conn != nil {
		<-l.dead // the connection's end comes with the child's
	}
	l.readers.Wait() // Cmd.Wait closes the pipes: all must be read first
	state := l.cmd.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if state != nil {
		return fmt.Errorf("%v (%v)", l.cause, state)
	}
	return l.cause
}

func (l *link) call(ctx context.Context, method string, in, out any) error {
	body, err := cbor.Marshal(in)
	if err != nil {
		return fmt.Errorf("agent: encode the arguments of %s: %w", method, err)
	}
	defer clear(body)
	m := &message{Method: method, Body: body}
	if deadline, ok := ctx.Deadline(); ok {
		m.Timeout = max(1, time.Until(deadline).Milliseconds())
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &call{answer: make(chan answer, 1)}
	l.mu.Lock()
	l.next++
	m.ID = l.next
	l.pending[m.ID] = c
	l.mu.Unlock()
	if err := l.out.send(m); err != nil {
		l.forget(m.ID)
		if errors.Is(err, ErrMessage) {
			return err
		}
		l.kill(errors.New("it does not read"))
		return ErrGone
	}
	select {
	case a := <-c.answer:
		return a.decode(method, out)
	case <-l.dead:
		if !c.taken.CompareAndSwap(false, true) { // the answer came first
			a := <-c.answer
			return a.decode(method, out)
		}
		return ErrGone
	case <-ctx.Done():
		if !c.taken.CompareAndSwap(false, true) {
			a := <-c.answer
			return a.decode(method, out)
		}
		l.abandon(m.ID)
		return ctx.Err()
	}
}

func (l *link) forget(id uint64) {
	l.mu.Lock()
	delete(l.pending, id)
	l.mu.Unlock()
}

// abandon cancels a call in the child. A sound child answers at once; one
// that does not within the grace hangs in its module and is replaced.
func (l *link) abandon(id uint64) {
	go func() { _ = l.out.send(&message{ID: id, Method: methodCancel}) }()
	time.AfterFunc(l.grace, func() {
		l.mu.Lock()
		_, unanswered := l.pending[id]
		l.mu.Unlock()
		if unanswered && !l.isDead() {
			l.kill(errors.New("it did not answer in time"))
		}
	})
}

func (a *answer) decode(method string, out any) error {
	defer clear(a.raw)
	if a.m.Code != "" {
		return &RemoteError{Code: a.m.Code, Text: a.m.Text}
	}
	if out == nil {
		return nil
	}
	if err := decoding.Unmarshal(a.m.Body, out); err != nil {
		return fmt.Errorf("%w: the answer to %s", ErrMessage, method)
	}
	return nil
}

type announcedOrError struct {
	announcement
	err error
}

// readAnnouncement reads the child's one line and then drains its output.
func readAnnouncement(r io.Reader, to chan<- announcedOrError) {
	br := bufio.NewReader(io.LimitReader(r, 1<<16))
	line, err := br.ReadBytes('\n')
	if err != nil {
		to <- announcedOrError{err: errors.New("the HSM agent ended before it was ready")}
	} else {
		a, err := parseAnnouncement(line)
		to <- announcedOrError{a, err}
	}
	_, _ = io.Copy(io.Discard, r)
}

// forward hands a stream on line by line.
func forward(r io.Reader, log func(string)) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<16)
	for s.Scan() {
		if line := strings.TrimSpace(s.Text()); line != "" {
			log(line)
		}
	}
	_, _ = io.Copy(io.Discard, r) // after a line too long for the buffer
}
