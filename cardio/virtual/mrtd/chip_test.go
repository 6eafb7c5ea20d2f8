package mrtd

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
)

// furnished is the application with a holder's content from the first
// power-up on.
type furnished struct {
	*Applet
	h holder
}

func (f furnished) Select(e virtual.Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if e.LifeCycle() == LifeCyclePersonalizing {
		for _, g := range append(append([]grouping{}, f.h.files...), f.h.secrets()...) {
			if sw := put(e, g.id, g.value, false); !sw.OK() {
				return nil, sw
			}
		}
		if sw := f.finish(e); !sw.OK() {
			return nil, sw
		}
	}
	return f.Applet.Select(e, cmd)
}

// TestOnTheChip reads the application on the whole software card: selected by
// default after a reset, by its AID in plain and under secure messaging, and
// with the issuer security domain beside it.
func TestOnTheChip(t *testing.T) {
	t.Run("T=1", func(t *testing.T) { onTheChip(t, false) })
	t.Run("T=0", func(t *testing.T) { onTheChip(t, true) })
}

// overT0 is a reader of T=0, and whoever continues what it cannot.
type overT0 struct{ *virtual.Chip }

func (o overT0) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	r, err := apdu.SendRaw(ctx, tpdus(o), command)
	return r.Bytes(), err
}

type tpdus struct{ *virtual.Chip }

func (p tpdus) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	command, err := apdu.ForT0(command)
	if err != nil {
		return nil, err
	}
	return p.Chip.Transmit(ctx, command)
}

func onTheChip(t *testing.T, t0 bool) {
	h := newHolder(t)
	key := bytes.Repeat([]byte{0x42}, 16)
	blank := virtual.LDSBlank(virtual.NewSerial(1, 1), virtual.Keys{Version: 0x30, ENC: key, MAC: key, DEK: key})
	blank.T0 = t0
	whole, err := virtual.New(virtual.Config{
		Blank:   &blank,
		Applets: map[string]func() virtual.Applet{AID: func() virtual.Applet { return furnished{New(), h} }},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &chip{t: t, whole: whole}
	if t0 {
		c.whole = overT0{whole}
	}
	for _, w := range ways {
		whole.Reset()
		c.raw("00B09C0000", fmt.Sprintf("%X9000", h.file(fidCardAccess)))
		r := newReader(c)
		w.open(r, h)
		for _, id := range []fid{fidCOM, fidSOD, fidDG1, fidDG2, fidDG14} {
			if !bytes.Equal(r.readFile(id, 223), h.file(id)) {
				t.Errorf("%s: file %04X differs", w.name, uint16(id))
			}
		}
		must(t, r.verify(h.pin), apdu.SWSuccess)
		if !bytes.HasPrefix(c.transmit(unhex(t, "00A4040008A00000015100000000")), []byte{0x6F}) {
			t.Error("the issuer security domain is not selected")
		}
		c.raw("00A4040007A000000247100100", "6F098407A00000024710019000")
		c.raw("00A4020C020101", "6982")
		if answer := c.transmit(r.protect(0xB0, 0x81, 0, nil, 8)); !bytes.Equal(answer, []byte{0x69, 0x88}) {
			t.Errorf("%s: the session outlives another selection: %X", w.name, answer)
		}
	}
	must(t, newReader(c).selectApplication(), apdu.SWSuccess)
}
