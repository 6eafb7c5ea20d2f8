package uicc_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"cardbureau/cardio/uicc"
)

// TestAnswersOfOthers has known answers of osmocom's pySim (its unit tests and the test
// vectors of its profiles of TS 51.011, TS 31.102 and TS 102 221) in both directions.
func TestAnswersOfOthers(t *testing.T) {
	type answer struct {
		file, read string
		decode     func([]byte) (string, error)
		encode     func(string, int) ([]byte, error)
	}
	iccid := func(s string, _ int) ([]byte, error) { return uicc.EncodeICCID(s) }
	imsi := func(s string, _ int) ([]byte, error) { return uicc.EncodeIMSI(s) }
	number := func(b []byte) (string, error) {
		m, err := uicc.DecodeMSISDN(b)
		return m.Name + "|" + m.Number, err
	}
	withNumber := func(s string, n int) ([]byte, error) {
		name, number, _ := strings.Cut(s, "|")
		return uicc.EncodeMSISDN(uicc.MSISDN{Name: name, Number: number}, n)
	}
	spn := func(b []byte) (string, error) { s, err := uicc.DecodeSPN(b); return s.Name, err }
	withSPN := func(s string, _ int) ([]byte, error) { return uicc.EncodeSPN(uicc.SPN{Name: s, ShowPLMN: true}) }
	network := func(b []byte) (string, error) { p, err := uicc.DecodePLMN(b); return p.MCC + "-" + p.MNC, err }
	withNetwork := func(s string, _ int) ([]byte, error) {
		mcc, mnc, _ := strings.Cut(s, "-")
		return uicc.EncodePLMN(uicc.PLMN{MCC: mcc, MNC: mnc})
	}
	for _, a := range []answer{
		{"988812010000400310f0", "8988211000000430010", uicc.DecodeICCID, iccid},
		{"082982608200002080", "228062800000208", uicc.DecodeIMSI, imsi},
		{"082926101160845740", "262011106487504", uicc.DecodeIMSI, imsi},
		{"456967656e65205275666e756d6d6572ffffffff0891947172199181f3ffffffffff", "Eigene Rufnummer|+4917279119183", number, withNumber},
		{"0891946110325476f8ffffffffff", "|+4916012345678", number, withNumber},
		{"0b9121436587092143658709ffff", "|+12345678901234567890", number, withNumber},
		// type of number 3, specific to the network: written as unknown, so read alone
		{"04b1214365ffffffffffffffffff", "|123456", number, nil},
		{"0bb121436587092143658709ffff", "|12345678901234567890", number, nil},
		{"ffffffffffffffffffffffffffffffffffffffff04b12143f5ffffffffffffffffff", "|12345", number, nil},
		{"0147534d2d52204348ffffffffffffffff", "GSM-R CH", spn, withSPN},
		{"92f501", "295-10", network, withNetwork},
		{"92f550", "295-05", network, withNetwork},
		{"031263", "302-361", network, withNetwork},
		{"00f110", "001-01", network, withNetwork},
		{"001100", "001-001", network, withNetwork},
	} {
		b := unhex(t, a.file)
		if got, err := a.decode(b); err != nil || got != a.read {
			t.Errorf("%s: read as %q, %v, want %q", a.file, got, err, a.read)
		}
		if a.encode != nil {
			if got, err := a.encode(a.read, len(b)); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%s: written as %x, %v, want %s", a.read, got, err, a.file)
			}
		}
	}
	for file, classes := range map[string]uint16{"0000": 0, "0001": 1 << 0, "0002": 1 << 1, "0100": 1 << 8} {
		if got, err := uicc.DecodeACC(unhex(t, file)); err != nil || got != classes {
			t.Errorf("EF.ACC %s: %04x, %v", file, got, err)
		}
		if got, err := uicc.EncodeACC(classes); err != nil || hex.EncodeToString(got) != file {
			t.Errorf("EF.ACC %04x: %x, %v", classes, got, err)
		}
	}
	for file, want := range map[string]uicc.AD{"00000002": {MNCDigits: 2}, "01000102": {Mode: 1, Info: [2]byte{0, 1}, MNCDigits: 2}, "00ffff": {Info: [2]byte{0xFF, 0xFF}}} {
		got, err := uicc.DecodeAD(unhex(t, file))
		if err != nil || got.Mode != want.Mode || got.Info != want.Info || got.MNCDigits != want.MNCDigits {
			t.Errorf("EF.AD %s: %+v, %v", file, got, err)
		}
		if again, err := uicc.EncodeAD(got); err != nil || hex.EncodeToString(again) != file {
			t.Errorf("EF.AD %s: written as %x, %v", file, again, err)
		}
	}
	list := unhex(t, "92f501800092f5508000ffffff0000ffffff0000")
	read, err := uicc.DecodePLMNAccess(list)
	if err != nil || len(read) != 2 || read[0].String() != "29510" || read[1].String() != "29505" || read[0].Access != uicc.AccessUTRAN {
		t.Errorf("networks and their access: %+v, %v", read, err)
	}
	if again, err := uicc.EncodePLMNAccess(read, len(list)); err != nil || !bytes.Equal(again, list) {
		t.Errorf("networks and their access: %x, %v", again, err)
	}
	for file, want := range map[string]struct {
		aid, label string
		is         uicc.Application
	}{
		"61294f10a0000000871002ffffffff890709000050055553696d31730ea00c80011781025f608203454150": {"a0000000871002ffffffff8907090000", "USim1", uicc.USIM},
		"61194f10a0000000871004ffffffff890709000050054953696d31":                                 {"a0000000871004ffffffff8907090000", "ISim1", uicc.ISIM},
	} {
		e, err := uicc.DecodeEntry(unhex(t, file))
		if err != nil || hex.EncodeToString(e.AID) != want.aid || e.Label != want.label || !e.Is(want.is) {
			t.Errorf("EF.DIR %s: %+v, %v", file, e, err)
		}
	}
}
