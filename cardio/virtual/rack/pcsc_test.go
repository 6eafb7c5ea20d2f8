package rack

import (
	"bytes"
	"context"
	"testing"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/cardio/virtual/pcscd/pcscdtest"
)

var daemon *pcscd.Daemon

func TestMain(m *testing.M) { pcscdtest.Main(m, 1, func(d *pcscd.Daemon) { daemon = d }) }

// inReader puts a blank into a real virtual reader and connects to it.
func inReader(t testing.TB) (*running, *pcsc.Conn) {
	t.Helper()
	if daemon == nil {
		t.Skip("no virtual readers here")
	}
	s := daemon.Slots()[0]
	dir := t.TempDir()
	blank(t, dir, 1)
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
	if err != nil || !bytes.Equal(atr, virtual.DefaultATR) {
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
