package usim

import (
	"testing"

	"cardbureau/cardio/virtual/nvm"
)

// TestAhead: a SIM that was put ahead tells so once and takes the number after it; one
// that is closed takes none, until it is put ahead as usual.
func TestAhead(t *testing.T) {
	p := example()
	p.PIN1Disabled = true
	h, n := newHost(t, p), newNetwork()
	at := func(seq uint64) uint64 { return seq << 5 }
	ahead := func(seq uint64, closed bool) {
		t.Helper()
		if err := Ahead(h.mem, seq, closed); err != nil {
			t.Fatal(err)
		}
		h.chip.Reset()
		h.usim()
	}
	want := func(sqn uint64, tag byte, ms uint64) {
		t.Helper()
		if got, top := n.ask(h, sqn); got != tag || top != ms {
			t.Errorf("SQN %d: %X, SQN_MS %d, want %X, %d", sqn, got, top, tag, ms)
		}
	}
	h.usim()
	want(at(1), tagSuccess, 0)
	ahead(1000, false)
	want(at(2), tagSync, at(1001)+31)
	want(at(2)+7, tagSync, at(1001)+31)
	want(at(1002), tagSuccess, 0)
	ahead(5, true)
	want(at(1003), tagSync, at(1007)+31)
	want(at(1008)+3, tagSync, at(1007)+31)
	ahead(1, false)
	want(at(1009), tagSuccess, 0)

	if err := Ahead(h.mem, 1<<43, false); err == nil {
		t.Error("a counter runs over")
	}
	if err := Ahead(nvm.InMemory(), 1, false); err == nil {
		t.Error("what is no SIM was put ahead")
	}
}
