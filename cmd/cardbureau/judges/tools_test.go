package judges

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// python is Debian's, which has Debian's modules; another python3 may come
// first in PATH.
const python = "/usr/bin/python3"

// missing skips a test whose judge is not there, or fails it where all have to
// be.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CARDBUREAU_JUDGES") == "required" {
		t.Fatalf(format+"; scripts/setup installs it", args...)
	}
	t.Skipf(format, args...)
}

// needCommand skips without a command.
func needCommand(t testing.TB, name, debian string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		missing(t, "%s is not installed (Debian: apt install %s)", name, debian)
	}
}

// needPython skips without a Python module.
func needPython(t testing.TB, module, debian string) {
	t.Helper()
	if err := exec.Command(python, "-c", "import "+module).Run(); err != nil {
		missing(t, "Python's module %s is not installed (Debian: apt install %s)", module, debian)
	}
}

// library is a C library that pkg-config knows, with its Debian package.
type library struct{ name, debian string }

var (
	pcscLibrary   = library{"libpcsclite", "libpcsclite-dev"}
	nfcLibrary    = library{"libnfc", "libnfc-dev"}
	mrtdLibrary   = library{"mrtd", "libmrtd-dev"}
	eacLibrary    = library{"libeac", "libeac-dev"}
	cryptoLibrary = library{"libcrypto", "libssl-dev"}
)

var compiled struct {
	sync.Mutex
	dir string
}

// compile compiles a judge in C out of testdata and returns its path. A name
// that ends with .so becomes a shared library.
func compile(t testing.TB, name string, sources []string, libraries ...library) string {
	t.Helper()
	needCommand(t, "gcc", "gcc")
	needCommand(t, "pkg-config", "pkg-config")
	args := []string{"-O1", "-Wall", "-Wextra", "-Werror"}
	if strings.HasSuffix(name, ".so") {
		args = append(args, "-shared", "-fPIC")
	}
	var names []string
	for _, l := range libraries {
		if exec.Command("pkg-config", "--exists", l.name).Run() != nil {
			missing(t, "the C library %s is not installed (Debian: apt install %s)", l.name, l.debian)
		}
		names = append(names, l.name)
	}
	flags, err := exec.Command("pkg-config", append([]string{"--cflags", "--libs"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	compiled.Lock()
	defer compiled.Unlock()
	if compiled.dir == "" {
		if compiled.dir, err = os.MkdirTemp("", "cb-judges-"); err != nil {
			t.Fatal(err)
		}
		atEnd = append(atEnd, func() { os.RemoveAll(compiled.dir) })
	}
	out := filepath.Join(compiled.dir, name)
	if _, err := os.Stat(out); err == nil {
		return out
	}
	args = append(args, "-o", out)
	for _, s := range sources {
		args = append(args, filepath.Join("testdata", s))
	}
	if said, err := exec.Command("gcc", append(args, strings.Fields(string(flags))...)...).CombinedOutput(); err != nil {
		t.Fatalf("compile %s: %v\n%s", name, err, said)
	}
	return out
}

// patience is how long a judge may take.
const patience = time.Minute

// ask runs a judge and returns what it printed and its exit status.
func ask(t testing.TB, dir string, env []string, name string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(name), errors.Join(err, ctx.Err()), errs.String())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// accepts runs a judge that has to be content.
func accepts(t testing.TB, dir string, env []string, name string, args ...string) string {
	t.Helper()
	out, said, status := ask(t, dir, env, name, args...)
	if status != 0 {
		t.Fatalf("%s is not content (exit status %d)\n%s%s", filepath.Base(name), status, out, said)
	}
	return out
}
