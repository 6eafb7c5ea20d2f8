package hsm

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
)

// PIN is the user PIN of a token. However it is printed it reads [redacted].
type PIN struct{ value []byte }

// NewPIN takes a PIN from memory and leaves the caller's bytes alone.
func NewPIN(value []byte) PIN { return PIN{bytes.Clone(value)} }

// ReadPIN reads a PIN from a file's first line. The file must belong to the
// own user (or root) and be closed to all others (mode 0600 or 0400).
func ReadPIN(path string) (PIN, error) {
	info, err := os.Stat(path)
	if err != nil {
		return PIN{}, fmt.Errorf("the PIN file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return PIN{}, fmt.Errorf("the PIN file %s is not a regular file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return PIN{}, fmt.Errorf("the PIN file %s can be read by others (mode %o): chmod 600 it", path, info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return PIN{}, fmt.Errorf("the PIN file: %w", err)
	}
	defer clear(b)
	line, _, _ := bytes.Cut(b, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return PIN{}, fmt.Errorf("the PIN file %s is empty", path)
	}
	return NewPIN(line), nil
}

// PINFromEnvironment takes the PIN from a variable and removes it from the
// environment, so that no child inherits it.
func PINFromEnvironment(name string) (PIN, error) {
	v := os.Getenv(name)
	if v == "" {
		return PIN{}, fmt.Errorf("the environment variable %s, which should hold the PIN, is empty", name)
	}
	if err := os.Unsetenv(name); err != nil {
		return PIN{}, fmt.Errorf("remove %s from the environment: %w", name, err)
	}
	return NewPIN([]byte(v)), nil
}

// Zero overwrites the PIN.
func (p PIN) Zero() { clear(p.value) }

// String hides the PIN.
func (p PIN) String() string { return "[redacted]" }

// Format hides the PIN from every verb of package fmt.
func (p PIN) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

// LogValue hides the PIN from log/slog.
func (p PIN) LogValue() slog.Value { return slog.StringValue("[redacted]") }
