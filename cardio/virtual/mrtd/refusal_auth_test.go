package mrtd

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/icao"
)

// TestBasicAccessControlRefused has one case for each refusal of the mutual
// authentication.
func TestBasicAccessControlRefused(t *testing.T) {
	c, h := issued(t)
	seed := mrzSeed(h.mrz)[:16]
	kEnc, kMac := icao.KDF(seed, 1), icao.KDF(seed, 2)
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
	must(t, r.bac(h.mrz), apdu.SWConditionsOfUseNotSatisfied) // no challenge without keys
	blank.raw("0084000008", "6985")
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
	point, _ := curve.Mul(nil, randomScalar(curve))
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
	same, _ := curve.Mul(nil, private)
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
	point, _ := curve.Mul(nil, randomScalar(curve))
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
