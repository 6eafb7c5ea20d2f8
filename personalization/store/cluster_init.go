package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// account is the user that the server runs as.
type account struct {
	name     string
	uid, gid uint32
}

// serverAccount is this process's user, or for root the first of postgres and
// nobody: PostgreSQL refuses to run as root.
func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
		if err != nil {
			return nil, fmt.Errorf("this process's user has no name, which PostgreSQL needs: %w", err)
		}
		return newAccount(u)
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return newAccount(u)
		}
	}
	return nil, errors.New("running as root, and there is neither a user postgres nor nobody for the database to run as")
}

func newAccount(u *user.User) (*account, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user id of %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("group id of %s: %w", u.Username, err)
	}
	return &account{name: u.Username, uid: uint32(uid), gid: uint32(gid)}, nil
}

// binaries finds the folder of initdb and postgres: bin when given, otherwise
// the installed version that the data folder was made with, or the newest.
func (c *Cluster) binaries(bin string) (string, error) {
	if bin != "" {
		return bin, nil
	}
	want := ""
	if b, err := os.ReadFile(filepath.Join(c.data, "PG_VERSION")); err == nil {
		want = strings.TrimSpace(string(b))
	}
	found := map[string]string{}
	var versions []int
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/postgres", "/usr/pgsql-*/bin/postgres"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			dir := filepath.Dir(name)
			v := strings.TrimPrefix(filepath.Base(filepath.Dir(dir)), "pgsql-")
			if n, err := strconv.Atoi(v); err == nil {
				found[v] = dir
				versions = append(versions, n)
			}
		}
	}
	if want != "" {
		if dir, ok := found[want]; ok {
			return dir, nil
		}
		if len(found) > 0 {
			return "", fmt.Errorf("the database in %s was made by PostgreSQL %s, which is not installed", c.data, want)
		}
	}
	if len(versions) > 0 {
		sort.Ints(versions)
		return found[strconv.Itoa(versions[len(versions)-1])], nil
	}
	if p, err := exec.LookPath("postgres"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			return filepath.Dir(p), nil
		}
	}
	return "", errors.New("PostgreSQL is not installed (Debian: apt install postgresql), and no --database-url names a server")
}

// settings of the private server beyond PostgreSQL's own. Statements and
// parameters never reach its log: they could be read there by people who may
// not read the tables.
const settings = `
# --- cardbureau: a private server on a unix socket ---
listen_addresses = ''
unix_socket_permissions = 0777   # the peer's user is checked, see pg_ident.conf
cluster_name = 'cardbureau'
fsync = on
full_page_writes = on
synchronous_commit = on
max_connections = 100
shared_buffers = 64MB
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_statement = none
log_min_error_statement = panic
log_error_verbosity = terse
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
`

// init makes the cluster in a new folder, which gets its final name when it is
// complete: what a killed process left half made is never taken for a cluster.
func (c *Cluster) init(ctx context.Context, bin string, owner *account) error {
	if _, err := os.Stat(c.data); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("folder of the database: %w", err)
	}
	leftovers, _ := filepath.Glob(c.data + ".new-*")
	for _, l := range leftovers {
		os.RemoveAll(l) // the gate is ours: nobody is making one now
	}
	work, err := os.MkdirTemp(c.dir, "postgres.new-")
	if err != nil {
		return fmt.Errorf("folder of the database: %w", err)
	}
	defer os.RemoveAll(work)
	if os.Geteuid() == 0 {
		if err := os.Chown(work, int(owner.uid), int(owner.gid)); err != nil {
			return fmt.Errorf("folder of the database: %w", err)
		}
	}
	data, err := os.Open(work)
	if err != nil {
		return fmt.Errorf("folder of the database: %w", err)
	}
	defer data.Close()

	initdb := c.command(data, owner, filepath.Join(bin, "initdb"), "-D", dataPath, "-U", superUser,
		"--data-checksums", "--auth-local=peer", "--auth-host=reject", "--encoding=UTF8", "--locale=C")
	if err := runQuietly(ctx, initdb); err != nil {
		return fmt.Errorf("making the database cluster: %w", err)
	}
	if err := appendFile(filepath.Join(work, "postgresql.conf"), settings); err != nil {
		return err
	}
	hba := "local all " + superUser + "," + databaseUser + " peer map=cardbureau\n"
	if err := rewrite(filepath.Join(work, "pg_hba.conf"), hba); err != nil {
		return err
	}
	ident := ""
	for _, system := range []string{"root", owner.name} {
		for _, role := range []string{superUser, databaseUser} {
			ident += fmt.Sprintf("cardbureau %q %s\n", system, role)
		}
	}
	if err := rewrite(filepath.Join(work, "pg_ident.conf"), ident); err != nil {
		return err
	}
	single := c.command(data, owner, filepath.Join(bin, "postgres"), "--single", "-j", "-D", dataPath, "postgres")
	single.Stdin = strings.NewReader(
		"CREATE ROLE " + databaseUser + " LOGIN CREATEROLE;\n\n" +
			"CREATE DATABASE " + databaseName + " OWNER " + databaseUser + ";\n\n")
	if err := runQuietly(ctx, single); err != nil {
		return fmt.Errorf("making the database: %w", err)
	}
	if err := os.Rename(work, c.data); err != nil {
		return fmt.Errorf("folder of the database: %w", err)
	}
	return nil
}

// runQuietly runs a command and gives its last lines as the error's reason.
func runQuietly(ctx context.Context, cmd *exec.Cmd) error {
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%w: %s", err, lastLines(out.String(), 3))
		}
		return nil
	case <-ctx.Done():
		cmd.Process.Kill()
		<-done
		return ctx.Err()
	}
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "; ")
}

func appendFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("settings of the database: %w", err)
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return fmt.Errorf("settings of the database: %w", err)
	}
	return f.Close()
}

// rewrite replaces a file's text and keeps its owner and mode.
func rewrite(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("settings of the database: %w", err)
	}
	return nil
}
