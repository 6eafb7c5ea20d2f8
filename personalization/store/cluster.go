package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Names of the private cluster's roles and database. The program works as
// databaseUser, who owns the database and is no superuser; superUser is for
// maintenance by hand.
const (
	databaseName = "cardbureau"
	databaseUser = "cardbureau"
	superUser    = "postgres"
)

// ClusterOptions say where a private cluster lives.
type ClusterOptions struct {
	Dir    string       // data folder of the program; the cluster is in Dir/postgres
	Bin    string       // folder of initdb and postgres; "" finds the newest installed
	Logger *slog.Logger // nil: silent
	// Waiting is told, in a line, when another process keeps the start waiting.
	Waiting io.Writer
}

// Cluster is a lease on a running private PostgreSQL server. Processes that
// work in the same folder share the server: the first starts it, the last to
// leave stops it, and whoever comes after a killed process adopts what runs.
//
// The server listens on a unix socket alone, in a short folder of its own
// under the temporary folder, and lets in only root and its owner by peer
// authentication. Data checksums and fsync are on. When this process is root,
// the server runs as user postgres, or nobody.
type Cluster struct {
	dir    string
	data   string
	log    *slog.Logger
	lease  *os.File // shared flock, held as long as this process uses the server
	server server
	gate   gate
	once   sync.Once
	closed error
}

// StartCluster makes the cluster when it is not there, starts it or adopts the
// one that runs, and takes a lease on it that ends with [Cluster.Close] or with
// the process.
func StartCluster(ctx context.Context, o ClusterOptions) (*Cluster, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("data folder of the database: %w", err)
	}
	c := &Cluster{dir: dir, data: filepath.Join(dir, "postgres"), log: o.Logger, gate: newGate(o.Waiting)}
	if c.log == nil {
		c.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if err := os.MkdirAll(filepath.Join(dir, "run"), 0o700); err != nil {
		return nil, fmt.Errorf("data folder of the database: %w", err)
	}
	gate, err := c.gate.lock(ctx, c.gatePath(), unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer gate.Close()

	c.server, err = c.running(ctx)
	if err != nil {
		return nil, err
	}
	if c.server.pid == 0 {
		if c.server, err = c.start(ctx, o.Bin); err != nil {
			return nil, err
		}
		c.log.Info("database started", "pid", c.server.pid)
	} else {
		c.log.Info("database adopted", "pid", c.server.pid)
	}
	if c.lease, err = c.gate.lock(ctx, c.leasePath(), unix.LOCK_SH); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Cluster) gatePath() string  { return filepath.Join(c.dir, "run", "postgres.lock") }
func (c *Cluster) leasePath() string { return filepath.Join(c.dir, "run", "postgres.users") }

// URL is the address of the database for [Migrate] and [Open]. It holds no
// password: the socket's peer is authenticated.
func (c *Cluster) URL() string { return c.url(databaseUser, databaseName) }

func (c *Cluster) url(user, database string) string {
	q := url.Values{"host": {c.server.socketDir}, "port": {"5432"}}
	// libpq and pgx know %20 for a space, but not the + of web forms.
	query := strings.ReplaceAll(q.Encode(), "+", "%20")
	return (&url.URL{Scheme: "postgres", User: url.User(user), Path: "/" + database, RawQuery: query}).String()
}

// PID is the process id of the server.
func (c *Cluster) PID() int { return c.server.pid }

// Close gives the lease back and stops the server when nobody else holds one.
// Close the stores first: stopping ends their connections.
func (c *Cluster) Close() error {
	c.once.Do(func() { c.closed = c.close() })
	return c.closed
}

func (c *Cluster) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	gate, err := c.gate.lock(ctx, c.gatePath(), unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer gate.Close()
	c.lease.Close()
	alone, err := os.OpenFile(c.leasePath(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("lease on the database: %w", err)
	}
	defer alone.Close()
	if err := unix.Flock(int(alone.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil // another process works with it and will stop it
		}
		return fmt.Errorf("lease on the database: %w", err)
	}
	// The server may not be the one we started: another process starts it again
	// when it was killed.
	now, err := c.running(ctx)
	if err != nil || now.pid == 0 {
		removeSocketDir(c.server.socketDir)
		return err
	}
	if now.pid == c.server.pid {
		now.exited = c.server.exited
	}
	return now.stop(ctx)
}

// command prepares a program of PostgreSQL to run on the data folder, given as
// file descriptor 3: the unprivileged user it runs as can then use the folder
// even where a parent folder is closed to it (a home folder of root).
func (c *Cluster) command(data *os.File, owner *account, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.ExtraFiles = []*os.File{data}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for the program, not for its database
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: owner.uid, Gid: owner.gid}
	}
	return cmd
}

// dataPath is the data folder as the server's processes see it.
const dataPath = "/proc/self/fd/3"
