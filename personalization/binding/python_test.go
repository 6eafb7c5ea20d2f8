package binding

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPython: the program of docs/bank-integrators.md, which is written with other
// people's CBOR and cryptography, takes our bindings, and no altered one.
func TestPython(t *testing.T) {
	doc, err := os.ReadFile("../../docs/bank-integrators.md")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(doc)
	if code == nil {
		t.Fatal("the page has no Python")
	}
	_, sign, keys := signed(t)
	raw, err := COSE(payload(t, point(t)), "bank.binding/1", sign)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	set, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	program, jwks := write("verify.py", code[1]), write("jwks.json", set)
	out, err := exec.Command("/usr/bin/python3", program, jwks, write("good.cose", raw)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "account ending in 0016, sequence number 1, card until 2031-11-24") {
		t.Fatalf("%v: %s", err, out)
	}
	for _, at := range []int{len(raw) - 1, len(raw) - 100, len(raw) / 2} {
		bad := append([]byte{}, raw...)
		bad[at] ^= 1
		if out, err := exec.Command("/usr/bin/python3", program, jwks, write("bad.cose", bad)).CombinedOutput(); err == nil {
			t.Errorf("byte %d altered: %s", at, out)
		}
	}
}
