package agent

import (
	"bufio"
	"bytes"
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
	closing bool // the child was asked to end
	dead    chan struct{}
}

type call struct {
	answer chan answer
	// taken is set by the one side that decides a call: its answer, or its
	// caller that gave up.
	taken atomic.Bool
}

type answer struct {
	m      message
	behind *bytes.Buffer
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
	l.out = &writer{c: l.conn}
	l.readers.Add(1)
	go func() {
		defer l.readers.Done()
		l.read()
	}()
	return nil
}

func (l *link) read() {
	for {
		m, behind, err := readMessage(l.conn)
		if err != nil {
			l.lose(errors.New("its connection ended"))
			return
		}
		l.mu.Lock()
		c := l.pending[m.ID]
		delete(l.pending, m.ID)
		l.mu.Unlock()
		if c == nil || !c.taken.CompareAndSwap(false, true) {
			giveBack(behind)
			continue
		}
		c.answer <- answer{m, behind}
	}
}

// lose ends what waits for the child, and the child itself unless it is about
// to end in good order.
func (l *link) lose(cause error) {
	if !l.fail(cause) {
		_ = l.cmd.Process.Kill()
	}
}

// kill ends the child at once and everything that waits for it.
func (l *link) kill(cause error) {
	l.fail(cause)
	_ = l.cmd.Process.Kill()
}

// fail ends everything that waits for the child. It reports whether the child
// was asked to end.
func (l *link) fail(cause error) (closing bool) {
	l.mu.Lock()
	if l.cause == nil {
		l.cause = cause
		close(l.dead)
	}
	closing = l.closing
	l.mu.Unlock()
	if l.conn != nil {
		l.conn.Close()
	}
	return closing
}

// shut asks the child to end and makes sure of it.
func (l *link) shut() {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
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
	body, err := encode(in)
	if err != nil {
		return fmt.Errorf("agent: encode the arguments of %s: %w", method, err)
	}
	defer giveBack(body)
	m := &head{Method: method}
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
	if err := l.out.send(m, body.Bytes()); err != nil {
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
	go func() { _ = l.out.send(&head{ID: id, Method: methodCancel}, nil) }()
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
	defer giveBack(a.behind)
	if a.m.Code != "" {
		return &RemoteError{Code: a.m.Code, Text: a.m.Text}
	}
	if out == nil {
		return nil
	}
	if err := decoding.Unmarshal(a.m.body, out); err != nil {
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
