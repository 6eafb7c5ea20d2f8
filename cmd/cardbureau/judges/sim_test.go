package judges

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/usim"
	"cardbureau/hsm/aka"
)

// centre asks Osmocom's osmo-auc-gen, an authentication centre on a command
// line, and returns what it says by name.
func centre(t *testing.T, args ...string) map[string]string {
	t.Helper()
	needCommand(t, "osmo-auc-gen", "libosmocore-utils")
	said := map[string]string{}
	for line := range strings.Lines(accepts(t, "", nil, "osmo-auc-gen", append([]string{"--3g", "--algorithm", "milenage"}, args...)...)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			said[name] = strings.TrimSpace(value)
		}
	}
	return said
}

// TestOsmocomAuthenticatesTheSIM has an authentication centre from outside
// challenge the software SIM, check its answer, and read its AUTS; and our own
// make the same of each input.
func TestOsmocomAuthenticatesTheSIM(t *testing.T) {
	k, opc, challenge := []byte("a key of 16 byte"), []byte("an OPc, 16 bytes"), []byte("16 bytes, random")
	const seen = 32*70000 + 7 // what the SIM has accepted, in IND 7
	sim, err := usim.New(usim.Config{Profile: &usim.Profile{
		ICCID: "8998110000000000012", IMSI: "432110000000001", K: usim.Secret(k), OPc: usim.Secret(opc), PIN1Disabled: true, SQN: seen,
	}})
	if err != nil {
		t.Fatal(err)
	}
	algorithm, err := aka.NewMilenage(k, opc)
	if err != nil {
		t.Fatal(err)
	}
	send := func(c apdu.Command) []byte {
		t.Helper()
		out, err := apdu.Must(t.Context(), usim.Terminal{Card: sim}, c)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	aid, _ := hex.DecodeString("A0000000871002")
	send(apdu.Command{INS: 0xA4, P1: 0x04, P2: 0x0C, Data: aid})
	authenticate := func(autn []byte) []byte {
		t.Helper()
		return send(apdu.Command{INS: 0x88, P2: 0x81, Data: append(append(append([]byte{16}, challenge...), 16), autn...), Ne: 256})
	}
	keys := []string{"--key", hex.EncodeToString(k), "--opc", hex.EncodeToString(opc), "--rand", hex.EncodeToString(challenge), "--amf", "8000", "--ind-len", "5"}

	// It says which number it used.
	said := centre(t, append(keys, "--sqn", strconv.Itoa(seen))...)
	sqn, err := strconv.ParseUint(said["SQN"], 10, 48)
	if err != nil {
		t.Fatalf("%v", said)
	}
	ours, err := aka.NewVector(algorithm, [16]byte(challenge), aka.SQN(sqn), aka.AMF{0x80})
	if err != nil {
		t.Fatal(err)
	}
	triplet, err := ours.Triplet()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string][]byte{
		"AUTN": ours.AUTN[:], "RES": ours.XRES, "CK": ours.CK, "IK": ours.IK, "SRES": triplet.SRES, "Kc": triplet.Kc,
	} {
		if said[name] != hex.EncodeToString(value) {
			t.Errorf("the two centres differ in %s", name)
		}
	}
	next := centre(t, append(keys, "--sqn", strconv.Itoa(seen+32))...)
	autn, err := hex.DecodeString(next["AUTN"])
	if err != nil || len(autn) != 16 {
		t.Fatalf("%v", next)
	}
	answer := authenticate(autn)
	want := ""
	for i, name := range []string{"RES", "CK", "IK", "Kc"} {
		want += fmt.Sprintf("%02x", []int{8, 16, 16, 8}[i]) + next[name]
	}
	if hex.EncodeToString(answer) != "db"+want {
		t.Fatalf("the SIM answers %d bytes with tag %02X", len(answer), answer[0])
	}

	// Sent again, the SIM answers with AUTS; both centres read the same number in it.
	again := authenticate(autn)
	if again[0] != 0xDC || len(again) != 16 {
		t.Fatalf("tag %02X", again[0])
	}
	resync := centre(t, append(keys, "--auts", hex.EncodeToString(again[2:]))...)
	ms, err := aka.OpenAUTS(algorithm, [16]byte(challenge), [14]byte(again[2:]))
	if err != nil || resync["SQN.MS"] != strconv.FormatUint(uint64(ms), 10) {
		t.Fatalf("SQN.MS %s and %d: %v", resync["SQN.MS"], ms, err)
	}
	used, _, err := aka.OpenAUTN(algorithm, [16]byte(challenge), [16]byte(autn))
	if err != nil || used != ms {
		t.Errorf("the SIM has accepted %d, not %d: %v", ms, used, err)
	}
	// What the centre from outside makes after it, the SIM accepts.
	fresh, err := hex.DecodeString(resync["AUTN"])
	if err != nil {
		t.Fatal(err)
	}
	if answer := authenticate(fresh); answer[0] != 0xDB || !bytes.Contains(answer, must(t, resync["RES"])) {
		t.Errorf("tag %02X after the resynchronization", answer[0])
	}
}

func must(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) == 0 {
		t.Fatal(s, err)
	}
	return b
}
