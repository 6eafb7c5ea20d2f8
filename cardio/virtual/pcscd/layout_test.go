package pcscd

import (
	"strings"
	"testing"
)

// TestBaseFolder: pcscd cannot say every name, and sockets take short ones only.
func TestBaseFolder(t *testing.T) {
	for base, want := range map[string]string{
		"/var/tmp": "/var/tmp", "/home/a b": "/tmp", "/home/" + strings.Repeat("x", 60): "/tmp",
	} {
		t.Setenv("TMPDIR", base)
		if got := baseFolder(); got != want {
			t.Errorf("with TMPDIR %q: %q, want %q", base, got, want)
		}
	}
}
