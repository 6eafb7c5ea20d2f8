package jmrtd_test

import (
	"bytes"
	"context"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds"
	"cardbureau/cardio/virtual/jmrtd"
)

// checkAnswer holds for every answer of the chip.
func checkAnswer(t *testing.T, answer []byte) {
	t.Helper()
	if n := len(answer); n < 2 || (answer[n-2]&0xF0 != 0x60 && !bytes.Equal(answer[n-2:], []byte{0x90, 0})) {
		t.Fatalf("answer %X", answer)
	}
}

// FuzzProcess sends commands, each with its length in front, to a fresh and to
// an issued applet in plain: it never panics, and nothing of an issued document
// comes out.
func FuzzProcess(f *testing.F) {
	for _, s := range []string{
		"0700A4020C020101 0500B0000004", "05008400000804008400 00", "2200DA00621D621B04094C383938393032433C04063639303830360406393430363233 0500840000 08",
		"0B00E0000006630400080101 0700A4020C020101 0700D6000002AABB", "0E00DA0060096000040511223344 55", "0A00DA006506650466020231",
		"140022C1A40F800A04007F00070202040202830102 0810860000027C0000", "0400DADEAF 0400DADEAD",
	} {
		f.Add(unhex(f, s))
	}
	type pair struct{ fresh, issued *card }
	cards := map[string]pair{}
	for name, v := range both {
		cards[name] = pair{newCard(f, v.factory), issued(f, v.factory, newDocument(f, v.can))}
	}
	secret := newDocument(f, "").files[0x0101][:16]
	f.Fuzz(func(t *testing.T, script []byte) {
		for name, p := range cards {
			p.fresh = newCard(t, both[name].factory)
			for _, c := range []*card{p.fresh, p.issued} {
				c.t = t
				c.chip.Reset()
				for rest := script; len(rest) > 0; {
					n := min(int(rest[0]), len(rest)-1)
					answer, err := c.chip.Transmit(context.Background(), rest[1:1+n])
					rest = rest[1+n:]
					if err != nil {
						t.Fatal(err)
					}
					checkAnswer(t, answer)
					if c == p.issued && bytes.Contains(answer, secret) {
						t.Fatal("a file of an issued document is read in plain")
					}
				}
				if c.log.Len() > 0 {
					t.Fatal(c.log.String())
				}
			}
		}
	})
}

// FuzzSecured gives rightly protected commands to an issued applet.
func FuzzSecured(f *testing.F) {
	f.Add(byte(0xA4), byte(2), byte(0x0C), []byte{1, 1}, byte(0))
	f.Add(byte(0xB0), byte(0), byte(0), []byte{}, byte(200))
	f.Add(byte(0x88), byte(0), byte(0), make([]byte, 8), byte(128))
	f.Add(byte(0xDA), byte(0xDE), byte(0xAD), []byte{}, byte(0))
	d := newDocument(f, "")
	c := issued(f, jmrtd.New, d)
	before := c.content()
	p, err := lds.MRZ(d.number, d.birth, d.expiry)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, ins, p1, p2 byte, data []byte, ne byte) {
		ctx := context.Background()
		c.t = t
		c.chip.Reset()
		sm, err := lds.OpenBAC(ctx, c.chip, p)
		if err != nil {
			t.Fatal(err)
		}
		r, err := apdu.Send(ctx, sm, apdu.Command{INS: ins, P1: p1, P2: p2, Data: data[:min(len(data), 200)], Ne: int(ne)})
		if err == nil {
			checkAnswer(t, r.Bytes())
			if len(r.Data) > 0 && !r.SW.OK() {
				t.Fatalf("%d bytes with %v", len(r.Data), r.SW)
			}
		}
		if c.log.Len() > 0 {
			t.Fatal(c.log.String())
		}
		for k, v := range c.content() {
			if before[k] != v {
				t.Fatalf("%s changed after the lock", k)
			}
		}
	})
}
