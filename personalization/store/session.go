package store

import (
	"context"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// session is what proves that this process lives: a row, and an advisory lock
// on its number held by a connection that does nothing else. When the process
// dies, however it dies, the server drops connection and lock. When the
// connection breaks, another takes the lock up again under the same number,
// unless somebody has declared the session over meanwhile.
type session struct {
	store *Store
	name  string
	actor Actor

	mu     sync.Mutex
	id     int32
	held   bool          // the lock is held as far as we know
	change chan struct{} // closed and replaced when id or held change
	closed bool
	wake   context.CancelFunc // ends the waiting on the connection of now
	stop   context.CancelFunc
	done   chan struct{}
}

// machine names the set of processes in which a process number means
// something: this boot of this machine, this PID namespace.
var machine = sync.OnceValue(func() string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	ns, _ := os.Readlink("/proc/self/ns/pid")
	return strings.TrimSpace(string(boot)) + " " + ns
})

func (s *Store) openSession(ctx context.Context, name string, a Actor) (*session, error) {
	watch, stop := context.WithCancel(context.Background())
	ss := &session{store: s, name: name, actor: a, change: make(chan struct{}), stop: stop, done: make(chan struct{})}
	conn, err := ss.take(ctx)
	if err != nil {
		stop()
		return nil, err
	}
	go ss.watch(watch, conn)
	return ss, nil
}

// take gets the lock over a new connection, under the number there is or, when
// there is none or it has been declared over, under a new one.
func (ss *session) take(ctx context.Context) (conn *pgx.Conn, err error) {
	config := ss.store.line.Config().ConnConfig
	if conn, err = pgx.ConnectConfig(ctx, config); err != nil {
		return nil, dbError("opening a station", err)
	}
	defer func() {
		if err != nil {
			conn.Close(context.WithoutCancel(ctx))
		}
	}()
	ss.mu.Lock()
	id := ss.id
	ss.mu.Unlock()
	if id != 0 {
		// The server may still be about to end the connection that had the lock.
		var over bool
		waiting, cancel := context.WithTimeout(ctx, abandonWait)
		defer cancel()
		if _, err = conn.Exec(waiting, "SELECT pg_advisory_lock(station_class(), $1)", id); err != nil {
			if waiting.Err() != nil && ctx.Err() == nil {
				ss.mu.Lock()
				ss.id = 0 // a server that never notices: go on under a new number
				ss.mu.Unlock()
			}
			return nil, dbError("opening a station", err)
		}
		err = conn.QueryRow(ctx, "SELECT ended_at IS NOT NULL FROM station_session WHERE id = $1", id).Scan(&over)
		if err != nil {
			return nil, dbError("opening a station", err)
		}
		if !over {
			ss.set(id, true)
			return conn, nil
		}
	}
	err = conn.QueryRow(ctx, `INSERT INTO station_session (station, machine, pid, pid_start, actor) VALUES ($1, $2, $3, $4, $5)
		RETURNING id`, ss.name, machine(), os.Getpid(), processStart(os.Getpid()), ss.actor.ID).Scan(&id)
	if err != nil {
		return nil, dbError("opening a station", err)
	}
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(station_class(), $1)", id); err != nil {
		return nil, dbError("opening a station", err)
	}
	ss.set(id, true)
	return conn, nil
}

func (ss *session) set(id int32, held bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.id, ss.held = id, held
	close(ss.change)
	ss.change = make(chan struct{})
}

func (ss *session) lose() {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.held = false
	close(ss.change)
	ss.change = make(chan struct{})
}

// watch waits for the connection to break and takes the lock up again.
func (ss *session) watch(ctx context.Context, conn *pgx.Conn) {
	defer close(ss.done)
	for {
		waiting, wake := context.WithCancel(ctx)
		ss.mu.Lock()
		ss.wake = wake
		ss.mu.Unlock()
		for {
			if _, err := conn.WaitForNotification(waiting); err != nil {
				break
			}
		}
		wake()
		closing, cancel := context.WithTimeout(context.Background(), time.Second)
		conn.Close(closing)
		cancel()
		if ctx.Err() != nil {
			return
		}
		ss.store.log.Warn("the station's database session broke", "station", ss.name)
		ss.lose()
		for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
			var err error
			if conn, err = ss.take(ctx); err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
		}
	}
}

// current waits until the lock is held and returns the session's number.
func (ss *session) current(ctx context.Context) (int32, error) {
	for {
		ss.mu.Lock()
		id, held, change, closed := ss.id, ss.held, ss.change, ss.closed
		ss.mu.Unlock()
		if closed {
			return 0, ErrStationClosed
		}
		if held {
			return id, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-change:
		}
	}
}

// close gives the lock up, puts what is still running in doubt, and reports
// how many attempts that were.
func (ss *session) close(ctx context.Context) (int, error) {
	ss.mu.Lock()
	if ss.closed {
		ss.mu.Unlock()
		return 0, nil
	}
	ss.closed = true
	id := ss.id
	close(ss.change)
	ss.change = make(chan struct{})
	ss.mu.Unlock()
	ss.stop()
	<-ss.done
	return ss.store.abandon(ctx, id, true)
}

// abandonWait is how long the server may take to notice that a process is gone
// which is known to be.
const abandonWait = 10 * time.Second

func (s *Store) abandon(ctx context.Context, session int32, wait bool) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, abandonWait)
	defer cancel()
	err = repeat(ctx, func() error {
		return s.line.QueryRow(ctx, "SELECT abandon_session($1, $2)", session, wait).Scan(&n)
	})
	if err != nil {
		return 0, dbError("putting abandoned attempts in doubt", err)
	}
	return n, nil
}

// MarkAbandoned puts the attempts of processes that are gone in doubt, their
// orders and blanks with them, and returns how many. An attempt is abandoned
// when nobody holds its session's lock; that its process died on this very
// machine is only a reason to wait until the server has noticed.
func (s *Store) MarkAbandoned(ctx context.Context) (int, error) {
	type running struct {
		ID       int32
		Machine  string
		PID      int
		PIDStart int64
	}
	sessions, err := list(ctx, s.line, "looking for abandoned attempts", pgx.RowToStructByPos[running],
		"SELECT id, machine, pid, pid_start FROM running_sessions()")
	if err != nil {
		return 0, err
	}
	total := 0
	for _, r := range sessions {
		gone := r.Machine == machine() && processStart(r.PID) != r.PIDStart
		n, err := s.abandon(ctx, r.ID, gone)
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

// renew makes a new session after the server said that session is over, unless
// that has happened meanwhile.
func (ss *session) renew(ctx context.Context, over int32) error {
	ss.mu.Lock()
	if ss.id == over && ss.wake != nil {
		ss.wake() // the watcher drops the connection and takes a new number
	}
	ss.mu.Unlock()
	for {
		ss.mu.Lock()
		id, change, closed := ss.id, ss.change, ss.closed
		ss.mu.Unlock()
		if closed {
			return ErrStationClosed
		}
		if id != over {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-change:
		}
	}
}
