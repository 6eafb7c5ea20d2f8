package oda

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"
)

// TestCardOfAnother is a card that this project did not make: a scheme's
// authority, its issuer's certificate with a remainder, and a signed cryptogram.
func TestCardOfAnother(t *testing.T) {
	raw, err := os.ReadFile("testdata/card.json")
	if err != nil {
		t.Fatal(err)
	}
	var text map[string]string
	if err := json.Unmarshal(raw, &text); err != nil {
		t.Fatal(err)
	}
	v := func(name string) []byte {
		b, err := hex.DecodeString(text[name])
		if err != nil || len(b) == 0 {
			t.Fatal(name, err)
		}
		return b
	}
	three := []byte{3}
	ca := PublicKey{v("caModulus"), three}
	pan, at := "5285880000000000", time.Date(2014, 9, 25, 0, 0, 0, 0, time.UTC)
	key, err := RecoverIssuer(ca, pan, v("certificate"), v("remainder"), three, at)
	if err != nil || !bytes.Equal(key.Modulus, v("issuerModulus")) {
		t.Errorf("the issuer's key: %v", err)
	}
	for name, test := range map[string]struct {
		pan  string
		at   time.Time
		want error
	}{
		"of another issuer": {"5285890000000000", at, ErrIdentifier},
		"expired":           {pan, time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC), ErrExpired},
		"in its last hour":  {pan, time.Date(2021, 12, 31, 23, 0, 0, 0, time.UTC), nil},
	} {
		if _, err := RecoverIssuer(ca, test.pan, v("certificate"), v("remainder"), three, test.at); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	icc := PublicKey{v("iccModulus"), three}
	transaction := append(v("cdol1Values"), v("answer")...)
	c, err := VerifyCombined(icc, v("sdad"), v("unpredictable"), transaction)
	if err != nil || c.CID != 0x40 || !bytes.Equal(c.Cryptogram[:], v("cryptogram")) || !bytes.Equal(c.DynamicNumber, v("dynamicNumber")) {
		t.Errorf("the signed cryptogram: %v", err)
	}
	for i := range transaction {
		transaction[i] ^= 1
		if _, err := VerifyCombined(icc, v("sdad"), v("unpredictable"), transaction); !errors.Is(err, ErrSignature) {
			t.Fatalf("byte %d of the transaction was altered: %v", i, err)
		}
		transaction[i] ^= 1
	}
}
