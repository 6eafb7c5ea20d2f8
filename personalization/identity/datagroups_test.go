package identity

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cardbureau/cardio/tlv"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCOM(t *testing.T) {
	got, err := COM(14, 1, 2, 13, 11)
	if err != nil {
		t.Fatal(err)
	}
	want := unhex(t, "60 17 5F01 04 30313038 5F36 06 303430303030 5C 05 61 75 6B 6D 6E")
	if !bytes.Equal(got, want) {
		t.Errorf("got %X", got)
	}
	for _, bad := range [][]int{{1}, {2, 3}, {1, 2, 17}, {0, 1, 2}} {
		if _, err := COM(bad...); !errors.Is(err, ErrDataGroup) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// The example of Doc 9303-10, 4.7.1, in TD1 size.
func TestDG1(t *testing.T) {
	zone := "I<NLDXI85935F86999999990<<<<<<" + "7208148F1108268NLD<<<<<<<<<<<4" + "VAN<DER<STEEN<<MARIANNE<LOUISE"
	got, err := DG1(zone)
	if err != nil || !bytes.Equal(got, append(unhex(t, "61 5D 5F1F 5A"), zone...)) {
		t.Errorf("got %X, %v", got, err)
	}
	if _, err := DG1(zone[1:]); !errors.Is(err, ErrDataGroup) {
		t.Error(err)
	}
}

func TestDG11(t *testing.T) {
	got, err := DG11(Details{
		Primary: "حسینی  نژاد", Secondary: "زهرا", BirthDate: "1990-05-00", BirthPlace: []string{"مزار شریف", "افغانستان"},
	})
	if err != nil {
		t.Fatal(err)
	}
	body, ok := tlv.Path(got, 0x6B)
	if !ok {
		t.Fatalf("%X", got)
	}
	objects, err := tlv.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	want := []tlv.Object{
		{Tag: 0x5C, Value: unhex(t, "5F0E 5F2B 5F11")},
		{Tag: 0x5F0E, Value: []byte("حسینی<نژاد<<زهرا")},
		{Tag: 0x5F2B, Value: []byte("19900500")},
		{Tag: 0x5F11, Value: []byte("مزار<شریف<افغانستان")},
	}
	if len(objects) != len(want) {
		t.Fatalf("%d objects", len(objects))
	}
	for i, o := range objects {
		if o.Tag != want[i].Tag || !bytes.Equal(o.Value, want[i].Value) {
			t.Errorf("object %d: %X %q", i, uint32(o.Tag), o.Value)
		}
	}
	// A person of one name: no separator; nothing else known.
	got, err = DG11(Details{Secondary: "گلالی"})
	if want := append(unhex(t, "6B 11 5C 02 5F0E 5F0E 0A"), "گلالی"...); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %X, %v", got, err)
	}
}

func TestDG11Refuses(t *testing.T) {
	for name, d := range map[string]Details{
		"no name":         {BirthDate: "1990-01-01"},
		"filler in name":  {Primary: "A<B"},
		"control":         {Primary: "A\x00"},
		"not UTF-8":       {Primary: "\xff"},
		"impossible date": {Primary: "A", BirthDate: "1990-02-31"},
		"place":           {Primary: "A", BirthPlace: []string{"a\nb"}},
	} {
		if _, err := DG11(d); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestHashes(t *testing.T) {
	h := Hashes(map[int][]byte{1: []byte("abc")})
	if want := unhex(t, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"); !bytes.Equal(h[1], want) {
		t.Errorf("%X", h[1])
	}
}

func TestServicesFileAndDG13(t *testing.T) {
	salt := bytes.Repeat([]byte{0xA5}, SaltSize)
	in := []Entitlement{{Code: "health"}, {Code: "work", ValidFrom: "2026-01-01", ValidUntil: "2026-12-31"}, {Code: "education", ValidUntil: "2027-06-30"}}
	file, err := ServicesFile(salt, in)
	if err != nil {
		t.Fatal(err)
	}
	gotSalt, got, err := ParseServicesFile(file)
	if err != nil || !bytes.Equal(gotSalt, salt) || len(got) != len(in) {
		t.Fatalf("%v %v", got, err)
	}
	for i := range in {
		if got[i] != in[i] {
			t.Errorf("entitlement %d: %v", i, got[i])
		}
	}
	dg13, err := DG13(nil, HiddenFile{ServicesFID, file}, HiddenFile{0x0202, append([]byte("x"), file...)})
	if err != nil {
		t.Fatal(err)
	}
	if dg13[0] != 0x6D || bytes.Contains(dg13, salt) {
		t.Errorf("DG13 %X", dg13)
	}
	if err := CheckHiddenFile(dg13, HiddenFile{ServicesFID, file}); err != nil {
		t.Error(err)
	}
	changed := append([]byte(nil), file...)
	changed[len(changed)-1] ^= 1
	for _, f := range []HiddenFile{{ServicesFID, changed}, {0x0203, file}, {0x0202, file}} {
		if err := CheckHiddenFile(dg13, f); !errors.Is(err, ErrHiddenFile) {
			t.Errorf("%04X: %v", f.FID, err)
		}
	}
	if err := CheckHiddenFile(dg13[1:], HiddenFile{ServicesFID, file}); !errors.Is(err, ErrServices) {
		t.Error(err)
	}
	if _, err := DG13(nil, HiddenFile{ServicesFID, []byte("short")}); !errors.Is(err, ErrServices) {
		t.Error(err)
	}
	empty, err := ServicesFile(salt, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, list, err := ParseServicesFile(empty); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
	for _, bad := range []Entitlement{{}, {Code: strings.Repeat("x", 33)}, {Code: "a", ValidFrom: "2026-1-1"}, {Code: "a", ValidUntil: "2026-02-30"}} {
		if _, err := ServicesFile(salt, []Entitlement{bad}); !errors.Is(err, ErrServices) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := ServicesFile(salt[1:], nil); !errors.Is(err, ErrServices) {
		t.Error(err)
	}
}

func TestServicesFileRoundTrip(t *testing.T) {
	date := rapid.OneOf(rapid.Just(""), rapid.StringMatching(`20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])`))
	rapid.Check(t, func(t *rapid.T) {
		salt := rapid.SliceOfN(rapid.Byte(), SaltSize, SaltSize).Draw(t, "salt")
		in := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Entitlement {
			return Entitlement{rapid.StringMatching(`[a-z\p{Arabic}-]{1,32}`).Draw(t, "code"), date.Draw(t, "from"), date.Draw(t, "until")}
		}), 0, 20).Draw(t, "entitlements")
		file, err := ServicesFile(salt, in)
		if err != nil {
			t.Fatal(err)
		}
		gotSalt, got, err := ParseServicesFile(file)
		if err != nil || !bytes.Equal(gotSalt, salt) || len(got) != len(in) {
			t.Fatal(got, err)
		}
		for i := range in {
			if got[i] != in[i] {
				t.Fatal(got[i], in[i])
			}
		}
	})
}

func FuzzParseServicesFile(f *testing.F) {
	file, _ := ServicesFile(make([]byte, SaltSize), []Entitlement{{"work", "2026-01-01", "2026-12-31"}})
	f.Add(file)
	f.Fuzz(func(t *testing.T, b []byte) {
		salt, list, err := ParseServicesFile(b)
		if err != nil {
			if !errors.Is(err, ErrServices) {
				t.Fatal(err)
			}
			return
		}
		again, err := ServicesFile(salt, list)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%X became %X, %v", b, again, err)
		}
	})
}

func FuzzParseDG13(f *testing.F) {
	dg13, _ := DG13(nil, HiddenFile{ServicesFID, make([]byte, 40)})
	f.Add(dg13)
	point, _ := hex.DecodeString("04" + generatorP256)
	dg13, _ = DG13([]HolderKey{{PairingKeyReference, point}, {ReceiptKeyReference, point}}, HiddenFile{ServicesFID, make([]byte, 40)})
	f.Add(dg13)
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := ParseDG13(b); err != nil && (!errors.Is(err, ErrServices) || list != nil) {
			t.Fatal(list, err)
		}
	})
}

// generatorP256 is the base point of P-256 (SEC 2, clause 2.4.2).
const generatorP256 = "6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296" +
	"4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5"

// TestHolderKeys writes the holder's keys into DG13, and reads them.
func TestHolderKeys(t *testing.T) {
	point, _ := hex.DecodeString("04" + generatorP256)
	keys := []HolderKey{{PairingKeyReference, point}, {ReceiptKeyReference, point}}
	file := HiddenFile{ServicesFID, make([]byte, 40)}
	dg13, err := DG13(keys, file)
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckHiddenFile(dg13, file); err != nil {
		t.Error(err)
	}
	content, err := ParseDG13(dg13)
	if err != nil || len(content.Keys) != 2 {
		t.Fatal(content, err)
	}
	for _, want := range keys {
		if k, ok := content.Key(want.Reference); !ok || !bytes.Equal(k.Point, want.Point) {
			t.Errorf("key %02X: %v", want.Reference, k)
		}
	}
	if _, ok := content.Key(1); ok {
		t.Error("a key that nobody wrote")
	}
	off := bytes.Clone(point)
	off[64] ^= 1
	for _, bad := range [][]HolderKey{{{2, off}}, {{2, point[1:]}}} {
		if _, err := DG13(bad, file); !errors.Is(err, ErrServices) {
			t.Error(err)
		}
	}
	twice, _ := DG13([]HolderKey{{2, point}, {2, point}}, file)
	if _, err := ParseDG13(twice); !errors.Is(err, ErrServices) {
		t.Error(err)
	}
}
