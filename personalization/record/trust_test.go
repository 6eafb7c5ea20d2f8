package record

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func trustJSON(t testing.TB, keys ...TrustKey) []byte {
	t.Helper()
	tr, err := NewTrust(time.Time{}, keys)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(tr)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTrustFileRoundTrip(t *testing.T) {
	k := keys()
	path := filepath.Join(t.TempDir(), "trust.json")
	one := k.es.trust()
	one.Permits, one.DailyCap = []string{"amayesh", "student"}, 500
	if err := os.WriteFile(path, trustJSON(t, one, k.ps.trust(), k.ed.trust()), 0o600); err != nil {
		t.Fatal(err)
	}
	trust, err := LoadTrust(path)
	if err != nil {
		t.Fatal(err)
	}
	v := verifier(t)
	v.Trust = trust
	got, err := v.Verify(t.Context(), []byte(signed(t, good())))
	if err != nil || got.DailyCap != 500 || got.KeyID != "reg-es" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := LoadTrust(path + ".no"); err == nil {
		t.Error("a missing file is an error")
	}
}

func TestTrustRefusesUnfitKeys(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := keys()
	for say, f := range map[string]func(*TrustKey){
		"kid must":            func(k *TrustKey) { k.KeyID = "" },
		"public key":          func(k *TrustKey) { k.JWK.Key = keys().es.key },
		"another kid":         func(k *TrustKey) { k.JWK.KeyID = "x" },
		"another alg":         func(k *TrustKey) { k.JWK.Algorithm = "PS256" },
		"not for signatures":  func(k *TrustKey) { k.JWK.Use = "enc" },
		"in this order":       func(k *TrustKey) { k.NotAfter = k.NotBefore },
		"permits":             func(k *TrustKey) { k.Permits = nil },
		"negative":            func(k *TrustKey) { k.DailyCap = -1 },
		"P-256":               func(k *TrustKey) { k.JWK.Key = &p384.PublicKey },
		"2048":                func(k *TrustKey) { k.Algorithm, k.JWK.Key = "PS256", &small.PublicKey },
		"Ed25519":             func(k *TrustKey) { k.Algorithm = "EdDSA" },
		"ES256, PS256 or EdD": func(k *TrustKey) { k.Algorithm = "RS256" },
	} {
		entry := k.es.trust()
		f(&entry)
		if _, err := NewTrust(time.Time{}, []TrustKey{entry}); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("got %v, want %q", err, say)
		}
	}
	if _, err := NewTrust(time.Time{}, []TrustKey{k.es.trust(), k.es.trust()}); err == nil {
		t.Error("a kid twice is accepted")
	}
	good := string(trustJSON(t, k.es.trust()))
	for _, bad := range []string{"", "[]", good + "{}", strings.Replace(good, `"alg"`, `"algorithm"`, 1), strings.Replace(good, `"kty":"EC"`, `"kty":"oct"`, 1)} {
		if _, err := ParseTrust([]byte(bad)); err == nil {
			t.Errorf("accepted: %.40s", bad)
		}
	}
}

func TestSignedTrust(t *testing.T) {
	k := keys()
	payload := trustJSON(t, k.es.trust())
	signedBy := func(signers ...signer) []byte {
		var keys []jose.SigningKey
		for _, s := range signers {
			keys = append(keys, jose.SigningKey{Algorithm: s.alg, Key: s.key})
		}
		sg, err := jose.NewMultiSigner(keys, nil)
		if err != nil {
			t.Fatal(err)
		}
		jws, err := sg.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		return []byte(jws.FullSerialize())
	}
	custodians := []jose.JSONWebKey{{Key: k.ps.pub}, {Key: k.ed.pub}, {Key: &newKey(t).PublicKey}}
	trust, err := OpenSignedTrust(signedBy(k.ed, k.ps), custodians)
	if err != nil || len(trust.Keys) != 1 {
		t.Fatalf("two custodians: %v", err)
	}
	for name, b := range map[string][]byte{
		"one custodian": signedBy(k.ps), "one twice": signedBy(k.ps, k.ps), "one and a stranger": signedBy(k.ps, k.es),
		"unsigned": payload, "altered": []byte(strings.Replace(string(signedBy(k.ed, k.ps)), `"payload":"ey`, `"payload":"eX`, 1)),
	} {
		if _, err := OpenSignedTrust(b, custodians); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	twice := []jose.JSONWebKey{{Key: k.ps.pub}, {Key: k.ps.pub}}
	if _, err := OpenSignedTrust(signedBy(k.ps, k.ps), twice); err == nil {
		t.Error("one custodian named twice must not count as two")
	}
}

func FuzzTrust(f *testing.F) {
	f.Add(trustJSON(f, keys().es.trust()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if tr, err := ParseTrust(b); err == nil {
			if _, err := NewTrust(tr.NotAfter, tr.Keys); err != nil {
				t.Error(err)
			}
		}
	})
}
