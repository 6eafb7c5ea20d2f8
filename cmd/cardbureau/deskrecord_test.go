package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"

	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/lifecycle"
)

// printed is what f writes to standard output.
func printed(t *testing.T, f func() error) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdout
	os.Stdout = w
	err = f()
	os.Stdout = before
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestPairedTellsTheSalt: the salt is told in every outcome in which a pairing lives,
// since nothing keeps it, and a pairing that waits is not called paired.
func TestPairedTellsTheSalt(t *testing.T) {
	id := uuid.MustParse("0198c0de-7a11-7000-8000-000000000001")
	for name, c := range map[string]struct {
		result pairing.Result
		onCard bool
		says   string
	}{
		"active":    {pairing.Result{ID: id, State: lifecycle.Active}, true, "paired, active"},
		"waits":     {pairing.Result{ID: id, State: lifecycle.OperatorPending}, false, "sim finish " + id.String()},
		"not on it": {pairing.Result{ID: id, State: lifecycle.Active, WriteError: errors.New("the card left")}, false, "paired, active"},
	} {
		t.Run(name, func(t *testing.T) {
			c.result.Salt[0], c.result.Salt[31] = 0xA5, 0x5A
			const salt = "a500000000000000000000000000000000000000000000000000000000005a"
			p := newPaired("7KXW2M4BC", c.result)
			if p.OnCard != c.onCard || p.Salt[:2]+p.Salt[4:] != salt {
				t.Errorf("%+v", p)
			}
			text := printed(t, func() error { return p.print(&globals{}) })
			if !strings.Contains(text, c.says) || !strings.Contains(text, p.Salt) || strings.Contains(text, "paired") != (p.State == "active") {
				t.Errorf("printed: %s", text)
			}
			var again paired
			if err := json.Unmarshal([]byte(printed(t, func() error { return p.print(&globals{JSON: true}) })), &again); err != nil || again.Salt != p.Salt || again.Pairing != id.String() {
				t.Errorf("JSON: %+v, %v", again, err)
			}
		})
	}
}
