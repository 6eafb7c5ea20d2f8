package sod

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"cardbureau/cardio/lds/sod/sodtest"
)

// Everything that can be wrong with a genuine-looking object, one at a time,
// with its own reason.
func TestVerifyRefuses(t *testing.T) {
	j := sodtest.New(t)
	groups := map[int][]byte{1: []byte("one")}
	ca := certificate(t, j.CSCA("prime256v1"))
	j.Signer("prime256v1", sodtest.SignerExtensions)
	file := j.SOD(groups)
	good, err := Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := NewTrust(ca)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	foreign := sodtest.New(t)
	stranger, err := NewTrust(certificate(t, foreign.CSCA("prime256v1")))
	if err != nil {
		t.Fatal(err)
	}
	altered := func(what string) *SOD {
		t.Helper()
		b := bytes.Clone(file)
		i := bytes.Index(b, []byte(what))
		if i < 0 {
			t.Fatal("the part to alter is not there")
		}
		b[i] ^= 1
		s, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	sign := func(extensions string) *SOD {
		t.Helper()
		j.Signer("prime256v1", extensions)
		s, err := Parse(j.SOD(groups))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, c := range map[string]struct {
		sod   *SOD
		trust *Trust
		at    time.Time
		check string
		want  error
	}{
		"a hash altered":            {altered(string(good.Hashes[1])), trust, now, CheckSignature, ErrSignature},
		"the signature altered":     {altered(string(good.signature[10:])), trust, now, CheckSignature, ErrSignature},
		"the certificate altered":   {altered(string(good.Signer.signature[10:])), trust, now, CheckChain, ErrUntrusted},
		"another CSCA of that name": {good, stranger, now, CheckChain, ErrUntrusted},
		"too late":                  {good, trust, now.AddDate(0, 0, 25), CheckValidity, ErrExpired},
		"too early":                 {good, trust, now.AddDate(0, 0, -2), CheckValidity, ErrExpired},
		"signed by a CA":            {sign("basicConstraints=CA:TRUE\n" + sodtest.SignerExtensions), trust, now, CheckUsage, ErrUsage},
		"not for signatures":        {sign(strings.Replace(sodtest.SignerExtensions, "digitalSignature", "keyAgreement", 1)), trust, now, CheckUsage, ErrUsage},
		"an unknown critical one":   {sign("1.2.3.4=critical,DER:05:00\n" + sodtest.SignerExtensions), trust, now, CheckUsage, ErrUsage},
		"signed out of season":      {sign(strings.Replace(sodtest.SignerExtensions, "32:30:39:39", "32:30:30:39", 1)), trust, now, CheckSigningTime, ErrUsage},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.sod.Verify(c.trust, c.at)
			if r.OK() || r.Held(c.check) {
				t.Fatalf("accepted:\n%s", r)
			}
			if err := r.Err(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	var hash *HashError
	if err := good.CheckHash(1, []byte("two")); !errors.As(err, &hash) || hash.DG != 1 || hash.Missing {
		t.Errorf("another file: %v", err)
	}
	if err := good.CheckHash(3, nil); !errors.As(err, &hash) || !hash.Missing {
		t.Errorf("a group that is not listed: %v", err)
	}
	if _, err := NewTrust(good.Signer); !errors.Is(err, ErrUsage) {
		t.Errorf("a document signer as CSCA: %v", err)
	}
}

func TestNamesAreComparedAsIssuersSpellThem(t *testing.T) {
	j := sodtest.New(t)
	j.Key("k", "prime256v1")
	name := func(option, subject string) []byte {
		j.Run("req", "-x509", "-new", "-key", "k", "-subj", subject, "-"+option, "-out", "c.pem")
		return certificate(t, j.Read("c.pem")).subject
	}
	a, b := name("utf8", "/C=UT/O=The  Ministry/CN=csca"), name("utf8", "/C=UT/O=the ministry/CN=CSCA")
	if !sameName(a, b) {
		t.Error("case and blanks do not count")
	}
	if sameName(a, name("utf8", "/C=UT/O=the ministry/CN=CSCA 2")) {
		t.Error("another name")
	}
}

func FuzzSOD(f *testing.F) {
	seed, err := os.ReadFile("testdata/ef.sod") // made by OpenSSL
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	trust, err := NewTrust()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		s, err := Parse(file)
		if err != nil {
			return
		}
		if s.Verify(trust, time.Now()).OK() {
			t.Fatal("trusted without a CSCA")
		}
		_ = s.CheckHash(1, file)
		_ = s.Signer.Subject()
	})
}

func FuzzCRL(f *testing.F) {
	f.Add([]byte("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = ParseCRL(b) })
}
