package softhsm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain makes a token and ends where the process was started to do so: one
// process cannot hold two tokens of SoftHSM.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CARDBUREAU_TEST_TOKEN"); dir != "" {
		if _, err := Ensure(context.Background(), dir, "", ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestEnsureTogether has several processes make one token at the same time;
// softhsm2-util is the judge.
func TestEnsureTogether(t *testing.T) {
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var all []*exec.Cmd
	for range 4 {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), "CARDBUREAU_TEST_TOKEN="+dir)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, cmd)
	}
	for _, cmd := range all {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	util, err := exec.LookPath("softhsm2-util")
	if err != nil {
		t.Skip("softhsm2-util is not installed")
	}
	cmd := exec.Command(util, "--show-slots")
	cmd.Env = append(os.Environ(), ConfigVariable+"="+filepath.Join(dir, "softhsm2.conf"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("softhsm2-util: %v\n%s", err, out)
	}
	if n := strings.Count(string(out), "Label:            "+DefaultLabel); n != 1 {
		t.Errorf("softhsm2-util shows %d tokens:\n%s", n, out)
	}
	if n := strings.Count(string(out), "User PIN init.:   yes"); n != 1 {
		t.Errorf("softhsm2-util shows %d user PINs:\n%s", n, out)
	}
}

func TestEnsureAgainAndMoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	first, err := Ensure(t.Context(), dir, "", "mine")
	if err != nil {
		t.Fatal(err)
	}
	pin, err := os.ReadFile(first.PINPath())
	if err != nil || len(strings.TrimSpace(string(pin))) != 16 {
		t.Fatalf("PIN of %d bytes, %v", len(pin), err)
	}
	for _, p := range []string{first.PINPath(), first.SOPINPath(), first.ConfigPath()} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", p, info, err)
		}
	}
	moved := dir + "-moved"
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	second, err := Ensure(t.Context(), moved, "", "mine")
	if err != nil {
		t.Fatal(err)
	}
	again, err := os.ReadFile(second.PINPath())
	if err != nil || string(again) != string(pin) {
		t.Errorf("the token was made anew: %v", err)
	}
	config, err := os.ReadFile(second.ConfigPath())
	if err != nil || !strings.Contains(string(config), moved+"/tokens") || os.Getenv(ConfigVariable) != second.ConfigPath() {
		t.Errorf("the configuration does not name the new place: %s, %v", config, err)
	}
}

func TestEnsureErrors(t *testing.T) {
	if _, err := Ensure(t.Context(), t.TempDir(), "/usr/lib/no/such.so", ""); !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), "/usr/lib/no/such.so") {
		t.Errorf("no module: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(t.Context(), file, "", ""); err == nil {
		t.Error("a file was taken for a folder")
	}
}
