package emv

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cardbureau/cardio/tlv"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// TestFill: truncation and padding by format (Book 3, section 5.4).
func TestFill(t *testing.T) {
	d := Data{TagAmount: unhex("000000012345"), TagPAN: unhex("5892100000000016"), TagLabel: []byte("SEPAH"), TagTVR: unhex("0102030405"), TagCurrency: unhex("0364")}
	for dol, want := range map[string]string{
		"9F0206":                    "000000012345",
		"9F0204":                    "00012345",
		"9F0208":                    "0000000000012345",
		"5A08":                      "5892100000000016",
		"5A0A":                      "5892100000000016ffff",
		"5A02":                      "5892",
		"5008":                      "5345504148000000",
		"5002":                      "5345",
		"9503":                      "010203",
		"9506":                      "010203040500",
		"5F2A02 9F3704 7002 9F0000": "0364 00000000 0000",
	} {
		list, err := ParseDOL(unhex(dol))
		if err != nil {
			t.Fatal(dol, err)
		}
		if got := hex.EncodeToString(list.Fill(d)); got != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s: %s, want %s", dol, got, want)
		}
		if !bytes.Equal(list.Bytes(), unhex(dol)) {
			t.Errorf("%s: encoded %x", dol, list.Bytes())
		}
	}
	for _, bad := range []string{"9F", "9F02", "5A81FF", "9F02FC9F02FC"} {
		if _, err := ParseDOL(unhex(bad)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestAFL(t *testing.T) {
	b := unhex("08010100 10010201 18010500")
	a, err := ParseAFL(b)
	if err != nil || len(a) != 3 || a[1] != (Entry{2, 1, 2, 1}) || !bytes.Equal(a.Bytes(), b) {
		t.Error(a, err)
	}
	for _, bad := range []string{"", "080101", "09010100", "00010100", "F8010100", "08000100", "08020100", "08010102"} {
		if _, err := ParseAFL(unhex(bad)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	for text, ok := range map[string]bool{
		"800A 7D00 08010100 10010201":           true,
		"7710 8202 7D00 9408 08010100 10010201": false,
		"770E 8202 7D00 9408 08010100 10010201": true,
		"7704 8202 7D00":                        false,
		"8004 7D00 0801":                        false,
		"7006 8202 7D00 9F00":                   false,
	} {
		if _, _, err := ParseOptions(unhex(text)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
	c, err := ParseCryptogram(unhex("800D 80 0001 1122334455667788 0FA5"))
	if err != nil || c.Kind() != ARQC || len(c.AC) != 8 || !bytes.Equal(c.IAD, unhex("0FA5")) {
		t.Error(c, err)
	}
	if c, err = ParseCryptogram(unhex("7714 9F270140 9F36020001 9F26081122334455667788")); err != nil || c.Kind() != TC {
		t.Error(c, err)
	}
	for _, bad := range []string{"8002 8000", "800B C0 0001 1122334455667788", "7709 9F270140 9F36020001", "7708 9F270140 9F270140"} {
		if _, err := ParseCryptogram(unhex(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	if _, err := ParseDynamic(unhex("7700")); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
}

func TestBits(t *testing.T) {
	var tvr TVR
	for _, n := range tvrNames {
		tvr.Set(n.bit)
		if !tvr.Has(n.bit) || !strings.Contains(tvr.String(), n.name) {
			t.Errorf("%s", n.name)
		}
	}
	if want := (TVR{0xFF, 0xF8, 0xFC, 0xF9, 0xF6}); tvr != want {
		t.Errorf("%X, want %X", tvr[:], want[:])
	}
	if !tvr.Meets([5]byte{0, 0, 0, 0, 0x10}) || tvr.Meets([5]byte{0, 7, 3, 6, 0x09}) {
		t.Error("action codes")
	}
}

// TestRoundTrips: what is encoded is read again as it was.
func TestRoundTrips(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := CVMList{X: rapid.Uint32().Draw(rt, "x"), Y: rapid.Uint32().Draw(rt, "y")}
		for range rapid.IntRange(0, 10).Draw(rt, "rules") {
			l.Rules = append(l.Rules, Rule{rapid.Byte().Draw(rt, "code"), rapid.Byte().Draw(rt, "condition")})
		}
		got, err := ParseCVMList(l.Bytes())
		if err != nil || !bytes.Equal(got.Bytes(), l.Bytes()) {
			rt.Fatal(err)
		}
		var dol DOL
		for range rapid.IntRange(0, 8).Draw(rt, "entries") {
			tag := rapid.SampledFrom([]tlv.Tag{TagPAN, TagAmount, TagTVR, 0xDF8101, 0x9F7C}).Draw(rt, "tag")
			dol = append(dol, DOLEntry{tag, rapid.IntRange(0, 30).Draw(rt, "length")})
		}
		again, err := ParseDOL(dol.Bytes())
		if err != nil || again.String() != dol.String() || len(again.Fill()) != dol.Len() {
			rt.Fatal(err)
		}
		var d CCDData
		d.CCI, d.DKI = 0xA5, rapid.Byte().Draw(rt, "dki")
		for i := range d.CVR {
			d.CVR[i] = rapid.Byte().Draw(rt, "cvr")
		}
		if back, err := ParseCCDData(d.Bytes()); err != nil || back != d {
			rt.Fatal(err)
		}
		n := rapid.Uint64Range(0, 999999999999).Draw(rt, "n")
		if number(BCD(n, 6)) != n {
			rt.Fatal("BCD")
		}
	})
}

func TestDates(t *testing.T) {
	for in, want := range map[string]string{"311231": "2031-12-31", "491231": "2049-12-31", "500101": "1950-01-01", "280229": "2028-02-29"} {
		if got, err := date(unhex(in)); err != nil || got.Format("2006-01-02") != want {
			t.Errorf("%s: %v %v", in, got, err)
		}
	}
	for _, bad := range []string{"270229", "271301", "270100", "2701"} {
		if _, err := date(unhex(bad)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestForms: formats of data elements, and nothing of a value in an error.
func TestForms(t *testing.T) {
	for tag, values := range map[tlv.Tag]map[string]bool{
		TagPAN:    {"5892100000000016": true, "589210000000001F": true, "58921000000000FF": true, "589210000000F016": false, "5892A00000000016": false, "": false},
		TagExpiry: {"311231": true, "3112": false, "31123A": false},
		TagTVR:    {"0000000000": true, "00": false},
	} {
		for v, ok := range values {
			err := Data{}.add(tlv.Object{Tag: tag, Value: unhex(v)})
			if (err == nil) != ok {
				t.Errorf("%X %s: %v", uint32(tag), v, err)
			}
			if err != nil && v != "" && strings.Contains(err.Error(), v) {
				t.Errorf("%v shows the value", err)
			}
		}
	}
}

// FuzzParsers: no bytes of a card or an issuer make a parser panic, and what is
// taken keeps to its bounds.
func FuzzParsers(f *testing.F) {
	for _, s := range []string{"6F1A 8407F0000003641010 A50F 500A42414E4B205345504148 870101", "7016 6114 4F07F0000003641010 5006424E4B205345 870101",
		"770E82027D00940808010100100102 01", "800D8000011122334455667788 0FA5", "7107860584240000 00", "9F02069F0306", "08010100", "00000000000000004403",
		"0FA50103840000000000000000000000 0F000000000000000000000000000000"} {
		f.Add(unhex(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if fci, err := ParseFCI(b); err == nil && (len(fci.Name) < 5 || len(fci.Name) > 16) {
			t.Error("a name of a wrong length")
		}
		if list, err := ParseDirectory(b); err == nil {
			for _, e := range list {
				if len(e.AID) < 5 || len(e.AID) > 16 {
					t.Error("an AID of a wrong length")
				}
			}
		}
		_, _, _ = ParseOptions(b)
		if c, err := ParseCryptogram(b); err == nil && (len(c.ATC) != 2 || c.AC == nil && c.Signed == nil || c.AC != nil && len(c.AC) != 8 || len(c.IAD) > 32) {
			t.Error("a cryptogram of a wrong form")
		}
		_, _ = ParseDynamic(b)
		_, _, _, _ = ParseScript(b)
		if d, err := ParseDOL(b); err == nil && len(d.Fill(Data{TagPAN: {0x58}})) != d.Len() {
			t.Error("a list was filled to another length")
		}
		_, _ = ParseAFL(b)
		_, _ = ParseCVMList(b)
		_, _ = ParseCCDData(b)
		a := Application{Data: Data{}}
		_ = a.take(Record{SFI: 1, Number: 1, Bytes: b})
	})
}
