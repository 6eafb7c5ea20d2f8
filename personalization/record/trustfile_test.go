package record

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestTrustFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trust.json")
	age := 0
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		age++ // the clock of the file system may stand still between two writes
		at := time.Unix(1_800_000_000+int64(age), 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	until := func(year string) string { return `{"notAfter":"` + year + `-01-01T00:00:00Z","keys":[]}` }
	write(until("2030"))
	complaints := 0
	f, err := OpenTrustFile(path, func(error) { complaints++ })
	if err != nil {
		t.Fatal(err)
	}
	want := func(year, complained int) {
		t.Helper()
		for range 2 {
			if got := f.Now().NotAfter.Year(); got != year {
				t.Errorf("trusted until %d, want %d", got, year)
			}
		}
		if complaints != complained {
			t.Errorf("%d complaints, want %d", complaints, complained)
		}
	}
	want(2030, 0)
	write(until("2031"))
	want(2031, 0)
	write("half a fi")
	want(2031, 1)
	write(until("2032"))
	want(2032, 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want(2032, 2)
	if _, err := OpenTrustFile(path, nil); err == nil {
		t.Error("a trust file that is not there was opened")
	}
}
