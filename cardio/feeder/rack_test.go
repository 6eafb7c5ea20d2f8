package feeder_test

import (
	"context"
	"io"
	"path/filepath"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/feeder"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/nvm"
	"cardbureau/cardio/virtual/rack"
	"cardbureau/cardio/virtual/vpcd"
)

// plain is an applet that does nothing.
type plain struct{}

func (plain) Select(virtual.Env, apdu.Command) ([]byte, apdu.StatusWord) { return nil, apdu.SWSuccess }
func (plain) Deselect(virtual.Env)                                       {}
func (plain) Process(virtual.Env, apdu.Command) ([]byte, apdu.StatusWord) {
	return nil, apdu.SWInstructionNotSupported
}
func (plain) StoreData(virtual.Env, byte, byte, []byte) ([]byte, apdu.StatusWord) {
	return nil, apdu.SWSuccess
}

// TestVirtualFeedsFromTheRack empties a rack of two blanks through a reader:
// each card is another one, and each ends in its bin.
func TestVirtualFeedsFromTheRack(t *testing.T) {
	presence, slots := readers(t)
	ctx := deadline(t)
	dir := t.TempDir()
	for i := range uint32(2) {
		key := make([]byte, 16)
		blank := virtual.LDSBlank(virtual.NewSerial(1, i), virtual.Keys{Version: 0x30, ENC: key, MAC: key, DEK: key})
		if _, err := rack.NewBlank(dir, blank); err != nil {
			t.Fatal(err)
		}
	}
	control := filepath.Join(t.TempDir(), "rack")
	running, stop := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- rack.Run(running, rack.Config{
			Dir: dir, ControlSocket: control, Slots: []rack.Slot{{Reader: slots[0].Reader, Port: slots[0].Port}},
			Factory: func(mem *nvm.Memory) (vpcd.Card, error) {
				return virtual.New(virtual.Config{Memory: mem, Applets: map[string]func() virtual.Applet{
					virtual.LDSAID: func() virtual.Applet { return plain{} },
				}})
			},
			Ready: func() { close(ready) },
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-ready
	if err := presence.WaitRemoved(ctx, slots[0].Reader); err != nil {
		t.Fatal(err)
	}
	v := &feeder.Virtual{Control: control, Presence: presence, Reader: slots[0].Reader}
	for i, bin := range []feeder.Bin{feeder.Issued, feeder.Doubt} {
		if err := v.Next(ctx); err != nil {
			t.Fatal(err)
		}
		conn, err := presence.Connect(ctx, slots[0].Reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := apdu.Must(ctx, conn, gp.SelectISDCommand()); err != nil {
			t.Fatal(err)
		}
		cplc, err := gp.ReadCPLC(ctx, gp.Plain(conn))
		if err != nil {
			t.Fatal(err)
		}
		serial := virtual.NewSerial(1, uint32(i)).String()
		if cplc.Serial() != serial {
			t.Errorf("card %s came, want %s", cplc.Serial(), serial)
		}
		if err := conn.Close(pcsc.Unpower); err != nil {
			t.Fatal(err)
		}
		if err := v.Out(ctx, bin); err != nil {
			t.Fatal(err)
		}
		if cards, err := rack.Cards(dir, rack.Bin(bin)); err != nil || len(cards) != 1 || cards[0] != serial {
			t.Errorf("in %s: %q, %v", bin, cards, err)
		}
	}
	if err := v.Next(ctx); err != io.EOF {
		t.Errorf("no more blanks: %v", err)
	}
}
