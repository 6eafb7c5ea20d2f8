package virtual

import (
	"bytes"
	"testing"

	"cardbureau/cardio/apdu"
)

func TestKeysZero(t *testing.T) {
	for _, k := range []Keys{testKeys(0x30, 32), desKeys(0x20), {}} {
		k.Zero()
		for _, key := range [][]byte{k.ENC, k.MAC, k.DEK} {
			if !bytes.Equal(key, make([]byte, len(key))) {
				t.Errorf("%v: a key is still there", k)
			}
		}
	}
}

// TestQuirkFactoryVersion: the maker's keys are found by default and by their
// version until the first set of the issuer takes their place.
func TestQuirkFactoryVersion(t *testing.T) {
	h, c := quirky(t, QuirkFactoryVersion, func(b *Blank) { b.Keys.Version = 0xFF })
	for _, p1 := range []byte{0x00, 0xFF} {
		h.selectISD()
		if data, sw := h.initUpdate(p1); !sw.OK() || data[10] != 0xFF {
			t.Fatalf("INITIALIZE UPDATE with P1 %02X: %X %v", p1, data, sw)
		}
		if _, sw := h.raw(h.authentication(0x33)); !sw.OK() {
			t.Fatal(sw)
		}
	}
	maker, next := h.keys, testKeys(0x01, 16)
	next.MAC[0] ^= 0x80
	// A security domain without keys uses them, and putting its own leaves them.
	h.installDomain(domainAID, PrivilegeSecurityDomain)
	h.openAt(domainAID, 0x33)
	h.must(apdu.SWSuccess, putKeys(0, next, maker.DEK))
	h.keys = next
	h.openAt(domainAID, 0x33)
	if _, sw := h.initUpdate(0xFF); sw != apdu.SWReferencedDataNotFound {
		t.Errorf("the maker's keys in a domain with keys of its own: %v", sw)
	}
	h.keys = maker
	h.open(0x33)
	// What begins with the maker's keys on another channel, ends with them.
	h.want(apdu.SWSuccess, "0070000001")
	other := &host{t: t, card: cardFunc(func(b []byte) []byte { return transmit(t, c, onChannel(b, 1)) }), keys: maker, length: 8}
	other.selectISD()
	if _, sw := other.initUpdate(0xFF); !sw.OK() {
		t.Fatal(sw)
	}
	h.must(apdu.SWSuccess, putKeys(0, next, maker.DEK))
	if _, sw := other.raw(other.authentication(0x33)); sw != apdu.SWConditionsOfUseNotSatisfied {
		t.Errorf("EXTERNAL AUTHENTICATE with keys that are gone: %v", sw)
	}
	if got := h.must(apdu.SWSuccess, cmd(insGetData, 0, 0xE0)); !bytes.Equal(got, unhex(t, "e012c00401018810c00402018810c00403018810")) {
		t.Errorf("key information %X", got)
	}
	h.must(apdu.SWWrongData, putKeys(0, Keys{Version: 0xFF, ENC: next.ENC, MAC: next.MAC, DEK: next.DEK}, maker.DEK))
	// Also after a power cut they are gone, and the second set adds to the first.
	h.card, h.keys = on(t, c.mem, nil), next
	h.selectISD()
	if _, sw := h.initUpdate(0xFF); sw != apdu.SWReferencedDataNotFound {
		t.Errorf("the maker's keys after PUT KEY: %v", sw)
	}
	h.open(0x33)
	h.must(apdu.SWSuccess, putKeys(0, testKeys(0x02, 16), next.DEK))
	h.selectISD()
	for _, p1 := range []byte{0x00, 0x01, 0x02} {
		if data, sw := h.initUpdate(p1); !sw.OK() || data[10] != max(p1, 1) {
			t.Errorf("INITIALIZE UPDATE with P1 %02X: %X %v", p1, data, sw)
		}
	}
}

// TestQuirkFactoryVersionSCP02 is the same with 3DES keys.
func TestQuirkFactoryVersionSCP02(t *testing.T) {
	h, _ := newHost02(t, 0x55, func(b *Blank) {
		b.Keys.Version, b.Quirks = 0xFF, []Quirk{QuirkFactoryVersion}
	})
	h.open(0x03)
	next := desKeys(0x01)
	next.ENC[0] ^= 0x80
	h.must(apdu.SWSuccess, h.putKeys(0, next))
	h.keys = next
	h.open(0x03)
	if got := h.must(apdu.SWSuccess, cmd(insGetData, 0, 0xE0)); !bytes.Equal(got, unhex(t, "e012c00401018010c00402018010c00403018010")) {
		t.Errorf("key information %X", got)
	}
}
