package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Options say how the agent process is started.
type Options struct {
	// Command is the child's program and arguments; [SocketArgument] and a
	// path are appended.
	Command []string
	// Env is added to the environment.
	Env []string
	// Log is told each line that the child writes on standard error, and of
	// restarts. Nil is silent.
	Log func(string)
	// StartTimeout bounds the time until the child is ready: 30 s when zero.
	StartTimeout time.Duration
	// AnswerGrace is how long a call whose time was up may stay unanswered
	// before the child counts as hung and is killed: 5 s when zero.
	AnswerGrace time.Duration
	// Permanent tells by an announced failure's class whether starting the
	// child again is forbidden. Nil means never.
	Permanent func(code string) bool
}

// Restart delays: the first restart is at once, then they double.
const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
	healthyAfter = 10 * time.Second // a child that lived this long resets the delay
)

// Process is the agent's process seen from its parent. It is safe for
// concurrent use.
type Process struct {
	opt  Options
	done chan struct{} // closed when supervision has ended

	mu         sync.Mutex
	link       *link         // nil while there is none
	generation uint64        // of the newest link, from 1
	changed    chan struct{} // closed and replaced with each change of state
	final      error         // why there will be no further link
	quit       chan struct{} // closed by Close
	closing    bool
}

// Start starts the child and waits until it is ready. It stays supervised
// until Close: a child that dies is replaced. ctx bounds the first start only.
func Start(ctx context.Context, opt Options) (*Process, error) {
	if len(opt.Command) == 0 {
		return nil, errors.New("agent: no command to start")
	}
	if opt.StartTimeout == 0 {
		opt.StartTimeout = 30 * time.Second
	}
	if opt.AnswerGrace == 0 {
		opt.AnswerGrace = 5 * time.Second
	}
	if opt.Log == nil {
		opt.Log = func(string) {}
	}
	p := &Process{opt: opt, done: make(chan struct{}), changed: make(chan struct{}), quit: make(chan struct{})}
	first := make(chan error, 1)
	go p.supervise(ctx, first)
	if err := <-first; err != nil {
		<-p.done
		return nil, err
	}
	return p, nil
}

// supervise runs on one OS thread for the life of the process: the kernel
// sends the parent-death signal when the *thread* that started the child ends
// (prctl(2), PR_SET_PDEATHSIG).
func (p *Process) supervise(ctx context.Context, first chan<- error) {
	runtime.LockOSThread()
	defer close(p.done)
	backoff := time.Duration(0)
	for n := 0; ; n++ {
		startCtx := context.Background()
		if n == 0 {
			startCtx = ctx
		}
		started := time.Now()
		l, err := p.launch(startCtx)
		if err == nil {
			p.up(l) // before Start returns, so that its caller finds an agent
		}
		if n == 0 {
			first <- err
			if err != nil {
				p.end(err)
				return
			}
		}
		switch {
		case err == nil:
			err = l.wait()
			p.down()
			if p.stopped() {
				p.end(ErrClosed)
				return
			}
			p.opt.Log(fmt.Sprintf("the HSM agent (process %d) ended: %v; starting another", l.pid(), err))
		case p.stopped():
			p.end(ErrClosed)
			return
		default:
			var failed *startError
			if errors.As(err, &failed) && p.opt.Permanent != nil && p.opt.Permanent(failed.Code) {
				p.opt.Log(fmt.Sprintf("the HSM agent is not started again: %v", err))
				p.end(fmt.Errorf("%w: %w", ErrUnavailable, err))
				return
			}
			p.opt.Log(fmt.Sprintf("the HSM agent did not start: %v", err))
		}
		if err == nil || time.Since(started) > healthyAfter {
			backoff = 0
		}
		if backoff > 0 {
			select {
			case <-time.After(backoff):
			case <-p.quit:
			}
		}
		if p.stopped() {
			p.end(ErrClosed)
			return
		}
		backoff = min(max(2*backoff, firstBackoff), maxBackoff)
	}
}

// startError is a failure that the child announced.
type startError struct{ RemoteError }

func (e *startError) Unwrap() error { return &e.RemoteError }

// launch starts one child and connects to it. The socket's folder is gone
// again when launch returns: nobody else can connect later, and a killed
// parent leaves nothing behind.
func (p *Process) launch(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opt.StartTimeout)
	defer cancel()
	base := os.TempDir()
	if len(base) > 60 { // the kernel takes socket paths of 107 bytes (unix(7))
		base = "/tmp"
	}
	dir, err := os.MkdirTemp(base, "cb-hsm-") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("make the agent's socket folder: %w", err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")

	argv := append(append([]string{}, p.opt.Command...), SocketArgument, socket)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), p.opt.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true, // Ctrl-C on a terminal reaches the parent alone, which finishes the card in hand
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the HSM agent: %w", err)
	}
	l := &link{cmd: cmd, stdin: stdin, grace: p.opt.AnswerGrace, pending: make(map[uint64]*call), dead: make(chan struct{})}
	l.readers.Add(1)
	go func() {
		defer l.readers.Done()
		forward(stderr, p.opt.Log)
	}()
	ready := make(chan announcedOrError, 1)
	l.readers.Add(1)
	go func() {
		defer l.readers.Done()
		readAnnouncement(stdout, ready)
	}()
	fail := func(err error) (*link, error) {
		l.kill(err)
		_ = l.wait()
		return nil, err
	}
	select {
	case a := <-ready:
		if a.err != nil {
			return fail(a.err)
		}
		if !a.Ready {
			return fail(&startError{RemoteError{Code: a.Code, Text: a.Error}})
		}
	case <-ctx.Done():
		return fail(fmt.Errorf("the HSM agent was not ready in time: %w", ctx.Err()))
	case <-p.quit:
		return fail(ErrClosed)
	}
	if err := l.connect(ctx, socket); err != nil {
		return fail(err)
	}
	return l, nil
}

func (p *Process) up(l *link) {
	p.mu.Lock()
	p.generation++
	l.generation = p.generation
	p.link = l
	p.wake()
	closing := p.closing
	p.mu.Unlock()
	if closing { // Close came between launch and here
		l.shut()
	}
}

func (p *Process) down() {
	p.mu.Lock()
	p.link = nil
	p.wake()
	p.mu.Unlock()
}

func (p *Process) end(err error) {
	p.mu.Lock()
	p.link, p.final = nil, err
	p.wake()
	p.mu.Unlock()
}

// wake tells those who wait for a change. p.mu is held.
func (p *Process) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Process) stopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closing
}

// Close ends the child and waits for its end: it is asked first, and killed
// when it does not comply within two seconds.
func (p *Process) Close() error {
	p.mu.Lock()
	if !p.closing {
		p.closing = true
		close(p.quit)
	}
	l := p.link
	p.mu.Unlock()
	if l != nil {
		l.shut()
	}
	<-p.done
	return nil
}

// PID is the child's process id, 0 while there is none.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link == nil {
		return 0
	}
	return p.link.pid()
}

// Generation counts the children so far. What one child held for its parent
// is gone in the next.
func (p *Process) Generation() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.generation
}

// Call calls a method with in and decodes the answer into out (nil: ignored).
// Where there is no child at the moment, it waits for the next one as long as
// ctx allows. It returns the generation of the child that was asked.
//
// Errors: *RemoteError from the handler, ErrGone when the child ended during
// the call (it may have been executed), ErrUnavailable, ErrClosed, ctx's error.
func (p *Process) Call(ctx context.Context, method string, in, out any) (generation uint64, err error) {
	return p.call(ctx, 0, method, in, out)
}

// CallIn is Call bound to one generation: it fails with ErrGone when that
// child is not the present one.
func (p *Process) CallIn(ctx context.Context, generation uint64, method string, in, out any) error {
	_, err := p.call(ctx, generation, method, in, out)
	return err
}

func (p *Process) call(ctx context.Context, generation uint64, method string, in, out any) (uint64, error) {
	l, err := p.current(ctx, generation)
	if err != nil {
		return 0, err
	}
	return l.generation, l.call(ctx, method, in, out)
}

func (p *Process) current(ctx context.Context, generation uint64) (*link, error) {
	for {
		p.mu.Lock()
		l, final, changed, newest := p.link, p.final, p.changed, p.generation
		p.mu.Unlock()
		switch {
		case final != nil:
			return nil, final
		case generation != 0 && (l == nil || newest != generation || l.isDead()):
			return nil, ErrGone
		case l != nil && !l.isDead():
			return l, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: no other was ready in time: %w", ErrGone, ctx.Err())
		}
	}
}
