package store

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

func start(t *testing.T, dir string) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := StartCluster(ctx, ClusterOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func query[T any](t *testing.T, url, sql string) T {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var v T
	if err := conn.QueryRow(ctx, sql).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestClusterSettings(t *testing.T) {
	for name, want := range map[string]string{
		"listen_addresses": "", "data_checksums": "on", "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
		"log_min_error_statement": "panic", "server_encoding": "UTF8", "TimeZone": "UTC",
	} {
		if got := query[string](t, cluster.URL(), "SHOW "+name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if query[bool](t, cluster.URL(), "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") {
		t.Error("the program is the superuser of its database")
	}
}

// TestClusterURL: a temporary folder may have a name with spaces.
func TestClusterURL(t *testing.T) {
	const folder = "/tmp/a b+c%d/cb-1"
	c := &Cluster{}
	c.server.socketDir = folder
	config, err := pgx.ParseConfig(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != folder || config.User != databaseUser || config.Database != databaseName {
		t.Errorf("%s is read as host %q, user %q, database %q", c.URL(), config.Host, config.User, config.Database)
	}
}

// TestClusterLetsNobodyElseIn needs root to become somebody else.
func TestClusterLetsNobodyElseIn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("no psql")
	}
	cmd := exec.Command(psql, "-h", cluster.server.socketDir, "-U", databaseUser, "-d", databaseName, "-c", "SELECT 1")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "Peer authentication failed") {
		t.Fatalf("user 65534: %v %s", err, out)
	}
}

func TestClusterShared(t *testing.T) {
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "postgres.new-torn", "base"), 0o700) // of a killed first start
	a, b := start(t, dir), start(t, dir)
	if a.PID() != b.PID() {
		t.Fatalf("two servers on one folder: %d, %d", a.PID(), b.PID())
	}
	query[string](t, a.URL(), "SELECT 'x'::text")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	query[string](t, b.URL(), "SELECT 'x'::text")
	socket := b.server.socketDir
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(b.PID(), 0); err == nil && processStart(b.PID()) != 0 {
		t.Fatal("the last to leave did not stop the server")
	}
	for _, left := range []string{socket, filepath.Join(dir, "postgres.new-torn"), filepath.Join(dir, "postgres", "postmaster.pid")} {
		if _, err := os.Stat(left); err == nil {
			t.Errorf("%s was left behind", left)
		}
	}
	c := start(t, dir)
	query[string](t, c.URL(), "SELECT 'x'::text")
}

func TestClusterAdopted(t *testing.T) {
	dir := t.TempDir()
	line, kill := spawn(t, "cluster", "STORE_TEST_DIR="+dir)
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	kill()
	c := start(t, dir)
	if c.PID() != pid {
		t.Fatalf("server %d was not adopted but %d started", pid, c.PID())
	}
	query[string](t, c.URL(), "SELECT 'x'::text")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if processStart(pid) != 0 {
		t.Fatal("the adopted server was not stopped")
	}
}

// TestClusterRecovered kills the server itself: the next start finds its
// leftovers, waits for its last processes, and recovers from the log.
func TestClusterRecovered(t *testing.T) {
	dir := t.TempDir()
	a := start(t, dir)
	conn, err := pgx.Connect(context.Background(), a.url(superUser, databaseName))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(context.Background(), "CREATE TABLE kept AS SELECT 1 AS n"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(a.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-a.server.exited
	b := start(t, dir)
	if n := query[int](t, b.url(superUser, databaseName), "SELECT n FROM kept"); n != 1 {
		t.Fatal("a committed row is gone")
	}
	if _, err := os.Stat(a.server.socketDir); err == nil {
		t.Error("the dead server's socket folder was left behind")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil { // the last to leave stops what runs, not what it once started
		t.Fatal(err)
	}
	if processStart(b.PID()) != 0 {
		t.Fatal("the server still runs")
	}
}

func TestStalePIDFile(t *testing.T) {
	dir := t.TempDir()
	start(t, dir).Close()
	// The number now belongs to a stranger, as after a restart of a container.
	stranger := strconv.Itoa(os.Getpid()) + "\n/proc/self/fd/3\n1\n5432\n\n\n\nready\n"
	if err := os.WriteFile(filepath.Join(dir, "postgres", "postmaster.pid"), []byte(stranger), 0o600); err != nil {
		t.Fatal(err)
	}
	c := start(t, dir)
	query[string](t, c.URL(), "SELECT 'x'::text")
}

func TestMigrateAgainAndAtOnce(t *testing.T) {
	admin(t, "CREATE DATABASE fresh OWNER "+databaseUser)
	t.Cleanup(func() { admin(t, "DROP DATABASE fresh WITH (FORCE)") })
	url := cluster.url(databaseUser, "fresh")
	if _, err := Open(context.Background(), url, Options{}); err == nil || !strings.Contains(err.Error(), "not been set up") {
		t.Fatalf("opening a database without schema: %v", err)
	}
	errs := make(chan error, 3)
	for range 3 {
		go func() { errs <- Migrate(context.Background(), url) }()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	s, err := Open(context.Background(), url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(context.Background(), "postgres://user:pass word@host:x/db", Options{}); err == nil || strings.Contains(err.Error(), "pass") {
		t.Errorf("error of a bad address: %v", err)
	}
}
