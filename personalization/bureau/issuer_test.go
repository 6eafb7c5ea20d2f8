package bureau_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cardbureau/personalization/bureau"
	"cardbureau/personalization/vault"
)

// TestSetIssuerECC: a certificate of the issuer's elliptic curve key goes in beside
// the RSA one, and one that does not hold is refused and changes nothing.
func TestSetIssuerECC(t *testing.T) {
	b, ctx := openFor(t, "identity-bank-xda"), t.Context()
	before, err := b.Issuer()
	if err != nil || len(before.ECC) != 2 {
		t.Fatal("no test certificate", err)
	}
	const bin = "589210"
	now := time.Now()
	long, err := b.Vault.TestIssuer(ctx, before.RID, "5892109")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		bin   string
		spoil func(*vault.ECCIssuer)
		at    time.Time
		want  string
	}{
		"altered":         {bin, func(e *vault.ECCIssuer) { e.Certificate[len(e.Certificate)-1] ^= 1 }, now, "the issuer's certificate of an elliptic curve key"},
		"another BIN":     {"589211", func(*vault.ECCIssuer) {}, now, "no payment scheme with this kind of key has BIN 589211"},
		"expired":         {bin, func(*vault.ECCIssuer) {}, now.AddDate(13, 0, 0), "expired"},
		"another RID":     {bin, func(e *vault.ECCIssuer) { e.RID = []byte{0xF0, 0, 0, 0, 1} }, now, "rid F000000001 is none of a payment scheme's AID"},
		"RSA's index":     {bin, func(e *vault.ECCIssuer) { e.CAIndex = 1 }, now, "caIndex 01 is not the ca.index of a payment scheme"},
		"another index":   {bin, func(e *vault.ECCIssuer) { e.CAIndex = 9 }, now, "caIndex 09 is not the ca.index of a payment scheme"},
		"identifier":      {bin, func(e *vault.ECCIssuer) { *e = long.ECC[0] }, now, "its issuer identifier is longer than BIN 589210"},
		"another suite":   {bin, func(e *vault.ECCIssuer) { e.Suite++ }, now, "suite is another"},
		"no authority":    {bin, func(e *vault.ECCIssuer) { e.CAKey = nil }, now, "the authority's key of an elliptic curve"},
		"authority's end": {bin, func(e *vault.ECCIssuer) { e.CAExpires = "2030" }, now, "caExpires"},
	} {
		e := before.ECC[0]
		e.Certificate = bytes.Clone(e.Certificate)
		c.spoil(&e)
		if err := b.SetIssuer(ctx, vault.IssuerInfo{ECC: vault.ECCIssuers{e}}, c.bin, c.at); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for name, c := range map[string]struct {
		spoil func(*vault.IssuerInfo)
		want  string
	}{
		"RSA, another RID":   {func(i *vault.IssuerInfo) { i.RID = nil }, "is none of a payment scheme's AID"},
		"RSA, another index": {func(i *vault.IssuerInfo) { i.CAIndex = 2 }, "caIndex 02 is not the ca.index of a payment scheme"},
		"RSA, identifier":    {func(i *vault.IssuerInfo) { *i = long }, "its issuer identifier is longer than BIN 589210"},
	} {
		i := before
		c.spoil(&i)
		i.ECC = nil
		if err := b.SetIssuer(ctx, i, "", now); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
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
	if err != nil || !bytes.Equal(after.Certificate, before.Certificate) || len(after.ECC) != 2 || !bytes.Equal(after.ECC[0].Certificate, before.ECC[0].Certificate) {
		t.Error("what a file does not have was lost", err)
	}
}

// TestIssuerEnds: cards that outlast the issuer's certificate, or the authority's key,
// are told of; a folder of an older program, with the one certificate that it had, is
// read.
func TestIssuerEnds(t *testing.T) {
	b, ctx := openFor(t, "identity-bank-xda-p521"), t.Context()
	now := time.Now()
	if ends, err := b.IssuerEnds(now); err != nil || len(ends) != 0 {
		t.Error("a new certificate is complained of", ends, err)
	}
	if ends, err := b.IssuerEnds(now.AddDate(10, 0, 0)); err != nil || len(ends) != 1 || !strings.Contains(ends[0], "product identity-bank-xda-p521: the issuer's certificate ends on 20") {
		t.Error(ends, err)
	}
	info, err := b.Issuer()
	if err != nil {
		t.Fatal(err)
	}
	e := info.ECC[1]
	e.CAExpires = now.AddDate(1, 0, 0).Format("20060102")
	if err := b.SetIssuer(ctx, vault.IssuerInfo{ECC: vault.ECCIssuers{e}}, "", now); err != nil {
		t.Fatal(err)
	}
	if ends, err := b.IssuerEnds(now); err != nil || len(ends) != 1 || !strings.Contains(ends[0], "the authority's key ends on") {
		t.Error(ends, err)
	}
	raw, err := json.Marshal(map[string]any{"ecc": info.ECC[0]})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.Dir, bureau.IssuerFile), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	if old, err := b.Issuer(); err != nil || len(old.ECC) != 1 || !bytes.Equal(old.ECC[0].Certificate, info.ECC[0].Certificate) {
		t.Error("one certificate that stands alone is not read", err)
	}
}

// TestCreateAddsCertificates: a folder of an older program, which made fewer
// certificates, gets the rest from init, and keeps what it has.
func TestCreateAddsCertificates(t *testing.T) {
	dir := folder(t, "identity-bank-xda-p521")
	name := filepath.Join(dir, bureau.IssuerFile)
	read := func() (info vault.IssuerInfo) {
		t.Helper()
		raw, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(raw, &info)
		}
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	before := read()
	old := before
	old.ECC = old.ECC[:1]
	raw, err := json.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	o := bureau.Options{Agent: agent(t)}
	b, err := bureau.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.StartPreparation(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "init makes it") {
		t.Error("cards are prepared without the certificate", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := bureau.Create(t.Context(), dir, bureau.CreateRequest{Product: "identity-bank-xda-p521"}, o); err != nil {
		t.Fatal(err)
	}
	after := read()
	if !bytes.Equal(after.Certificate, before.Certificate) || len(after.ECC) != 2 || !bytes.Equal(after.ECC[0].Certificate, before.ECC[0].Certificate) ||
		!bytes.Equal(after.ECC[1].CAKey, before.ECC[1].CAKey) {
		t.Error("certificates were lost, or not made")
	}
}
