package mrtd

import (
	"bytes"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/icao"
)

// checkAnswer holds for every answer of the chip.
func checkAnswer(t *testing.T, answer []byte) {
	t.Helper()
	if n := len(answer); n < 2 || (answer[n-2]&0xF0 != 0x60 && !bytes.Equal(answer[n-2:], []byte{0x90, 0})) {
		t.Fatalf("answer %X", answer)
	}
}

// FuzzProcess sends commands, each with its length in front, to a chip in
// plain: nothing personal ever comes out.
func FuzzProcess(f *testing.F) {
	for _, s := range []string{
		"0C00A4040C07A0000002471001 0500B0000000 0500B09E0000", "05008400000808",
		"0700A4020C02011C 0500B0000000", "140022C1A40F800A04007F00070202040202830102 0810860000027C0000",
		"0800B100000354010000", "0F0CB000000D9701048E08ED6705417E96BA5500",
	} {
		f.Add(unhex(f, s))
	}
	c, h := issued(f)
	f.Fuzz(func(t *testing.T, script []byte) {
		c.t = t
		c.reset()
		for len(script) > 0 {
			n := min(int(script[0]), len(script)-1)
			answer := c.transmit(script[1 : 1+n])
			script = script[1+n:]
			checkAnswer(t, answer)
			if bytes.Contains(answer, h.file(fidDG1)[:8]) || bytes.Contains(answer, h.file(fidSOD)[:8]) {
				t.Fatal("a protected file is read in plain")
			}
		}
	})
}

// FuzzSecured gives commands to a chip under secure messaging, rightly
// protected, so that what is behind the MAC is reached.
func FuzzSecured(f *testing.F) {
	f.Add(byte(0xA4), byte(2), byte(0x0C), []byte{1, 1}, uint16(0))
	f.Add(byte(0xB1), byte(0), byte(2), []byte{0x54, 1, 0}, uint16(256))
	f.Add(byte(0x22), byte(0x41), byte(0xA4), tlv1(0x80, oidChipAES), uint16(0))
	f.Add(byte(0x86), byte(0), byte(0), []byte{0x7C, 0}, uint16(256))
	f.Add(byte(0x20), byte(0), byte(0x81), []byte("123456"), uint16(0))
	c, h := issued(f)
	f.Fuzz(func(t *testing.T, ins, p1, p2 byte, data []byte, ne uint16) {
		c.t = t
		r := newReader(c)
		c.reset()
		must(t, r.selectApplication(), apdu.SWSuccess)
		must(t, r.bac(h.mrz), apdu.SWSuccess)
		r.extended = len(data) > 200
		out, sw := r.send(ins, p1, p2, data[:min(len(data), 60000)], int(ne))
		checkAnswer(t, apdu.Response{SW: sw}.Bytes())
		if len(out) > 0 && sw.SW1() != 0x90 && sw.SW1() != 0x62 {
			t.Fatalf("%d bytes with %v", len(out), sw)
		}
	})
}

// FuzzStoreData gives a stream of data groupings in blocks of any size.
func FuzzStoreData(f *testing.F) {
	f.Add([]byte{1, 1, 3, 1, 2, 3, 0x7F, 0xFF, 0}, byte(200), false)
	f.Add([]byte{0x80, 3, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, byte(3), true)
	f.Add([]byte{1, 2, 0xFF, 0, 4, 1, 2, 3, 4}, byte(1), false)
	f.Fuzz(func(t *testing.T, b []byte, size byte, enciphered bool) {
		c := newChip(t)
		p1 := byte(storeFormatDGI)
		if enciphered {
			p1 |= storeEnciphered
		}
		for p2 := 0; p2 < 256 && len(b) > 0; p2++ {
			n := min(len(b), 1+int(size))
			if sw := c.store(p1, byte(p2), b[:n]); !sw.OK() {
				return
			}
			b = b[n:]
		}
		if c.lifeCycle != LifeCyclePersonalizing {
			t.Fatal("completed without content")
		}
	})
}

// FuzzKeyReference parses DG14, which comes from outside the chip.
func FuzzKeyReference(f *testing.F) {
	f.Add(newHolder(f).file(fidDG14))
	f.Fuzz(func(_ *testing.T, dg14 []byte) { chipKeyReference(dg14) })
}

// BenchmarkReading is the reading of five files, 18 KB, under AES secure
// messaging, both sides' work together.
func BenchmarkReading(b *testing.B) {
	c, _ := issued(b)
	b.ReportAllocs()
	for b.Loop() {
		c.reset()
		r := newReader(c)
		r.start([]byte("x"), []byte{0}, false)
		c.applet.session = icao.NewSessionAES([]byte("x"))
		must(b, r.selectApplication(), apdu.SWSuccess)
		for _, id := range []fid{fidCOM, fidSOD, fidDG1, fidDG2, fidDG14} {
			r.readFile(id, 223)
		}
	}
}
