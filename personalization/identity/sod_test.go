package identity

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cardbureau/cardio/tlv"
)

func testHashes() map[int][]byte {
	return Hashes(map[int][]byte{1: []byte("dg1"), 2: []byte("dg2"), 11: []byte("dg11"), 13: []byte("dg13"), 14: []byte("dg14")})
}

func TestSODIsAcceptedByOpenSSL(t *testing.T) {
	for name, tt := range map[string]struct {
		curve elliptic.Curve
		hash  string
	}{"P-256": {elliptic.P256(), "256"}, "P-384": {elliptic.P384(), "384"}} {
		t.Run(name, func(t *testing.T) {
			p := newPKI(t, elliptic.P384(), tt.curve)
			signer, err := NewSODSigner(p.signer, p.signerKey)
			if err != nil {
				t.Fatal(err)
			}
			sod, err := signer.Sign(rand.Reader, testHashes(), epoch.AddDate(0, 2, 0))
			if err != nil {
				t.Fatal(err)
			}
			cms, ok := tlv.Find(sod, 0x77)
			if !ok {
				t.Fatalf("%X", sod[:8])
			}
			file := scratch(t, "sod.cms", cms)
			content := filepath.Join(t.TempDir(), "content")
			// Explicit curve parameters stop openssl from building the chain: -noverify.
			out := openssl(t, nil, "cms", "-verify", "-noverify", "-inform", "DER", "-in", file, "-out", content)
			mustContain(t, out, "CMS Verification successful")
			got, err := os.ReadFile(content)
			if err != nil {
				t.Fatal(err)
			}
			want, err := ldsSecurityObject(testHashes())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("content %X", got)
			}
			cmsProfile(t, cms, tt.hash)
			contentProfile(t, want)
		})
	}
}

// cmsProfile checks the structure against Doc 9303-10, table 37.
func cmsProfile(t *testing.T, cms []byte, hash string) {
	t.Helper()
	text := openssl(t, cms, "cms", "-cmsout", "-print", "-noout", "-inform", "DER")
	mustContain(t, text,
		"contentType: pkcs7-signedData (1.2.840.113549.1.7.2)",
		"d.signedData: version: 3 digestAlgorithms: algorithm: sha"+hash+" (2.16.840.1.101.3.4.2.",
		"eContentType: undefined (2.23.136.1.1.1)",
		"crls: <ABSENT>",
		"signerInfos: version: 1 d.issuerAndSerialNumber: issuer: C=UT",
		"signedAttrs: object: contentType", "object: signingTime", "UTCTIME:May 1 08:30:00 2026 GMT", "object: messageDigest",
		"signatureAlgorithm: algorithm: ecdsa-with-SHA"+hash,
		"unsignedAttrs: <ABSENT>",
	)
	if n := strings.Count(text, "d.certificate:"); n != 1 {
		t.Errorf("%d certificates", n)
	}
	// Digest algorithms omit NULL parameters (Doc 9303-10, 4.6.2.3, note 2).
	mustNotContain(t, text, "parameter: NULL")
}

// contentProfile reads the LDSSecurityObject with openssl.
func contentProfile(t *testing.T, content []byte) {
	t.Helper()
	text := openssl(t, content, "asn1parse", "-inform", "DER")
	mustContain(t, text, "prim: INTEGER :01", "sha256", "PRINTABLESTRING :0108", "PRINTABLESTRING :040000")
	var order []string
	for _, line := range strings.Split(text, "\n") {
		if strings.Contains(line, "d=3") && strings.Contains(line, "INTEGER") {
			order = append(order, line[strings.LastIndexByte(line, ':')+1:])
		}
	}
	if got := strings.Join(order, " "); got != "01 02 0B 0D 0E" {
		t.Errorf("data groups %s", got)
	}
}

func TestSODRefuses(t *testing.T) {
	p := newPKI(t, elliptic.P256(), elliptic.P256())
	if _, err := NewSODSigner(p.signer, p.cscaKey); err == nil {
		t.Error("a key that is not the certificate's")
	}
	if _, err := NewSODSigner(p.csca, p.cscaKey); err == nil {
		t.Error("a CSCA as document signer")
	}
	if _, err := NewSODSigner([]byte("x"), p.signerKey); err == nil {
		t.Error("no certificate")
	}
	signer, err := NewSODSigner(p.signer, p.signerKey)
	if err != nil {
		t.Fatal(err)
	}
	in := epoch.AddDate(0, 2, 0)
	short := testHashes()
	short[1] = short[1][:31]
	none := testHashes()
	delete(none, 2)
	beyond := testHashes()
	beyond[17] = beyond[1]
	for name, tt := range map[string]struct {
		hashes map[int][]byte
		at     time.Time
	}{
		"short hash":  {short, in},
		"no DG2":      {none, in},
		"DG17":        {beyond, in},
		"too early":   {testHashes(), epoch},
		"after 3 mo.": {testHashes(), epoch.AddDate(0, 4, 1)},
	} {
		if _, err := signer.Sign(rand.Reader, tt.hashes, tt.at); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if c := signer.Certificate(); c.CommonName != "Document Signer 1" {
		t.Error(c.CommonName)
	}
}

func BenchmarkSOD(b *testing.B) {
	p := newPKI(b, elliptic.P384(), elliptic.P256())
	signer, err := NewSODSigner(p.signer, p.signerKey)
	if err != nil {
		b.Fatal(err)
	}
	hashes := testHashes()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := signer.Sign(rand.Reader, hashes, epoch.AddDate(0, 2, 0)); err != nil {
			b.Fatal(err)
		}
	}
}
