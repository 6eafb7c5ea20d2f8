package content_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/gp/cap"
	"cardbureau/cardio/gp/content"
	"cardbureau/cardio/virtual"
)

// TestDAP loads to a security domain that wants its provider's signature.
func TestDAP(t *testing.T) {
	ctx := t.Context()
	card := newCard(t, nil)
	provider, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := gp.SignWith(provider, gp.SchemeRSA1)
	if err != nil {
		t.Fatal(err)
	}
	do(t, open(t, card, nil), card, func(inv *content.Inventory) (*content.Plan, error) {
		return inv.PlanInstall(content.InstallOptions{
			MaxData: maxData, LoadFile: unhex(virtual.SecurityDomainLoadFileAID), Module: unhex(virtual.SecurityDomainModuleAID),
			Instance: domainAID, Privileges: gp.PrivilegeDAP, Selectable: true,
		})
	})
	channel := open(t, card, domainAID)
	put, err := gp.PutPublicKeys(0, 0x73, 1, provider.Public())
	if err != nil {
		t.Fatal(err)
	}
	r, err := gp.Secure(channel, card)(ctx, put)
	if err != nil || !r.SW.OK() {
		t.Fatalf("%v, %v", r.SW, err)
	}
	channel = open(t, card, nil)
	inv := list(t, channel, card)
	if d := listed(inv.Domains, domainAID); d == nil || len(inv.Applications) != 0 {
		t.Fatalf("%+v", inv)
	}
	f := made(t, applet)
	hash, err := cap.Hash(crypto.SHA256, f.LoadFileDataBlock(cap.BlockOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	dap, err := content.SignDAP(ctx, authority, domainAID, hash)
	if err != nil {
		t.Fatal(err)
	}
	o := content.LoadOptions{MaxData: maxData, Domain: domainAID, Hash: crypto.SHA256}
	for _, test := range []struct {
		daps []cap.DAP
		want apdu.StatusWord
	}{
		{nil, apdu.SWConditionsOfUseNotSatisfied},
		{[]cap.DAP{{Domain: domainAID, Signature: make([]byte, 128)}}, apdu.SWSecurityStatusNotSatisfied},
		{[]cap.DAP{dap}, apdu.SWSuccess},
	} {
		o.DAPs = test.daps
		p, err := inv.PlanLoad(f, o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Do(ctx, channel, card)
		if test.want.OK() != (err == nil) || err != nil && !errors.Is(err, test.want) {
			t.Errorf("%v, want %v", err, test.want)
		}
		if err != nil {
			channel = open(t, card, nil)
		}
	}
	if got := listed(list(t, channel, card).LoadFiles, packageAID); got == nil || content.AID(got.SecurityDomain) != content.AID(domainAID) {
		t.Errorf("%+v", got)
	}
}
