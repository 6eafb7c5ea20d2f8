package usim

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/nvm"
)

// TestRecordsInTurn: next and previous, with an end in linear files and none in
// cyclic ones.
func TestRecordsInTurn(t *testing.T) {
	p := example()
	p.PIN1Disabled = true
	h := newHost(t, p)
	last, first := strings.Repeat("L", 28), strings.Repeat("F", 28)
	write := func(n int, s string) string { return fmt.Sprintf("00DC%02X041C", n) + hexOf([]byte(s)) }
	answer := func(s string) string { return strings.ToUpper(hexOf([]byte(s))) + "9000" }
	h.ok("00A4080C047F106F3A", write(1, first), write(50, last))
	h.table([][2]string{
		{"00B200031C", answer(last)}, {"00B200021C", "6A83"}, {"00B200041C", answer(last)}, {"00A4000C026F3A", "9000"}, {"00B200021C", answer(first)}, {"00B200031C", "6A83"},
		{"00B2000200", "6C1C"}, {"00B200041C", answer(first)}, // a wrong length moves nothing
		{"00DC00021C" + strings.Repeat("4D", 28), "9000"}, {"00B202041C", answer(strings.Repeat("M", 28))},
		{"00A20105" + "014C", "6282"}, {"00A23205" + "014C", "6101"}, {"00C0000001", "329000"},
		// the last numbers dialled go round
		{"00A4080C047F106F44", "9000"}, {"00DC00031C" + strings.Repeat("31", 28), "9000"}, {"00DC00031C" + strings.Repeat("32", 28), "9000"},
		{"00B201041C", answer(strings.Repeat("2", 28))}, {"00B200021C", answer(strings.Repeat("1", 28))}, {"00B200031C", answer(strings.Repeat("2", 28))},
		{"00B200031C", strings.Repeat("F", 56) + "9000"}, {"00B200021C", answer(strings.Repeat("2", 28))},
	}...)
}

// TestAnswersInParts: GET RESPONSE may take less than there is, and nothing waits
// after another command.
func TestAnswersInParts(t *testing.T) {
	h := newHost(t, example())
	h.table([][2]string{
		{"00A40004022FE2", "6119"}, {"00C0000020", "6C19"}, {"00C0000004", "621782026115"}, {"00C0000016", "6C15"}, {"00C0000015", "4121" + "83022FE28A01058B032F06058002000A880110" + "9000"}, {"00C0000001", "6985"},
		{"00A40004022FE2", "6119"}, {"80F2000C00", "9000"}, {"00C0000019", "6985"},
		{"80F2000000", "6C25"}, {"80F2000024", "6C25"},
	}...)
	if got := h.tpdu("80F2000025"); !strings.HasPrefix(got, "6223") || !strings.HasSuffix(got, "9000") {
		t.Error(got)
	}
}

// TestNoKeyInAnyFile reads every file of an operator's SIM with every key verified:
// nothing holds K or OPc.
func TestNoKeyInAnyFile(t *testing.T) {
	p := example()
	h := newHost(t, p)
	h.ok(pin1Right, pin2Right, adm1Usual)
	read := 0
	var walk func(f *file)
	walk = func(f *file) {
		if f.isFolder() {
			for _, c := range f.children {
				walk(c)
			}
			return
		}
		h.chip.enter(f)
		cmd := apdu.Command{INS: insReadBinary, Ne: 256}
		if f.kind != transparent {
			cmd = apdu.Command{INS: insReadRecord, P1: 1, P2: recordAbsolute, Ne: 256}
		}
		r := h.send(cmd)
		if r.SW != apdu.SWSuccess {
			t.Errorf("%s: %v", f.path, r.SW)
		}
		if bytes.Contains(r.Data, []byte(p.K)) || bytes.Contains(r.Data, []byte(p.OPc)) {
			t.Errorf("%s holds a key", f.path)
		}
		read++
	}
	walk(h.chip.root)
	if read < 40 {
		t.Errorf("%d files", read)
	}
	// Those that guards keep hosts from are there.
	for _, path := range []string{"7FFF6F7E", "7FFF6F73", "7FFF6FE3", "7FFF6F7B", "7F106F3A", "7F106F3C", "7F106F44"} {
		h.ok("00A4040C07A0000000871002", fmt.Sprintf("00A4080C%02X", len(path)/2)+path)
	}
}

func TestDamagedMemory(t *testing.T) {
	for name, damage := range map[string]func(nvm.Space){
		"no MF":     func(s nvm.Space) { s.Delete(filePrefix + rootPath) },
		"no folder": func(s nvm.Space) { s.Delete(filePrefix + gsmPath) },
		"cut":       func(s nvm.Space) { s.Set(filePrefix+gsmPath, []byte{1}) },
		"kind":      func(s nvm.Space) { s.WriteAt(filePrefix+gsmPath, 0, []byte{9}) },
		"record":    func(s nvm.Space) { s.WriteAt(filePrefix+rootPath+"/2F00", 3, []byte{0, 0}) },
	} {
		mem := nvm.InMemory()
		if err := Manufacture(mem, example()); err != nil {
			t.Fatal(err)
		}
		damage(mem.Space(chipSpace))
		if _, err := New(Config{Memory: mem}); !errors.Is(err, ErrNoCard) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A rule that says nothing allows nothing.
	for _, rule := range []string{"", "80", "800101", "80010190", "8001029000", "800101AF00", "80020101" + "9000", "800101A4" + "05", "84013290" + "00"} {
		if k := conditionOf(unhex(t, rule), opRead); k.always || len(k.keys) > 0 {
			t.Errorf("rule %s allows reading", rule)
		}
	}
}

// TestPanicIsUndone: what a command that fails inside wrote is gone.
func TestPanicIsUndone(t *testing.T) {
	h := newHost(t, example())
	h.chip.space.Delete(pinKey(keyPIN1))
	if err := h.mem.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := h.tpdu(pin1Right); got != "6F00" {
		t.Error(got)
	}
	if got := h.tpdu("00A4000C023F00"); got != "9000" {
		t.Error(got)
	}
}
