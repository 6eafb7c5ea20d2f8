package uicc_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cardbureau/cardio/uicc"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVectors has the known answers of testdata/sim.json in both directions.
func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/sim.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		ICCID, IMSI []struct{ Digits, EF string }
		MSISDN      []struct{ Number, Tail string }
		PLMN        []struct{ MCCMNC, Bytes string }
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.ICCID) < 2 || len(v.IMSI) < 4 || len(v.MSISDN) < 1 || len(v.PLMN) < 2 {
		t.Fatal("vectors are missing")
	}
	both := func(name, digits, ef string, decode func([]byte) (string, error), encode func(string) ([]byte, error)) {
		t.Helper()
		if got, err := decode(unhex(t, ef)); err != nil || got != digits {
			t.Errorf("%s %s: read as %s, %v", name, digits, got, err)
		}
		if got, err := encode(digits); err != nil || hex.EncodeToString(got) != ef {
			t.Errorf("%s %s: written as %x, %v", name, digits, got, err)
		}
	}
	for _, x := range v.ICCID {
		both("ICCID", x.Digits, x.EF, uicc.DecodeICCID, uicc.EncodeICCID)
	}
	for _, x := range v.IMSI {
		both("IMSI", x.Digits, x.EF, uicc.DecodeIMSI, uicc.EncodeIMSI)
	}
	for _, x := range v.MSISDN {
		both("MSISDN", x.Number, x.Tail, func(b []byte) (string, error) { m, err := uicc.DecodeMSISDN(b); return m.Number, err },
			func(s string) ([]byte, error) { return uicc.EncodeMSISDN(uicc.MSISDN{Number: s}, 14) })
	}
	for _, x := range v.PLMN {
		both("network", x.MCCMNC, x.Bytes, func(b []byte) (string, error) { p, err := uicc.DecodePLMN(b); return p.String(), err },
			func(s string) ([]byte, error) { return uicc.EncodePLMN(uicc.PLMN{MCC: s[:3], MNC: s[3:]}) })
	}
}

// TestOddLengths: 18, 19 and 20 digits, odd and even identities, and what is neither.
func TestOddLengths(t *testing.T) {
	for _, s := range []string{"899811000000000001", "8998110000000000012", "89981100000000000125"} {
		b, err := uicc.EncodeICCID(s)
		if got, derr := uicc.DecodeICCID(b); err != nil || derr != nil || got != s {
			t.Errorf("%s: %s, %v, %v", s, got, err, derr)
		}
	}
	for _, s := range []string{"89981100000000001", "899811000000000001255", "8998110000000000x1", ""} {
		if _, err := uicc.EncodeICCID(s); !errors.Is(err, uicc.ErrValue) {
			t.Errorf("ICCID %q: %v", s, err)
		}
	}
	for _, ef := range []string{"", "ffffffffffffffffffff", "988812010000400310f0aa", "988812010f00400310f0", "98881201000040031af0"} {
		if _, err := uicc.DecodeICCID(unhex(t, ef)); !errors.Is(err, uicc.ErrMalformed) {
			t.Errorf("EF.ICCID %s: %v", ef, err)
		}
	}
	for _, s := range []string{"123456", "1234567", "43211000000000", "432110000000001"} {
		b, err := uicc.EncodeIMSI(s)
		if got, derr := uicc.DecodeIMSI(b); err != nil || derr != nil || got != s || len(b) != 9 {
			t.Errorf("%s: %s, %v, %v", s, got, err, derr)
		}
	}
	for _, ef := range []string{"ffffffffffffffffff", "084123110000000010", "0849231100000000f0", "074923110000000010", "0849", "0949231100000000100f", "084a23110000000010"} {
		if _, err := uicc.DecodeIMSI(unhex(t, ef)); !errors.Is(err, uicc.ErrMalformed) {
			t.Errorf("EF.IMSI %s: %v", ef, err)
		}
	}
	if _, err := uicc.DecodeIMSI(unhex(t, "ffffffffffffffffff")); !errors.Is(err, uicc.ErrNoSubscription) {
		t.Errorf("a blank: %v", err)
	}
	if !uicc.Luhn("8988211000000430010") || uicc.Luhn("8988211000000430011") || uicc.Luhn("0x0") {
		t.Error("check digits")
	}
}

func TestOtherFiles(t *testing.T) {
	for _, text := range []string{"", "Hamrah-e Aval", "[MCI] {5G} €", "همراه اول", "Ä@é", "😀"} {
		b, err := uicc.EncodeAlpha(text, 32)
		if got, derr := uicc.DecodeAlpha(b); err != nil || derr != nil || got != text {
			t.Errorf("%q: %q, %v, %v", text, got, err, derr)
		}
	}
	for ef, want := range map[string]string{"810306C6C7C8ff": "ن", "8203058041C6C7": ""} { // the page of Arabic; a letter of each
		got, err := uicc.DecodeAlpha(unhex(t, ef))
		if err != nil || want != "" && len([]rune(got)) != 3 {
			t.Errorf("%s: %q, %v", ef, got, err)
		}
	}
	for _, ef := range []string{"41ff42", "1b", "1bff", "90", "80d8", "8105", "820100", "81020001", "ff41"} {
		if got, err := uicc.DecodeAlpha(unhex(t, ef)); !errors.Is(err, uicc.ErrMalformed) {
			t.Errorf("%s: %q, %v", ef, got, err)
		}
	}
	s := uicc.SPN{Name: "Irancell", ShowPLMN: true}
	if b, err := uicc.EncodeSPN(s); err != nil || hex.EncodeToString(b) != "01"+hex.EncodeToString([]byte("Irancell"))+strings.Repeat("ff", 8) {
		t.Errorf("%x, %v", b, err)
	} else if got, err := uicc.DecodeSPN(b); err != nil || got != s {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := uicc.EncodeSPN(uicc.SPN{Name: strings.Repeat("x", 17)}); !errors.Is(err, uicc.ErrValue) {
		t.Error(err)
	}
	if acc, err := uicc.DecodeACC([]byte{0x00, 0x02}); err != nil || acc != 2 {
		t.Error(acc, err)
	}
	for _, ef := range []string{"0402", "00", "000000"} {
		if _, err := uicc.DecodeACC(unhex(t, ef)); !errors.Is(err, uicc.ErrMalformed) {
			t.Errorf("EF.ACC %s: %v", ef, err)
		}
	}
	if _, err := uicc.EncodeACC(0x0400); !errors.Is(err, uicc.ErrValue) {
		t.Error(err)
	}
	for ef, digits := range map[string]int{"00000002": 2, "00000003": 3, "000000": 0, "000000ff": 0, "0000000201": 2} {
		if a, err := uicc.DecodeAD(unhex(t, ef)); err != nil || a.MNCDigits != digits {
			t.Errorf("EF.AD %s: %+v, %v", ef, a, err)
		}
	}
	for _, ef := range []string{"0000", "00000004", "00000000"} {
		if _, err := uicc.DecodeAD(unhex(t, ef)); !errors.Is(err, uicc.ErrMalformed) {
			t.Errorf("EF.AD %s: %v", ef, err)
		}
	}
	table, err := uicc.EncodeUST(4, 1, 8, 9, 27)
	if err != nil || hex.EncodeToString(table) != "81010004" {
		t.Errorf("%x, %v", table, err)
	}
	services := uicc.Services{Table: table}
	if !services.Has(27) || services.Has(28) || services.Has(0) || services.Has(99) {
		t.Error("services")
	}
	if old := (uicc.Services{Table: []byte{0x0D}, GSM: true}); old.Has(1) || !old.Has(2) || old.Has(3) {
		t.Error("EF.SST: allocated is not activated")
	}
	list := []uicc.PLMNAccess{{PLMN: uicc.PLMN{MCC: "432", MNC: "11"}, Access: uicc.AccessEUTRA | uicc.AccessGSM}, {PLMN: uicc.PLMN{MCC: "310", MNC: "410"}, Access: uicc.AccessUTRAN}}
	b, err := uicc.EncodePLMNAccess(list, 20)
	if err != nil || hex.EncodeToString(b) != "34f2114080"+"1300148000"+"ffffff0000ffffff0000" {
		t.Errorf("%x, %v", b, err)
	}
	if got, err := uicc.DecodePLMNAccess(b); err != nil || len(got) != 2 || got[1] != list[1] {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := uicc.DecodePLMNs(unhex(t, "34f211ffffff34f253")); err != nil || len(got) != 2 || got[1].String() != "43235" {
		t.Errorf("%v, %v", got, err)
	}
	for _, ef := range []string{"34f2", "3af211", "f4f211"} {
		if _, err := uicc.DecodePLMNs(unhex(t, ef)); !errors.Is(err, uicc.ErrMalformed) {
			t.Errorf("networks %s: %v", ef, err)
		}
	}
	e := uicc.Entry{AID: unhex(t, "A0000000871002FFFFFFFF8907090000"), Label: "USIM"}
	if b, err = uicc.EncodeEntry(e, 38); err != nil || len(b) != 38 {
		t.Fatal(err)
	}
	if got, err := uicc.DecodeEntry(b); err != nil || !bytes.Equal(got.AID, e.AID) || got.Label != "USIM" || !got.Is(uicc.USIM) || got.Is(uicc.ISIM) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, ef := range []string{"61024f00", "6103", "50014100", "6104500241420f"} {
		if _, err := uicc.DecodeEntry(unhex(t, ef)); !errors.Is(err, uicc.ErrMalformed) {
			t.Errorf("EF.DIR %s: %v", ef, err)
		}
	}
}

// TestNumbers writes and reads any number.
func TestNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := uicc.MSISDN{Number: rapid.StringMatching(`\+?[0-9*#]{1,20}`).Draw(t, "number"), Name: rapid.StringMatching(`[a-zA-Z ]{0,14}`).Draw(t, "name")}
		b, err := uicc.EncodeMSISDN(m, 28)
		if err != nil || len(b) != 28 {
			t.Fatalf("%+v: %v", m, err)
		}
		if got, err := uicc.DecodeMSISDN(b); err != nil || got != m {
			t.Fatalf("%+v became %+v, %v", m, got, err)
		}
	})
}

func FuzzFiles(f *testing.F) {
	for _, s := range []string{"988812010000400310f0", "084923110000000010", "0791891910325476ffffffffffff", "34f211", "81030681", "620882054221001a05"} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := uicc.DecodeICCID(b); err == nil {
			if again, err := uicc.EncodeICCID(s); err != nil || !bytes.Equal(again, b) {
				t.Errorf("ICCID %x became %x, %v", b, again, err)
			}
		}
		if s, err := uicc.DecodeIMSI(b); err == nil {
			if again, err := uicc.EncodeIMSI(s); err != nil || !bytes.Equal(again, b) {
				t.Errorf("IMSI %x became %x, %v", b, again, err)
			}
		}
		if p, err := uicc.DecodePLMN(b); err == nil {
			if again, err := uicc.EncodePLMN(p); err != nil || !bytes.Equal(again, b) {
				t.Errorf("network %x became %x, %v", b, again, err)
			}
		}
		_, _ = uicc.DecodeMSISDN(b)
		_, _ = uicc.DecodeAlpha(b)
		_, _ = uicc.DecodeSPN(b)
		_, _ = uicc.DecodeAD(b)
		_, _ = uicc.DecodePLMNAccess(b)
		_, _ = uicc.DecodeEntry(b)
		_, _ = uicc.ParseFCP(b)
		_, _ = uicc.ParseGSM(b)
	})
}
