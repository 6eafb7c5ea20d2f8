package virtual

import (
	"bytes"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// TestContentOverT0 loads, installs, lists, gives a security domain keys and
// deletes over T=0, by the rules of cardio/apdu.
func TestContentOverT0(t *testing.T) {
	for _, level := range []byte{0x01, 0x03, 0x33} {
		h, c := newT0(t, nil)
		before := contents(c.mem)
		h.card = wholeExchange{&reader{chip: c}}
		h.open(level)
		h.loadAll(testCAP(900))
		h.must(apdu.SWSuccess, forInstall(installBoth, packageAID, moduleAID, appAID, []byte{0}, unhex(t, "C900")))
		h.installDomain(domainAID, PrivilegeSecurityDomain)
		h.must(apdu.SWSuccess, extradition(domainAID, appAID))
		if app := h.list(0x60)[aidKey(appAID)]; fieldOf(app, 0xCC) != aidKey(domainAID) {
			t.Errorf("%v", app)
		}
		isd, own := h.keys, testKeys(0x41, 32)
		h.openAt(domainAID, level)
		h.must(apdu.SWSuccess, putKeys(0, own, isd.DEK))
		h.keys = own
		h.openAt(domainAID, level)
		h.must(apdu.SWSuccess, cmd(insInstall, installPersonalization, 0, lv(nil, nil, appAID, nil, nil, nil)...))
		h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insStoreData, 0x80, 0, 1, 2, 3)) // it has no code
		h.keys = isd
		h.open(level)
		h.must(apdu.SWSuccess, cmd(insDelete, 0, 0x80, tlv.Encode(0x4F, packageAID)...))
		h.must(apdu.SWSuccess, deletionOf(domainAID))
		if after := contents(c.mem); len(after) != len(before) {
			t.Errorf("%d values in the memory, %d before", len(after), len(before))
		}
	}
}

// TestReceiptOfLoadWaits: only the last LOAD has an answer, which waits for GET
// RESPONSE; fetching it is no command between.
func TestReceiptOfLoadWaits(t *testing.T) {
	h, c := newT0(t, nil)
	h.card = wholeExchange{&reader{chip: c}}
	h.open(0x01)
	h.card = c
	wrapped := func(command apdu.Command) []byte {
		b := h.wrap(command)
		return b[:5+int(b[4])] // without Le, which T=0 does not move
	}
	data, sw := h.raw(wrapped(forLoad(packageAID, nil, nil, nil, nil)))
	if len(data) != 0 || sw != 0x6101 {
		t.Fatalf("INSTALL [for load]: %X %v", data, sw)
	}
	if got := h.want(apdu.SWSuccess, "00C0000001"); !bytes.Equal(got, []byte{0}) {
		t.Errorf("%X", got)
	}
	blocks := loads(tlv.Encode(0xC4, testCAP(300)), 200)
	for i, b := range blocks {
		want := apdu.SWSuccess
		if i == len(blocks)-1 {
			want = 0x6101
		}
		if data, sw := h.raw(wrapped(b)); len(data) != 0 || sw != want {
			t.Fatalf("LOAD %d: %X %v", i, data, sw)
		}
	}
	if got := h.want(apdu.SWSuccess, "00C0000001"); !bytes.Equal(got, []byte{0}) {
		t.Errorf("%X", got)
	}
}
