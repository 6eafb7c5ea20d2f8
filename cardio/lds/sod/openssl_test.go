package sod

import (
	"crypto"
	"slices"
	"testing"
	"time"

	"cardbureau/cardio/lds/sod/sodtest"
)

func certificate(t testing.TB, pem []byte) *Certificate {
	t.Helper()
	c, err := ParseCertificates(pem)
	if err != nil {
		t.Fatal(err)
	}
	return c[0]
}

// OpenSSL signs in every way that documents are signed; all of it must hold.
func TestSODByOpenSSL(t *testing.T) {
	groups := map[int][]byte{1: []byte("one"), 2: []byte("two"), 14: []byte("fourteen")}
	for name, c := range map[string]struct {
		ca, ds string
		args   []string
		digest crypto.Hash
	}{
		"P-384 and P-256":        {"secp384r1", "prime256v1", []string{"-md", "sha256"}, crypto.SHA256},
		"Brainpool":              {"brainpoolP384r1", "brainpoolP256r1", []string{"-md", "sha384"}, crypto.SHA384},
		"P-521":                  {"secp521r1", "secp521r1", []string{"-md", "sha512"}, crypto.SHA512},
		"RSA":                    {"RSA", "RSA", []string{"-md", "sha256"}, crypto.SHA256},
		"RSA-PSS":                {"RSA", "RSA", []string{"-md", "sha256", "-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:32"}, crypto.SHA256},
		"SHA-1, key identifier":  {"prime256v1", "prime256v1", []string{"-md", "sha1", "-keyid"}, crypto.SHA1},
		"RSA over elliptic":      {"brainpoolP512r1", "RSA", []string{"-md", "sha512"}, crypto.SHA512},
		"SHA-224 on P-224":       {"secp224r1", "secp224r1", []string{"-md", "sha224"}, crypto.SHA224},
		"the smallest Brainpool": {"brainpoolP192r1", "brainpoolP192r1", []string{"-md", "sha256"}, crypto.SHA256},
	} {
		t.Run(name, func(t *testing.T) {
			j := sodtest.New(t)
			ca := certificate(t, j.CSCA(c.ca))
			j.Signer(c.ds, sodtest.SignerExtensions)
			if slices.Contains(c.args, "-keyid") {
				j.Signer(c.ds, "subjectKeyIdentifier=hash\n"+sodtest.SignerExtensions)
			}
			s, err := Parse(j.SOD(groups, c.args...))
			if err != nil {
				t.Fatal(err)
			}
			trust, err := NewTrust(ca)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time the signer is known
				if r := s.Verify(trust, time.Now()); !r.OK() {
					t.Fatalf("refused:\n%s", r)
				}
			}
			if s.digest != c.digest || s.LDSVersion != "0108" {
				t.Errorf("digest %v, LDS version %q", s.digest, s.LDSVersion)
			}
			if d := s.Signer; !slices.Equal(d.DocumentTypes, []string{"IR"}) || d.State != "UTO" || d.KeyNotAfter.Year() != 2099 {
				t.Errorf("signer: types %v, state %q, key until %v", d.DocumentTypes, d.State, d.KeyNotAfter)
			}
			for n, file := range groups {
				if err := s.CheckHash(n, file); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A CRL by OpenSSL's CA revokes the signer.
func TestCRLByOpenSSL(t *testing.T) {
	j := sodtest.New(t)
	ca := certificate(t, j.CSCA("prime256v1"))
	j.Signer("prime256v1", sodtest.SignerExtensions)
	s, err := Parse(j.SOD(map[int][]byte{1: nil}))
	if err != nil {
		t.Fatal(err)
	}
	j.Write("index.txt", nil)
	j.Write("number", []byte("01\n"))
	j.Write("ca.conf", []byte("[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=9\n"))
	list := func() *CRL {
		t.Helper()
		j.Run("ca", "-config", "ca.conf", "-gencrl", "-keyfile", "ca.key", "-cert", "ca.pem", "-out", "crl.pem")
		crl, err := ParseCRL(j.Read("crl.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return crl
	}
	trust, _ := NewTrust(ca)
	check := func(when time.Time) (ok, skipped bool) {
		for _, c := range s.Verify(trust, when).Checks {
			if c.Name == CheckRevocation {
				return c.OK, c.Skip
			}
		}
		t.Fatal("revocation is not in the report")
		return
	}
	if ok, skipped := check(time.Now()); ok || !skipped {
		t.Error("without a CRL nothing can be said")
	}
	empty := list()
	if err := trust.AddCRL(empty); err != nil {
		t.Fatal(err)
	}
	if ok, _ := check(time.Now()); !ok {
		t.Error("an empty list revokes no one")
	}
	if ok, skipped := check(time.Now().AddDate(0, 0, 10)); ok || !skipped {
		t.Error("a list that is out of date says nothing")
	}
	j.Run("ca", "-config", "ca.conf", "-revoke", "ds.pem", "-keyfile", "ca.key", "-cert", "ca.pem")
	if err := trust.AddCRL(list()); err != nil {
		t.Fatal(err)
	}
	if ok, skipped := check(time.Now()); ok || skipped {
		t.Error("the signer is revoked")
	}
	foreign := sodtest.New(t)
	other, _ := NewTrust(certificate(t, foreign.CSCA("prime256v1")))
	if err := other.AddCRL(empty); err == nil {
		t.Error("a CRL of an unknown CSCA is accepted")
	}
}
