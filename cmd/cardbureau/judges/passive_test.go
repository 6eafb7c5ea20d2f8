package judges

import (
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// write makes a file in a folder.
func write(t testing.TB, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// document writes the files of the card, as libeac read them, into a folder.
func document(t testing.TB) (c *issued, dir string) {
	t.Helper()
	reader := eacReader(t)
	c = card(t)
	dir = t.TempDir()
	accepts(t, dir, c.env(), reader, append([]string{c.Reader, "can", c.CAN, "223", dir}, order...)...)
	return c, dir
}

// changed returns a copy with one bit of a byte changed; at counts from the
// end when it is negative.
func changed(b []byte, at int) []byte {
	out := slices.Clone(b)
	if at < 0 {
		at += len(out)
	}
	out[at] ^= 1
	return out
}

func TestBotanAndAsn1cryptoAuthenticateTheDocument(t *testing.T) {
	needPython(t, "asn1crypto", "python3-asn1crypto")
	needPython(t, "botan2", "python3-botan")
	c, dir := document(t)
	csca, crl := write(t, dir, "csca", c.csca), write(t, dir, "crl", c.crl)
	script, err := filepath.Abs(filepath.Join("testdata", "passive.py"))
	if err != nil {
		t.Fatal(err)
	}
	var judgement struct {
		DataGroups                              []int
		LDSVersion, Hash, Signer, Issuer, Curve string
	}
	said := accepts(t, dir, nil, python, script, csca, crl, dir)
	if err := json.Unmarshal([]byte(said), &judgement); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(judgement.DataGroups, []int{1, 2, 11, 13, 14}) || judgement.LDSVersion != "0108" || judgement.Hash != "sha256" {
		t.Errorf("it says %s", said)
	}
	// Doc 9303-12, 4.1.6.3 wants parameters in full, not a curve's name.
	if judgement.Curve != "specified" {
		t.Errorf("the signer's curve is %s, not specified by its parameters", judgement.Curve)
	}

	refuses := func(name, want string, args ...string) {
		t.Helper()
		_, complaint, status := ask(t, dir, nil, python, append([]string{script}, args...)...)
		if status != 1 || !strings.Contains(complaint, want) {
			t.Errorf("%s: exit status %d, %q", name, status, complaint)
		}
	}
	refuses("another trust anchor", "the chain", write(t, dir, "other", c.signer), crl, dir)
	write(t, dir, "0101", changed(c.files["0101"], 20))
	refuses("another DG1", "the hash of DG1", csca, crl, dir)
	write(t, dir, "0101", c.files["0101"])
	write(t, dir, "011D", changed(c.files["011D"], -1))
	refuses("another signature", "the signature is wrong", csca, crl, dir)
}

func TestOpenSSLAcceptsTheSecurityObject(t *testing.T) {
	needCommand(t, "openssl", "openssl")
	_, dir := document(t)
	ef, err := os.ReadFile(filepath.Join(dir, "011D"))
	if err != nil {
		t.Fatal(err)
	}
	// Tag 77 and a length of three bytes are around the CMS.
	sod := write(t, dir, "sod.der", ef[4:])
	content := filepath.Join(dir, "lds.der")
	accepts(t, dir, nil, "openssl", "cms", "-verify", "-noverify", "-binary", "-inform", "DER", "-in", sod, "-out", content)
	if said := accepts(t, dir, nil, "openssl", "asn1parse", "-inform", "DER", "-in", content); !strings.Contains(said, "sha256") {
		t.Errorf("the signed content:\n%s", said)
	}
	bad := write(t, dir, "bad.der", changed(ef[4:], -1))
	if _, _, status := ask(t, dir, nil, "openssl", "cms", "-verify", "-noverify", "-binary", "-inform", "DER", "-in", bad, "-out", os.DevNull); status == 0 {
		t.Error("a changed signature is accepted")
	}
}

func TestOpenSSLAcceptsCertificatesAndCRL(t *testing.T) {
	needCommand(t, "openssl", "openssl")
	c, dir := card(t), t.TempDir()
	csca := write(t, dir, "csca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.csca}))
	signer := write(t, dir, "signer.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.signer}))
	crl := write(t, dir, "crl.der", c.crl)
	for name, wants := range map[string][]string{
		csca:   {"CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "Field Type: prime-field", "Cofactor:  1 (0x1)"},
		signer: {"Digital Signature", "Field Type: prime-field", "Cofactor:  1 (0x1)"},
	} {
		said := accepts(t, dir, nil, "openssl", "x509", "-in", name, "-noout", "-text")
		for _, want := range wants {
			if !strings.Contains(said, want) {
				t.Errorf("%s lacks %q:\n%s", filepath.Base(name), want, said)
			}
		}
	}
	// crl verifies by the issuer's key and says so, whatever the exit status.
	_, said, _ := ask(t, dir, nil, "openssl", "crl", "-inform", "DER", "-in", crl, "-CAfile", csca, "-noout")
	if !strings.Contains(said, "verify OK") {
		t.Errorf("the CRL: %s", said)
	}
	_, said, _ = ask(t, dir, nil, "openssl", "crl", "-inform", "DER", "-in", write(t, dir, "bad.der", changed(c.crl, -1)), "-CAfile", csca, "-noout")
	if strings.Contains(said, "verify OK") {
		t.Error("a changed CRL verifies")
	}
	// OpenSSL takes no chain with the explicit curve parameters that ICAO wants
	// (Botan does, above). It has no other complaint.
	_, said, status := ask(t, dir, nil, "openssl", "verify", "-CAfile", csca, signer)
	if status == 0 || strings.Count(said, " lookup: ") != strings.Count(said, "lookup: Certificate public key has explicit ECC parameters") {
		t.Errorf("openssl verify ended with %d: %s", status, said)
	}
}
