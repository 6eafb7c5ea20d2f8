package statement_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/go-jose/go-jose/v4"

	"cardbureau/personalization/statement"
)

type said struct {
	What string `cbor:"1,keyasint"`
}

func issuer(t testing.TB) (statement.Sign, jose.JSONWebKeySet) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(tbs []byte) ([]byte, error) {
		sum := sha256.Sum256(tbs)
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			return nil, err
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
	}
	return sign, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k/1"}}}
}

func TestStatement(t *testing.T) {
	sign, keys := issuer(t)
	raw, err := statement.COSE(said{"yes"}, "text/x", "k/1", sign)
	if err != nil {
		t.Fatal(err)
	}
	var back said
	if err := statement.Verify(raw, "text/x", keys, &back); err != nil || back.What != "yes" {
		t.Fatalf("%+v, %v", back, err)
	}
	back = said{}
	if err := statement.Verify(raw, "text/y", keys, &back); !errors.Is(err, statement.ErrMalformed) {
		t.Errorf("another content type: %v", err)
	}
	_, others := issuer(t)
	if err := statement.Verify(raw, "text/x", others, &back); !errors.Is(err, statement.ErrSignature) || back.What != "" {
		t.Errorf("another key: %+v, %v", back, err)
	}
	others.Keys[0].KeyID = ""
	if err := statement.Verify(raw, "text/x", others, &back); !errors.Is(err, statement.ErrUnknownKey) {
		t.Errorf("no such key: %v", err)
	}
	more, err := statement.COSE(map[int]any{1: "yes", 2: "more"}, "text/x", "k/1", sign)
	if err != nil {
		t.Fatal(err)
	}
	if err := statement.Verify(more, "text/x", keys, &back); !errors.Is(err, statement.ErrMalformed) {
		t.Errorf("an unknown key in the payload: %v", err)
	}
	refused := errors.New("the token is gone")
	if _, err := statement.COSE(said{}, "text/x", "k/1", func([]byte) ([]byte, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Errorf("a signer that fails: %v", err)
	}
	if _, err := statement.Thumbprint(bytes.Repeat([]byte{4}, 65)); err == nil {
		t.Error("a point off the curve has a thumbprint")
	}
}

func FuzzDecode(f *testing.F) {
	good, err := statement.Encode(said{"x"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{0xBF, 0x01, 0x61, 0x78, 0xFF})
	f.Add([]byte{0xA2, 0x01, 0x61, 0x78, 0x01, 0x61, 0x79})
	f.Fuzz(func(t *testing.T, b []byte) {
		var s said
		if statement.Decode(b, &s) == nil && cbor.Wellformed(b) != nil {
			t.Error("what is no CBOR was read")
		}
	})
}
