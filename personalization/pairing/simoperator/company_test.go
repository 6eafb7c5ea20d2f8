package simoperator

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"cardbureau/personalization/pairing"
)

// TestReplay: a company that is told to, also by another process, gives a SIM's last
// challenge once more, and only once.
func TestReplay(t *testing.T) {
	dir := t.TempDir()
	open := func() *Company {
		t.Helper()
		c, err := OpenCompany(dir, MCI)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	sim, _, err := open().Sell()
	if err != nil {
		t.Fatal(err)
	}
	if err := open().Replay(sim.ICCID); err == nil {
		t.Error("a challenge that was never made is repeated")
	}
	ask := func() pairing.Challenge {
		t.Helper()
		c, err := open().Challenge(t.Context(), pairing.ChallengeRequest{ICCID: sim.ICCID, IMSI: sim.IMSI, Session: uuid.New(), Nonce: [32]byte{1}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := ask()
	if err := open().Replay(sim.ICCID); err != nil {
		t.Fatal(err)
	}
	again, next := ask(), ask()
	if again.RAND != first.RAND || again.AUTN != first.AUTN || again.Seed != first.Seed || next.RAND == first.RAND {
		t.Errorf("%+v, %+v, %+v", first, again, next)
	}
	path := filepath.Join(dir, MCI+".json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	short := bytes.Replace(text, []byte(`"autn":"`), []byte(`"autn":"","x":"`), 1)
	if err := os.WriteFile(path, short, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCompany(dir, MCI); err == nil {
		t.Error("a challenge without AUTN was loaded")
	}
}

// TestNoticeOfNothing: what is no event is signed by nobody.
func TestNoticeOfNothing(t *testing.T) {
	o, err := New(MCI, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Notice(uuid.New(), "nonsense"); err == nil || !strings.Contains(err.Error(), pairing.EventSwapStopped) {
		t.Errorf("%v", err)
	}
	if o.sequence != 0 {
		t.Error("a number was used up")
	}
	if all := pairing.Events(); len(all) != 7 || !slices.IsSorted(all) {
		t.Errorf("%q", all)
	}
}
