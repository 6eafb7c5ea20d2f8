package record

import (
	"os"
	"sync"
	"time"
)

// TrustFile is a trust file that may be replaced while the program runs. Use
// one value from many goroutines.
type TrustFile struct {
	path     string
	complain func(error)

	mu    sync.Mutex
	trust *Trust
	seen  stamp
}

type stamp struct {
	size    int64
	changed time.Time
}

// OpenTrustFile reads the file. complain is told, once for each change, when a
// later version of it cannot be used; the last good one then stays in force.
func OpenTrustFile(path string, complain func(error)) (*TrustFile, error) {
	f := &TrustFile{path: path, complain: complain, seen: stampOf(path)}
	var err error
	f.trust, err = LoadTrust(path)
	return f, err
}

// HoldTrust is a trust that no file changes.
func HoldTrust(t *Trust) *TrustFile { return &TrustFile{trust: t} }

// Now is the trust that the file holds now.
func (f *TrustFile) Now() *Trust {
	now := stampOf(f.path)
	f.mu.Lock()
	defer f.mu.Unlock()
	if now == f.seen {
		return f.trust
	}
	f.seen = now
	if t, err := LoadTrust(f.path); err == nil {
		f.trust = t
	} else if f.complain != nil {
		f.complain(err)
	}
	return f.trust
}

func stampOf(path string) stamp {
	st, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{st.Size(), st.ModTime()}
}
