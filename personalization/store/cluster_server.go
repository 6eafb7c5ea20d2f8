package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// server is a running postmaster, started by this process or found.
type server struct {
	pid       int
	socketDir string
	exited    <-chan struct{} // closed when it ends; nil when it is not our child
}

const startTimeout = 2 * time.Minute // crash recovery after a long run included

// pidFile is what postmaster.pid says (PostgreSQL 15, miscadmin.h).
type pidFile struct {
	pid       int
	socketDir string
	status    string // "starting", "ready", "stopping", "standby"
}

func (c *Cluster) readPIDFile() (pidFile, error) {
	f, err := os.Open(filepath.Join(c.data, "postmaster.pid"))
	if err != nil {
		return pidFile{}, err
	}
	defer f.Close()
	var lines []string
	for s := bufio.NewScanner(f); s.Scan(); {
		lines = append(lines, strings.TrimSpace(s.Text()))
	}
	var p pidFile
	if len(lines) > 0 {
		p.pid, _ = strconv.Atoi(lines[0])
	}
	if len(lines) > 4 {
		p.socketDir = lines[4]
	}
	if len(lines) > 7 {
		p.status = lines[7]
	}
	return p, nil
}

// uses reports whether a process works in the data folder. The server's
// processes have it as their working folder, which a process that merely got
// the same number after a restart of the machine does not.
func (c *Cluster) uses(pid int) bool {
	cwd, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/cwd")
	if err != nil {
		return false
	}
	data, err := os.Stat(c.data)
	return err == nil && os.SameFile(cwd, data)
}

// running finds the server that runs on the data folder; pid 0 when there is
// none. One that is just starting is waited for, as is the end of one that is
// stopping or whose postmaster was killed.
func (c *Cluster) running(ctx context.Context) (server, error) {
	var found server
	err := poll(ctx, startTimeout, func() (bool, error) {
		p, err := c.readPIDFile()
		if errors.Is(err, fs.ErrNotExist) {
			return !c.anyUser(), nil
		}
		if err != nil {
			return false, fmt.Errorf("the running database: %w", err)
		}
		if !c.uses(p.pid) {
			if c.anyUser() {
				return false, nil // processes of a killed postmaster notice by themselves
			}
			// The number may belong to a stranger now, and PostgreSQL would not start then.
			if err := os.Remove(filepath.Join(c.data, "postmaster.pid")); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return false, fmt.Errorf("a leftover of the database: %w", err)
			}
			removeSocketDir(p.socketDir)
			return true, nil
		}
		if p.status != "ready" || p.socketDir == "" {
			return false, nil
		}
		found = server{pid: p.pid, socketDir: p.socketDir}
		return true, nil
	})
	if err != nil {
		return server{}, fmt.Errorf("looking for the running database: %w", err)
	}
	return found, nil
}

// anyUser reports whether any process at all works in the data folder.
func (c *Cluster) anyUser() bool {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && c.uses(pid) {
			return true
		}
	}
	return false
}

func (c *Cluster) start(ctx context.Context, bin string) (s server, err error) {
	owner, err := serverAccount()
	if err != nil {
		return s, err
	}
	if bin, err = c.binaries(bin); err != nil {
		return s, err
	}
	if err := c.init(ctx, bin, owner); err != nil {
		return s, err
	}
	data, err := os.Open(c.data)
	if err != nil {
		return s, fmt.Errorf("folder of the database: %w", err)
	}
	defer data.Close()
	log, err := c.openLog()
	if err != nil {
		return s, err
	}
	defer log.Close()
	socketDir, err := makeSocketDir(owner)
	if err != nil {
		return s, err
	}
	cmd := c.command(data, owner, filepath.Join(bin, "postgres"), "-D", dataPath, "-k", socketDir, "-p", "5432")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		removeSocketDir(socketDir)
		return s, fmt.Errorf("starting the database: %w", err)
	}
	exited := make(chan struct{})
	go func() {
		cmd.Wait() // reaps it; how it ended is in its log
		close(exited)
	}()
	s = server{pid: cmd.Process.Pid, socketDir: socketDir, exited: exited}
	err = poll(ctx, startTimeout, func() (bool, error) {
		select {
		case <-exited:
			return false, fmt.Errorf("the database ended while starting; see %s", log.Name())
		default:
		}
		p, err := c.readPIDFile()
		return err == nil && p.pid == s.pid && p.status == "ready", nil
	})
	if err != nil {
		cmd.Process.Signal(unix.SIGINT)
		<-exited
		removeSocketDir(socketDir)
		return server{}, err
	}
	return s, nil
}

func (c *Cluster) openLog() (*os.File, error) {
	dir := filepath.Join(c.dir, "log")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("log folder: %w", err)
	}
	path := filepath.Join(dir, "postgres.log")
	if st, err := os.Stat(path); err == nil && st.Size() > 10<<20 {
		os.Rename(path, path+".1") // one generation is kept; losing it harms nothing
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of the database: %w", err)
	}
	return f, nil
}

const socketPrefix = "cb-"

// makeSocketDir makes a folder short enough for a socket address (107 bytes)
// that the server's user can write to and this process can pass through.
func makeSocketDir(owner *account) (string, error) {
	base := os.TempDir()
	if len(base) > 60 || !openToAll(base) {
		base = "/tmp"
	}
	dir, err := os.MkdirTemp(base, socketPrefix)
	if err != nil {
		return "", fmt.Errorf("folder of the database's socket: %w", err)
	}
	if os.Geteuid() == 0 {
		err = os.Chown(dir, int(owner.uid), int(owner.gid))
	}
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		os.Remove(dir)
		return "", fmt.Errorf("folder of the database's socket: %w", err)
	}
	return dir, nil
}

// openToAll reports whether every folder on the way lets other users through.
func openToAll(dir string) bool {
	for {
		st, err := os.Stat(dir)
		if err != nil || st.Mode()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

// removeSocketDir removes a folder that makeSocketDir made, and nothing else.
func removeSocketDir(dir string) {
	if !strings.HasPrefix(filepath.Base(dir), socketPrefix) {
		return
	}
	os.Remove(filepath.Join(dir, ".s.PGSQL.5432"))
	os.Remove(filepath.Join(dir, ".s.PGSQL.5432.lock"))
	os.Remove(dir)
}

// stop asks for a fast shutdown and waits for its end; one that does not come
// is made to end at once, to be recovered from the log at the next start.
func (s server) stop(ctx context.Context) error {
	if err := unix.Kill(s.pid, unix.SIGINT); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("stopping the database: %w", err)
	}
	if err := s.wait(ctx, 30*time.Second); err != nil {
		unix.Kill(s.pid, unix.SIGQUIT)
		if err := s.wait(ctx, 10*time.Second); err != nil {
			return fmt.Errorf("stopping the database: %w", err)
		}
	}
	removeSocketDir(s.socketDir)
	return nil
}

func (s server) wait(ctx context.Context, timeout time.Duration) error {
	return poll(ctx, timeout, func() (bool, error) {
		if s.exited != nil {
			select {
			case <-s.exited:
				return true, nil
			default:
				return false, nil
			}
		}
		return processStart(s.pid) == 0, nil
	})
}

// processStart is when a process started, in clock ticks since boot (proc(5),
// field 22 of stat), or 0 when it is gone or only waits to be reaped.
func processStart(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, ok := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return 0
	}
	start, _ := strconv.ParseInt(fields[19], 10, 64)
	return start
}

// poll asks every 10 ms until done, an error, the timeout or ctx's end.
func poll(ctx context.Context, timeout time.Duration, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
