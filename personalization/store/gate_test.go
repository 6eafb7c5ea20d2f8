package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestGate: who waits is told once for whom, gives up after the limit, and gets the lock
// that is given back before. The clock is the test's.
func TestGate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := newGate(nil).lock(t.Context(), path, unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	me := fmt.Sprintf("process %d", os.Getpid())
	var said strings.Builder
	clock := time.Unix(0, 0)
	free := func() {}
	g := gate{say: &said, now: func() time.Time { return clock }, pause: func(ctx context.Context) error {
		clock = clock.Add(time.Second)
		free()
		return ctx.Err()
	}}
	if _, err := g.lock(t.Context(), path, unix.LOCK_EX); !errors.Is(err, ErrGate) || !strings.Contains(err.Error(), me) {
		t.Errorf("after the limit: %v", err)
	}
	if got := clock.Sub(time.Unix(0, 0)); got != gateLimit {
		t.Errorf("it waited %s", got)
	}
	if got := said.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, me) || !strings.Contains(got, path) {
		t.Errorf("said: %q", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.lock(ended, path, unix.LOCK_SH); !errors.Is(err, ErrGate) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	said.Reset()
	free = func() { held.Close() }
	f, err := g.lock(t.Context(), path, unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if said.Len() > 0 {
		t.Errorf("given back at once, said: %s", said.String())
	}
}
