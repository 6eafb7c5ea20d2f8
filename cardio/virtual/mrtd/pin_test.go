package mrtd

import (
	"bytes"
	"testing"

	"cardbureau/cardio/apdu"
)

func (r *reader) verify(pin string) apdu.StatusWord {
	_, sw := r.send(insVerify, 0, pinReference, []byte(pin), 0)
	return sw
}

func (r *reader) services() apdu.StatusWord {
	must(r.t, r.selectFile(fidServices), apdu.SWSuccess)
	_, sw := r.send(0xB0, 0, 0, nil, 16)
	return sw
}

func opened(c *chip, h holder) *reader {
	c.reset()
	r := newReader(c)
	openPACE(r, h)
	return r
}

// TestTransportPIN: before completion the transport PIN opens the services
// file, so that it can be proven; after completion it does not until the
// holder has changed it.
func TestTransportPIN(t *testing.T) {
	c, h := personalized(t)
	r := opened(c, h)
	must(t, r.services(), apdu.SWSecurityStatusNotSatisfied)
	must(t, r.verify(h.pin), apdu.SWSuccess)
	must(t, r.services(), apdu.SWSuccess)
	if !bytes.Equal(r.readFile(fidServices, 200), h.file(fidServices)) {
		t.Error("the services file differs")
	}
	for _, ins := range []byte{insChangeReference, insResetRetryCounter} {
		_, sw := r.send(ins, 0, pinReference, []byte(h.puk+"111222"), 0)
		must(t, sw, apdu.SWConditionsOfUseNotSatisfied)
	}

	must(t, c.complete(), apdu.SWSuccess)
	r = opened(c, h)
	must(t, r.verify(h.pin), apdu.SWSuccess)
	must(t, r.services(), apdu.SWConditionsOfUseNotSatisfied)
	change := func(old, fresh string) apdu.StatusWord {
		_, sw := r.send(insChangeReference, 0, pinReference, []byte(old+fresh), 0)
		return sw
	}
	must(t, change(h.pin, h.pin), apdu.SWWrongData)
	must(t, r.services(), apdu.SWConditionsOfUseNotSatisfied)
	must(t, change(h.pin, "75319"), apdu.SWWrongData)
	must(t, change(h.pin, "75319x"), apdu.SWWrongData)
	must(t, change(h.pin, "753190864"), apdu.SWWrongData)
	must(t, change("000000", "75319086"), 0x63C2)
	must(t, change(h.pin, "75319086"), apdu.SWSuccess)
	must(t, r.services(), apdu.SWSuccess)

	r = opened(c, h)
	must(t, r.verify(h.pin), 0x63C2)
	must(t, r.verify("75319086"), apdu.SWSuccess)
	must(t, r.services(), apdu.SWSuccess)
	must(t, r.selectApplication(), apdu.SWSuccess) // a new selection forgets the PIN
	must(t, r.services(), apdu.SWSecurityStatusNotSatisfied)
}

// TestVerificationSurvivesChipAuthentication: new keys, the same session.
func TestVerificationSurvivesChipAuthentication(t *testing.T) {
	c, h := personalized(t)
	r := opened(c, h)
	must(t, r.verify(h.pin), apdu.SWSuccess)
	must(t, r.chipAuthentication(h.public, oidChipAES, nil), apdu.SWSuccess)
	must(t, r.services(), apdu.SWSuccess)
	if _, sw := r.plain(0, 0x84, 0, 0, nil, 8); !sw.OK() {
		t.Fatal(sw)
	}
	r = newReader(c)
	must(t, r.selectApplication(), apdu.SWSuccess)
	must(t, r.bac(h.mrz), apdu.SWSuccess)
	must(t, r.services(), apdu.SWSecurityStatusNotSatisfied)
}

// TestRetryCounters count down over resets, block, and are reset by the
// unblocking key, which has a counter of its own.
func TestRetryCounters(t *testing.T) {
	c, h := issued(t)
	must(t, opened(c, h).verify("000000"), 0x63C2)
	must(t, opened(c, h).verify("12345"), apdu.SWWrongData)     // costs no try
	must(t, opened(c, h).verify("123456789"), apdu.SWWrongData) // nor does this
	must(t, opened(c, h).verify(""), 0x63C2)
	must(t, opened(c, h).verify("4839201"), 0x63C1)
	r := opened(c, h)
	must(t, r.verify("000000"), 0x63C0)
	must(t, r.verify(h.pin), apdu.SWAuthenticationMethodBlocked)
	must(t, r.verify(""), apdu.SWAuthenticationMethodBlocked)
	_, sw := r.send(insChangeReference, 0, pinReference, []byte(h.pin+"111222"), 0)
	must(t, sw, apdu.SWAuthenticationMethodBlocked)

	unblock := func(puk, fresh string) apdu.StatusWord {
		_, sw := opened(c, h).send(insResetRetryCounter, 0, pinReference, []byte(puk+fresh), 0)
		return sw
	}
	must(t, unblock(h.puk, "1112"), apdu.SWWrongData)
	must(t, unblock("00000000", "111222"), 0x63C4)
	must(t, unblock(h.puk, "111222"), apdu.SWSuccess)
	r = opened(c, h)
	must(t, r.verify(""), 0x63C3)
	must(t, r.verify("111222"), apdu.SWSuccess)
	must(t, r.verify(""), apdu.SWSuccess)
	must(t, r.services(), apdu.SWSuccess) // the holder's own PIN by now

	for n := 4; n >= 0; n-- {
		must(t, unblock("00000000", "111222"), 0x63C0|apdu.StatusWord(n))
	}
	must(t, unblock(h.puk, "111222"), apdu.SWAuthenticationMethodBlocked)
	must(t, opened(c, h).verify("111222"), apdu.SWSuccess)
}

// TestPINReferences: other parameters, and a card without a PIN.
func TestPINReferences(t *testing.T) {
	c, h := issued(t)
	r := opened(c, h)
	for _, ins := range []byte{insVerify, insChangeReference, insResetRetryCounter} {
		_, sw := r.send(ins, 1, pinReference, []byte(h.pin), 0)
		must(t, sw, apdu.SWIncorrectP1P2)
		_, sw = r.send(ins, 0, 0x01, []byte(h.pin), 0)
		must(t, sw, apdu.SWReferencedDataNotFound)
	}
	for _, key := range []dgi{dgiPUK, dgiPIN} {
		c.Memory().Delete(key.key())
		_, sw := r.send(insResetRetryCounter, 0, pinReference, []byte(h.puk+"111222"), 0)
		must(t, sw, apdu.SWReferencedDataNotFound)
	}
	must(t, r.verify(h.pin), apdu.SWReferencedDataNotFound)
	_, sw := r.send(0xA4, 0, 0x0C, nil, 0) // the PIN is the application's, not the master file's
	must(t, sw, apdu.SWSuccess)
	must(t, r.verify(h.pin), apdu.SWReferencedDataNotFound)
}
