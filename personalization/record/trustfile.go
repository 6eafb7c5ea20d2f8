package record

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// TrustFile is a trust file that may be replaced while the program runs. Use
// one value from many goroutines.
type TrustFile struct {
	path       string
	custodians []jose.JSONWebKey
	complain   func(error)

	mu    sync.Mutex
	trust *Trust
	seen  stamp
}

type stamp struct {
	size    int64
	changed time.Time
}

// OpenTrustFile reads the file. With custodians it must be signed by two of
// them (see OpenSignedTrust); without, nobody signs it. complain is told, once
// for each change, when a later version of it cannot be used; the last good one
// then stays in force.
func OpenTrustFile(path string, custodians []jose.JSONWebKey, complain func(error)) (*TrustFile, error) {
	f := &TrustFile{path: path, custodians: custodians, complain: complain, seen: stampOf(path)}
	var err error
	f.trust, err = f.load()
	return f, err
}

func (f *TrustFile) load() (*Trust, error) {
	if len(f.custodians) == 0 {
		return LoadTrust(f.path)
	}
	b, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("read the trust file: %w", err)
	}
	t, err := OpenSignedTrust(b, f.custodians)
	if err != nil {
		return nil, fmt.Errorf("trust file %s: %w", f.path, err)
	}
	return t, nil
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
	if t, err := f.load(); err == nil {
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
