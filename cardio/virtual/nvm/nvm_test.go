package nvm

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func mustOpen(t testing.TB, path string) *Memory {
	t.Helper()
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSpacesAndValues(t *testing.T) {
	m := InMemory()
	a, b := m.Space("a"), m.Space("ab")
	a.Set("x", []byte{1})
	a.Set("empty", nil)
	b.WriteAt("x", 2, []byte{9})
	if got := b.Get("x"); !bytes.Equal(got, []byte{0, 0, 9}) {
		t.Errorf("%X", got)
	}
	if a.Get("nothing") != nil || a.Get("empty") == nil {
		t.Error("absent and empty are not told apart")
	}
	if got := a.Keys(""); !slices.Equal(got, []string{"empty", "x"}) {
		t.Error(got)
	}
	a.Delete("x")
	a.Delete("x")
	if a.Get("x") != nil || b.Get("x") == nil {
		t.Error("Delete reached another space, or nothing")
	}
	// What Set was given stays the caller's.
	v := []byte{1, 2}
	a.Set("copy", v)
	v[0] = 7
	if a.Get("copy")[0] != 1 {
		t.Error("Set kept the caller's slice")
	}
}

func TestSecondOpenerIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "card")
	m := mustOpen(t, path)
	if _, err := Open(path); !errors.Is(err, ErrInUse) {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Commit(); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	mustOpen(t, path).Close()
}

// TestEveryTornTail cuts a journal at every length: what opens is always one
// of the states that were committed, and it goes on from there.
func TestEveryTornTail(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "card")
	m := mustOpen(t, path)
	s := m.Space("s")
	commits := []func(){
		func() { s.Set("a", []byte("one")); s.Set("b", []byte("two")) },
		func() { s.WriteAt("a", 1, []byte("NE more")); s.Delete("b") },
		func() { s.Set("c", make([]byte, 20)); s.WriteAt("a", 0, []byte("1")) },
	}
	ends := []int{len(magic)}
	for _, c := range commits {
		c()
		if err := m.Commit(); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, int(m.size))
	}
	m.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a := []string{"", "one", "oNE more", "1NE more"}
	for n := 0; n <= len(whole); n++ {
		torn := filepath.Join(dir, "torn")
		if err := os.WriteFile(torn, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		m := mustOpen(t, torn)
		state := 0
		for i, end := range ends {
			if n >= end {
				state = i
			}
		}
		if got := string(m.Space("s").Get("a")); got != a[state] {
			t.Fatalf("cut at %d: %q, want %q", n, got, a[state])
		}
		m.Space("s").Set("after", []byte{1})
		if err := m.Commit(); err != nil {
			t.Fatal(err)
		}
		m.Close()
		m = mustOpen(t, torn)
		if m.Space("s").Get("after") == nil || string(m.Space("s").Get("a")) != a[state] {
			t.Fatalf("cut at %d: the next commit was lost", n)
		}
		m.Close()
	}
}

func TestDamageInTheMiddleIsNotATornTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "card")
	m := mustOpen(t, path)
	for i := range 3 {
		m.Space("s").Set("a", []byte{byte(i)})
		if err := m.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	m.Close()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(magic)+recordHeader+2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("no card at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
}

func TestCompaction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "card")
	m := mustOpen(t, path)
	for i := range 1000 {
		m.Space("s").Set("counter", bytes.Repeat([]byte{byte(i)}, 50))
		if err := m.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	m.Space("s").Set("never", []byte("committed"))
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 200 || info.Mode().Perm() != 0o600 {
		t.Fatalf("%d bytes, mode %v, %v", info.Size(), info.Mode(), err)
	}
	m = mustOpen(t, path)
	defer m.Close()
	if got := m.Space("s").Get("counter"); len(got) != 50 || got[0] != 999%256 {
		t.Errorf("%X", got)
	}
	if m.Space("s").Get("never") != nil {
		t.Error("an uncommitted value lasted")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".nvm-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestAgainstModel compares the memory, in a file that is opened again and
// again, with plain maps.
func TestAgainstModel(t *testing.T) {
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		path := filepath.Join(dir, string(rune('a'+run%20)))
		os.Remove(path)
		m := mustOpen(t, path)
		defer func() { m.Close() }()
		committed, live := map[string]string{}, map[string]string{}
		restore := func(from map[string]string) map[string]string {
			out := map[string]string{}
			for k, v := range from {
				out[k] = v
			}
			return out
		}
		key := rapid.SampledFrom([]string{"a", "b", "ab", ""})
		rt.Repeat(map[string]func(*rapid.T){
			"set": func(rt *rapid.T) {
				k, v := key.Draw(rt, "key"), rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "value")
				m.Space("s").Set(k, v)
				live[k] = string(v)
			},
			"write": func(rt *rapid.T) {
				k, v := key.Draw(rt, "key"), rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "value")
				off := rapid.IntRange(0, 60).Draw(rt, "offset")
				m.Space("s").WriteAt(k, off, v)
				b := []byte(live[k])
				for len(b) < off+len(v) {
					b = append(b, 0)
				}
				copy(b[off:], v)
				live[k] = string(b)
			},
			"delete": func(rt *rapid.T) {
				k := key.Draw(rt, "key")
				m.Space("s").Delete(k)
				delete(live, k)
			},
			"commit": func(rt *rapid.T) {
				if err := m.Commit(); err != nil {
					rt.Fatal(err)
				}
				committed = restore(live)
			},
			"rollback": func(*rapid.T) {
				m.Rollback()
				live = restore(committed)
			},
			"reopen": func(rt *rapid.T) {
				if err := m.Close(); err != nil {
					rt.Fatal(err)
				}
				m = mustOpen(t, path)
				live = restore(committed)
			},
			"": func(rt *rapid.T) {
				keys := m.Space("s").Keys("")
				if len(keys) != len(live) {
					rt.Fatalf("%d keys, want %d", len(keys), len(live))
				}
				for k, v := range live {
					if got := m.Space("s").Get(k); got == nil || string(got) != v {
						rt.Fatalf("%q: %X, want %X", k, got, v)
					}
				}
			},
		})
	})
}

func TestTooLargeAWritePanics(t *testing.T) {
	for _, f := range []func(Space){
		func(s Space) { s.Set("a", make([]byte, MaxValue+1)) },
		func(s Space) { s.WriteAt("a", MaxValue, []byte{1}) },
		func(s Space) { s.WriteAt("a", -1, []byte{1}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("accepted")
				}
			}()
			f(InMemory().Space("s"))
		}()
	}
}

// FuzzReplay opens any bytes as a journal: it may refuse, never fail.
func FuzzReplay(f *testing.F) {
	m := InMemory()
	m.Space("s").Set("a", []byte("value"))
	m.Space("s").WriteAt("a", 3, []byte("more"))
	m.Space("s").Delete("a")
	f.Add(append([]byte(magic), encodeRecord(m.pending)...))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		values, good, err := replay(b)
		if err == nil && (good > len(b) || values == nil) {
			t.Fatalf("%d of %d bytes are good", good, len(b))
		}
		// The same as the payload of a record, where the checksum is right.
		values = map[string][]byte{}
		_ = apply(values, b)
	})
}
