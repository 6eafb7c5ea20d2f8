package virtual

import (
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// TestLoadOnTwoChannels: each logical channel has a loading of its own; the
// card's registry is one.
func TestLoadOnTwoChannels(t *testing.T) {
	h, c := newHost(t, 16)
	h.open(0x03)
	h.want(apdu.SWSuccess, "0070000001")
	h.open(0x03)
	other := &host{t: t, card: cardFunc(func(b []byte) []byte { return transmit(t, c, onChannel(b, 1)) }), keys: h.keys, length: 8}
	other.open(0x03)
	blocks := loads(tlv.Encode(0xC4, testCAP(300)), 200)
	for _, host := range []*host{h, other} {
		host.must(apdu.SWSuccess, forLoad(packageAID, nil, nil, nil, nil))
	}
	for _, b := range blocks[:len(blocks)-1] {
		h.must(apdu.SWSuccess, b)
		other.must(apdu.SWSuccess, b)
	}
	other.must(apdu.SWSuccess, blocks[len(blocks)-1])
	h.must(apdu.SWConditionsOfUseNotSatisfied, blocks[len(blocks)-1]) // the other was quicker
	// What a channel began for a domain ends with the domain.
	h.installDomain(domainAID, PrivilegeSecurityDomain)
	h.must(apdu.SWSuccess, cmd(insInstall, installPersonalization, 0, lv(nil, nil, domainAID, nil, nil, nil)...))
	h.must(apdu.SWSuccess, forLoad(mustHex("F0CB000002"), domainAID, nil, nil, nil))
	other.must(apdu.SWSuccess, deletionOf(domainAID))
	h.must(apdu.SWConditionsOfUseNotSatisfied, blocks[0])
	if c.personal.app != nil {
		t.Error("a deleted domain is still being personalized")
	}
	// Nothing that is selected on another channel is deleted, nor its file.
	h.must(apdu.SWSuccess, forInstall(installBoth, packageAID, moduleAID, appAID, []byte{0}, nil))
	other.want(apdu.SWSuccess, "00A4040007F0CB000001010100")
	h.must(apdu.SWConditionsOfUseNotSatisfied, deletionOf(appAID))
	h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insDelete, 0, 0x80, tlv.Encode(0x4F, packageAID)...))
	other.selectISD()
	h.must(apdu.SWSuccess, cmd(insDelete, 0, 0x80, tlv.Encode(0x4F, packageAID)...))
}

// TestSCP02Domains: content management and a domain's own keys over SCP02.
func TestSCP02Domains(t *testing.T) {
	v := judged(t)
	h, c := newHost02(t, 0x55, nil)
	h.open(0x03)
	h.must(apdu.SWSuccess, forLoad(packageAID, nil, nil, nil, nil))
	for _, b := range loads(tlv.Encode(0xC4, testCAP(300)), 200) {
		h.must(apdu.SWSuccess, b)
	}
	h.must(apdu.SWSuccess, forInstall(installBoth, mustHex(SecurityDomainLoadFileAID), mustHex(SecurityDomainModuleAID), domainAID, []byte{0xC0}, nil))
	h.must(apdu.SWSuccess, extradition(domainAID, packageAID))
	openDomain := func() {
		t.Helper()
		h.want(apdu.SWSuccess, "00A4040006F0CB00000D0100")
		h.initUpdate(0)
		if _, sw := h.raw(h.authentication(0x03)); !sw.OK() {
			t.Fatal(sw)
		}
	}
	openDomain()
	own := desKeys(0x41)
	own.MAC[0] ^= 0x80
	h.must(apdu.SWSuccess, h.putKeys(0, own))
	single := append(append([]byte{0x80, 16}, h.ecb(v["des"])...), 3)
	h.must(apdu.SWSuccess, cmd(insPutKey, 0, 1, append(append([]byte{0x73}, single...), v["des_kcv"]...)...))
	aes := own.DEK
	field := append(append(append([]byte{0x88, 17, 16}, h.ecb(aes)...), 3), mustAESKey(aes).kcv()...)
	h.must(apdu.SWSuccess, cmd(insPutKey, 0, 2, append([]byte{0x73}, field...)...))
	field[len(field)-1] ^= 1
	h.must(swInvalidKeyCheckValue, cmd(insPutKey, 0, 3, append([]byte{0x73}, field...)...))
	h.must(swAlgorithmNotSupported, cmd(insPutKey, 0, 0x81, append([]byte{0x42}, field...)...)) // no set of AES keys
	isd := h.keys
	h.keys = own
	openDomain()
	h.host.card = on(t, c.mem, nil)
	openDomain()
	h.must(apdu.SWSuccess, cmd(insGetStatus, 0x20, 2, 0x4F, 0))
	h.keys = isd
	h.open(0x01)
	h.must(apdu.SWConditionsOfUseNotSatisfied, deletionOf(domainAID))
}
