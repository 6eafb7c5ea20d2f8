package rack

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/nvm"
	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/cardio/virtual/pcscd/pcscdtest"
	"cardbureau/cardio/virtual/usim"
)

var daemon *pcscd.Daemon

func TestMain(m *testing.M) { pcscdtest.Main(m, 1, func(d *pcscd.Daemon) { daemon = d }) }

// inReader puts a blank into a real virtual reader and connects to it.
func inReader(t testing.TB) (*running, *pcsc.Conn) {
	t.Helper()
	return inReaderOf(t, func(*virtual.Blank) {}, virtual.DefaultATR)
}

func inReaderOf(t testing.TB, change func(*virtual.Blank), answer []byte) (*running, *pcsc.Conn) {
	t.Helper()
	if daemon == nil {
		t.Skip("no virtual readers here")
	}
	s := daemon.Slots()[0]
	dir := t.TempDir()
	blankOf(t, dir, 1, change)
	r := start(t, dir, Slot{Reader: s.Reader, Port: s.Port})
	c, err := pcsc.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	if err := c.WaitRemoved(ctx, s.Reader); err != nil {
		t.Fatal(err)
	}
	r.do(Request{Op: "next"})
	atr, err := c.WaitCard(ctx, s.Reader)
	if err != nil || !bytes.Equal(atr, answer) {
		t.Fatalf("ATR %X %v", atr, err)
	}
	conn, err := c.Connect(ctx, s.Reader)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(pcsc.Leave) })
	return r, conn
}

func TestThroughPCSC(t *testing.T) {
	r, conn := inReader(t)
	for i := range byte(3) {
		data, err := apdu.Must(t.Context(), conn, apdu.Command{INS: 0x10})
		if err != nil || !bytes.Equal(data, []byte{i + 1}) {
			t.Fatalf("%X %v", data, err)
		}
	}
	if err := conn.Reset(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	fci, err := apdu.Must(t.Context(), conn, apdu.Command{INS: 0xA4, P1: 4, Ne: 256})
	if err != nil || len(fci) == 0 || fci[0] != 0x6F {
		t.Fatalf("%X %v", fci, err)
	}
	// Extended length, both ways.
	big := apdu.Command{CLA: 0x80, INS: 0xE2, P1: 0x90, Data: make([]byte, 2000), Ne: 2000, Extended: true}
	if got, err := apdu.Send(t.Context(), conn, big); err != nil || got.SW != apdu.SWSecurityStatusNotSatisfied {
		t.Fatalf("%v %v", got.SW, err)
	}
	if s := r.do(Request{Op: "status"}).Slots[0]; s.APDUs != 5 {
		t.Errorf("%+v", s)
	}
}

// TestT0ThroughPCSC has a whole exchange with a chip of T=0 in a real virtual
// reader: what the chip does not take as a TPDU it refuses.
func TestT0ThroughPCSC(t *testing.T) {
	r, conn := inReaderOf(t, func(b *virtual.Blank) {
		key := bytes.Repeat([]byte{0x40}, 16)
		keys := virtual.Keys{Type: virtual.TripleDES, Version: 0x20, ENC: key, MAC: key, DEK: key}
		*b = virtual.LDSBlank(b.Serial, keys)
		b.T0 = true
	}, virtual.DefaultT0ATR)
	ctx := t.Context()
	must := func(c apdu.Command, want int) []byte {
		t.Helper()
		data, err := apdu.Must(ctx, conn, c)
		if err != nil || len(data) != want {
			t.Fatalf("%v: %X %v", c, data, err)
		}
		return data
	}
	isd, _ := hex.DecodeString(virtual.IssuerSecurityDomainAID)
	// Case 1 has no Le that the chip could correct.
	if r, err := apdu.Send(ctx, conn, apdu.Command{INS: 0x10}); err != nil || r.SW != 0x6C01 {
		t.Fatalf("%v %v", r.SW, err)
	}
	must(apdu.Command{INS: 0x10, Ne: 256}, 1)                                       // case 2
	must(apdu.Command{INS: 0xA4, P1: 4, Ne: 256}, 18)                               // case 2, of the card manager
	must(apdu.Command{INS: 0xA4, P1: 4, Data: isd, Ne: 256}, 18)                    // case 4
	must(apdu.Command{INS: 0xA4, P1: 4, P2: 0x0C, Data: isd}, 0)                    // case 3
	must(apdu.Command{CLA: 0x80, INS: 0xCA, P1: 0x9F, P2: 0x7F, Ne: 256}, 45)       // 6Cxx
	must(apdu.Command{CLA: 0x80, INS: 0xCA, P1: 0x9F, P2: 0x7F, Ne: 1}, 45)         // from below too
	must(apdu.Command{CLA: 0x80, INS: 0x50, Data: []byte("hostchal"), Ne: 256}, 28) // INITIALIZE UPDATE
	if n := must(apdu.Command{INS: 0x70, Ne: 1}, 1); n[0] != 1 {                    // and on another channel
		t.Fatalf("channel %X", n)
	}
	must(apdu.Command{CLA: 0x01, INS: 0xA4, P1: 4, Data: isd, Ne: 256}, 18)
	got, err := apdu.Send(ctx, conn, apdu.Command{CLA: 0x84, INS: 0xF2, P1: 0x80, P2: 2, Data: make([]byte, 10), Ne: 256})
	if err != nil || got.SW != apdu.SWSecurityStatusNotSatisfied {
		t.Fatalf("%v %v", got.SW, err)
	}
	long := apdu.Command{CLA: 0x80, INS: 0xE2, Data: make([]byte, 300)}
	if _, err := apdu.Send(ctx, conn, long); err == nil || errors.Is(err, apdu.ErrInDoubt) {
		t.Errorf("an extended command over T=0: %v", err)
	}
	if s := r.do(Request{Op: "status"}).Slots[0]; s.APDUs < 12 {
		t.Errorf("%+v", s)
	}
}

// TestDataBehindAWarning: over T=0 the card may warn first and be asked then.
func TestDataBehindAWarning(t *testing.T) {
	for name, quirks := range map[string][]virtual.Quirk{"announced": nil, "warning first": {virtual.QuirkWarningFirst}} {
		t.Run(name, func(t *testing.T) {
			_, conn := inReaderOf(t, func(b *virtual.Blank) { b.T0, b.Quirks = true, quirks }, virtual.DefaultT0ATR)
			got, err := apdu.Send(t.Context(), conn, apdu.Command{INS: 0x20, Data: []byte{1, 2, 3}, Ne: 256})
			if err != nil || got.SW != 0x6310 || !bytes.Equal(got.Data, []byte{1, 2, 3}) {
				t.Errorf("%X %v %v", got.Data, got.SW, err)
			}
		})
	}
}

// BenchmarkThroughPCSC is the raw rate: client, pcscd, vpcd, rack, chip.
func BenchmarkThroughPCSC(b *testing.B) {
	_, conn := inReader(b)
	command := []byte{0, 0x10, 0, 0}
	for b.Loop() {
		if _, err := conn.Transmit(b.Context(), command); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "APDU/s")
}

// TestSIMThroughPCSC has a SIM in a real virtual reader: it is put in by name,
// never as the next blank, and keeps its tries when it is taken out.
func TestSIMThroughPCSC(t *testing.T) {
	if daemon == nil {
		t.Skip("no virtual readers here")
	}
	s := daemon.Slots()[0]
	dir := t.TempDir()
	const name = "8998350000000000010"
	p := usim.Profile{Kind: usim.DelegatedBlank, ICCID: name}
	if err := NewCard(dir, SIMs, name, func(m *nvm.Memory) error { return usim.Manufacture(m, p) }); err != nil {
		t.Fatal(err)
	}
	r := start(t, dir, Slot{Reader: s.Reader, Port: s.Port})
	if a := r.do(Request{Op: "next"}); !a.Empty {
		t.Fatalf("a SIM is taken for a blank: %+v", a)
	}
	c, err := pcsc.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	adm := apdu.Command{INS: 0x20, P2: 0x0A, Data: []byte("00000000")}
	for _, want := range []apdu.StatusWord{0x63C2, 0x63C1} {
		if err := c.WaitRemoved(ctx, s.Reader); err != nil {
			t.Fatal(err)
		}
		r.do(Request{Op: "insert", Card: name})
		if atr, err := c.WaitCard(ctx, s.Reader); err != nil || !bytes.Equal(atr, usim.SJA2ATR) {
			t.Fatalf("ATR %X %v", atr, err)
		}
		conn, err := c.Connect(ctx, s.Reader)
		if err != nil {
			t.Fatal(err)
		}
		fcp, err := apdu.Must(ctx, conn, apdu.Command{INS: 0xA4, P1: 0x08, P2: 0x04, Data: []byte{0x2F, 0xE2}, Ne: 256})
		if err != nil || len(fcp) == 0 || fcp[0] != 0x62 {
			t.Fatalf("%X %v", fcp, err)
		}
		iccid, err := apdu.Must(ctx, conn, apdu.Command{INS: 0xB0, Ne: 256})
		if err != nil || hex.EncodeToString(iccid) != "988953000000000010f0" {
			t.Errorf("%x %v", iccid, err)
		}
		if got, err := apdu.Send(ctx, conn, adm); err != nil || got.SW != want {
			t.Errorf("%v %v", got.SW, err)
		}
		conn.Close(pcsc.Leave)
		r.do(Request{Op: "remove"})
	}
	if a := r.do(Request{Op: "status"}); a.Cards[SIMs] != 1 {
		t.Errorf("%+v", a.Cards)
	}
}
