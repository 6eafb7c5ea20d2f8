package pcscd_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cardbureau/cardio/virtual/pcscd"
)

// childDir tells this test program, started again, to run a daemon in a folder
// until it is killed.
const childDir = "PCSCD_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		d, err := pcscd.Start(context.Background(), pcscd.Options{Readers: 3, Dir: dir})
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println(d.PID(), d.Socket())
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent lets go
		d.Stop()
		return
	}
	os.Exit(m.Run())
}

func start(t *testing.T, ctx context.Context, o pcscd.Options) *pcscd.Daemon {
	t.Helper()
	d, err := pcscd.Start(ctx, o)
	if errors.Is(err, pcscd.ErrNotInstalled) || errors.Is(err, pcscd.ErrNamespace) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Stop)
	return d
}

// gone waits until a process has ended.
func gone(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n != 1 {
			t.Fatalf("process %d is still there (%v)", pid, err)
		}
		return
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// folderOf is the private folder that the lease names.
func folderOf(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "pcscd.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r struct{ Folder string }
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r.Folder
}

func missing(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there (%v)", path, err)
	}
}

func TestStartAndStop(t *testing.T) {
	dir := t.TempDir()
	d := start(t, context.Background(), pcscd.Options{Readers: 3, Dir: dir})
	if n := len(d.Slots()); n != 3 {
		t.Fatalf("%d readers, want 3", n)
	}
	seen := map[int]bool{}
	for _, s := range d.Slots() {
		if seen[s.Port] || s.Reader == "" {
			t.Errorf("slots %v", d.Slots())
		}
		seen[s.Port] = true
	}
	if err := d.Describe("/somewhere/rack.sock"); err != nil {
		t.Fatal(err)
	}
	r, err := pcscd.ReadReaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r.Socket != d.Socket() || len(r.Readers) != 3 || r.Readers[2].Port != d.Slots()[2].Port || r.Readers[0].Control != "/somewhere/rack.sock" {
		t.Errorf("readers.json says %+v", r)
	}
	if len(d.Socket()) > 107 {
		t.Errorf("a socket path of %d bytes", len(d.Socket()))
	}
	folder := folderOf(t, dir)
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o711 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := pcscd.Start(context.Background(), pcscd.Options{Readers: 1, Dir: dir}); !errors.Is(err, pcscd.ErrRunning) {
		t.Errorf("a second daemon in the same folder: %v", err)
	}
	d.Stop()
	d.Stop()
	<-d.Done()
	gone(t, d.PID())
	missing(t, folder)
	if left := files(t, dir); len(left) != 1 || left[0] != "pcscd.lock" {
		t.Errorf("left in Dir: %q", left)
	}
}

func TestTwoDaemonsSideBySide(t *testing.T) {
	a := start(t, context.Background(), pcscd.Options{Readers: 1, Dir: t.TempDir()})
	b := start(t, context.Background(), pcscd.Options{Readers: pcscd.MaxReaders, Dir: t.TempDir()})
	if a.Socket() == b.Socket() {
		t.Error("both have one socket")
	}
	for _, d := range []*pcscd.Daemon{a, b} {
		c, err := net.Dial("unix", d.Socket())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
}

func TestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	d := start(t, ctx, pcscd.Options{Readers: 1, Dir: t.TempDir()})
	cancel()
	<-d.Done()
	gone(t, d.PID())
}

// TestStartGivenUp: a start that fails leaves nothing behind.
func TestStartGivenUp(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond) // it takes 10 or more
	defer cancel()
	_, err := pcscd.Start(ctx, pcscd.Options{Readers: 1, Dir: dir})
	if errors.Is(err, pcscd.ErrNotInstalled) || errors.Is(err, pcscd.ErrNamespace) {
		t.Skip(err)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if left := files(t, os.Getenv("TMPDIR")); len(left) != 0 {
		t.Errorf("left in the temporary folder: %q", left)
	}
	if left := files(t, dir); len(left) != 1 || left[0] != "pcscd.lock" {
		t.Errorf("left in Dir: %q", left)
	}
	start(t, context.Background(), pcscd.Options{Readers: 1, Dir: dir})
}

func TestDaemonThatDies(t *testing.T) {
	dir := t.TempDir()
	d := start(t, context.Background(), pcscd.Options{Readers: 1, Dir: dir})
	if err := syscall.Kill(d.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-d.Done() // whoever uses it can see
	d.Stop()
	start(t, context.Background(), pcscd.Options{Readers: 1, Dir: dir})
}

// child runs a daemon in another process.
type child struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	daemon int
	socket string
}

func startChild(t *testing.T, program, dir string, as *syscall.Credential) child {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), childDir+"="+dir, "HOME=/")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	if strings.HasPrefix(line, "error: ") {
		_ = cmd.Wait()
		if strings.Contains(line, pcscd.ErrNamespace.Error()) || strings.Contains(line, pcscd.ErrNotInstalled.Error()) {
			t.Skip(line)
		}
		t.Fatal(line)
	}
	c := child{cmd: cmd, stdin: stdin}
	if _, err := fmt.Sscan(line, &c.daemon, &c.socket); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return c
}

// TestKilledProgram: the daemon dies with the program, and the next one
// removes what is left.
func TestKilledProgram(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := startChild(t, program, dir, nil)
	folder := folderOf(t, dir)
	if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait()
	gone(t, c.daemon)
	if _, err := os.Stat(folder); err != nil {
		t.Errorf("the killed program tidied up: %v", err)
	}
	d := start(t, context.Background(), pcscd.Options{Readers: 1, Dir: dir})
	missing(t, folder)
	if folderOf(t, dir) == folder {
		t.Error("the folder is used again")
	}
	d.Stop()
}

// TestDaemonThatOutlivedItsProgram is ended at the next start, and only if it
// is still the same process.
func TestDaemonThatOutlivedItsProgram(t *testing.T) {
	dir := t.TempDir()
	outsider := exec.Command("sleep", "600")
	if err := outsider.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = outsider.Process.Kill() }()
	waited := make(chan error, 1)
	go func() { waited <- outsider.Wait() }()
	lease := func(startTime, folder string) {
		b := fmt.Sprintf(`{"folder":%q,"pid":%d,"startTime":%q}`, folder, outsider.Process.Pid, startTime)
		if err := os.WriteFile(filepath.Join(dir, "pcscd.json"), []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	precious := filepath.Join(t.TempDir(), "cb-precious")
	if err := os.Mkdir(precious, 0o755); err != nil {
		t.Fatal(err)
	}
	lease("1", precious) // a process with that number, but another one
	start(t, context.Background(), pcscd.Options{Readers: 1, Dir: dir}).Stop()
	if _, err := os.Stat(precious); err != nil {
		t.Errorf("a folder that is none of ours was removed: %v", err)
	}
	select {
	case err := <-waited:
		t.Fatalf("a process that only has the number was ended: %v", err)
	default:
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", outsider.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	lease(strings.Fields(string(stat))[21], "")
	start(t, context.Background(), pcscd.Options{Readers: 1, Dir: dir}).Stop()
	select {
	case <-waited:
	case <-time.After(10 * time.Second):
		t.Error("the leftover process was not ended")
	}
}

// TestUnprivileged runs as nobody, in a user namespace.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the other tests are unprivileged already")
	}
	// go test builds into a folder that only its user enters.
	public, err := os.MkdirTemp("", "pcscdtest")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(public) }()
	const nobody = 65534
	if err := errors.Join(os.Chmod(public, 0o755), os.Chown(public, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(public, "program")
	if err := os.WriteFile(program, b, 0o755); err != nil {
		t.Fatal(err)
	}
	c := startChild(t, program, filepath.Join(public, "run"), &syscall.Credential{Uid: nobody, Gid: nobody})
	conn, err := net.Dial("unix", c.socket) // from root's side of the fence
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	_ = c.stdin.Close()
	if err := c.cmd.Wait(); err != nil {
		t.Error(err)
	}
	gone(t, c.daemon)
}

func TestOptions(t *testing.T) {
	for _, n := range []int{-1, 0, pcscd.MaxReaders + 1} {
		if _, err := pcscd.Start(context.Background(), pcscd.Options{Readers: n, Dir: t.TempDir()}); err == nil {
			t.Errorf("%d readers were promised", n)
		}
	}
	if _, err := pcscd.ReadReaders(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("readers of no daemon: %v", err)
	}
}
