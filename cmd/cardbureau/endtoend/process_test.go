package endtoend

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take before the test gives up.
const patience = 2 * time.Minute

// process is a command that was started.
type process struct {
	t      testing.TB
	name   string
	cmd    *exec.Cmd
	stdout output
	stderr output
	done   chan struct{}
	status int // exit status once done; -1 when a signal ended it
	begun  time.Time
}

// output collects what a process prints.
type output struct {
	mu    sync.Mutex
	b     bytes.Buffer
	first chan struct{} // closed with the first whole line
	once  sync.Once
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b.Write(p)
	if bytes.IndexByte(p, '\n') >= 0 {
		o.once.Do(func() { close(o.first) })
	}
	return len(p), nil
}

func (o *output) bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.b.Bytes())
}

func (o *output) String() string { return string(o.bytes()) }

// launch starts a command. It ends with this process, which the kernel ties to
// the thread that started it: a goroutine keeps that thread.
func launch(t testing.TB, env []string, name string, args ...string) *process {
	t.Helper()
	return launchTyped(t, env, nil, name, args...)
}

// launchTyped is launch with what is typed; nil: nothing.
func launchTyped(t testing.TB, env []string, typed io.Reader, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: filepath.Base(name) + " " + strings.Join(args, " "), cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.stdout.first, p.stderr.first = make(chan struct{}), make(chan struct{})
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdin = typed
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	// A grandchild that keeps the pipes open must not keep the test waiting.
	p.cmd.WaitDelay = 5 * time.Second
	p.begun = time.Now()
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = p.cmd.Wait()
		p.status = p.cmd.ProcessState.ExitCode()
		close(p.done)
	}()
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", p.name, err)
	}
	t.Cleanup(func() {
		select {
		case <-p.done:
		default:
			p.stop()
		}
	})
	return p
}

// pid is the process's number.
func (p *process) pid() int { return p.cmd.Process.Pid }

// kill is kill -9 of the process alone, and waits for its end.
func (p *process) kill() {
	p.t.Helper()
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop asks the process to end.
func (p *process) stop() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	p.wait()
}

// wait waits for the end and returns the exit status.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines, to standard error
		<-p.done
		p.t.Errorf("%s does not end\n%s", p.name, p.stderr.String())
	}
	return p.status
}

// ready waits for the first line of standard output.
func (p *process) ready() []byte {
	p.t.Helper()
	select {
	case <-p.stdout.first:
	case <-p.done:
		p.t.Fatalf("%s ended with %d before it was ready\n%s", p.name, p.status, p.stderr.String())
	case <-time.After(patience):
		p.t.Fatalf("%s does not become ready\n%s", p.name, p.stderr.String())
	}
	return p.stdout.bytes()
}

// child finds a child process by a part of its command line.
func (p *process) child(part string) int {
	p.t.Helper()
	for _, q := range processes() {
		if q.parent == p.pid() && strings.Contains(q.command, part) {
			return q.pid
		}
	}
	p.t.Fatalf("%s has no child %q", p.name, part)
	return 0
}

// seen is a process of the machine.
type seen struct {
	pid, parent int
	command     string // arguments joined by spaces
	folder      string // working folder
}

// processes lists what runs on the machine.
func processes() (out []seen) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[0] == "Z" || fields[0] == "X" {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		command, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		folder, _ := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		out = append(out, seen{pid, parent, strings.ReplaceAll(strings.TrimRight(string(command), "\x00"), "\x00", " "), folder})
	}
	return out
}

// users lists the processes that have to do with any of the folders.
func users(folders ...string) (out []seen) {
	for _, p := range processes() {
		if p.pid == os.Getpid() {
			continue
		}
		for _, f := range folders {
			if strings.Contains(p.command, f) || p.folder == f || strings.HasPrefix(p.folder, f+"/") {
				out = append(out, p)
				break
			}
		}
	}
	return out
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, errors.New("it does not happen"))
		case <-tick.C:
		}
	}
}
