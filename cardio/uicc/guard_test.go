package uicc_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/trace"
	"cardbureau/cardio/uicc"
)

// forbidden are files that no desk may touch: where a phone was, whom its holder knows,
// what was written and called, the network's session keys.
var forbidden = []string{
	"7FFF/6F7E", "7FFF/6F73", "7FFF/6FE3", "7FFF/6FE4", "7FFF/6F7B", "7FFF/6F08", "7FFF/6F09", "7FFF/6F3C", "7FFF/6F42", "7FFF/6F80", "7FFF/6F81", "7FFF/6F39",
	"7FFF/AF20", "7FFF/AF22", "A515/6F20", "7F10/6F3A", "7F10/6F3B", "7F10/6F3C", "7F10/6F44", "7F10/5F3A/4F30", "7F10/5F3A/4F3A", "7FFF/5F3A/4F3A", "7FFF/5F3B/4F20",
	"7FFF/5FC0/4F01", "7F20/6F7E", "7F20/6F7B", "7F20/6F20", "7F20/6F74", "3F00/2F50",
}

// TestForbiddenFiles: neither by identifier, path, short identifier nor search does a
// command for them reach the card, as USIM and as SIM.
func TestForbiddenFiles(t *testing.T) {
	ctx := t.Context()
	_, r := chip(t, operators(t))
	c, err := uicc.Open(ctx, r)
	must(t, err)
	must(t, c.VerifyPIN(ctx, uicc.PIN1, []byte("0000"), false))
	_, r2 := chip(t, operators(t))
	old, err := uicc.OpenSIM(ctx, r2)
	must(t, err)
	must(t, old.VerifyPIN(ctx, uicc.PIN1, []byte("0000"), false))
	for _, path := range forbidden {
		for name, do := range map[string]func() error{
			"select":         func() error { _, err := c.Select(ctx, path); return err },
			"by path":        func() error { _, err := c.SelectPath(ctx, "3F00/"+path); return err },
			"read":           func() error { _, err := c.Read(ctx, path); return err },
			"records":        func() error { _, err := c.Records(ctx, path); return err },
			"as a SIM":       func() error { _, err := old.Select(ctx, path); return err },
			"read, as a SIM": func() error { _, err := old.Read(ctx, path); return err },
		} {
			if err := do(); !errors.Is(err, uicc.ErrNotAllowed) && !errors.Is(err, uicc.ErrNotFound) {
				t.Errorf("%s, %s: %v", path, name, err)
			}
		}
	}
	must(t, untouched(append(r.sent, r2.sent...)))
}

// TestGuardedCommands sends raw commands to a guarded card: what is not on the list is
// not sent.
func TestGuardedCommands(t *testing.T) {
	ctx := t.Context()
	_, r := chip(t, operators(t))
	g := uicc.Guarded(r)
	send := func(s string) error {
		_, err := g.Transmit(ctx, unhex(t, s))
		return err
	}
	for _, s := range []string{"00A4000C023F00", "00A4040C07A0000000871002", "00A4000C026F07", "0020000108 30303030FFFFFFFF", "00B0000009", "00A4030C", "00A4080C022FE2", "00F2000C00"} {
		must(t, send(s))
	}
	before := len(r.sent)
	for _, s := range []string{
		"00A4000C026F7E", "00A4000C025F3A", "00A4080C047FFF6F7E", "00A4080C067F105F3A4F30", "00A4090C026F73", "00A4010C025F3A", "00A4040C05A000000003",
		"00B08B000B", "00B08C0001", "00B2015C28", "00B201E41C", "00D6870001AA", // short identifiers: LOCI, PSLOCI, …
		"00A2010401AA", "00CB0000025C0000", "0070000001", "00C2000001AA", "80C2000003D30100", "00A8000000", "0078000001", "00E0000000", "00E4000000", "0044000000",
		"04B0000009", "01A4000C026F7E", "10A4000C026F7E", "A0A40000026F7B", "A0A40000026F3A",
	} {
		if err := send(s); !errors.Is(err, uicc.ErrNotAllowed) {
			t.Errorf("%s: %v", s, err)
		}
	}
	if len(r.sent) != before {
		t.Errorf("sent all the same: %v", r.sent[before:])
	}
	// A SELECT that the card refuses does not change what is current, and after a
	// directory no file is.
	must(t, send("00A4040C07A0000000871002"))
	if err := send("00B0000009"); !errors.Is(err, uicc.ErrNotAllowed) {
		t.Error(err)
	}
	if err := send("00"); !errors.Is(err, apdu.ErrMalformed) {
		t.Error(err)
	}
}

// untouched reads commands as they went to a card and says whether one was for a file
// that tells of its holder.
func untouched(sent []string) error {
	for _, s := range sent {
		for _, fid := range []string{"6F7E", "6F73", "6FE3", "6F7B", "6F3A", "6F3C", "5F3A", "6F44", "6F08", "6F09", "6F3B", "6F42", "6F80", "6F81", "6F39", "6FE4", "5F3B", "5FC0", "6F74"} {
			if len(s) >= 14 && s[2:4] == "A4" && strings.Contains(s[10:], fid) {
				return errors.New("SELECT of " + fid + " was sent: " + s)
			}
		}
		if ins := s[2:4]; (ins == "B0" || ins == "D6") && s[4] >= '8' || (ins == "B2" || ins == "DC") && s[6:8] > "07" {
			return errors.New("a short identifier was sent: " + s)
		}
	}
	return nil
}

// TestTrace: what a desk does with a SIM, as a trace has it.
func TestTrace(t *testing.T) {
	ctx := t.Context()
	ch, r := chip(t, operators(t))
	var out bytes.Buffer
	w, err := trace.NewWriter(&out, trace.Options{})
	must(t, err)
	c, err := uicc.Open(ctx, w.Card(r, ch.ATR()))
	must(t, err)
	must(t, c.VerifyPIN(ctx, uicc.PIN1, []byte("0000"), false))
	for _, read := range []func() error{
		func() error { _, err := c.ICCID(ctx); return err }, func() error { _, err := c.IMSI(ctx); return err },
		func() error { _, err := c.MSISDN(ctx); return err },
		func() error { _, err := c.Authenticate(ctx, array(t, setRAND), array(t, setAUTN)); return err },
	} {
		must(t, read())
	}
	text := strings.ToUpper(out.String())
	for name, secret := range map[string]string{"PIN": "30303030", "RES": setRES, "CK": setCK, "IK": setIK, "IMSI": "4923110000000010", "number": "8919103254"} {
		if strings.Contains(text, strings.ToUpper(secret)) {
			t.Errorf("the trace has the %s", name)
		}
	}
	must(t, untouched(r.sent))
}
