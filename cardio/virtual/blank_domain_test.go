package virtual

import (
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/nvm"
)

// TestBlankWithDomain: a domain that the maker delivered has keys of its own, which
// open channels with it and with its applications; the issuer's do not.
func TestBlankWithDomain(t *testing.T) {
	issuer, bank := testKeys(0x30, 16), testKeys(0x50, 24)
	blank := testBlank(issuer)
	blank.Domains = []SecurityDomain{{AID: domainAID, Keys: bank}}
	blank.Applications[0].Domain = domainAID
	c, err := New(Config{Blank: &blank, Applets: map[string]func() Applet{LDSAID: func() Applet { return &user{} }}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // as made, and as read back
		h := &host{t: t, card: c, keys: bank, length: 8}
		h.openAt(domainAID, 0x03)
		h.openAt(mustHex(LDSAID), 0x03)
		h.must(apdu.SWSuccess, cmd(0x10, 0, 0, 'a'))
		h.keys = issuer
		h.open(0x03)
		h.must(apdu.SWConditionsOfUseNotSatisfied, personalize()) // not the issuer domain's application
		c = onWith(t, c.mem)
	}
}

func onWith(t *testing.T, mem *nvm.Memory) *Chip {
	t.Helper()
	c, err := New(Config{Memory: mem, Applets: map[string]func() Applet{LDSAID: func() Applet { return &user{} }}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBlankDomainsChecked(t *testing.T) {
	for name, change := range map[string]func(*Blank){
		"unknown domain":   func(b *Blank) { b.Applications[0].Domain = domainAID },
		"keys of SCP02":    func(b *Blank) { b.Domains = []SecurityDomain{{AID: domainAID, Keys: desKeys(0x20)}} },
		"no keys":          func(b *Blank) { b.Domains = []SecurityDomain{{AID: domainAID}} },
		"AID of two bytes": func(b *Blank) { b.Domains = []SecurityDomain{{AID: []byte{1, 2}, Keys: testKeys(0x50, 16)}} },
	} {
		b := testBlank(testKeys(0x30, 16))
		change(&b)
		if err := Manufacture(nvm.InMemory(), b); err == nil {
			t.Errorf("%s: a blank was made", name)
		}
	}
}
