package judges

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/nvm"
	"cardbureau/cardio/virtual/rack"
	"cardbureau/cardio/virtual/usim"
	"cardbureau/cardio/virtual/vpcd"
)

// forT0 is a reader that keeps back the Le of commands with data, which cardpeek
// leaves to the reader and vpcd does not do.
type forT0 struct{ vpcd.Card }

// Transmit sends one command as T=0 carries it.
func (c forT0) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	return usim.Terminal{Card: c.Card}.Transmit(ctx, command)
}

// programmed makes a blank and programs it with ADM1.
func programmed(m *nvm.Memory) error {
	sim, err := usim.New(usim.Config{Memory: m, Profile: &usim.Profile{Kind: usim.DelegatedBlank, ICCID: "8998110000000000012", ADM1: "12345678"}})
	if err != nil {
		return err
	}
	for _, command := range []string{
		"0020000A083132333435363738",
		"00A4040C07A0000000871002",
		"00A4080C047FFF6F07", "00D6000009" + "084923110000000010",
		"00A4080C047FFF6F46", "00D600000E" + "01" + hex.EncodeToString([]byte("Hamrah-e Aval")),
		"002000010830303030FFFFFFFF",
		"00A4080C047FFF6F40", "00DC01041C" + strings.Repeat("FF", 14) + "0791891910325476FFFFFFFFFFFF",
	} {
		b, err := hex.DecodeString(command)
		if err != nil {
			return err
		}
		out, err := sim.Transmit(context.Background(), b)
		if err != nil {
			return err
		}
		if r, err := apdu.ParseResponse(out); err != nil || !r.SW.OK() {
			return &apdu.StatusError{Header: [4]byte(b), SW: r.SW}
		}
	}
	return nil
}

// TestCardpeekReadsTheSIM has a SIM reader that no one here wrote go through the
// software SIM over PC/SC, and show what was programmed.
func TestCardpeekReadsTheSIM(t *testing.T) {
	needCommand(t, "cardpeek", "cardpeek")
	const name = "8998110000000000012"
	put := func(cards string) (rack.Request, error) {
		return rack.Request{Op: "insert", Card: name}, rack.NewCard(cards, rack.SIMs, name, programmed)
	}
	reader, env := cardInReader(t, put, func(m *nvm.Memory) (vpcd.Card, error) {
		sim, err := usim.New(usim.Config{Memory: m})
		return forT0{sim}, err
	})
	dir := t.TempDir()
	view := filepath.Join(dir, "sim.xml")
	script := `ui.readline=function() return "0000" end dofile("/usr/share/cardpeek/gsm (beta).lua") ui.save_view("` + view + `") os.exit(0)`
	ctx, cancel := context.WithTimeout(t.Context(), patience/3)
	defer cancel()
	cmd := exec.CommandContext(ctx, "cardpeek", "--console", "--reader", "pcsc://"+reader, "--exec", script)
	cmd.Env = append(append(os.Environ(), env...), "HOME="+dir)
	cmd.Stdin = strings.NewReader("1\n1\n") // it may install its files in its new home
	// What it says is not kept: a question that nobody answers it asks without end.
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	shown, err := os.ReadFile(view)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<attr name="alt">432110000000001</attr>`, `<attr name="alt">Hamrah-e Aval</attr>`,
		"8:988911000000000010F2", "0791891910325476FFFFFFFFFFFF", // ICCID and MSISDN it shows as they are
		`<attr name="alt">Always,ADM,ADM,ADM,ADM</attr>`, `<attr name="alt">CHV1,ADM,ADM,ADM,ADM</attr>`,
	} {
		if !bytes.Contains(shown, []byte(want)) {
			t.Errorf("it does not show %s", want)
		}
	}
}
