package judges

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"cardbureau/cardio/virtual"
)

// answer is a response APDU as opensc-tool prints it.
type answer struct {
	data []byte
	sw   string
}

var received = regexp.MustCompile(`Received \(SW1=0x(..), SW2=0x(..)\)`)

// openscSend sends commands in one session and returns the answers.
func openscSend(t *testing.T, c *issued, commands ...string) []answer {
	t.Helper()
	args := []string{"--reader", c.Reader}
	for _, command := range commands {
		args = append(args, "-s", command)
	}
	var out []answer
	for line := range strings.Lines(accepts(t, "", c.env(), "opensc-tool", args...)) {
		if m := received.FindStringSubmatch(line); m != nil {
			out = append(out, answer{sw: m[1] + m[2]})
			continue
		}
		if len(out) == 0 || strings.HasPrefix(line, "Sending:") || len(line) < 48 {
			continue
		}
		dump, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(line[:48]), " ", ""))
		if err != nil {
			t.Fatalf("a line that is no dump: %q", line)
		}
		last := &out[len(out)-1]
		last.data = append(last.data, dump...)
	}
	if len(out) != len(commands) {
		t.Fatalf("%d commands, %d answers", len(commands), len(out))
	}
	return out
}

func TestOpenSCSpeaksToTheCard(t *testing.T) {
	needCommand(t, "opensc-tool", "opensc")
	c := card(t)
	if said := accepts(t, "", c.env(), "opensc-tool", "--list-readers"); !strings.Contains(said, c.Reader) {
		t.Errorf("its readers:\n%s", said)
	}
	want := strings.TrimSpace(fmt.Sprintf("% x", virtual.DefaultATR))
	if said := accepts(t, "", c.env(), "opensc-tool", "--reader", c.Reader, "--atr"); strings.TrimSpace(said) != strings.ReplaceAll(want, " ", ":") {
		t.Errorf("the ATR is %s, not %s", said, want)
	}
	// An unknown card is no error, and asking for its kind does not upset it.
	if said := accepts(t, "", c.env(), "opensc-tool", "--reader", c.Reader, "--name"); !strings.Contains(said, "Unsupported card") {
		t.Errorf("it takes the card for a %s", said)
	}

	got := openscSend(t, c,
		"00A4040008A00000015100000000", // the issuer security domain
		"80CA9F7F00",                   // CPLC
		"80CA00E000",                   // key information
		"80F28002024F0000",             // GET STATUS, without a secure channel
		"00A4040007A000000247109900",   // an application that is not there
		"00A4040C07A0000002471001",     // the travel document
		"00A4020C020101",               // DG1
		"00B0000000",
	)
	fci := got[0]
	if fci.sw != "9000" || !strings.HasPrefix(hex.EncodeToString(fci.data), "6f") || !strings.Contains(hex.EncodeToString(fci.data), "8408a000000151000000") {
		t.Errorf("SELECT of the security domain: %X %s", fci.data, fci.sw)
	}
	cplc := got[1]
	if cplc.sw != "9000" || len(cplc.data) != 45 || hex.EncodeToString(cplc.data[:3]) != "9f7f2a" {
		t.Errorf("CPLC: %X %s", cplc.data, cplc.sw)
	} else if serial := fmt.Sprintf("%X%X%X%X", cplc.data[3:5], cplc.data[5:7], cplc.data[19:21], cplc.data[15:19]); serial != c.serial {
		t.Errorf("CPLC names the chip %s, not %s", serial, c.serial)
	}
	// Three AES-128 keys of the issuer's version: the transport keys are gone.
	if want := "e012c00401318810c00402318810c00403318810"; got[2].sw != "9000" || hex.EncodeToString(got[2].data) != want {
		t.Errorf("key information: %X %s", got[2].data, got[2].sw)
	}
	for i, want := range map[int]string{3: "6982", 4: "6A82", 5: "9000", 6: "6982"} {
		if got[i].sw != want {
			t.Errorf("command %d is answered %s, not %s", i+1, got[i].sw, want)
		}
	}
	if last := got[7]; last.sw == "9000" || len(last.data) > 0 {
		t.Errorf("a file can be read without access control: %s", last.sw)
	}
}
