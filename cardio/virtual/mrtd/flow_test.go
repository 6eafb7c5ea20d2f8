package mrtd

import (
	"bytes"
	"fmt"
	"testing"

	"cardbureau/cardio/apdu"
)

// access is a way into the application: what a test then reads does not
// depend on it.
type access struct {
	name string
	open func(r *reader, h holder)
}

func openBAC(r *reader, h holder) {
	must(r.t, r.selectApplication(), apdu.SWSuccess)
	must(r.t, r.bac(h.mrz), apdu.SWSuccess)
}

func openPACE(r *reader, h holder) {
	must(r.t, r.pace(passwordCAN, []byte(h.can)), apdu.SWSuccess)
	must(r.t, r.selectApplication(), apdu.SWSuccess)
}

var ways = []access{
	{"BAC", openBAC},
	{"PACE with CAN", openPACE},
	{"PACE with MRZ", func(r *reader, h holder) {
		must(r.t, r.pace(passwordMRZ, mrzSeed(h.mrz)), apdu.SWSuccess)
		must(r.t, r.selectApplication(), apdu.SWSuccess)
	}},
	{"PACE, then AES chip authentication", func(r *reader, h holder) {
		openPACE(r, h)
		must(r.t, r.chipAuthentication(h.public, oidChipAES, nil), apdu.SWSuccess)
	}},
	{"PACE, then 3DES chip authentication by MSE:SET AT", func(r *reader, h holder) {
		openPACE(r, h)
		must(r.t, r.chipAuthentication(h.public, oidChip3DES, []byte{5}), apdu.SWSuccess)
	}},
	{"PACE, then 3DES chip authentication by MSE:SET KAT", func(r *reader, h holder) {
		openPACE(r, h)
		must(r.t, r.chipAuthentication(h.public, nil, []byte{0, 5}), apdu.SWSuccess)
	}},
	{"BAC, then AES chip authentication", func(r *reader, h holder) {
		openBAC(r, h)
		must(r.t, r.chipAuthentication(h.public, oidChipAES, []byte{5}), apdu.SWSuccess)
	}},
	{"BAC, then 3DES chip authentication, twice", func(r *reader, h holder) {
		openBAC(r, h)
		must(r.t, r.chipAuthentication(h.public, nil, nil), apdu.SWSuccess)
		must(r.t, r.chipAuthentication(h.public, nil, nil), apdu.SWSuccess)
	}},
}

// TestReading reads every file over every way in, in short and in extended
// length, before and after completion.
func TestReading(t *testing.T) {
	for _, finished := range []bool{false, true} {
		c, h := personalized(t)
		if finished {
			c, h = issued(t)
		}
		for _, w := range ways {
			for _, extended := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/extended %v/finished %v", w.name, extended, finished), func(t *testing.T) {
					c.t = t
					c.reset()
					r := newReader(c)
					w.open(r, h)
					r.extended = extended
					for _, id := range []fid{fidCOM, fidSOD, fidDG1, fidDG2, fidDG14} {
						for _, piece := range []int{223, 256} {
							if got := r.readFile(id, piece); !bytes.Equal(got, h.file(id)) {
								t.Errorf("file %04X is read wrong (%d bytes of %d)", uint16(id), len(got), len(h.file(id)))
							}
						}
					}
					if extended {
						must(t, r.selectFile(fidDG2), apdu.SWSuccess)
						got, sw := r.send(0xB0, 0, 0, nil, 65536)
						must(t, sw, apdu.SWSuccess)
						if !bytes.Equal(got, h.file(fidDG2)) {
							t.Errorf("DG2 in one piece: %d bytes", len(got))
						}
					}
				})
			}
		}
	}
}

// TestCardAccess reads EF.CardAccess in the master file after a reset, in
// plain and by every kind of addressing, and again under secure messaging.
func TestCardAccess(t *testing.T) {
	c, h := issued(t)
	want := fmt.Sprintf("%X", h.file(fidCardAccess))
	for _, selection := range []string{
		"00A4020C02011C", "00A4000C02011C", "00A4080C02011C", "00A4000C023F00 00A4020C02011C", "00A4000C 00A4020C02011C",
	} {
		c.reset()
		for start := 0; start < len(selection); {
			end := start
			for end < len(selection) && selection[end] != ' ' {
				end++
			}
			c.raw(selection[start:end], "9000")
			start = end + 1
		}
		c.raw("00B0000000", want+"9000")
		c.raw("00B00000000000", want+"9000")
		c.raw("00B0000004", want[:8]+"9000")
		c.raw("00B0000016", want+"9000")
		c.raw("00B0000017", want+"6282")
		c.raw("00B00000000017", want+"6282")
		c.raw("00B0001500", want[42:]+"9000")
		c.raw("00B0001600", "6B00")
		c.raw("00B17FFF03540100", "6A82")
	}
	c.reset()
	c.raw("00B09C0000", want+"9000")
	c.raw("00B0000202", want[4:8]+"9000")
	c.raw("00B09C0402", want[8:12]+"9000")
	c.raw("00B1011C0354010200", "5314"+want[4:]+"9000")
	c.raw("00B1001C0354010204", "5302"+want[4:8]+"9000")
	c.raw("00B100000354011404", "5302"+want[40:]+"9000")
	c.raw("00B100000354011408", "5302"+want[40:]+"6282")
	c.raw("00B100000354011600", "6B00")

	r := newReader(c)
	must(t, r.pace(passwordCAN, []byte(h.can)), apdu.SWSuccess)
	if got := r.readFile(fidCardAccess, 100); !bytes.Equal(got, h.file(fidCardAccess)) {
		t.Error("EF.CardAccess differs under secure messaging")
	}
	must(t, r.selectApplication(), apdu.SWSuccess)
	must(t, r.selectFile(fidCardAccess), apdu.SWFileNotFound)
	_, sw := r.send(0xA4, 0x00, 0x0C, []byte{0x3F, 0x00}, 0)
	must(t, sw, apdu.SWSuccess)
	must(t, r.selectFile(fidCardAccess), apdu.SWSuccess)
	must(t, r.selectFile(fidDG1), apdu.SWFileNotFound)
}

// TestSelectAnswers has the data fields that P2 asks for.
func TestSelectAnswers(t *testing.T) {
	c, h := issued(t)
	c.raw("00A4020002011C00", "6F0E800200168201018302011C8801E09000")
	c.raw("00A4020402011C00", "620E800200168201018302011C8801E09000")
	c.raw("00A4020002011C", "9000")
	c.raw("00A4000000", "6F0782013883023F009000")
	c.raw("00A4040007A000000247100100", "6F098407A00000024710019000")
	c.raw("00A4040407A000000247100100", "62098407A00000024710019000")
	c.raw("00A4040007A0000002471001", "9000")
	c.raw("00A4040C07A000000247100100", "9000")
	for p2, want := range map[string]string{"02": "6F098407A00000024710019000", "06": "62098407A00000024710019000", "0E": "9000"} {
		c.raw("00A404"+p2+"07A000000247100100", want)
	}
	r := newReader(c)
	must(t, r.bac(h.mrz), apdu.SWSuccess)
	out, sw := r.send(0xA4, 0x02, 0x00, []byte{0x01, 0x01}, 256)
	must(t, sw, apdu.SWSuccess)
	if want := unhex(t, "6F0E8002005F8201018302010188 0108"); !bytes.Equal(out, want) {
		t.Errorf("FCI of DG1 is %X, want %X", out, want)
	}
	out, sw = r.send(0xA4, 0x04, 0x00, aid, 256)
	must(t, sw, apdu.SWSuccess)
	if want := unhex(t, "6F098407A0000002471001"); !bytes.Equal(out, want) {
		t.Errorf("FCI of the application is %X", out)
	}
	if _, sw = r.send(0xA4, 0x02, 0x00, []byte{0x02, 0x01}, 256); !sw.OK() {
		t.Errorf("SELECT of the services file: %v", sw)
	}
}

// TestShortIdentifiers reads by short file identifier, which makes the file
// current.
func TestShortIdentifiers(t *testing.T) {
	c, h := issued(t)
	r := newReader(c)
	openPACE(r, h)
	for sfi, id := range map[byte]fid{0x01: fidDG1, 0x02: fidDG2, 0x0E: fidDG14, 0x1D: fidSOD, 0x1E: fidCOM} {
		head, sw := r.send(0xB0, 0x80|sfi, 0, nil, 8)
		must(t, sw, apdu.SWSuccess)
		next, sw := r.send(0xB0, 0, 8, nil, 8)
		must(t, sw, apdu.SWSuccess)
		if !bytes.Equal(append(head, next...), h.file(id)[:16]) {
			t.Errorf("SFI %02X reads another file", sfi)
		}
	}
	for p1, want := range map[byte]apdu.StatusWord{
		0x80: apdu.SWFileNotFound, 0x9F: apdu.SWFileNotFound, 0x9C: apdu.SWFileNotFound,
		0x85: apdu.SWFileNotFound, 0xA1: apdu.SWIncorrectP1P2, 0xC1: apdu.SWIncorrectP1P2,
		0x83: apdu.SWSecurityStatusNotSatisfied,
	} {
		_, sw := r.send(0xB0, p1, 0, nil, 8)
		must(t, sw, want)
	}
}

// TestOddInstruction reads with INS B1 under both ciphers.
func TestOddInstruction(t *testing.T) {
	c, h := issued(t)
	for _, w := range ways[:2] {
		c.reset()
		r := newReader(c)
		w.open(r, h)
		out, sw := r.send(0xB1, 0x01, 0x02, []byte{0x54, 0x02, 0x30, 0x00}, 0x62)
		must(t, sw, apdu.SWSuccess)
		if want := append([]byte{0x53, 0x60}, h.file(fidDG2)[0x3000:0x3060]...); !bytes.Equal(out, want) {
			t.Errorf("B1 by file identifier: %X", out)
		}
		out, sw = r.send(0xB1, 0, 0, []byte{0x54, 0x03, 0, 0, 0}, 256)
		must(t, sw, apdu.SWSuccess)
		if len(out) < 210 || !bytes.Equal(out[3:], h.file(fidDG2)[:len(out)-3]) || int(out[2]) != len(out)-3 {
			t.Errorf("B1 of the current file: %d bytes", len(out))
		}
		r.extended = true
		out, sw = r.send(0xB1, 0, 0x02, []byte{0x54, 0x01, 0}, 65536)
		must(t, sw, apdu.SWSuccess)
		if !bytes.Equal(out[4:], h.file(fidDG2)) {
			t.Errorf("B1 of the whole file: %d bytes", len(out))
		}
	}
}

// TestEndOfFile: what is asked for beyond the end is 6282, Le of zeros is
// not, and an offset at the end is 6B00.
func TestEndOfFile(t *testing.T) {
	c, h := issued(t)
	for _, w := range ways[:2] {
		c.reset()
		r := newReader(c)
		w.open(r, h)
		must(t, r.selectFile(fidDG1), apdu.SWSuccess)
		n := len(h.file(fidDG1))
		for _, x := range []struct {
			offset, ne, size int
			sw               apdu.StatusWord
		}{
			{0, n, n, apdu.SWSuccess}, {0, n + 1, n, apdu.SWEndOfFile}, {0, 256, n, apdu.SWSuccess},
			{n - 1, 1, 1, apdu.SWSuccess}, {n - 1, 2, 1, apdu.SWEndOfFile},
			{n, 1, 0, apdu.SWWrongP1P2}, {0x7FFF, 256, 0, apdu.SWWrongP1P2}, {0, 0, 0, apdu.SWWrongLength},
		} {
			out, sw := r.send(0xB0, byte(x.offset>>8), byte(x.offset), nil, x.ne)
			if sw != x.sw || len(out) != x.size {
				t.Errorf("%s: %d bytes at %d: %d bytes, %v", w.name, x.ne, x.offset, len(out), sw)
			}
		}
	}
}

// TestTornPersonalization repeats a sequence from its start after it was cut
// anywhere.
func TestTornPersonalization(t *testing.T) {
	c, h := newChip(t), newHolder(t)
	var b []byte
	for _, g := range h.files {
		b = append(b, g.bytes()...)
	}
	for cut := 0; cut < len(b); cut += 2111 {
		for p2, rest := 0, b[:cut]; len(rest) > 0; p2++ {
			n := min(255, len(rest))
			must(t, c.store(storeFormatDGI, byte(p2), rest[:n]), apdu.SWSuccess)
			rest = rest[n:]
		}
		c.reset()
	}
	must(t, c.sequence(7000, false, h.files...), apdu.SWSuccess)
	must(t, c.sequence(17, true, h.secrets()...), apdu.SWSuccess)
	must(t, c.complete(), apdu.SWSuccess)
	c.reset()
	r := newReader(c)
	openPACE(r, h)
	if !bytes.Equal(r.readFile(fidDG2, 223), h.file(fidDG2)) {
		t.Error("DG2 differs")
	}
}
