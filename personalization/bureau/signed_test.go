package bureau_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	profiles "cardbureau/firmware-profiles"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/custody"
	"cardbureau/personalization/profile"
)

// TestProductionTakesOnlySignedProfiles: nothing opens before two custodians have
// signed the profiles in use, nor after one of them was changed.
func TestProductionTakesOnlySignedProfiles(t *testing.T) {
	dir := t.TempDir()
	var keys []jose.JSONWebKey
	for _, name := range []string{"a.jwk", "b.jwk"} {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key := jose.JSONWebKey{Key: k, Algorithm: string(jose.ES256)}
		public, err := json.Marshal(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), public)
		keys = append(keys, key)
	}
	text := bureau.ConfigText(true, "bureau-1", "IRN", "", "", "/module.so", "cardbureau", "",
		bureau.Certificates{Contact: "pki@example.org", CRLs: []string{"http://example.org/irn.crl"}}, []string{"a.jwk", "b.jwk"}, "identity")
	write(t, filepath.Join(dir, bureau.ConfigName), []byte(strings.Replace(text, `folder = ""`, `folder = "own"`, 1)))
	own := filepath.Join(dir, "own", "products", "own.yaml")
	shipped, err := profiles.FS.ReadFile("products/identity.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, own, []byte(strings.Replace(string(shipped), "name: identity", "name: own", 1)))

	open := func() error {
		b, err := bureau.Open(t.Context(), dir, bureau.Options{NoVault: true, NoStore: true})
		if err == nil {
			b.Close()
		}
		return err
	}
	refused := func(want string) {
		t.Helper()
		if err := open(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	var document []byte
	sign := func(k jose.JSONWebKey) {
		t.Helper()
		set, err := profile.Load(profiles.FS, os.DirFS(filepath.Join(dir, "own")))
		if err != nil {
			t.Fatal(err)
		}
		payload, err := set.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		if document, err = custody.Sign(document, payload, k); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "profiles.jws"), document)
	}
	refused("two custodians have signed")
	sign(keys[0])
	refused("carries 1 valid signature(s)")
	sign(keys[1])
	if err := open(); err != nil {
		t.Errorf("signed by both: %v", err)
	}
	write(t, own, []byte(strings.Replace(string(shipped), "name: identity", "name: own # changed", 1)))
	refused("folder1/products/own.yaml was changed")
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	refused("folder1/products/own.yaml is gone")
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
