package custody_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/personalization/custody"
)

func key(t *testing.T, alg jose.SignatureAlgorithm) jose.JSONWebKey {
	t.Helper()
	if alg == jose.EdDSA {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return jose.JSONWebKey{Key: k, Algorithm: string(alg)}
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: k, Algorithm: string(alg)}
}

func TestTwoCustodiansSign(t *testing.T) {
	a, b, stranger := key(t, jose.ES256), key(t, jose.EdDSA), key(t, jose.ES256)
	known := []jose.JSONWebKey{a.Public(), b.Public()}
	payload := []byte(`{"profiles":{}}`)
	sign := func(document, payload []byte, k jose.JSONWebKey) []byte {
		t.Helper()
		out, err := custody.Sign(document, payload, k)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	one := sign(nil, payload, a)
	for name, document := range map[string][]byte{
		"one": one, "the same twice": sign(one, payload, a), "one and a stranger": sign(one, payload, stranger),
		"two of different payloads": sign(one, []byte("{}"), b),
	} {
		if _, err := custody.Open("list", document, known); !errors.Is(err, custody.ErrUnsigned) {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := custody.Open("list", sign(one, payload, b), known)
	if err != nil || string(got) != string(payload) {
		t.Errorf("two: %q, %v", got, err)
	}
	if _, err := custody.Sign(nil, payload, a.Public()); err == nil {
		t.Error("a public key signed")
	}
	odd := key(t, jose.ES256)
	odd.Algorithm = "ES384"
	if _, err := custody.Sign(one, payload, odd); err == nil {
		t.Error("signed with an algorithm that Open does not take")
	}
	if n := custody.Signers(sign(one, payload, stranger), known); n != 1 {
		t.Errorf("%d custodians, want 1", n)
	}
	if _, err := custody.Open("list", []byte("{}"), known); err == nil {
		t.Error("nothing was opened")
	}
}
