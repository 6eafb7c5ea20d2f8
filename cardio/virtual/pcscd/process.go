package pcscd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// child is the daemon's process.
type child struct {
	pid  int
	log  string // path
	done chan struct{}
	code int // exit code, once done
}

// enter prepares the namespace and becomes pcscd: $1 the folder for
// /run/pcscd, $2 an empty folder that hides the USB drivers, $3 where those
// are, $4 pcscd, $5 the readers' configuration, then further options. Where
// /run/pcscd does not exist and cannot be made, a tmpfs over /run holds it.
const enter = `
[ -d /run/pcscd ] || mkdir /run/pcscd 2>/dev/null || { mount -t tmpfs tmpfs /run && mkdir /run/pcscd; } || exit 96
mount --bind "$1" /run/pcscd || exit 96
mount --bind "$2" "$3" || exit 96
pcscd=$4 config=$5
shift 5
exec "$pcscd" -f -C -c "$config" "$@"
`

// exitNoMount is enter's way to say that the system forbids mounting.
const exitNoMount = 96

// systemSocket is where pcscd listens without a namespace.
const systemSocket = "/run/pcscd/pcscd.comm"

// spawn starts pcscd in a mount namespace of its own (and, where this process
// is not root, a user namespace). Where the system allows none, root starts it
// in the usual place, provided that nobody answers there.
func spawn(folder string, t tools) (*child, string, error) {
	log := filepath.Join(folder, "pcscd.log")
	config := filepath.Join(folder, "readers")
	attr := &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		attr.Unshareflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	run := filepath.Join(folder, "run")
	args := append([]string{"-c", enter, "pcscd", run, filepath.Join(folder, "empty"), t.usbDrivers, t.pcscd, config}, t.options...)
	c, err := launch(exec.Command("/bin/sh", args...), attr, log)
	if err == nil {
		if err = c.pastMounts(filepath.Join(run, "pcscd.comm")); err == nil {
			return c, filepath.Join(run, "pcscd.comm"), nil
		}
	}
	if !errors.Is(err, ErrNamespace) && !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EACCES) &&
		!errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EINVAL) {
		return nil, "", fmt.Errorf("start pcscd: %w", err)
	}
	if os.Geteuid() != 0 || answers(systemSocket) {
		return nil, "", ErrNamespace
	}
	// What a killed daemon left there would keep the next one out.
	for _, left := range []string{systemSocket, filepath.Join(filepath.Dir(systemSocket), "pcscd.pid")} {
		_ = os.Remove(left)
	}
	args = append([]string{"-f", "-C", "-c", config}, t.options...)
	if c, err = launch(exec.Command(t.pcscd, args...), &syscall.SysProcAttr{}, log); err != nil {
		return nil, "", fmt.Errorf("start pcscd: %w", err)
	}
	return c, systemSocket, nil
}

// launch starts a command that the kernel kills when this process dies. That
// promise is tied to the thread that starts it, so one goroutine keeps a
// thread for as long as the child lives.
func launch(cmd *exec.Cmd, attr *syscall.SysProcAttr, log string) (*child, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	attr.Pdeathsig = syscall.SIGKILL
	attr.Setpgid = true // a Ctrl-C is ours to handle
	cmd.SysProcAttr = attr
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	c := &child{log: log, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer func() { _ = out.Close() }()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		c.pid = cmd.Process.Pid
		started <- nil
		_ = cmd.Wait()
		c.code = cmd.ProcessState.ExitCode()
		close(c.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// pastMounts waits until the child has become pcscd, which shows in its
// process name, or has said that it may not mount.
func (c *child) pastMounts(socket string) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-c.done:
			if c.code == exitNoMount {
				return ErrNamespace
			}
			return nil // waitReady says why
		case <-tick.C:
		}
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", c.pid))
		if err == nil && strings.TrimSpace(string(name)) != "sh" || answers(socket) {
			return nil
		}
	}
}

// lastWords is the end of what the daemon printed.
func (c *child) lastWords() string {
	b, err := os.ReadFile(c.log)
	if err != nil || len(b) == 0 {
		return "it printed nothing"
	}
	if len(b) > 400 {
		b = b[len(b)-400:]
	}
	return strings.Join(strings.Fields(string(b)), " ")
}

// answers reports whether someone accepts connections on a unix socket.
func answers(socket string) bool {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}
