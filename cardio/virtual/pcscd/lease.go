package pcscd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Names in Dir.
const (
	leaseFile = "pcscd.json"
	lockFile  = "pcscd.lock"
)

// leaseRecord is what the next program must clean up when this one is killed.
type leaseRecord struct {
	Folder    string `json:"folder"`
	PID       int    `json:"pid"`       // of pcscd; 0 before it has started
	StartTime string `json:"startTime"` // in clock ticks since boot: tells the process from a later one with its number
}

// lease is the right to run the one daemon of a Dir. The kernel ends it with
// the process.
type lease struct {
	dir  string
	lock *os.File
}

// takeLease takes the lock and removes what an earlier holder left.
func takeLease(dir string) (*lease, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrRunning, dir)
		}
		return nil, err
	}
	l := &lease{dir: dir, lock: lock}
	l.clean()
	return l, nil
}

// clean ends and removes what the lease file names. A file that cannot be
// read names nothing.
func (l *lease) clean() {
	b, err := os.ReadFile(filepath.Join(l.dir, leaseFile))
	if err != nil {
		return
	}
	var r leaseRecord
	if json.Unmarshal(b, &r) == nil {
		if r.PID > 1 && r.StartTime != "" && startTime(r.PID) == r.StartTime {
			_ = syscall.Kill(r.PID, syscall.SIGKILL)
			for range int(stopTimeout / pollInterval) { // its ports must be free again
				if startTime(r.PID) != r.StartTime {
					break
				}
				time.Sleep(pollInterval)
			}
		}
		if strings.HasPrefix(filepath.Base(r.Folder), folderPrefix) && isPrivateFolder(r.Folder) {
			_ = os.RemoveAll(r.Folder)
		}
	}
	_ = os.Remove(filepath.Join(l.dir, readersFile))
	_ = os.Remove(filepath.Join(l.dir, leaseFile))
}

// isPrivateFolder recognizes a folder that makeFolder made.
func isPrivateFolder(folder string) bool {
	for _, sub := range []string{"run", "readers", "drivers", "empty"} {
		if info, err := os.Lstat(filepath.Join(folder, sub)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// record notes the folder and, once it runs, the process.
func (l *lease) record(folder string, pid int) error {
	r := leaseRecord{Folder: folder, PID: pid}
	if pid != 0 {
		r.StartTime = startTime(pid)
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(l.dir, leaseFile), append(b, '\n'))
}

// release gives the lease up when everything it names is gone.
func (l *lease) release() {
	_ = os.Remove(filepath.Join(l.dir, leaseFile))
	_ = l.lock.Close()
}

// startTime is field 22 of /proc/PID/stat, or "" where there is no such
// process or it has ended and only waits to be collected.
func startTime(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	end := strings.LastIndex(string(b), ") ") // of the name, which may hold anything
	if end < 0 {
		return ""
	}
	f := strings.Fields(string(b[end+2:]))
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return ""
	}
	return f[19]
}

// writeFile replaces a file in one step.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
