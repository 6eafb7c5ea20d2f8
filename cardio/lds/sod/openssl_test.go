package sod

import (
	"crypto"
	"crypto/sha256"
	"encoding/asn1"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cardbureau/cardio/tlv"
)

// judge makes certificates and signed objects with OpenSSL, software that no
// one here wrote.
type judge struct {
	t   testing.TB
	dir string
}

func newJudge(t testing.TB) *judge {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	return &judge{t, t.TempDir()}
}

func (j *judge) path(name string) string { return filepath.Join(j.dir, name) }

func (j *judge) run(args ...string) {
	j.t.Helper()
	c := exec.Command("openssl", args...)
	c.Dir = j.dir
	if out, err := c.CombinedOutput(); err != nil {
		j.t.Fatalf("openssl %v: %v\n%s", args, err, out)
	}
}

func (j *judge) read(name string) []byte {
	j.t.Helper()
	b, err := os.ReadFile(j.path(name))
	if err != nil {
		j.t.Fatal(err)
	}
	return b
}

func (j *judge) write(name string, b []byte) {
	j.t.Helper()
	if err := os.WriteFile(j.path(name), b, 0o600); err != nil {
		j.t.Fatal(err)
	}
}

// key makes a key: an OpenSSL curve name with explicit parameters, or "RSA".
func (j *judge) key(file, kind string) {
	j.t.Helper()
	if kind == "RSA" {
		j.run("genrsa", "-out", file, "2048")
		return
	}
	j.run("ecparam", "-name", kind, "-param_enc", "explicit", "-genkey", "-noout", "-out", file)
}

const (
	cscaExtensions = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
	dsExtensions   = "keyUsage=critical,digitalSignature\nauthorityKeyIdentifier=keyid\n" +
		"2.5.29.16=DER:30:22:80:0f:32:30:30:30:30:31:30:31:30:30:30:30:30:30:5a:81:0f:32:30:39:39:30:31:30:31:30:30:30:30:30:30:5a\n" +
		"2.23.136.1.1.6.2=DER:30:09:02:01:00:31:04:13:02:49:52\n" +
		"subjectAltName=email:a@example.org,dirName:alt\n[alt]\nL=UTO\n"
)

// csca makes a self-signed CSCA as ca.pem.
func (j *judge) csca(kind string) *Certificate {
	j.t.Helper()
	j.key("ca.key", kind)
	j.write("ca.ext", []byte("[x]\n"+cscaExtensions))
	j.run("req", "-new", "-key", "ca.key", "-subj", "/C=UT/O=Ministry/CN=CSCA", "-out", "ca.csr")
	j.run("x509", "-req", "-in", "ca.csr", "-signkey", "ca.key", "-days", "30", "-extfile", "ca.ext", "-extensions", "x", "-out", "ca.pem")
	return j.certificate("ca.pem")
}

// signer makes a document signer as ds.pem, by the CSCA.
func (j *judge) signer(kind, extensions string) {
	j.t.Helper()
	j.key("ds.key", kind)
	j.write("ds.ext", []byte("[x]\n"+extensions))
	j.run("req", "-new", "-key", "ds.key", "-subj", "/C=UT/O=Ministry/CN=DS", "-out", "ds.csr")
	j.run("x509", "-req", "-in", "ds.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "77", "-days", "20",
		"-extfile", "ds.ext", "-extensions", "x", "-out", "ds.pem")
}

func (j *judge) certificate(name string) *Certificate {
	j.t.Helper()
	c, err := ParseCertificates(j.read(name))
	if err != nil {
		j.t.Fatal(err)
	}
	return c[0]
}

// sod signs the hashes of data groups: EF.SOD.
func (j *judge) sod(groups map[int][]byte, args ...string) []byte {
	j.t.Helper()
	j.write("content", securityObjectOf(j.t, groups))
	j.run(append([]string{"cms", "-sign", "-binary", "-nodetach", "-nosmimecap", "-econtent_type", "2.23.136.1.1.1",
		"-signer", "ds.pem", "-inkey", "ds.key", "-in", "content", "-outform", "DER", "-out", "cms"}, args...)...)
	return tlv.Encode(0x77, j.read("cms"))
}

func securityObjectOf(t testing.TB, groups map[int][]byte) []byte {
	t.Helper()
	var o securityObject
	o.Version = 1
	o.HashAlgorithm.Algorithm = hashes[2].oid
	var numbers []int
	for n := range groups {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		sum := sha256.Sum256(groups[n])
		o.Hashes = append(o.Hashes, struct {
			Number int
			Value  []byte
		}{n, sum[:]})
	}
	o.VersionInfo.LDS, o.VersionInfo.Unicode = "0108", "040000"
	der, err := asn1.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return der
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
			j := newJudge(t)
			ca := j.csca(c.ca)
			j.signer(c.ds, dsExtensions)
			if slices.Contains(c.args, "-keyid") {
				j.signer(c.ds, "subjectKeyIdentifier=hash\n"+dsExtensions)
			}
			s, err := Parse(j.sod(groups, c.args...))
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
	j := newJudge(t)
	ca := j.csca("prime256v1")
	j.signer("prime256v1", dsExtensions)
	s, err := Parse(j.sod(map[int][]byte{1: nil}))
	if err != nil {
		t.Fatal(err)
	}
	j.write("index.txt", nil)
	j.write("number", []byte("01\n"))
	j.write("ca.conf", []byte("[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=9\n"))
	list := func() *CRL {
		t.Helper()
		j.run("ca", "-config", "ca.conf", "-gencrl", "-keyfile", "ca.key", "-cert", "ca.pem", "-out", "crl.pem")
		crl, err := ParseCRL(j.read("crl.pem"))
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
	j.run("ca", "-config", "ca.conf", "-revoke", "ds.pem", "-keyfile", "ca.key", "-cert", "ca.pem")
	if err := trust.AddCRL(list()); err != nil {
		t.Fatal(err)
	}
	if ok, skipped := check(time.Now()); ok || skipped {
		t.Error("the signer is revoked")
	}
	foreign := newJudge(t)
	other, _ := NewTrust(foreign.csca("prime256v1"))
	if err := other.AddCRL(empty); err == nil {
		t.Error("a CRL of an unknown CSCA is accepted")
	}
}
