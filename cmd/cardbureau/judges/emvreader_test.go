package judges

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestCardpeekReadsTheAccount has an EMV reader that no one here wrote go through an
// issued card over PC/SC: PSE, application, processing options, every record, counters.
func TestCardpeekReadsTheAccount(t *testing.T) {
	needCommand(t, "cardpeek", "cardpeek")
	c := card(t)
	dir := t.TempDir()
	view := filepath.Join(dir, "emv.xml")
	ctx, cancel := context.WithTimeout(t.Context(), patience/3)
	defer cancel()
	// The first time it makes its files in a new home; it finds them from the next
	// time on. After a mistake it would ask for commands without end.
	for _, script := range []string{
		"os.exit(0)",
		`ui.question=function() return 1 end pcall(dofile, "/usr/share/cardpeek/emv.lua") ui.save_view("` + view + `") os.exit(0)`,
	} {
		cmd := exec.CommandContext(ctx, "cardpeek", "--console", "--reader", "pcsc://"+c.Reader, "--exec", script)
		cmd.Env = append(append(os.Environ(), c.env()...), "HOME="+dir)
		cmd.Stdin = bytes.NewReader([]byte("1\n1\n"))
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
	}
	shown, err := os.ReadFile(view)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1PAY.SYS.DDF01", "BANK SEPAH", "Response Message Template Format 2", "Application File Locator (AFL)",
		"58921099", "11/30/", "Iran, Islamic Republic of", // PAN, expiry, issuer's country
		"Enciphered PIN verified online - If unattended cash", "Plaintext PIN verification performed by ICC - If terminal supports the CVM",
		"Issuer PK Certificate", "Signed Static Application Data", "ICC Public Key Certificate", "Card Risk Management Data Object List 1",
	} {
		if !bytes.Contains(shown, []byte(want)) {
			t.Errorf("it does not show %s", want)
		}
	}
	// No log of transactions is there, and the counter of PIN tries is full.
	for name, want := range map[string]string{"PIN Try Counter": "3", "Log Entry": ""} {
		_, after, found := bytes.Cut(shown, []byte(`<attr name="label">`+name+"</attr>"))
		after, _, _ = bytes.Cut(after, []byte("</node>"))
		if found != (want != "") || found && !bytes.Contains(after, []byte(`<attr name="alt">`+want+"</attr>")) {
			t.Errorf("%s: %s", name, after)
		}
	}
}
