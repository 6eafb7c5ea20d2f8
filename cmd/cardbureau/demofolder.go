package main

// The folder of a demo: marked, so that no other is ever removed, and cleared of
// what a killed demo left.

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// marker is in every data folder that a demo made, so that no other is ever
// removed.
const marker = "made-by-demo"

func (d *demo) clear() error {
	entries, err := os.ReadDir(d.dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return d.mark()
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(d.dir, marker)); err != nil {
		return fmt.Errorf("%s is in use and no demo made it: name another folder with --dir", d.dir)
	}
	if err := d.alone(); err != nil {
		return err
	}
	if err := d.retire(); err != nil {
		return err
	}
	return d.empty()
}

func (d *demo) mark() error {
	if err := os.MkdirAll(d.dir, 0o711); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.dir, marker), nil, 0o600)
}

// endTime is how long what a killed demo started may take to end: a card in
// hand is finished first.
const endTime = 30 * time.Second

// alone waits until no command of a killed demo works in the folder any more.
func (d *demo) alone() error {
	deadline := time.Now().Add(endTime)
	for {
		pid := d.worker()
		switch {
		case pid == 0:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%s is in use by process %d: end it, or name another folder with --dir", d.dir, pid)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// worker is a process that was given the folder as its data folder; 0 when
// there is none.
func (d *demo) worker() int {
	argument := []byte("\x00--data\x00" + d.dir + "\x00")
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err == nil && bytes.Contains(b, argument) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			return pid
		}
	}
	return 0
}

// empty removes what is in the folder, the mark excepted: whoever is
// interrupted here can begin again. What a killed command had started (initdb)
// may write a moment longer.
func (d *demo) empty() error {
	deadline := time.Now().Add(endTime)
	for {
		entries, err := os.ReadDir(d.dir)
		for _, e := range entries {
			if e.Name() != marker {
				err = errors.Join(err, os.RemoveAll(filepath.Join(d.dir, e.Name())))
			}
		}
		if err == nil && len(entries) <= 1 {
			return nil
		}
		if err != nil && time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// retire stops a database server that a killed demo left behind: opening the
// stock adopts it, and the last to leave stops it.
func (d *demo) retire() error {
	if _, err := os.Stat(filepath.Join(d.dir, "postgres", "postmaster.pid")); err != nil {
		return nil
	}
	out, err := exec.Command(d.self, "stock", "count", "--data", d.dir).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() == exitFailed) {
		return fmt.Errorf("the last demo's folder cannot be put away: %s", bytes.TrimSpace(out))
	}
	return nil
}
