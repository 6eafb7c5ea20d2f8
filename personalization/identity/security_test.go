package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"

	"cardbureau/cardio/lds"
	"cardbureau/cardio/lds/datagroup"
	"cardbureau/cardio/tlv"
)

func TestCardAccess(t *testing.T) {
	// PACE-ECDH-GM-AES-CBC-CMAC-128, version 2, parameters 12.
	want := unhex(t, "31 14 30 12 06 0A 04007F00070202040202 020102 02010C")
	if got := CardAccess(); !bytes.Equal(got, want) {
		t.Errorf("%X", got)
	}
}

func TestDG14(t *testing.T) {
	key := newKey(t, elliptic.P256())
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	dg14, err := DG14(point)
	if err != nil {
		t.Fatal(err)
	}
	infos, ok := tlv.Path(dg14, 0x6E, 0x31)
	if !ok {
		t.Fatalf("%X", dg14[:8])
	}
	objects, err := tlv.Parse(infos)
	if err != nil || len(objects) != 3 {
		t.Fatal(err, len(objects))
	}
	var spki []byte
	found := map[string]bool{}
	for i, o := range objects {
		id, rest, err := tlv.Next(o.Value)
		if err != nil {
			t.Fatal(err)
		}
		switch hex.EncodeToString(id.Value) {
		case "04007f00070202040202":
			found["pace"] = bytes.Equal(rest, unhex(t, "020102 02010C"))
		case "04007f00070202030202":
			found["ca"] = bytes.Equal(rest, unhex(t, "020101"))
		case "04007f000702020102":
			found["key"], spki = true, rest
		}
		if i > 0 {
			if a, b := encode(objects[i-1]), encode(o); bytes.Compare(a, b) >= 0 {
				t.Error("the SET OF is not in the order of DER")
			}
		}
	}
	if !found["pace"] || !found["ca"] || !found["key"] {
		t.Fatalf("found %v", found)
	}
	text := openssl(t, spki, "pkey", "-pubin", "-inform", "DER", "-noout", "-text")
	mustContain(t, text, "Field Type: prime-field", "Cofactor: 1 (0x1)")
	flat := strings.NewReplacer(" ", "", "\n", "", ":", "").Replace(text)
	if !strings.Contains(flat, hex.EncodeToString(point)) {
		t.Errorf("openssl reads another key:\n%s", text)
	}
	for name, bad := range map[string][]byte{"short": point[:64], "compressed": append([]byte{2}, point[1:]...), "off the curve": append(append([]byte{}, point[:64]...), point[64]^1)} {
		if _, err := DG14(bad); !errors.Is(err, ErrDataGroup) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func encode(o tlv.Object) []byte { return tlv.Encode(o.Tag, o.Value) }

// DG15 wraps an RSA key as the terminal side takes it, and nothing else.
func TestDG15(t *testing.T) {
	spki := func(key any) []byte {
		b, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	private, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	der := spki(&private.PublicKey)
	file, err := DG15(der)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file[:3], []byte{0x6F, 0x81, byte(len(der))}) {
		t.Errorf("DG15 begins with %X", file[:3])
	}
	back, err := datagroup.DG15(file)
	if err != nil || !bytes.Equal(back, der) {
		t.Fatalf("the terminal side reads %X, %v", back, err)
	}
	if _, err := lds.ParseActiveKey(back, nil); err != nil {
		t.Error(err)
	}
	small := new(big.Int).SetBit(big.NewInt(1), 1000, 1)
	point, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "bytes behind": append(bytes.Clone(der), 0), "too short": spki(&rsa.PublicKey{N: small, E: 3}), "a curve": spki(&point.PublicKey),
	} {
		if _, err := DG15(bad); !errors.Is(err, ErrDataGroup) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
