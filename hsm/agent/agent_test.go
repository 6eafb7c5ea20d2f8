package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// variable makes the test binary an agent of one behaviour or another.
const variable = "CARDBUREAU_TEST_AGENT"

func TestMain(m *testing.M) {
	switch os.Getenv(variable) {
	case "":
		os.Exit(m.Run())
	case "serve":
		os.Exit(child(ParentOnly(os.Getppid())))
	case "fail":
		Fail("pin", errors.New("the token refuses the PIN"))
		os.Exit(1)
	case "garbage":
		fmt.Println("hello")
		os.Exit(0)
	case "silent":
		select {}
	case "once": // serves the first time, refuses for good the second
		if _, err := os.Stat(os.Getenv("MARK")); err == nil {
			Fail("pin", errors.New("the token refuses the PIN"))
			os.Exit(1)
		}
		if err := os.WriteFile(os.Getenv("MARK"), nil, 0o600); err != nil {
			os.Exit(1)
		}
		os.Exit(child(SameUser))
	case "dial":
		os.Exit(dial(os.Args[1]))
	}
}

type text struct{ Text string }

type wiped struct{ Data []byte }

func (w *wiped) Zero() { clear(w.Data) }

// child serves methods that behave in every way a call can.
func child(allow func(Credentials) error) int {
	s := &Server{Allow: allow, Log: func(l string) { fmt.Fprintln(os.Stderr, l) }, Code: func(err error) string {
		if errors.Is(err, os.ErrNotExist) {
			return "missing"
		}
		return ""
	}}
	Register(s, "echo", func(_ context.Context, in *text) (*text, error) { return in, nil })
	Register(s, "bytes", func(_ context.Context, in *wiped) (*wiped, error) {
		return &wiped{bytes.Clone(in.Data)}, nil
	})
	Register(s, "missing", func(context.Context, *text) (*text, error) { return nil, os.ErrNotExist })
	Register(s, "panic", func(_ context.Context, in *text) (*text, error) { panic("with the secret " + in.Text) })
	Register(s, "die", func(context.Context, *text) (*text, error) { os.Exit(3); return nil, nil })
	Register(s, "wait", func(ctx context.Context, _ *text) (*text, error) { <-ctx.Done(); return nil, ctx.Err() })
	Register(s, "hang", func(context.Context, *text) (*text, error) { select {} })
	Register(s, "big", func(context.Context, *text) (*wiped, error) { return &wiped{make([]byte, MaxMessage)}, nil })
	path := os.Args[len(os.Args)-1]
	if err := Run(context.Background(), s, path); err != nil {
		Fail("", err)
		return 1
	}
	return 0
}

func options(t *testing.T, behaviour string, env ...string) Options {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Command: []string{exe}, Env: append(env, variable+"="+behaviour), StartTimeout: 20 * time.Second}
}

func start(t *testing.T, change ...func(*Options)) *Process {
	t.Helper()
	o := options(t, "serve")
	for _, c := range change {
		c(&o)
	}
	p, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func echo(ctx context.Context, p *Process, s string) (string, error) {
	var out text
	_, err := p.Call(ctx, "echo", text{s}, &out)
	return out.Text, err
}

func TestCalls(t *testing.T) {
	p := start(t)
	ctx := t.Context()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				want := fmt.Sprint(i, "/", j)
				if got, err := echo(ctx, p, want); err != nil || got != want {
					t.Errorf("got %q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
	for _, n := range []int{0, 1, 100_000, 3 << 20} {
		data := bytes.Repeat([]byte{7}, n)
		var out wiped
		if _, err := p.Call(ctx, "bytes", wiped{data}, &out); err != nil || !bytes.Equal(out.Data, data) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	var remote *RemoteError
	for method, code := range map[string]string{"missing": "missing", "panic": CodeInternal, "nonsense": codeMethod, "big": CodeInternal} {
		_, err := p.Call(ctx, method, text{"s3cret"}, nil)
		if !errors.As(err, &remote) || remote.Code != code || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", method, err)
		}
	}
	if _, err := p.Call(ctx, "bytes", wiped{make([]byte, MaxMessage)}, nil); !errors.Is(err, ErrMessage) {
		t.Errorf("too long a call: %v", err)
	}
	if got, err := echo(ctx, p, "still there"); err != nil || got != "still there" || p.Generation() != 1 {
		t.Errorf("afterwards %q, %v, generation %d", got, err, p.Generation())
	}
}

func TestCancelledCallLeavesTheAgentAlone(t *testing.T) {
	p := start(t, func(o *Options) { o.AnswerGrace = 10 * time.Second })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err := p.Call(ctx, "wait", text{}, nil)
	var remote *RemoteError
	if !errors.Is(err, context.DeadlineExceeded) && !(errors.As(err, &remote) && remote.Code == CodeCancelled) {
		t.Errorf("got %v", err)
	}
	if _, err := echo(t.Context(), p, "x"); err != nil || p.Generation() != 1 {
		t.Errorf("afterwards: %v, generation %d", err, p.Generation())
	}
}

func TestHungAgentIsReplaced(t *testing.T) {
	p := start(t, func(o *Options) { o.AnswerGrace = 20 * time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Call(ctx, "hang", text{}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	waitGeneration(t, p, 2)
	if _, err := echo(t.Context(), p, "x"); err != nil {
		t.Errorf("the next agent: %v", err)
	}
}

// waitGeneration waits for supervision, which tells of each change.
func waitGeneration(t *testing.T, p *Process, want uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		p.mu.Lock()
		have, changed := p.generation, p.changed
		p.mu.Unlock()
		if have >= want {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("generation %d, want %d", have, want)
		}
	}
}

func TestKilledAgentIsReplaced(t *testing.T) {
	var mu sync.Mutex
	var lines []string
	p := start(t, func(o *Options) {
		o.Log = func(l string) { mu.Lock(); lines = append(lines, l); mu.Unlock() }
	})
	for round := range 3 {
		generation := p.Generation()
		failed := make(chan error, 4)
		for range cap(failed) {
			go func() { _, err := p.Call(context.Background(), "hang", text{}, nil); failed <- err }()
		}
		for running := 0; running < cap(failed); { // until all calls are under way
			p.mu.Lock()
			l := p.link
			p.mu.Unlock()
			l.mu.Lock()
			running = len(l.pending)
			l.mu.Unlock()
		}
		if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for range cap(failed) {
			if err := <-failed; !errors.Is(err, ErrGone) {
				t.Errorf("a call that the agent died in: %v", err)
			}
		}
		if got, err := echo(t.Context(), p, "x"); err != nil || got != "x" {
			t.Errorf("round %d: the next agent: %v", round, err)
		}
		if err := p.CallIn(t.Context(), generation, "echo", text{}, nil); !errors.Is(err, ErrGone) {
			t.Errorf("a call to the agent that died: %v", err)
		}
	}
	if _, err := p.Call(t.Context(), "die", text{}, nil); !errors.Is(err, ErrGone) {
		t.Errorf("an agent that exits: %v", err)
	}
	if _, err := echo(t.Context(), p, "x"); err != nil {
		t.Errorf("the agent after that: %v", err)
	}
	p.Close()
	if _, err := echo(t.Context(), p, "x"); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if n := len(lines); n != 4 {
		t.Errorf("%d lines in the log: %q", n, lines)
	}
}

func TestStartFailures(t *testing.T) {
	var remote *RemoteError
	_, err := Start(t.Context(), options(t, "fail"))
	if !errors.As(err, &remote) || remote.Code != "pin" || err.Error() != "the token refuses the PIN" {
		t.Errorf("an agent that says why: %v", err)
	}
	if _, err := Start(t.Context(), options(t, "garbage")); err == nil {
		t.Error("an agent that talks nonsense started")
	}
	o := options(t, "silent")
	o.StartTimeout = 30 * time.Millisecond
	if _, err := Start(t.Context(), o); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an agent that says nothing: %v", err)
	}
	if _, err := Start(t.Context(), Options{Command: []string{"/nonexistent"}}); err == nil {
		t.Error("no program, and it started")
	}
	if _, err := Start(t.Context(), Options{}); err == nil {
		t.Error("no command, and it started")
	}
}

// TestPermanentFailureIsNotRepeated lets the second start announce a failure
// that must not be provoked again.
func TestPermanentFailureIsNotRepeated(t *testing.T) {
	o := options(t, "once", "MARK="+filepath.Join(t.TempDir(), "mark"))
	o.Permanent = func(code string) bool { return code == "pin" }
	p, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err = echo(t.Context(), p, "x")
		for errors.Is(err, ErrGone) { // sent to the dying one
			_, err = echo(t.Context(), p, "x")
		}
		var remote *RemoteError
		if !errors.Is(err, ErrUnavailable) || !errors.As(err, &remote) || remote.Code != "pin" {
			t.Errorf("got %v", err)
		}
	}
	if p.PID() != 0 {
		t.Error("there is an agent")
	}
}

// dial is a process that tries to speak to somebody else's agent.
func dial(path string) int {
	c, err := net.Dial("unix", path)
	if err != nil {
		return 2
	}
	defer c.Close()
	if _, err := c.Write([]byte{0, 0, 0, 2, 0, 0}); err != nil {
		return 0
	}
	if n, err := c.Read(make([]byte, 1)); n == 0 && err != nil {
		return 0 // closed on us: what must happen
	}
	return 3
}

// TestOtherProcessesAreRefused connects from another process of the same
// user, and from another user where the test may become one.
func TestOtherProcessesAreRefused(t *testing.T) {
	dir, err := os.MkdirTemp("", "cb-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the socket's mode: %v, %v", info.Mode(), err)
	}
	var mu sync.Mutex
	var refused []string
	s := &Server{Allow: ParentOnly(os.Getpid()), Log: func(l string) { mu.Lock(); refused = append(refused, l); mu.Unlock() }}
	Register(s, "echo", func(_ context.Context, in *text) (*text, error) { return in, nil })
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()

	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	attempt := func(cred *syscall.Credential) {
		t.Helper()
		cmd := exec.Command(exe, path)
		cmd.Env = []string{variable + "=dial"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("the stranger was not refused: %v %s", err, out)
		}
	}
	attempt(nil)
	attempts := 1
	if os.Geteuid() == 0 {
		// The folder alone would keep another user out: open it up so that the
		// credentials are what is tested.
		if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(path, 0o666), os.Chmod(filepath.Dir(exe), 0o755), os.Chmod(filepath.Dir(filepath.Dir(exe)), 0o755)); err != nil {
			t.Fatal(err)
		}
		attempt(&syscall.Credential{Uid: 65534, Gid: 65534})
		attempts++
	}
	// The parent itself is served.
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body, err := encode(text{"hello"})
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{c: c}
	if err := w.send(&head{ID: 1, Method: "echo"}, body.Bytes()); err != nil {
		t.Fatal(err)
	}
	if m, _, err := readMessage(c); err != nil || m.ID != 1 || m.Code != "" {
		t.Errorf("the parent: %+v, %v", m.head, err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(refused) != attempts {
		t.Errorf("refused %q", refused)
	}
}

func TestListenWantsAPrivateFolder(t *testing.T) {
	dir := t.TempDir() // mode 0755 or so
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(filepath.Join(dir, "s")); err == nil {
		t.Error("a folder open to others was taken")
	}
	if _, err := Listen("/" + strings.Repeat("x", 120)); err == nil {
		t.Error("a path that no socket can have was taken")
	}
	if _, err := Listen("/nonexistent/s"); err == nil {
		t.Error("a folder that is not there was taken")
	}
}

// TestConnectionEnd runs what a handler tied to its connection.
func TestConnectionEnd(t *testing.T) {
	c := &Conn{}
	var n int
	c.OnEnd(func() { n++ })
	c.end()
	c.OnEnd(func() { n++ })
	if n != 2 {
		t.Errorf("%d of 2 functions ran", n)
	}
}

// TestAgentEndsWithItsParent kills the process between the test and an agent.
func TestAgentEndsWithItsParent(t *testing.T) {
	if os.Getenv("CARDBUREAU_TEST_MIDDLE") != "" {
		p, err := Start(context.Background(), options(t, "serve"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("agent %d\n", p.PID())
		select {}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestAgentEndsWithItsParent$")
	cmd.Env = append(os.Environ(), "CARDBUREAU_TEST_MIDDLE=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscanf(out, "agent %d\n", &pid); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	deadline := time.Now().Add(10 * time.Second)
	for alive(pid) {
		if time.Now().After(deadline) {
			t.Fatalf("the agent (process %d) outlives its parent", pid)
		}
		time.Sleep(time.Millisecond) // nothing tells of the end of a process that is not ours
	}
}

// alive reports whether a process runs; one that nobody has waited for yet
// does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(b, []byte(") "))
	return len(rest) > 0 && rest[0] != 'Z' && rest[0] != 'X'
}

func FuzzReadMessage(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 0, 0})
	f.Add([]byte{0, 0, 0, 9, 0, 3, 0xA1, 1, 5, 0xA1, 1, 2, 3})
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, behind, err := readMessage(bytes.NewReader(b))
		if err != nil {
			return
		}
		if len(m.body) > len(b) {
			t.Errorf("a body of %d bytes out of %d", len(m.body), len(b))
		}
		giveBack(behind)
	})
}

func FuzzAnnouncement(f *testing.F) {
	f.Add([]byte(`{"ready":true}`))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseAnnouncement(b) })
}
