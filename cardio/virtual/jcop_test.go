package virtual

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/nvm"
)

// TestRealHost replays what a host that no one here wrote (GlobalPlatformPro)
// sent to an NXP JCOP 4: the software chip with the same keys, security domain
// and counter answers INITIALIZE UPDATE with the same bytes, lets the host in,
// and understands every command after it.
func TestRealHost(t *testing.T) {
	for name, counter := range map[string]uint32{"jcop4-p71": 0x01, "jcop4-p71-level33": 0x4E} {
		t.Run(name, func(t *testing.T) { replayHost(t, "testdata/"+name+".json", counter) })
	}
}

// replayHost plays a recording to a chip whose counter stands at counter, as
// GET DATA 00C1 has it.
func replayHost(t *testing.T, file string, counter uint32) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct {
		ENC       string
		Exchanges [][2]string
	}
	if err := json.Unmarshal(b, &recorded); err != nil {
		t.Fatal(err)
	}
	key := unhex(t, recorded.ENC)
	mem := nvm.InMemory()
	if err := Manufacture(mem, Blank{
		Keys: Keys{Version: 0x01, ENC: key, MAC: key, DEK: key}, SCP: SCP03Full,
		KeyDiversificationData: unhex(t, "03700000000000000000"), IIN: []byte{}, CIN: []byte{},
	}); err != nil {
		t.Fatal(err)
	}
	c := on(t, mem, nil)
	c.reg.keys[0].sequence = counter
	h := &host{t: t, card: c}
	secured := 0
	for _, e := range recorded.Exchanges {
		command := unhex(t, e[0])
		want := unhex(t, e[1])
		data, sw := h.raw(command)
		got := append(data, byte(sw>>8), byte(sw))
		switch command[1] {
		case insSelect, insInitializeUpdate, insExternalAuthenticate:
			if !bytes.Equal(got, want) {
				t.Fatalf("%s: %X\nwant %X", e[0], got, want)
			}
		case insGetStatus:
			secured++
			// What is on the two cards differs, not whether the MAC holds.
			if !sw.OK() && sw != apdu.SWReferencedDataNotFound {
				t.Errorf("%s: %v", e[0], sw)
			}
		case insGetData:
			if same := map[string]bool{"80ca004200": true, "80ca00cf00": true, "80ca00c100": true, "80ca00e000": true}; same[e[0]] && !bytes.Equal(got, want) {
				t.Errorf("%s: %X\nwant %X", e[0], got, want)
			}
		default:
			t.Fatalf("a command that this test does not know: %s", hex.EncodeToString(command))
		}
	}
	if secured < 3 {
		t.Errorf("%d commands in the session", secured)
	}
}
