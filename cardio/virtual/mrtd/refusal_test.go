package mrtd

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"

	"cardbureau/cardio/apdu"
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
		"00B0000004":                                "6986", // no current EF
		"00B09E0004":                                "6982",
		"00A4020C02011C":                            "6A82", // EF.CardAccess is in the master file
		"00A4020C022F00":                            "6A82",
		"00200081":                                  "6982",
		"0020008106343833393230":                    "6982",
		"002400810C343833393230313131323232":        "6982",
		"002C00810E3131323233333434313131323232":    "6982",
		"002241A40C800A04007F00070202030202":        "6982",
		"002241A6439141" + fmt.Sprintf("%0130d", 4): "6982",
		"00CA004200":                                "6A88",
		"00CB3FFF045C02DF2000":                      "6A88",
		"0088000008000102030405060700":              "6D00",
		"00D6000001AA":                              "6D00",
		"00E2000001AA":                              "6D00",
		"00A4040C07A0000002471002":                  "6A82",
		"00A4010C020101":                            "6A86",
		"00A4090C020101":                            "6A86",
		"00A4020D020101":                            "6A86",
		"00A40208020101":                            "6A86",
		"00A4021C020101":                            "6A86",
		"00A4020C0101":                              "6700",
		"00A4020C":                                  "6700",
		"80A4020C020101":                            "6E00",
		"20A4020C020101":                            "6E00",
		"40A4020C020101":                            "6E00",
		"01A4020C020101":                            "6881",
		"04A4020C020101":                            "6882",
		"08A4020C020101":                            "6882",
		"10A4020C020101":                            "6884",
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
		m := append(append(append([]byte{}, ssc...), pad([]byte{0x0C, 0xB0, 0x81, 0}, 16)...), b...)
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

// TestBasicAccessControlRefused has one case for each refusal of the mutual
// authentication.
func TestBasicAccessControlRefused(t *testing.T) {
	c, h := issued(t)
	seed := mrzSeed(h.mrz)[:16]
	kEnc, kMac := kdf(seed, 1), kdf(seed, 2)
	start := func() (*reader, []byte) {
		c.reset()
		r := newReader(c)
		must(t, r.selectApplication(), apdu.SWSuccess)
		s := make([]byte, 32)
		_, _ = rand.Read(s)
		challenge, sw := r.send(0x84, 0, 0, nil, 8)
		must(t, sw, apdu.SWSuccess)
		copy(s[8:], challenge)
		return r, s
	}
	r, _ := start()
	must(t, r.bac("T22000129364081251010319"), apdu.SWAuthenticationFailed)

	r, s := start()
	s[8] ^= 1
	must(t, r.bacAuthenticate(kEnc, kMac, s), apdu.SWAuthenticationFailed)
	s[8] ^= 1
	must(t, r.bacAuthenticate(kEnc, kMac, s), apdu.SWConditionsOfUseNotSatisfied) // the challenge is used up
	must(t, r.selectFile(fidDG1), apdu.SWSecurityStatusNotSatisfied)

	r, s = start()
	must(t, r.bacAuthenticate(kMac, kMac, s), apdu.SWAuthenticationFailed) // wrong K_Enc

	r, s = start()
	must(t, r.bacAuthenticate(kEnc, kEnc, s), apdu.SWAuthenticationFailed) // wrong K_MAC

	r, s = start() // another command between
	must(t, r.selectFile(fidDG1), apdu.SWSecurityStatusNotSatisfied)
	must(t, r.bacAuthenticate(kEnc, kMac, s), apdu.SWConditionsOfUseNotSatisfied)

	r, s = start()
	must(t, r.bacAuthenticate(kEnc, kMac, s), apdu.SWSuccess)
	_, sw := r.send(0x84, 0, 0, nil, 8)
	must(t, sw, apdu.SWSuccess)
	_, sw = r.send(0x82, 0, 0, make([]byte, 40), 40) // inside secure messaging
	must(t, sw, apdu.SWConditionsOfUseNotSatisfied)

	c.reset()
	c.raw("0084000008", fmt.Sprintf("%X9000", c.transmitted(8)))
	c.raw("0082000028"+fmt.Sprintf("%080d", 0)+"28", "6985") // in the master file
	c.raw("00A4040C07A0000002471001", "9000")
	for command, want := range map[string]string{
		"0084000004": "6700", "0084000010": "6700", "00840000": "6700", "0084010008": "6A86", "008400000401020304": "6700",
		"0082010028" + fmt.Sprintf("%080d", 0) + "28": "6A86",
	} {
		c.raw(command, want)
	}
	for _, command := range []string{"0082000027" + fmt.Sprintf("%078d", 0) + "28", "0082000028" + fmt.Sprintf("%080d", 0) + "08"} {
		_, sw = newReader(c).send(0x84, 0, 0, nil, 8)
		must(t, sw, apdu.SWSuccess)
		c.raw(command, "6700")
	}

	blank := newChip(t)
	r = newReader(blank)
	must(t, r.selectApplication(), apdu.SWSuccess)
	must(t, r.bac(h.mrz), apdu.SWReferencedDataNotFound)
}

// transmitted makes the next n random bytes known.
func (c *chip) transmitted(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	c.random = multi{bytes.NewReader(b)}
	return b
}

// multi is a known beginning and then true random bytes.
type multi struct{ first *bytes.Reader }

func (m multi) Read(b []byte) (int, error) {
	if m.first.Len() > 0 {
		return m.first.Read(b)
	}
	return rand.Read(b)
}

// TestPACERefused has one case for each refusal of PACE.
func TestPACERefused(t *testing.T) {
	c, h := issued(t)
	fresh := func() *reader { c.reset(); return newReader(c) }
	curve := nistP256()
	point, _ := curve.mul(nil, randomScalar(curve))
	off := bytes.Clone(point)
	off[40] ^= 1

	must(t, fresh().pace(passwordCAN, []byte("654321")), apdu.SWAuthenticationFailed)
	must(t, fresh().pace(passwordMRZ, mrzSeed("T22000129364081251010319")), apdu.SWAuthenticationFailed)
	must(t, fresh().pace(3, []byte(h.can)), apdu.SWReferencedDataNotFound)
	must(t, fresh().pace(0, []byte(h.can)), apdu.SWReferencedDataNotFound)

	r := fresh() // a failure gives nothing and costs nothing
	for range 20 {
		must(t, r.pace(passwordCAN, []byte("654321")), apdu.SWAuthenticationFailed)
	}
	must(t, r.selectApplication(), apdu.SWSuccess)
	must(t, r.selectFile(fidDG1), apdu.SWSecurityStatusNotSatisfied)
	must(t, r.pace(passwordCAN, []byte(h.can)), apdu.SWSuccess)
	_, sw := r.send(0x22, 0xC1, 0xA4, append(tlv1(0x80, oidPACE), 0x83, 1, 2), 0) // inside secure messaging
	must(t, sw, apdu.SWConditionsOfUseNotSatisfied)

	for data, want := range map[string]string{
		"800A04007F00070202040201830102":       "6A80", // 3DES
		"800A04007F00070202040204830102":       "6A80", // AES-256
		"800904007F000702020402830102":         "6A80",
		"800A04007F00070202040202":             "6A80",
		"830102":                               "6A80",
		"800A04007F0007020204020283020102":     "6A80",
		"800A04007F0007020204020283010284010D": "6A88", // other domain parameters
		"800A04007F000702020402028301027F4C00": "6A80",
		"800A04007F00070202040202830102830102": "6A80",
		"800A04007F000702020402028301":         "6A80",
		"800A04007F0007020204020283010284010C": "9000",
		"800A04007F00070202040202830102":       "9000",
		"800A04007F00070202040202830104":       "6A88",
	} {
		c.reset()
		c.raw(fmt.Sprintf("0022C1A4%02X%s", len(data)/2, data), want)
	}
	c.raw("002281B603830101", "6A86")
	c.raw("10860000027C0000", "6985") // nothing set

	for name, x := range map[string]struct {
		steps    int // good ones before
		cla, tag byte
		value    []byte
		want     apdu.StatusWord
	}{
		"nonce without chaining":   {0, 0x00, 0, nil, apdu.SWWrongData},
		"nonce with data":          {0, 0x10, 0x80, []byte{1}, apdu.SWWrongData},
		"mapping out of order":     {0, 0x10, 0x81, point, apdu.SWWrongData},
		"mapping off the curve":    {1, 0x10, 0x81, off, apdu.SWWrongData},
		"mapping at infinity":      {1, 0x10, 0x81, []byte{0}, apdu.SWWrongData},
		"mapping empty":            {1, 0x10, 0x81, []byte{}, apdu.SWWrongData},
		"mapping compressed":       {1, 0x10, 0x81, append([]byte{2}, point[1:33]...), apdu.SWWrongData},
		"mapping with wrong tag":   {1, 0x10, 0x83, point, apdu.SWWrongData},
		"agreement off the curve":  {2, 0x10, 0x83, off, apdu.SWWrongData},
		"agreement with wrong tag": {2, 0x10, 0x81, point, apdu.SWWrongData},
		"agreement unchained":      {2, 0x00, 0x83, point, apdu.SWWrongData},
		"token chained":            {3, 0x10, 0x85, make([]byte, 8), apdu.SWLastCommandOfChainExpected},
		"token short":              {3, 0x00, 0x85, make([]byte, 7), apdu.SWWrongData},
		"token with wrong tag":     {3, 0x00, 0x86, make([]byte, 8), apdu.SWWrongData},
		"token wrong":              {3, 0x00, 0x85, make([]byte, 8), apdu.SWAuthenticationFailed},
	} {
		r := fresh()
		must(t, r.setPACE(passwordCAN), apdu.SWSuccess)
		for i := range x.steps {
			_, sw := r.step(0x10, []byte{0, 0x81, 0x83}[i], [][]byte{nil, point, point}[i])
			must(t, sw, apdu.SWSuccess)
		}
		if _, sw := r.step(x.cla, x.tag, x.value); sw != x.want {
			t.Errorf("%s: %v, want %v", name, sw, x.want)
		}
		if _, sw := r.step(0x10, 0, nil); sw != apdu.SWConditionsOfUseNotSatisfied {
			t.Errorf("%s: the protocol goes on: %v", name, sw)
		}
	}

	r = fresh() // the chip's own key sent back
	must(t, r.setPACE(passwordCAN), apdu.SWSuccess)
	_, _ = r.step(0x10, 0, nil)
	private := append(make([]byte, 31), 9)
	c.random = multi{bytes.NewReader(private)}
	same, _ := curve.mul(nil, private)
	_, sw = r.step(0x10, 0x81, same)
	must(t, sw, apdu.SWAuthenticationFailed)

	for command, want := range map[string]string{
		"10860001027C0000": "6A86", "10860000028200": "6A80", "10860000037C000000": "6A80", "10860000": "6A80",
	} {
		must(t, fresh().setPACE(passwordCAN), apdu.SWSuccess)
		c.raw(command, want)
	}
	r = fresh() // another command between
	must(t, r.setPACE(passwordCAN), apdu.SWSuccess)
	c.raw("00A4020C02011C", "9000")
	c.raw("10860000027C0000", "6985")

	blank := newChip(t)
	must(t, newReader(blank).pace(passwordCAN, []byte(h.can)), apdu.SWReferencedDataNotFound)
	blank.raw("00A4020C02011C", "6A82")
}

// TestChipAuthenticationRefused has one case for each refusal of chip
// authentication; the session goes on with the old keys.
func TestChipAuthenticationRefused(t *testing.T) {
	c, h := issued(t)
	r := newReader(c)
	openPACE(r, h)
	curve := nistP256()
	point, _ := curve.mul(nil, randomScalar(curve))
	off := bytes.Clone(point)
	off[40] ^= 1
	set := func(p2 byte, data []byte) apdu.StatusWord {
		_, sw := r.send(0x22, 0x41, p2, data, 0)
		return sw
	}
	general := func(inner []byte) apdu.StatusWord {
		_, sw := r.send(0x86, 0, 0, tlv1(0x7C, inner), 256)
		return sw
	}
	must(t, set(0xA4, tlv1(0x80, oidPACE)), apdu.SWWrongData)
	must(t, set(0xA4, nil), apdu.SWWrongData)
	must(t, set(0xA4, append(tlv1(0x80, oidChipAES), 0x84, 1, 6)), apdu.SWReferencedDataNotFound)
	must(t, set(0xA4, append(tlv1(0x80, oidChipAES), 0x83, 1, 5)), apdu.SWWrongData)
	must(t, set(0xA6, tlv1(0x91, off)), apdu.SWWrongData)
	must(t, set(0xA6, tlv1(0x91, point[:33])), apdu.SWWrongData)
	must(t, set(0xA6, tlv1(0x80, point)), apdu.SWWrongData)
	must(t, set(0xA6, append(tlv1(0x91, point), 0x84, 1, 6)), apdu.SWReferencedDataNotFound)
	must(t, general(tlv1(0x80, point)), apdu.SWConditionsOfUseNotSatisfied)
	for _, inner := range [][]byte{tlv1(0x80, off), tlv1(0x81, point), tlv1(0x80, []byte{0}), nil} {
		must(t, set(0xA4, tlv1(0x80, oidChipAES)), apdu.SWSuccess)
		must(t, general(inner), apdu.SWWrongData)
		must(t, general(tlv1(0x80, point)), apdu.SWConditionsOfUseNotSatisfied)
	}
	if !bytes.Equal(r.readFile(fidDG1, 223), h.file(fidDG1)) {
		t.Error("DG1 differs after refused chip authentication")
	}

	// A chip without the private key of DG14 cannot go on.
	other := newHolder(t)
	must(t, r.chipAuthentication(other.public, oidChipAES, nil), apdu.SWSuccess)
	must(t, r.selectFile(fidDG1), apdu.SWSecureMessagingIncorrect)

	c.reset() // the key is the application's
	r = newReader(c)
	must(t, r.pace(passwordCAN, []byte(h.can)), apdu.SWSuccess)
	must(t, set(0xA4, tlv1(0x80, oidChipAES)), apdu.SWReferencedDataNotFound)

	c.Memory().Delete(fidDG14.key())
	must(t, r.selectApplication(), apdu.SWSuccess)
	must(t, set(0xA4, append(tlv1(0x80, oidChipAES), 0x84, 1, 5)), apdu.SWReferencedDataNotFound)
	c.Memory().Delete(dgiChipKey.key())
	must(t, set(0xA6, tlv1(0x91, point)), apdu.SWReferencedDataNotFound)
}

// TestPersonalizationRefused has one case for each refusal of a data grouping.
func TestPersonalizationRefused(t *testing.T) {
	c := newChip(t)
	order := p256Order
	for name, x := range map[string]struct {
		g          grouping
		enciphered bool
		want       apdu.StatusWord
	}{
		"unknown":                 {grouping{0x0202, []byte{1}}, false, apdu.SWReferencedDataNotFound},
		"DG17":                    {grouping{0x0111, []byte{1}}, false, apdu.SWReferencedDataNotFound},
		"unknown secret":          {grouping{0x8007, []byte{1}}, true, apdu.SWReferencedDataNotFound},
		"empty file":              {grouping{dgi(fidDG1), nil}, false, apdu.SWWrongData},
		"empty file enciphered":   {grouping{dgi(fidDG1), nil}, true, apdu.SWWrongData},
		"too long a file":         {grouping{dgi(fidDG2), make([]byte, maxFile+1)}, false, apdu.SWWrongData},
		"the longest file":        {grouping{dgi(fidDG2), make([]byte, maxFile)}, false, apdu.SWSuccess},
		"too long, enciphered":    {grouping{dgi(fidDG2), make([]byte, maxFile+1)}, true, apdu.SWWrongData},
		"the longest, enciphered": {grouping{dgi(fidDG2), make([]byte, maxFile)}, true, apdu.SWSuccess},
		"secret in clear":         {grouping{dgiPACECAN, []byte("123456")}, false, apdu.SWSecurityStatusNotSatisfied},
		"BAC keys short":          {grouping{dgiBACKeys, make([]byte, 31)}, true, apdu.SWWrongData},
		"BAC keys long":           {grouping{dgiBACKeys, make([]byte, 33)}, true, apdu.SWWrongData},
		"secret far too long":     {grouping{dgiBACKeys, make([]byte, 64)}, true, apdu.SWWrongData},
		"MRZ password short":      {grouping{dgiPACEMRZ, make([]byte, 16)}, true, apdu.SWWrongData},
		"CAN of five digits":      {grouping{dgiPACECAN, []byte("12345")}, true, apdu.SWWrongData},
		"CAN with a letter":       {grouping{dgiPACECAN, []byte("12345A")}, true, apdu.SWWrongData},
		"chip key zero":           {grouping{dgiChipKey, make([]byte, 32)}, true, apdu.SWWrongData},
		"chip key of the order":   {grouping{dgiChipKey, order}, true, apdu.SWWrongData},
		"chip key short":          {grouping{dgiChipKey, order[:31]}, true, apdu.SWWrongData},
		"PIN without tries":       {grouping{dgiPIN, []byte("\x00123456")}, true, apdu.SWWrongData},
		"PIN with 16 tries":       {grouping{dgiPIN, []byte("\x10123456")}, true, apdu.SWWrongData},
		"PIN of five digits":      {grouping{dgiPIN, []byte("\x0312345")}, true, apdu.SWWrongData},
		"PIN of nine digits":      {grouping{dgiPIN, []byte("\x03123456789")}, true, apdu.SWWrongData},
		"PIN empty":               {grouping{dgiPIN, nil}, true, apdu.SWWrongData},
		"unblocking key of 7":     {grouping{dgiPUK, []byte("\x031234567")}, true, apdu.SWWrongData},
		"completion with a value": {grouping{dgiComplete, []byte{1}}, false, apdu.SWWrongData},
		"completion of a blank":   {grouping{dgiComplete, nil}, false, apdu.SWConditionsOfUseNotSatisfied},
		"good CAN":                {grouping{dgiPACECAN, []byte("123456")}, true, apdu.SWSuccess},
	} {
		if sw := c.sequence(200, x.enciphered, x.g); sw != x.want {
			t.Errorf("%s: %v, want %v", name, sw, x.want)
		}
	}
	good := grouping{dgiPACECAN, c.encipher(pad([]byte("123456"), 16))}.bytes()
	bad := grouping{dgiPACECAN, c.encipher(make([]byte, 16))}.bytes()
	odd := grouping{dgiPACECAN, make([]byte, 15)}.bytes()
	over := grouping{dgiPACECAN, c.encipher(append(pad([]byte("123456"), 16), make([]byte, 16)...))}.bytes()
	dg1 := grouping{dgi(fidDG1), []byte{1, 2, 3}}.bytes()
	for name, x := range map[string]struct {
		blocks []func() apdu.StatusWord
		want   apdu.StatusWord
	}{
		"no padding":                   {blocks(c, 0xE8, 0, bad), apdu.SWWrongData},
		"no whole block":               {blocks(c, 0xE8, 0, odd), apdu.SWWrongData},
		"a block of padding too much":  {blocks(c, 0xE8, 0, over), apdu.SWWrongData},
		"not in DGI format":            {blocks(c, 0x80, 0, dg1), apdu.SWIncorrectP1P2},
		"BER-TLV format":               {blocks(c, 0x90, 0, dg1), apdu.SWIncorrectP1P2},
		"application dependent cipher": {blocks(c, 0xA8, 0, good), apdu.SWIncorrectP1P2},
		"reserved bits":                {blocks(c, 0x8A, 0, dg1), apdu.SWIncorrectP1P2},
		"not begun":                    {blocks(c, 0x88, 1, dg1), apdu.SWConditionsOfUseNotSatisfied},
		"last but not whole":           {blocks(c, 0x88, 0, dg1[:4]), apdu.SWWrongData},
		"last but only a header":       {blocks(c, 0x88, 0, dg1[:2]), apdu.SWWrongData},
		"long length cut":              {blocks(c, 0x88, 0, []byte{1, 1, 0xFF, 0}), apdu.SWWrongData},
		"cipher changed in between":    {append(blocks(c, 0x08, 0, dg1), blocks(c, 0xE8, 1, good)...), apdu.SWIncorrectP1P2},
		"after a refusal": {append(append(blocks(c, 0x08, 0, dg1), ignore(blocks(c, 0x08, 1, []byte{2, 2, 1, 0}))...),
			blocks(c, 0x88, 2, dg1)...), apdu.SWConditionsOfUseNotSatisfied},
		"after the last":                {append(blocks(c, 0x88, 0, dg1), blocks(c, 0x88, 1, dg1)...), apdu.SWConditionsOfUseNotSatisfied},
		"completion after others":       {blocks(c, 0x88, 0, append(bytes.Clone(dg1), 0x7F, 0xFF, 0)), apdu.SWConditionsOfUseNotSatisfied},
		"completion before others":      {blocks(c, 0x88, 0, append([]byte{0x7F, 0xFF, 0}, dg1...)), apdu.SWConditionsOfUseNotSatisfied},
		"completion not the last block": {blocks(c, 0x08, 0, []byte{0x7F, 0xFF, 0}), apdu.SWConditionsOfUseNotSatisfied},
		"two whole ones":                {blocks(c, 0x88, 0, append(bytes.Clone(dg1), dg1...)), apdu.SWSuccess},
		"an empty sequence":             {blocks(c, 0x88, 0, nil), apdu.SWSuccess},
	} {
		sw := apdu.SWSuccess
		for _, b := range x.blocks {
			if sw = b(); !sw.OK() {
				break
			}
		}
		if sw != x.want {
			t.Errorf("%s: %v, want %v", name, sw, x.want)
		}
	}
	if c.lifeCycle != LifeCyclePersonalizing {
		t.Error("the application has become complete")
	}
}

func blocks(c *chip, p1, p2 byte, data []byte) []func() apdu.StatusWord {
	return []func() apdu.StatusWord{func() apdu.StatusWord { return c.store(p1, p2, data) }}
}

func ignore(in []func() apdu.StatusWord) []func() apdu.StatusWord {
	f := in[0]
	in[0] = func() apdu.StatusWord { f(); return apdu.SWSuccess }
	return in
}

// TestCompletion refuses while anything is missing and everything after it.
func TestCompletion(t *testing.T) {
	for _, key := range []string{
		fidCOM.key(), fidSOD.key(), fidDG1.key(), fidDG2.key(), fidCardAccess.key(),
		dgiBACKeys.key(), dgiPACEMRZ.key(), dgiPACECAN.key(), dgiChipKey.key(), dgiPIN.key(), dgiPUK.key(),
	} {
		c, _ := personalized(t)
		c.Memory().Delete(key)
		if sw := c.complete(); sw != apdu.SWConditionsOfUseNotSatisfied {
			t.Errorf("completion without %s: %v", key, sw)
		}
		if c.lifeCycle != LifeCyclePersonalizing {
			t.Errorf("completed without %s", key)
		}
	}
	c, h := issued(t)
	if c.lifeCycle != LifeCycleComplete {
		t.Errorf("life cycle %02X after completion", c.lifeCycle)
	}
	for _, g := range h.files {
		must(t, c.sequence(200, false, g), apdu.SWConditionsOfUseNotSatisfied)
	}
	for _, g := range h.secrets() {
		must(t, c.sequence(200, true, g), apdu.SWConditionsOfUseNotSatisfied)
	}
	must(t, c.complete(), apdu.SWConditionsOfUseNotSatisfied)
	c.lifeCycle |= 0x80 // locked by the issuer
	must(t, c.complete(), apdu.SWConditionsOfUseNotSatisfied)

	// Neither DG14 nor a services file: no chip key, no PIN is asked for.
	c, _ = personalized(t)
	for _, key := range []string{fidDG14.key(), fidServices.key(), dgiChipKey.key(), dgiPIN.key(), dgiPUK.key()} {
		c.Memory().Delete(key)
	}
	must(t, c.complete(), apdu.SWSuccess)
}
