package vault

import (
	"errors"
	"testing"
)

func FuzzParseJWE(f *testing.F) {
	f.Add("")
	f.Add("....")
	f.Add("eyJhbGciOiJFQ0RILUVTK0EyNTZLVyIsImVuYyI6IkEyNTZHQ00iLCJlcGsiOnsia3R5IjoiRUMiLCJjcnYiOiJQLTI1NiIsIngiOiIiLCJ5IjoiIn19.AAAA.AAAA.AAAA.AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		e, err := parseJWE(s)
		if err != nil {
			if !errors.Is(err, ErrJWE) {
				t.Errorf("not ErrJWE: %v", err)
			}
			return
		}
		if len(e.peer) != 65 || len(e.key) != 40 || len(e.iv) != 12 || len(e.tag) != 16 {
			t.Error("a part has a length that it cannot have")
		}
		if _, err := e.open(make([]byte, 32)); err == nil {
			t.Error("it opens with a secret that nobody agreed on")
		}
	})
}

// TestHeaderNamesIntakeKeysOnly: what a record's header says becomes a label.
func TestHeaderNamesIntakeKeysOnly(t *testing.T) {
	for _, name := range []string{"intake/../ds/1", "intake/", "intake/1/2", "intake", "intake/\x00"} {
		if l, err := label(name); !errors.Is(err, ErrRequest) {
			t.Errorf("%q names the key %q: %v", name, l, err)
		}
	}
}
