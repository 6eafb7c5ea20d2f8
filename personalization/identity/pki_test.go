package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var epoch = time.Date(2026, 3, 1, 8, 30, 0, 0, time.UTC)

var utopia = Authority{
	Country: "UT", State: "UTO", Organization: "Card Bureau", Unit: "Development",
	Contact: "pki@example.org", CRLs: []string{"https://example.org/UTO.crl", "http://pki.example.org/UTO.crl"},
}

func newKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

type pki struct {
	cscaKey, signerKey *ecdsa.PrivateKey
	csca, signer       []byte
}

func newPKI(t testing.TB, cscaCurve, signerCurve elliptic.Curve) (p pki) {
	t.Helper()
	p.cscaKey, p.signerKey = newKey(t, cscaCurve), newKey(t, signerCurve)
	var err error
	p.csca, err = NewCSCA(rand.Reader, CSCARequest{utopia, "CSCA Utopia (development)", CSCAValidity(epoch, 5, 10), p.cscaKey})
	if err != nil {
		t.Fatal(err)
	}
	if p.signer, err = NewDocumentSigner(rand.Reader, p.signerRequest()); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p pki) signerRequest() DocumentSignerRequest {
	return DocumentSignerRequest{
		CSCA: p.csca, CSCAKey: p.cscaKey, Authority: utopia, CommonName: "Document Signer 1",
		PublicKey: p.signerKey.Public(), Validity: SignerValidity(epoch.AddDate(0, 1, 0), 10), DocumentTypes: []string{"IR"},
	}
}

// openssl runs the independent judge and returns what it wrote.
func openssl(t testing.TB, stdin []byte, args ...string) string {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("openssl %s: %v\n%s%s", strings.Join(args, " "), err, &out, &errs)
	}
	return out.String() + errs.String()
}

func scratch(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// opensslVerifies checks the outer signature of a certificate or CRL with the
// public key that openssl itself reads from the issuer's certificate.
func opensslVerifies(t testing.TB, issuer, der []byte, hash string) {
	t.Helper()
	in := cryptobyte.String(der)
	var outer, tbs, algorithm cryptobyte.String
	var signature []byte
	if !in.ReadASN1(&outer, cbasn1.SEQUENCE) || !outer.ReadASN1Element(&tbs, cbasn1.SEQUENCE) ||
		!outer.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !outer.ReadASN1BitStringAsBytes(&signature) || !outer.Empty() {
		t.Fatal("not a signed structure")
	}
	public := openssl(t, issuer, "x509", "-inform", "DER", "-noout", "-pubkey")
	out := openssl(t, tbs, "dgst", "-"+hash, "-verify", scratch(t, "public.pem", []byte(public)), "-signature", scratch(t, "signature", signature))
	if !strings.Contains(out, "Verified OK") {
		t.Error(out)
	}
}

func mustContain(t testing.TB, text string, wanted ...string) {
	t.Helper()
	flat := strings.Join(strings.Fields(text), " ")
	for _, w := range wanted {
		if !strings.Contains(flat, w) {
			t.Errorf("missing %q in\n%s", w, text)
		}
	}
}

func mustNotContain(t testing.TB, text string, unwanted ...string) {
	t.Helper()
	for _, w := range unwanted {
		if strings.Contains(text, w) {
			t.Errorf("%q in\n%s", w, text)
		}
	}
}

// Doc 9303-12, tables 5 and 6, column "CSCA self-signed root".
func TestCSCAProfile(t *testing.T) {
	p := newPKI(t, elliptic.P384(), elliptic.P256())
	text := openssl(t, p.csca, "x509", "-inform", "DER", "-noout", "-text", "-nameopt", "RFC2253")
	mustContain(t, text,
		"Version: 3 (0x2)",
		"Signature Algorithm: ecdsa-with-SHA384",
		"Issuer: CN=CSCA Utopia (development),OU=Development,O=Card Bureau,C=UT",
		"Subject: CN=CSCA Utopia (development),OU=Development,O=Card Bureau,C=UT",
		"Not Before: Mar 1 08:30:00 2026 GMT",
		"Not After : Jun 1 08:30:00 2041 GMT", // 5 years of use, 3 months of a signer's, 10 of a document
		"Field Type: prime-field", "Generator (uncompressed)", "Cofactor: 1 (0x1)",
		"X509v3 Authority Key Identifier:", "X509v3 Subject Key Identifier:",
		"X509v3 Key Usage: critical Certificate Sign, CRL Sign X509v3",
		"X509v3 Private Key Usage Period: Not Before: Mar 1 08:30:00 2026 GMT, Not After: Mar 1 08:30:00 2031 GMT",
		"X509v3 Subject Alternative Name: email:pki@example.org, DirName:/L=UTO X509v3",
		"X509v3 Issuer Alternative Name: email:pki@example.org, DirName:/L=UTO X509v3",
		"X509v3 Basic Constraints: critical CA:TRUE, pathlen:0",
		"X509v3 CRL Distribution Points: Full Name: URI:https://example.org/UTO.crl URI:http://pki.example.org/UTO.crl",
	)
	mustNotContain(t, text, "Extended Key Usage", "ASN1 OID", "NIST CURVE", "2.23.136.1.1.6.2")
	opensslVerifies(t, p.csca, p.csca, "sha384")
	commonProfile(t, p.csca)
}

// Doc 9303-12, tables 5 and 6, column "Document Signer".
func TestDocumentSignerProfile(t *testing.T) {
	p := newPKI(t, elliptic.P384(), elliptic.P256())
	text := openssl(t, p.signer, "x509", "-inform", "DER", "-noout", "-text", "-nameopt", "RFC2253")
	mustContain(t, text,
		"Version: 3 (0x2)",
		"Signature Algorithm: ecdsa-with-SHA384",
		"Issuer: CN=CSCA Utopia (development),OU=Development,O=Card Bureau,C=UT",
		"Subject: CN=Document Signer 1,OU=Development,O=Card Bureau,C=UT",
		"Not Before: Apr 1 08:30:00 2026 GMT",
		"Not After : Jul 1 08:30:00 2036 GMT",
		"Field Type: prime-field", "Cofactor: 1 (0x1)",
		"X509v3 Authority Key Identifier:", "X509v3 Subject Key Identifier:",
		"X509v3 Key Usage: critical Digital Signature X509v3",
		"X509v3 Private Key Usage Period: Not Before: Apr 1 08:30:00 2026 GMT, Not After: Jul 1 08:30:00 2026 GMT",
		"X509v3 Subject Alternative Name: email:pki@example.org, DirName:/L=UTO X509v3",
		"X509v3 Issuer Alternative Name: email:pki@example.org, DirName:/L=UTO X509v3",
		"X509v3 CRL Distribution Points: Full Name: URI:https://example.org/UTO.crl",
		"2.23.136.1.1.6.2:",
	)
	mustNotContain(t, text, "Extended Key Usage", "Basic Constraints", "ASN1 OID", "NIST CURVE")
	opensslVerifies(t, p.csca, p.signer, "sha384")
	commonProfile(t, p.signer)

	// documentTypeList: version 0, SET OF PrintableString.
	want := unhex(t, "0607 6781080101 0602 04 0B 30 09 020100 31 04 1302 4952")
	if !bytes.Contains(p.signer, want) {
		t.Errorf("documentTypeList %X is not in the certificate", want)
	}
	// The key identifier is the issuer's, the issuer's name its subject, byte for byte.
	csca, err := ParseCertificate(p.csca)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ParseCertificate(p.signer)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(csca.Subject, signer.Issuer) {
		t.Error("the issuer's name is not the CSCA's subject")
	}
	if !bytes.Contains(p.signer, append([]byte{0x80, 0x14}, csca.SubjectKeyID...)) {
		t.Error("the authority key identifier is not the CSCA's")
	}
}

// commonProfile checks what openssl's text does not show: serial number, string
// types, times and DER without defaults.
func commonProfile(t *testing.T, der []byte) {
	t.Helper()
	c, err := ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.Serial.Bytes()); c.Serial.Sign() <= 0 || n > 20 || n < 8 {
		t.Errorf("serial number of %d bytes, sign %d", n, c.Serial.Sign())
	}
	asn1 := openssl(t, der, "asn1parse", "-inform", "DER")
	mustNotContain(t, asn1, "T61STRING", "BMPSTRING", "UTF8STRING", "BOOLEAN           :0")
	mustContain(t, asn1, "PRINTABLESTRING :UT", "UTCTIME :260", "prim: INTEGER :02", "id-ecPublicKey", ":prime-field")
	// Two of the three signature algorithms must be the same; the third is the key's.
	if strings.Count(asn1, "ecdsa-with-SHA") != 2 {
		t.Errorf("signature algorithms in\n%s", asn1)
	}
}

// Dates from 2050 on are GeneralizedTime, before UTCTime (Doc 9303-12, table 5).
func TestTimes(t *testing.T) {
	for in, want := range map[time.Time]string{
		time.Date(2049, 12, 31, 23, 59, 59, 999, time.UTC):                       "\x17\x0d491231235959Z",
		time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC):                              "\x18\x0f20500101000000Z",
		time.Date(2050, 1, 1, 3, 0, 0, 0, time.FixedZone("+03:30", 3*3600+1800)): "\x17\x0d491231233000Z",
	} {
		if got := string(timeValue(in)); got != want {
			t.Errorf("%v: %q, want %q", in, got, want)
		}
	}
}

func TestLateCertificatesParse(t *testing.T) {
	key := newKey(t, elliptic.P256())
	der, err := NewCSCA(rand.Reader, CSCARequest{utopia, "CSCA Utopia", CSCAValidity(epoch.AddDate(20, 0, 0), 5, 10), key})
	if err != nil {
		t.Fatal(err)
	}
	mustContain(t, openssl(t, der, "asn1parse", "-inform", "DER"), "UTCTIME :460301083000Z", "GENERALIZEDTIME :20610601083000Z")
	c, err := ParseCertificate(der)
	if err != nil || c.NotAfter.Year() != 2061 || c.KeyNotAfter.Year() != 2051 || !c.CA {
		t.Errorf("%+v, %v", c, err)
	}
	opensslVerifies(t, der, der, "sha256")
}

func TestParseCertificate(t *testing.T) {
	p := newPKI(t, elliptic.P384(), elliptic.P256())
	c, err := ParseCertificate(p.signer)
	if err != nil {
		t.Fatal(err)
	}
	if c.Country != "UT" || c.State != "UTO" || c.CommonName != "Document Signer 1" || c.CA ||
		len(c.DocumentTypes) != 1 || c.DocumentTypes[0] != "IR" || !c.PublicKey.Equal(p.signerKey.Public()) ||
		!c.KeyNotBefore.Equal(epoch.AddDate(0, 1, 0)) || !c.KeyNotAfter.Equal(epoch.AddDate(0, 4, 0)) ||
		!c.NotBefore.Equal(c.KeyNotBefore) || !c.NotAfter.Equal(epoch.AddDate(10, 4, 0)) || len(c.SubjectKeyID) != 20 {
		t.Errorf("%+v", c)
	}
	for name, bad := range map[string][]byte{"nothing": nil, "cut": p.signer[:200], "trailing": append(p.signer[:len(p.signer):len(p.signer)], 0)} {
		if _, err := ParseCertificate(bad); !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCSCARefuses(t *testing.T) {
	good := CSCARequest{utopia, "CSCA Utopia", CSCAValidity(epoch, 3, 5), newKey(t, elliptic.P256())}
	for name, spoil := range map[string]func(*CSCARequest){
		"country in lower case": func(r *CSCARequest) { r.Authority.Country = "ut" },
		"country of three":      func(r *CSCARequest) { r.Authority.Country = "UTO" },
		"State":                 func(r *CSCARequest) { r.Authority.State = "" },
		"organization":          func(r *CSCARequest) { r.Authority.Organization = "کارت" },
		"unit":                  func(r *CSCARequest) { r.Authority.Unit = "a*b" },
		"contact":               func(r *CSCARequest) { r.Authority.Contact = "nobody" },
		"no CRL":                func(r *CSCARequest) { r.Authority.CRLs = nil },
		"CRL by ftp":            func(r *CSCARequest) { r.Authority.CRLs = []string{"ftp://example.org/x.crl"} },
		"no common name":        func(r *CSCARequest) { r.CommonName = "" },
		"validity":              func(r *CSCARequest) { r.Validity.NotAfter = r.Validity.NotBefore },
		"curve":                 func(r *CSCARequest) { r.Key = newKey(t, elliptic.P224()) },
	} {
		r := good
		spoil(&r)
		if _, err := NewCSCA(rand.Reader, r); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDocumentSignerRefuses(t *testing.T) {
	p := newPKI(t, elliptic.P256(), elliptic.P256())
	for name, spoil := range map[string]func(*DocumentSignerRequest){
		"country":               func(r *DocumentSignerRequest) { r.Authority.Country = "IR" },
		"State":                 func(r *DocumentSignerRequest) { r.Authority.State = "IRN" },
		"four months":           func(r *DocumentSignerRequest) { r.Validity.KeyNotAfter = r.Validity.NotBefore.AddDate(0, 4, 0) },
		"before the CSCA":       func(r *DocumentSignerRequest) { r.Validity = SignerValidity(epoch.AddDate(0, -1, 0), 10) },
		"after the CSCA's use":  func(r *DocumentSignerRequest) { r.Validity = SignerValidity(epoch.AddDate(5, 0, 1), 1) },
		"outlives the CSCA":     func(r *DocumentSignerRequest) { r.Validity = SignerValidity(epoch, 16) },
		"no document type":      func(r *DocumentSignerRequest) { r.DocumentTypes = nil },
		"document type":         func(r *DocumentSignerRequest) { r.DocumentTypes = []string{"IRX"} },
		"another key":           func(r *DocumentSignerRequest) { r.CSCAKey = newKey(t, elliptic.P256()) },
		"signer as issuer":      func(r *DocumentSignerRequest) { r.CSCA, r.CSCAKey = p.signer, p.signerKey },
		"not a certificate":     func(r *DocumentSignerRequest) { r.CSCA = []byte("x") },
		"subject key not ECDSA": func(r *DocumentSignerRequest) { r.PublicKey = crypto.PublicKey("x") },
	} {
		r := p.signerRequest()
		spoil(&r)
		if _, err := NewDocumentSigner(rand.Reader, r); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// brokenSigner signs something else.
type brokenSigner struct{ *ecdsa.PrivateKey }

func (b brokenSigner) Sign(_ io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	other := append([]byte(nil), digest...)
	other[0] ^= 1
	return b.PrivateKey.Sign(rand.Reader, other, o)
}

func TestWrongSignatureStaysInside(t *testing.T) {
	if _, err := NewCSCA(rand.Reader, CSCARequest{utopia, "CSCA", CSCAValidity(epoch, 3, 5), brokenSigner{newKey(t, elliptic.P256())}}); err == nil {
		t.Error("a certificate whose signature is wrong came out")
	}
}

// Doc 9303-12, tables 9 and 10.
func TestCRL(t *testing.T) {
	p := newPKI(t, elliptic.P384(), elliptic.P256())
	signer, err := ParseCertificate(p.signer)
	if err != nil {
		t.Fatal(err)
	}
	r := CRLRequest{CSCA: p.csca, CSCAKey: p.cscaKey, Number: 7, ThisUpdate: epoch, NextUpdate: epoch.AddDate(0, 0, 90)}
	empty, err := NewCRL(rand.Reader, r)
	if err != nil {
		t.Fatal(err)
	}
	text := openssl(t, empty, "crl", "-inform", "DER", "-noout", "-text", "-nameopt", "RFC2253")
	mustContain(t, text, "Version 2 (0x1)", "ecdsa-with-SHA384", "Issuer: CN=CSCA Utopia (development),OU=Development,O=Card Bureau,C=UT",
		"Last Update: Mar 1 08:30:00 2026 GMT", "Next Update: May 30 08:30:00 2026 GMT", "X509v3 Authority Key Identifier:",
		"X509v3 CRL Number: 7", "No Revoked Certificates.")
	mustNotContain(t, text, "critical")
	opensslVerifies(t, p.csca, empty, "sha384")

	r.Revoked = []Revocation{{signer.Serial, epoch.Add(-time.Hour)}}
	full, err := NewCRL(rand.Reader, r)
	if err != nil {
		t.Fatal(err)
	}
	text = openssl(t, full, "crl", "-inform", "DER", "-noout", "-text")
	mustContain(t, text, "Serial Number: "+strings.ToUpper(signer.Serial.Text(16)), "Revocation Date: Mar 1 07:30:00 2026 GMT")
	mustNotContain(t, text, "Reason Code", "CRL entry extensions")
	opensslVerifies(t, p.csca, full, "sha384")
	// openssl's own check of the list against the CSCA.
	ca := scratch(t, "csca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.csca}))
	mustContain(t, openssl(t, full, "crl", "-inform", "DER", "-noout", "-CAfile", ca), "verify OK")

	for name, spoil := range map[string]func(*CRLRequest){
		"91 days":         func(r *CRLRequest) { r.NextUpdate = epoch.AddDate(0, 0, 91) },
		"backwards":       func(r *CRLRequest) { r.NextUpdate = epoch },
		"no serial":       func(r *CRLRequest) { r.Revoked = []Revocation{{nil, epoch}} },
		"negative serial": func(r *CRLRequest) { r.Revoked = []Revocation{{big.NewInt(-1), epoch}} },
		"another key":     func(r *CRLRequest) { r.CSCAKey = p.signerKey },
		"not a CSCA":      func(r *CRLRequest) { r.CSCA, r.CSCAKey = p.signer, p.signerKey },
	} {
		bad := r
		spoil(&bad)
		if _, err := NewCRL(rand.Reader, bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzParseCertificate(f *testing.F) {
	p := newPKI(f, elliptic.P384(), elliptic.P256())
	f.Add(p.csca)
	f.Add(p.signer)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ParseCertificate(b); err != nil && !errors.Is(err, ErrCertificate) {
			t.Fatal(err)
		}
	})
}
