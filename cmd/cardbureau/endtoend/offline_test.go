package endtoend

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// verifiedOffline has sim verify tell what a card's file 0203 holds, with the public
// keys alone: as it is, as a record by itself, with a byte altered, of another card, and
// of another number.
func (o *office) verifiedOffline(file []byte, on int, thumbprint []byte, m pair, s sim) {
	t := o.t
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "ef0203")
	verify := func(content []byte, typed string, more ...string) (of string, status int) {
		t.Helper()
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		p := o.typing(typed, append([]string{"sim", "verify", name, "--jwks", filepath.Join(o.dir, "pairing-jwks.json"), "--json"}, more...)...)
		out, status := o.finish(p)
		for line := range strings.Lines(string(out)) {
			var v struct {
				Place          int
				Pairing, Until string
				Valid          bool
				Number         *bool
			}
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatalf("%v: %s%s", err, out, p.stderr.String())
			}
			if v.Pairing == m.Pairing && v.Valid && (v.Number == nil || *v.Number) {
				of = v.Pairing
			}
		}
		return of, status
	}
	n := int(file[on+2])<<8 | int(file[on+3])
	record := file[on+4 : on+4+n]
	altered := bytes.Clone(file)
	altered[on+4+n/2] ^= 1
	receipt := m.Salt + "\n" + s.Number + "\n"
	for what, c := range map[string]struct {
		content []byte
		typed   string
		more    []string
		found   bool
		status  int
	}{
		"as it is":          {file, receipt, []string{"--number", "--card", hex.EncodeToString(thumbprint)}, true, 0},
		"one record":        {record, "", nil, true, 0},
		"altered":           {altered, "", nil, false, 1},
		"of another card":   {file, "", []string{"--card", strings.Repeat("00", 32)}, false, 1},
		"of another number": {record, m.Salt + "\n+989100999999\n", []string{"--number"}, false, 1},
		"half a salt":       {record, m.Salt[:20] + "\n" + s.Number + "\n", []string{"--number"}, false, 2},
		"an empty file":     {make([]byte, len(file)), "", nil, false, 1},
	} {
		if of, status := verify(c.content, c.typed, c.more...); (of != "") != c.found || status != c.status {
			t.Errorf("sim verify, %s: %q, exit status %d, want %d", what, of, status, c.status)
		}
	}
}
