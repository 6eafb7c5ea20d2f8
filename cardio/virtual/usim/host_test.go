package usim

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/nvm"
)

// example is an operator's SIM.
func example() Profile {
	return Profile{
		ICCID: "8998110000000000012", IMSI: "432110000000001", MSISDN: "+989101234567", SPN: "Hamrah-e Aval", ACC: 0x0002,
		K: Secret(strings.Repeat("K", 16)), OPc: Secret(strings.Repeat("O", 16)),
	}
}

func blankProfile() Profile {
	return Profile{Kind: DelegatedBlank, ICCID: "8998350000000000010", ADM1: "12345678"}
}

// host is a terminal that knows nothing of files.
type host struct {
	t    testing.TB
	mem  *nvm.Memory
	chip *Chip
}

func newHost(t testing.TB, p Profile) *host {
	t.Helper()
	mem := nvm.InMemory()
	c, err := New(Config{Memory: mem, Profile: &p})
	if err != nil {
		t.Fatal(err)
	}
	return &host{t, mem, c}
}

// send fetches answers as 61xx, 9Fxx and 6Cxx ask for it.
func (h *host) send(cmd apdu.Command) apdu.Response {
	h.t.Helper()
	r, err := apdu.Send(h.t.Context(), Terminal{h.chip}, cmd)
	if err == nil && r.SW.SW1() == 0x9F { // class A0's announcement
		r, err = apdu.Send(h.t.Context(), h.chip, apdu.Command{CLA: classGSM, INS: insGetResponse, Ne: int(r.SW.SW2())})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// tpdu sends a TPDU in hexadecimal and gives the whole answer in it.
func (h *host) tpdu(s string) string {
	h.t.Helper()
	r, err := h.chip.Transmit(h.t.Context(), unhex(h.t, s))
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.ToUpper(hex.EncodeToString(r))
}

// ok sends TPDUs and wants each to succeed: 9000, 91xx, or 61xx and 9Fxx.
func (h *host) ok(all ...string) {
	h.t.Helper()
	for _, s := range all {
		got := h.tpdu(s)
		switch sw := got[len(got)-4:]; sw[:2] {
		case "90", "91", "61", "9F":
		default:
			h.t.Fatalf("%s: %s", s, sw)
		}
	}
}

// table sends TPDUs and compares whole answers.
func (h *host) table(pairs ...[2]string) {
	h.t.Helper()
	for _, p := range pairs {
		if got := h.tpdu(p[0]); got != p[1] {
			h.t.Errorf("%s: %s, not %s", p[0], got, p[1])
		}
	}
}

func (h *host) usim() {
	h.t.Helper()
	h.ok("00A4040C07A0000000871002")
}

// Frequent commands.
const (
	pin1Right = "002000010830303030FFFFFFFF"
	pin1Wrong = "002000010839393939FFFFFFFF"
	pin2Right = "002000810835363738FFFFFFFF"
	adm1Right = "0020000A083132333435363738"
	adm1Usual = "0020000A083838383838383838"
)

func TestProfileIsChecked(t *testing.T) {
	for name, change := range map[string]func(*Profile){
		"ICCID":           func(p *Profile) { p.ICCID = "89" },
		"letters":         func(p *Profile) { p.ICCID = "899811000000000001F" },
		"IMSI":            func(p *Profile) { p.IMSI = "43211" },
		"long IMSI":       func(p *Profile) { p.IMSI = "4321100000000012" },
		"MNC":             func(p *Profile) { p.MNCDigits = 4 },
		"number":          func(p *Profile) { p.MSISDN = "+98x" },
		"name":            func(p *Profile) { p.SPN = "همراه اول" },
		"half a key":      func(p *Profile) { p.OPc = "" },
		"short key":       func(p *Profile) { p.K, p.OPc = "short", "short" },
		"no key":          func(p *Profile) { p.K, p.OPc = "", "" },
		"PIN":             func(p *Profile) { p.PIN1 = "12" },
		"PUK":             func(p *Profile) { p.PUK2 = "1234567" },
		"ADM":             func(p *Profile) { p.ADM1 = "1234" },
		"IND":             func(p *Profile) { p.INDBits = 6 },
		"SQN":             func(p *Profile) { p.SQN = 1 << 48 },
		"r":               func(p *Profile) { p.R = []byte{1, 2, 3, 4, 200} },
		"c":               func(p *Profile) { p.C = [][]byte{{1}, {2}, {3}, {4}, {5}} },
		"ISIM":            func(p *Profile) { p.ISIM = true },
		"ISIM, too long":  func(p *Profile) { p.ISIM, p.IMPI = true, strings.Repeat("1", maxIdentity+1) },
		"ATR":             func(p *Profile) { p.ATR = []byte{0x3B} },
		"toolkit command": func(p *Profile) { p.Proactive = [][]byte{{0xD1, 0x00}} },
		"kind":            func(p *Profile) { p.Kind = 7 },
	} {
		p := example()
		change(&p)
		if err := Manufacture(nvm.InMemory(), p); !errors.Is(err, ErrProfile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h := newHost(t, example())
	if err := Manufacture(h.mem, example()); !errors.Is(err, ErrNotBlank) {
		t.Error(err)
	}
	if _, err := New(Config{}); !errors.Is(err, ErrNoCard) {
		t.Error(err)
	}
}

func TestPower(t *testing.T) {
	h := newHost(t, example())
	if atr := h.chip.PowerOn(); string(atr) != string(DefaultATR) || string(h.chip.ATR()) != string(atr) {
		t.Errorf("%X", atr)
	}
	var sum byte
	for _, b := range DefaultATR[1:] {
		sum ^= b
	}
	if sum != 0 {
		t.Error("TCK")
	}
	h.chip.PowerOff()
	if _, err := h.chip.Transmit(t.Context(), []byte{0, 0xA4, 0, 0, 0}); !errors.Is(err, ErrNoPower) {
		t.Error(err)
	}
	if got := newHost(t, blankProfile()).chip.ATR(); string(got) != string(SJA2ATR) {
		t.Errorf("%X", got)
	}
}
