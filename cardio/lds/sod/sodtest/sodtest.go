// Package sodtest issues certificates and document security objects with
// OpenSSL, software that no one here wrote, for tests of passive
// authentication. It is imported by tests alone.
package sodtest

import (
	"crypto/sha256"
	"encoding/asn1"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"cardbureau/cardio/tlv"
)

// Issuer is a country signing CA and its document signer, in a folder of the
// test's. The test is skipped where OpenSSL is not installed.
type Issuer struct {
	t   testing.TB
	dir string
}

// New makes an issuer without keys.
func New(t testing.TB) *Issuer {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	return &Issuer{t, t.TempDir()}
}

// Run runs OpenSSL in the issuer's folder.
func (j *Issuer) Run(args ...string) {
	j.t.Helper()
	c := exec.Command("openssl", args...)
	c.Dir = j.dir
	if out, err := c.CombinedOutput(); err != nil {
		j.t.Fatalf("openssl %v: %v\n%s", args, err, out)
	}
}

// Read reads a file of the folder.
func (j *Issuer) Read(name string) []byte {
	j.t.Helper()
	b, err := os.ReadFile(filepath.Join(j.dir, name))
	if err != nil {
		j.t.Fatal(err)
	}
	return b
}

// Write writes a file of the folder.
func (j *Issuer) Write(name string, b []byte) {
	j.t.Helper()
	if err := os.WriteFile(filepath.Join(j.dir, name), b, 0o600); err != nil {
		j.t.Fatal(err)
	}
}

// Key makes a private key: on a curve by OpenSSL's name, with explicit
// parameters, or "RSA" of 2,048 bits.
func (j *Issuer) Key(file, kind string) {
	j.t.Helper()
	if kind == "RSA" {
		j.Run("genrsa", "-out", file, "2048")
		return
	}
	j.Run("ecparam", "-name", kind, "-param_enc", "explicit", "-genkey", "-noout", "-out", file)
}

const authority = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"

// SignerExtensions are those of a document signer of the State UTO for
// documents IR, its key in use from 2000 to 2098, in OpenSSL's words. They must
// come last where others are added.
const SignerExtensions = "keyUsage=critical,digitalSignature\nauthorityKeyIdentifier=keyid\n" +
	"2.5.29.16=DER:30:22:80:0f:32:30:30:30:30:31:30:31:30:30:30:30:30:30:5a:81:0f:32:30:39:39:30:31:30:31:30:30:30:30:30:30:5a\n" +
	"2.23.136.1.1.6.2=DER:30:09:02:01:00:31:04:13:02:49:52\n" +
	"subjectAltName=email:a@example.org,dirName:alt\n[alt]\nL=UTO\n"

// CSCA makes a self-signed country signing certificate, 30 days, as ca.pem
// and returns it.
func (j *Issuer) CSCA(kind string) []byte {
	j.t.Helper()
	j.Key("ca.key", kind)
	j.Write("ca.ext", []byte("[x]\n"+authority))
	j.Run("req", "-new", "-key", "ca.key", "-subj", "/C=UT/O=Ministry/CN=CSCA", "-out", "ca.csr")
	j.Run("x509", "-req", "-in", "ca.csr", "-signkey", "ca.key", "-days", "30", "-extfile", "ca.ext", "-extensions", "x", "-out", "ca.pem")
	return j.Read("ca.pem")
}

// Signer makes a document signer, 20 days, as ds.pem, issued by the CSCA.
func (j *Issuer) Signer(kind, extensions string) {
	j.t.Helper()
	j.Key("ds.key", kind)
	j.Write("ds.ext", []byte("[x]\n"+extensions))
	j.Run("req", "-new", "-key", "ds.key", "-subj", "/C=UT/O=Ministry/CN=DS", "-out", "ds.csr")
	j.Run("x509", "-req", "-in", "ds.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "77", "-days", "20",
		"-extfile", "ds.ext", "-extensions", "x", "-out", "ds.pem")
}

// SOD signs the SHA-256 hashes of data groups with the document signer and
// returns EF.SOD. args go to openssl cms.
func (j *Issuer) SOD(groups map[int][]byte, args ...string) []byte {
	j.t.Helper()
	j.Write("content", j.securityObject(groups))
	j.Run(append([]string{"cms", "-sign", "-binary", "-nodetach", "-nosmimecap", "-econtent_type", "2.23.136.1.1.1",
		"-signer", "ds.pem", "-inkey", "ds.key", "-in", "content", "-outform", "DER", "-out", "cms"}, args...)...)
	return tlv.Encode(0x77, j.Read("cms"))
}

type hash struct {
	Number int
	Value  []byte
}

func (j *Issuer) securityObject(groups map[int][]byte) []byte {
	j.t.Helper()
	var o struct {
		Version   int
		Algorithm struct{ OID asn1.ObjectIdentifier }
		Hashes    []hash
		Versions  struct {
			LDS     string `asn1:"printable"`
			Unicode string `asn1:"printable"`
		}
	}
	o.Version = 1
	o.Algorithm.OID = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	for n, file := range groups {
		sum := sha256.Sum256(file)
		o.Hashes = append(o.Hashes, hash{n, sum[:]})
	}
	slices.SortFunc(o.Hashes, func(a, b hash) int { return a.Number - b.Number })
	o.Versions.LDS, o.Versions.Unicode = "0108", "040000"
	der, err := asn1.Marshal(o)
	if err != nil {
		j.t.Fatal(err)
	}
	return der
}
