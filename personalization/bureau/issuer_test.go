package bureau_test

import (
	"bytes"
	"testing"
	"time"

	"cardbureau/personalization/vault"
)

// TestSetIssuerECC: a certificate of the issuer's elliptic curve key goes in beside
// the RSA one, and one that does not hold is refused and changes nothing.
func TestSetIssuerECC(t *testing.T) {
	b, ctx := openFor(t, "identity-bank-xda"), t.Context()
	before, err := b.Issuer()
	if err != nil || before.ECC == nil {
		t.Fatal("no test certificate", err)
	}
	const bin = "589210"
	now := time.Now()
	for name, c := range map[string]struct {
		bin   string
		spoil func(*vault.ECCIssuer)
		at    time.Time
	}{
		"altered":       {bin, func(e *vault.ECCIssuer) { e.Certificate[len(e.Certificate)-1] ^= 1 }, now},
		"another BIN":   {"589211", func(*vault.ECCIssuer) {}, now},
		"expired":       {bin, func(*vault.ECCIssuer) {}, now.AddDate(13, 0, 0)},
		"another index": {bin, func(e *vault.ECCIssuer) { e.CAIndex++ }, now},
		"another suite": {bin, func(e *vault.ECCIssuer) { e.Suite++ }, now},
		"no authority":  {bin, func(e *vault.ECCIssuer) { e.CAKey = nil }, now},
	} {
		e := *before.ECC
		e.Certificate = bytes.Clone(e.Certificate)
		c.spoil(&e)
		if err := b.SetIssuer(ctx, vault.IssuerInfo{ECC: &e}, c.bin, c.at); err == nil {
			t.Errorf("%s: taken in", name)
		}
	}
	if err := b.SetIssuer(ctx, vault.IssuerInfo{}, bin, now); err == nil {
		t.Error("nothing was taken in")
	}
	if err := b.SetIssuer(ctx, vault.IssuerInfo{ECC: before.ECC}, bin, now); err != nil {
		t.Fatal(err)
	}
	rsa := before
	rsa.ECC = nil
	if err := b.SetIssuer(ctx, rsa, bin, now); err != nil {
		t.Fatal(err)
	}
	after, err := b.Issuer()
	if err != nil || !bytes.Equal(after.Certificate, before.Certificate) || after.ECC == nil || !bytes.Equal(after.ECC.Certificate, before.ECC.Certificate) {
		t.Error("what a file does not have was lost", err)
	}
}
