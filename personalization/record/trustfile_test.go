package record

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
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
	f, err := OpenTrustFile(path, nil, func(error) { complaints++ })
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
	if _, err := OpenTrustFile(path, nil, nil); err == nil {
		t.Error("a trust file that is not there was opened")
	}
}

// TestSignedTrustFile: where custodians are named, two of them must have signed
// the file, at the start and whenever it changes.
func TestSignedTrustFile(t *testing.T) {
	k := keys()
	custodians := []jose.JSONWebKey{{Key: k.ps.pub}, {Key: k.ed.pub}}
	path := filepath.Join(t.TempDir(), "trust.json")
	write := func(b []byte, at int64) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Unix(at, 0), time.Unix(at, 0)); err != nil {
			t.Fatal(err)
		}
	}
	payload := trustJSON(t, k.es.trust())
	write(payload, 1_800_000_000)
	if _, err := OpenTrustFile(path, custodians, nil); err == nil {
		t.Error("a file that nobody signed was believed")
	}
	sg, err := jose.NewMultiSigner([]jose.SigningKey{{Algorithm: k.ps.alg, Key: k.ps.key}, {Algorithm: k.ed.alg, Key: k.ed.key}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := sg.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	write([]byte(jws.FullSerialize()), 1_800_000_001)
	complaints := 0
	f, err := OpenTrustFile(path, custodians, func(error) { complaints++ })
	if err != nil || len(f.Now().Keys) != 1 {
		t.Fatalf("a file that two custodians signed: %v", err)
	}
	write(payload, 1_800_000_002)
	if len(f.Now().Keys) != 1 || complaints != 1 {
		t.Errorf("an unsigned successor: %d keys, %d complaints", len(f.Now().Keys), complaints)
	}
}
