package identity

import (
	"bytes"
	"crypto/elliptic"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

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
