package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Patience with a process that starts or stops the database: a start takes a second, a
// recovery after a crash some more.
const (
	gateSaid  = 3 * time.Second
	gateLimit = 2 * time.Minute
)

// ErrGate says that another process held the lock on the start of the database all the
// time. The error names it.
var ErrGate = errors.New("another process is starting or stopping the database")

// gate waits for a lock. It says what it waits for after a while, and gives up after the
// limit.
type gate struct {
	say   io.Writer // nil: nobody is told
	now   func() time.Time
	pause func(context.Context) error // between two tries
}

func newGate(say io.Writer) gate {
	return gate{say: say, now: time.Now, pause: func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
			return nil
		}
	}}
}

// lock opens path and takes a flock on it. The lock goes with the file or the process,
// whichever ends first; child processes do not inherit it. Who holds it alone leaves its
// process id in the file. ErrGate.
func (g gate) lock(ctx context.Context, path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of the database: %w", err)
	}
	begun, said := g.now(), false
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil && how == unix.LOCK_EX {
			err = leavePID(f)
		}
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock of the database: %w", err)
		}
		waited := g.now().Sub(begun)
		if waited >= gateLimit {
			defer f.Close()
			return nil, fmt.Errorf("%w for %s already: %s holds %s; see whether it was stopped, and let it go on or end it", ErrGate, gateLimit, holder(f), path)
		}
		if waited >= gateSaid && !said && g.say != nil {
			said = true
			fmt.Fprintf(g.say, "Waiting for %s, which is starting or stopping the database and holds %s.\n", holder(f), path)
		}
		if err := g.pause(ctx); err != nil {
			defer f.Close()
			return nil, fmt.Errorf("%w: %s holds %s: %w", ErrGate, holder(f), path, err)
		}
	}
}

func leavePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// holder names the process that holds the lock, as well as the file tells it.
func holder(f *os.File) string {
	b := make([]byte, 16)
	n, _ := f.ReadAt(b, 0)
	if pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n]))); err == nil && pid > 0 {
		return fmt.Sprintf("process %d", pid)
	}
	return "another process"
}
