package payment

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/nvm"
)

// TestOwnChannel: a card whose issuer speaks SCP03 has a bank's domain that speaks
// SCP02 by EMV CPS 1.1: KEYDATA names the KMC, the keys are those that two other
// libraries derive from it, and the application is personalized by itself.
func TestOwnChannel(t *testing.T) {
	raw, err := os.ReadFile("../testdata/globalplatform.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		KMC struct{ KeyData, ENC, MAC, DEK string }
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	keys := virtual.Keys{Type: virtual.TripleDES, Version: 0x01, ENC: unhex(t, v.KMC.ENC), MAC: unhex(t, v.KMC.MAC), DEK: unhex(t, v.KMC.DEK)}
	b := blank(t, virtual.AES)
	b.Domains[0] = virtual.SecurityDomain{
		AID: bankDomain, Keys: keys, Protocol: 2, SCP: virtual.SCP02Explicit | virtual.SCP02ICVEncryption, KeyData: unhex(t, v.KMC.KeyData),
	}
	mem := nvm.InMemory()
	insert(t, mem, &b)
	r, _ := insert(t, mem, nil) // as read back
	r.choose(AID)
	answer := r.want(apdu.SWSuccess, 0x80, insInitializeUpdate, 0, 0, []byte("hostchal"))
	if len(answer) != 28 || !bytes.Equal(answer[:10], unhex(t, v.KMC.KeyData)) || answer[10] != 1 || answer[11] != 2 {
		t.Fatalf("INITIALIZE UPDATE: %X", answer)
	}
	r.choose(AID)
	r.want(apdu.SWReferencedDataNotFound, 0x80, insInitializeUpdate, 0x20, 0, []byte("hostchal")) // the issuer's version
	r.choose(AID)
	r.open(keys)
	if sw, err := r.put(cut(sample(t, cciDES, 0), r.s.encipher, 200)); err != nil || !sw.OK() {
		t.Fatal(sw, err)
	}
	r.choose(AID)
	r.want(apdu.SWSuccess, 0x80, insGetProcessingOptions, 0, 0, []byte{0x83, 0})
	// The card manager goes on as it was.
	r.want(apdu.SWSuccess, 0, 0xA4, 4, 0, nil)
	r.open(devKeys(virtual.AES, 0x20, 0x40))

	for name, change := range map[string]func(*virtual.SecurityDomain){
		"no such SCP02":         func(d *virtual.SecurityDomain) { d.SCP = 0x04 },
		"no such protocol":      func(d *virtual.SecurityDomain) { d.Protocol = 1 },
		"keys of another":       func(d *virtual.SecurityDomain) { d.Protocol = 0 },
		"KEYDATA of nine bytes": func(d *virtual.SecurityDomain) { d.KeyData = d.KeyData[:9] },
	} {
		bad := b
		bad.Domains = []virtual.SecurityDomain{b.Domains[0]}
		change(&bad.Domains[0])
		if err := virtual.Manufacture(nvm.InMemory(), bad); err == nil {
			t.Errorf("%s: a blank was made", name)
		}
	}
}
