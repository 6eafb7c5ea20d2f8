package measure

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processTime is this process's processor time, user and system.
func processTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// threadTime is the processor time of the calling thread.
func threadTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// resident is the greatest resident size of this process in bytes.
func resident() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Maxrss * 1024
}

// tick is the unit of times in /proc (USER_HZ, 100 on every Linux port that Go
// runs on).
const tick = 10 * time.Millisecond

// treeTime is the processor time of a process, its children that live and
// those it has waited for. 0 for pid 0.
func treeTime(pid int) time.Duration {
	if pid == 0 {
		return 0
	}
	var sum time.Duration
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		b, err := os.ReadFile(filepath.Join(d, "stat"))
		if err != nil {
			continue // gone
		}
		// The name in parentheses may hold anything; the fields follow it.
		fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(fields) < 15 {
			continue
		}
		number := func(i int) int64 { n, _ := strconv.ParseInt(fields[i], 10, 64); return n }
		own := filepath.Base(d) == strconv.Itoa(pid)
		if !own && number(1) != int64(pid) {
			continue
		}
		sum += time.Duration(number(11)+number(12)) * tick
		if own {
			sum += time.Duration(number(13)+number(14)) * tick
		}
	}
	return sum
}
