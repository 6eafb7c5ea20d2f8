package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Server answers calls in the agent process.
type Server struct {
	// Code classifies handlers' errors. Nil calls everything CodeInternal.
	Code Coder
	// Allow decides whether a connecting process is served. Nil serves the
	// own user's processes only; see [ParentOnly].
	Allow func(Credentials) error
	// Log is told of refused peers and of panics in handlers (never of
	// arguments). Nil is silent.
	Log func(string)

	methods map[string]handler
}

type handler func(ctx context.Context, body []byte) (any, error)

// SameUser allows processes of the own effective user.
func SameUser(c Credentials) error {
	if c.UID != os.Geteuid() {
		return fmt.Errorf("%w: user %d may not speak to the agent of user %d", ErrPeer, c.UID, os.Geteuid())
	}
	return nil
}

// ParentOnly allows the own user's process with the given id: the parent.
func ParentOnly(parent int) func(Credentials) error {
	return func(c Credentials) error {
		if err := SameUser(c); err != nil {
			return err
		}
		if c.PID != parent {
			return fmt.Errorf("%w: process %d is not the parent process %d", ErrPeer, c.PID, parent)
		}
		return nil
	}
}

// Register adds a method. Arguments and results are CBOR-encoded; results are
// not used after they have been sent, so a handler may let [Zeroer] results
// wipe themselves.
func Register[In, Out any](s *Server, method string, fn func(ctx context.Context, in *In) (*Out, error)) {
	if s.methods == nil {
		s.methods = make(map[string]handler)
	}
	s.methods[method] = func(ctx context.Context, body []byte) (any, error) {
		in := new(In)
		if len(body) > 0 {
			if err := decoding.Unmarshal(body, in); err != nil {
				return nil, fmt.Errorf("%w: arguments of %s", ErrMessage, method)
			}
		}
		if z, ok := any(in).(Zeroer); ok {
			defer z.Zero()
		}
		out, err := fn(ctx, in)
		if err != nil {
			return nil, err
		}
		return out, nil
	}
}

// Zeroer is an argument or a result that holds secrets: it is wiped when the
// message it came from or went into is done with.
type Zeroer interface{ Zero() }

// Serve accepts connections until the listener is closed or ctx is done, and
// returns when all handlers have returned.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("agent: accept: %w", err)
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			s.serveConn(ctx, c)
		}()
	}
}

func (s *Server) log(format string, args ...any) {
	if s.Log != nil {
		s.Log(fmt.Sprintf(format, args...))
	}
}

// Conn is one client's connection. Handlers find it with [ConnOf] and tie
// what they keep for a client to it.
type Conn struct {
	mu     sync.Mutex
	closed bool
	onEnd  []func()
}

type connKey struct{}

// ConnOf returns the connection that a handler's call came over. It is nil
// outside a handler.
func ConnOf(ctx context.Context) *Conn {
	c, _ := ctx.Value(connKey{}).(*Conn)
	return c
}

// OnEnd runs fn when the connection has ended; at once if it already has.
func (c *Conn) OnEnd(fn func()) {
	c.mu.Lock()
	if !c.closed {
		c.onEnd = append(c.onEnd, fn)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	fn()
}

func (c *Conn) end() {
	c.mu.Lock()
	fns := c.onEnd
	c.onEnd, c.closed = nil, true
	c.mu.Unlock()
	for _, fn := range fns {
		fn()
	}
}

func (s *Server) serveConn(ctx context.Context, c *net.UnixConn) {
	defer c.Close()
	allow := s.Allow
	if allow == nil {
		allow = SameUser
	}
	cred, err := PeerCredentials(c)
	if err == nil {
		err = allow(cred)
	}
	if err != nil {
		s.log("refused a connection: %v", err)
		return
	}
	conn := &Conn{}
	ctx, cancel := context.WithCancel(context.WithValue(ctx, connKey{}, conn))
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	var calls sync.WaitGroup
	defer conn.end()
	defer calls.Wait()
	defer cancel()

	var mu sync.Mutex
	running := make(map[uint64]context.CancelFunc)
	out := &writer{c: c}
	work := hands{done: ctx.Done(), all: &calls, free: make(chan func())}
	for {
		m, behind, err := readMessage(c)
		if err != nil {
			return
		}
		if m.Method == methodCancel {
			mu.Lock()
			if cancelCall := running[m.ID]; cancelCall != nil {
				cancelCall()
			}
			mu.Unlock()
			giveBack(behind)
			continue
		}
		callCtx, cancelCall := context.WithCancel(ctx)
		if m.Timeout > 0 {
			callCtx, cancelCall = withBoth(callCtx, cancelCall, time.Duration(m.Timeout)*time.Millisecond)
		}
		mu.Lock()
		running[m.ID] = cancelCall
		mu.Unlock()
		work.do(func() {
			answer, body := s.call(callCtx, &m)
			giveBack(behind)
			mu.Lock()
			delete(running, m.ID)
			mu.Unlock()
			cancelCall()
			if err := reply(out, answer, body); err != nil {
				c.Close()
			}
			giveBack(body)
		})
	}
}

// idleHands is how many goroutines of a connection wait for its next call.
const idleHands = 8

// hands carries out a connection's calls. A goroutine that has made one takes the
// next: a new one would grow its stack again with every call, for the way into
// the module is deep.
type hands struct {
	done <-chan struct{}
	all  *sync.WaitGroup
	free chan func() // what an idle goroutine takes
	idle atomic.Int32
}

// do starts f at once, on an idle goroutine or a new one.
func (h *hands) do(f func()) {
	select {
	case h.free <- f:
		return
	default:
	}
	h.all.Add(1)
	go func() {
		defer h.all.Done()
		for {
			f()
			if h.idle.Add(1) > idleHands {
				h.idle.Add(-1)
				return
			}
			select {
			case f = <-h.free:
				h.idle.Add(-1)
			case <-h.done:
				return
			}
		}
	}()
}

// reply sends an answer, or an error in its place where it is too long: its
// caller must not wait for it.
func reply(out *writer, answer *head, body *bytes.Buffer) error {
	var raw []byte
	if body != nil {
		raw = body.Bytes()
	}
	err := out.send(answer, raw)
	if errors.Is(err, ErrMessage) {
		err = out.send(&head{ID: answer.ID, Code: CodeInternal, Text: err.Error()}, nil)
	}
	return err
}

func withBoth(ctx context.Context, cancel context.CancelFunc, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithTimeout(ctx, d)
	return ctx, func() { stop(); cancel() }
}

func (s *Server) call(ctx context.Context, m *message) (answer *head, body *bytes.Buffer) {
	answer = &head{ID: m.ID}
	defer func() {
		if p := recover(); p != nil {
			// The panic's value may hold anything: only where it was is told.
			s.log("a handler of %s panicked\n%s", m.Method, debug.Stack())
			body = nil
			answer.Code, answer.Text = CodeInternal, "the HSM agent failed inside "+m.Method
		}
	}()
	fn, ok := s.methods[m.Method]
	if !ok {
		answer.Code, answer.Text = codeMethod, fmt.Sprintf("the HSM agent does not know the method %q", m.Method)
		return answer, nil
	}
	res, err := fn(ctx, m.body)
	if err == nil {
		body, err = encode(res)
		if z, ok := res.(Zeroer); ok {
			z.Zero()
		}
	}
	if err != nil {
		answer.Code, answer.Text = CodeInternal, err.Error()
		switch {
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
			answer.Code = CodeCancelled
		case s.Code != nil:
			if code := s.Code(err); code != "" {
				answer.Code = code
			}
		}
	}
	return answer, body
}
