package mrtd

import (
	"bytes"
	"fmt"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/icao"
)

// TestNoAccessControl: nothing of the application is selected or read in
// plain, whether it is there or not.
func TestNoAccessControl(t *testing.T) {
	c, _ := issued(t)
	c.raw("00A4040C07A0000002471001", "9000")
	for id := fidDG1; id <= fidDG16; id++ {
		c.raw(fmt.Sprintf("00A4020C02%04X", uint16(id)), "6982")
		c.raw(fmt.Sprintf("00B0%02X0000", 0x80|byte(id)), "6982")
		c.raw(fmt.Sprintf("00B1%04X0354010000", uint16(id)), "6982")
	}
	for _, id := range []fid{fidCOM, fidSOD, fidServices} {
		c.raw(fmt.Sprintf("00A4020C02%04X", uint16(id)), "6982")
	}
	for command, want := range map[string]string{
		"00B0000004":                         "6986", // no current EF
		"00B09E0004":                         "6982",
		"00A4020C02011C":                     "6A82", // EF.CardAccess is in the master file
		"00A4020C022F00":                     "6A82",
		"002241A40C800A04007F00070202030202": "6982",
		"002241A6439141" + fmt.Sprintf("%0130d", 4): "6982",
		"00CA004200":                   "6A88",
		"00CB3FFF045C02DF2000":         "6A88",
		"0088000008000102030405060700": "6D00",
		"00D6000001AA":                 "6982",
		"00E2000001AA":                 "6D00",
		"00A4040C07A0000002471002":     "6A82",
		"00A4010C020101":               "6A86",
		"00A4090C020101":               "6A86",
		"00A4020D020101":               "6A86",
		"00A40208020101":               "6A86",
		"00A4021C020101":               "6A86",
		"00A4020C0101":                 "6700",
		"00A4020C":                     "6700",
		"80A4020C020101":               "6E00",
		"20A4020C020101":               "6E00",
		"40A4020C020101":               "6E00",
		"01A4020C020101":               "6881",
		"04A4020C020101":               "6882",
		"08A4020C020101":               "6882",
		"10A4020C020101":               "6884",
		"0CA4020C158709016375432908C044F68E08BF8B92D635FF24F800": "6988",
		"00B000000112": "6700",
		"00B100000112": "6A80",
	} {
		c.raw(command, want)
	}
}

// TestFilesNotThere: under access control an absent file is 6A82, and those
// that need terminal authentication stay closed.
func TestFilesNotThere(t *testing.T) {
	c, h := issued(t)
	r := newReader(c)
	openPACE(r, h)
	for id, want := range map[fid]apdu.StatusWord{
		0x0105: apdu.SWFileNotFound, 0x010F: apdu.SWFileNotFound, 0x0111: apdu.SWFileNotFound,
		0x011C: apdu.SWFileNotFound, 0x2F00: apdu.SWFileNotFound, 0x0202: apdu.SWFileNotFound,
		fidDG3: apdu.SWSecurityStatusNotSatisfied, fidDG4: apdu.SWSecurityStatusNotSatisfied,
		fidDG1: apdu.SWSuccess,
	} {
		if sw := r.selectFile(id); sw != want {
			t.Errorf("file %04X: %v, want %v", uint16(id), sw, want)
		}
	}
	_, sw := r.send(0xA4, 0x04, 0x0C, []byte{0xA0, 0, 0, 1}, 0)
	must(t, sw, apdu.SWFileNotFound)
}

// TestSecureMessagingRefused has one case for each way a protected command
// can be wrong: the status word comes in plain and the session is over.
func TestSecureMessagingRefused(t *testing.T) {
	c, h := issued(t)
	change := func(i int) func(b []byte) []byte {
		return func(b []byte) []byte {
			if i < 0 {
				i += len(b)
			}
			b[i] ^= 1
			return b
		}
	}
	cases := []struct {
		name  string
		spoil func(b []byte) []byte
		want  apdu.StatusWord
	}{
		{"wrong MAC", change(-2), apdu.SWSecureMessagingIncorrect},
		{"changed INS", change(1), apdu.SWSecureMessagingIncorrect},
		{"changed P2", change(3), apdu.SWSecureMessagingIncorrect},
		{"changed cryptogram", change(9), apdu.SWSecureMessagingIncorrect},
		{"changed padding indicator", change(7), apdu.SWSecureMessagingIncorrect},
		{"changed tag", change(5), apdu.SWSecureMessagingIncorrect},
		{"no MAC", func(b []byte) []byte {
			n := int(b[4]) - 10
			return append(append(b[:4:4], byte(n)), append(b[5:5+n:5+n], 0)...)
		}, apdu.SWSecureMessagingObjectsMissing},
		{"no data", func(b []byte) []byte { return append(b[:4:4], 0) }, apdu.SWSecureMessagingObjectsMissing},
		{"cut object", func(b []byte) []byte {
			return append(append(b[:4:4], b[4]-1), append(b[5:len(b)-2:len(b)-2], 0)...)
		}, apdu.SWSecureMessagingIncorrect},
		{"bytes after the MAC", func(b []byte) []byte {
			return append(append(b[:4:4], b[4]+2), append(b[5:len(b)-1:len(b)-1], 0x97, 0x00, 0)...)
		}, apdu.SWSecureMessagingIncorrect},
		{"chained", func(b []byte) []byte { b[0] |= 0x10; return b }, apdu.SWCommandChainingNotSupported},
		{"other secure messaging", func(b []byte) []byte { b[0] = 0x08; return b }, apdu.SWSecureMessagingNotSupported},
		{"other channel", func(b []byte) []byte { b[0] = 0x0D; return b }, apdu.SWLogicalChannelNotSupported},
		{"in plain", func([]byte) []byte { return unhex(t, "00A4020C020101") }, apdu.SWSecurityStatusNotSatisfied},
	}
	for _, w := range ways[:2] {
		for _, x := range cases {
			t.Run(w.name+"/"+x.name, func(t *testing.T) {
				c.reset()
				r := newReader(c)
				w.open(r, h)
				good := r.protect(0xA4, 0x02, 0x0C, []byte{0x01, 0x01}, 0)
				answer := c.transmit(x.spoil(bytes.Clone(good)))
				if !bytes.Equal(answer, []byte{byte(x.want >> 8), byte(x.want)}) {
					t.Errorf("answer %X, want %v", answer, x.want)
				}
				if answer := c.transmit(good); !bytes.Equal(answer, []byte{0x69, 0x88}) {
					t.Errorf("the session lives on: %X", answer)
				}
				must(t, newReader(c).selectFile(fidDG1), apdu.SWSecurityStatusNotSatisfied)
			})
		}
		t.Run(w.name+"/replayed", func(t *testing.T) {
			c.reset()
			r := newReader(c)
			w.open(r, h)
			must(t, r.selectFile(fidDG1), apdu.SWSuccess)
			if answer := c.transmit(r.lastRaw); !bytes.Equal(answer, []byte{0x69, 0x88}) {
				t.Errorf("a replayed command: %X", answer)
			}
		})
		t.Run(w.name+"/out of order", func(t *testing.T) {
			c.reset()
			r := newReader(c)
			w.open(r, h)
			_ = r.protect(0xB0, 0x81, 0, nil, 8)
			r.next()
			if answer := c.transmit(r.protect(0xB0, 0x81, 0, nil, 8)); !bytes.Equal(answer, []byte{0x69, 0x88}) {
				t.Errorf("a command too early: %X", answer)
			}
		})
		t.Run(w.name+"/after a plain SELECT", func(t *testing.T) {
			c.reset()
			r := newReader(c)
			w.open(r, h)
			must(t, newReader(c).selectApplication(), apdu.SWSuccess)
			must(t, newReader(c).selectFile(fidDG1), apdu.SWSecurityStatusNotSatisfied)
		})
		t.Run(w.name+"/after a reset", func(t *testing.T) {
			c.reset()
			r := newReader(c)
			w.open(r, h)
			c.reset()
			if answer := c.transmit(r.protect(0xB0, 0x81, 0, nil, 8)); !bytes.Equal(answer, []byte{0x69, 0x88}) {
				t.Errorf("after a reset: %X", answer)
			}
		})
	}
}

// TestProtectedObjectsRefused: a right MAC over wrong objects.
func TestProtectedObjectsRefused(t *testing.T) {
	c, h := issued(t)
	for name, objects := range map[string]string{
		"Le of three bytes":        "9703000001",
		"Le before the cryptogram": "970100870911AAAAAAAAAAAAAAAA",
		"cryptogram of no block":   "87020100",
		"empty cryptogram":         "8700",
		"cryptogram unpadded":      "871101" + "00000000000000000000000000000000",
		"odd INS object":           "851000000000000000000000000000000000",
		"unknown object":           "8101AA970100",
	} {
		c.reset()
		r := newReader(c)
		openPACE(r, h)
		ssc := r.next()
		b := unhex(t, objects)
		m := append(append(append([]byte{}, ssc...), icao.Pad([]byte{0x0C, 0xB0, 0x81, 0}, 16)...), b...)
		b = append(append(b, 0x8E, 8), r.sum(m)...)
		raw, _ := apdu.Command{CLA: 0x0C, INS: 0xB0, P1: 0x81, Data: b, Ne: 256}.Bytes()
		if answer := c.transmit(raw); !bytes.Equal(answer, []byte{0x69, 0x88}) {
			t.Errorf("%s: %X", name, answer)
		}
	}
}

// TestErrorsKeepTheSession: a refusal of the command itself is protected and
// the session goes on.
func TestErrorsKeepTheSession(t *testing.T) {
	c, h := issued(t)
	for _, w := range ways {
		c.reset()
		r := newReader(c)
		w.open(r, h)
		must(t, r.selectFile(0x0105), apdu.SWFileNotFound)
		if len(r.lastAnswer) != 16 {
			t.Errorf("%s: 6A82 is answered as %X", w.name, r.lastAnswer)
		}
		_, sw := r.send(0x88, 0, 0, make([]byte, 8), 256)
		must(t, sw, apdu.SWInstructionNotSupported)
		_, sw = r.send(0xB0, 0, 0, nil, 4)
		must(t, sw, apdu.SWCommandNotAllowed)
		if !bytes.Equal(r.readFile(fidDG1, 223), h.file(fidDG1)) {
			t.Errorf("%s: DG1 differs after errors", w.name)
		}
	}
}
