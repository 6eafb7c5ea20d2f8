package payment

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"pgregory.net/rapid"

	"cardbureau/cardio/tlv"
)

func scheme(t testing.TB) *Scheme { return schemeOf(t, "sepah") }

func schemeOf(t testing.TB, name string) *Scheme {
	t.Helper()
	b, err := os.ReadFile("../../firmware-profiles/payments/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	var s Scheme
	if err := yaml.UnmarshalWithOptions(b, &s, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	s.Check(func(path, format string, args ...any) { t.Errorf("%s: "+format, append([]any{path}, args...)...) })
	return &s
}

func card(name string) Card {
	day := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	return Card{PAN: "5892100000000016", Sequence: 1, Name: name, Effective: day, Expiry: time.Date(2031, 12, 31, 0, 0, 0, 0, time.UTC)}
}

func TestIBAN(t *testing.T) {
	iban, err := IBAN("015", 0, "1234567890")
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckIBAN(iban, "015"); err != nil {
		t.Error(err)
	}
	// The example of the Central Bank's SHEBA description.
	if err := CheckIBAN("IR580540105180021273113007", ""); err != nil {
		t.Error(err)
	}
	for bad, says := range map[string]string{
		iban[:25]: "this one has 25", iban + "0": "this one has 27", "GB" + iban[2:]: "IR and 24 digits",
		"IR58054010518002127311300A": "IR and 24 digits", "IR590540105180021273113007": "check digits", "IR580540105180021273113007": "another bank",
	} {
		err := CheckIBAN(bad, "015")
		if !errors.Is(err, ErrIBAN) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), bad[4:]) {
			t.Errorf("%d characters: %v, want %q", len(bad), err, says)
		}
	}
}

func TestPAN(t *testing.T) {
	if err := CheckPAN("5892100000000016", "589210"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"5892100000000017", "589210000000001", "6037990000000016", "58921000000000a6"} {
		if err := CheckPAN(bad, "589210"); !errors.Is(err, ErrPAN) || strings.Contains(err.Error(), bad) {
			t.Errorf("%v", err)
		}
	}
	pan := PAN("5892100000000016")
	for _, got := range []string{pan.String(), fmt.Sprintf("%v %s %q %#v %x %d", pan, pan, pan, pan, pan, pan), fmt.Sprintf("%+v", card("A/B"))} {
		if strings.Contains(got, "000000001") || strings.Contains(got, fmt.Sprintf("%x", string(pan))) {
			t.Errorf("%s shows the PAN", got)
		}
	}
	if b, _ := pan.MarshalText(); strings.Contains(string(b), string(pan)) {
		t.Error("marshalled in whole")
	}
}

func TestRange(t *testing.T) {
	r := Range{Prefix: "58921077", Length: 16}
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.Int64Range(0, r.Size()-1).Draw(rt, "n")
		pan, err := r.PAN(n)
		if err != nil || CheckPAN(string(pan), "589210") != nil {
			rt.Fatal(err)
		}
		if back, err := r.Number(pan); err != nil || back != n {
			rt.Fatalf("%d became %d: %v", n, back, err)
		}
	})
	if r.Size() != 10_000_000 {
		t.Error(r.Size())
	}
	for _, n := range []int64{-1, r.Size()} {
		if _, err := r.PAN(n); !errors.Is(err, ErrTooSmall) {
			t.Error(err)
		}
	}
	if _, err := r.Number("5892100000000016"); !errors.Is(err, ErrOutside) {
		t.Error(err)
	}
	if _, err := (Range{Prefix: "58921", Length: 16}).PAN(0); err == nil {
		t.Error("a short prefix passed")
	}
}

func TestNames(t *testing.T) {
	for want, in := range map[string][2]string{
		"AHMADI/MOHAMMAD REZA":       {"Ahmadi", "Mohammad  Reza"},
		"KARIMI/":                    {"", "Karimi"},
		"ABCDEFGHIJKLMNOPQRSTUVWXY/": {"Abcdefghijklmnopqrstuvwxyzabc", "Ali"},
		"O'NEIL/ANN-MARIE":           {"O'Neil", "Ann-Marie"},
	} {
		if got := CardholderName(in[0], in[1]); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestTracks(t *testing.T) {
	s := scheme(t)
	s.Stripe.Tracks = []int{1, 2, 3}
	c := card("AHMADI/MOHAMMAD REZA")
	v := Verification{CVV: "951", PVKI: "1", PVV: "2319"}
	tr, err := MakeTracks(s, c, v)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(tr.One); got != "B5892100000000016^AHMADI/MOHAMMAD REZA^3112201"+"12319951" {
		t.Errorf("track 1 has another layout (%d characters)", len(got))
	}
	if got := string(tr.Two); got != "5892100000000016=3112201"+"12319951" {
		t.Errorf("track 2 has another layout (%d characters)", len(got))
	}
	one, err1 := ParseTrack1(string(tr.One))
	two, err2 := ParseTrack2(string(tr.Two))
	if err1 != nil || err2 != nil || one.PAN != c.PAN || two.PAN != c.PAN || one.Name != c.Name || one.YYMM != "3112" || two.ServiceCode != "201" {
		t.Errorf("%v %v", err1, err2)
	}
	chip := Verification{CVV: "327", PVKI: "1", PVV: "2319"}
	eq, err := track2Equivalent(s, c, chip)
	if err != nil {
		t.Fatal(err)
	}
	if err := Compare(tr, eq, c.Name); err != nil {
		t.Error(err)
	}
	if chance, err := track2Equivalent(s, c, v); err != nil || Compare(tr, chance, c.Name) != nil {
		t.Errorf("a card whose verification values are equal by chance is refused: %v", err)
	}
	for name, spoil := range map[string]func(*Tracks, *[]byte, *string){
		"another name": func(_ *Tracks, _ *[]byte, n *string) { *n = "AHMADI/ALI" },
		"another PAN":  func(x *Tracks, _ *[]byte, _ *string) { x.Two = bytes.Replace(x.Two, []byte("16="), []byte("24="), 1) },
		"another expiry": func(x *Tracks, _ *[]byte, _ *string) {
			x.One = bytes.Replace(x.One, []byte("^3112"), []byte("^3012"), 1)
		},
		"track 3": func(x *Tracks, _ *[]byte, _ *string) { x.Three[4] ^= 1 },
	} {
		x, e, n := Tracks{bytes.Clone(tr.One), bytes.Clone(tr.Two), bytes.Clone(tr.Three)}, bytes.Clone(eq), c.Name
		spoil(&x, &e, &n)
		if err := Compare(x, e, n); err == nil {
			t.Errorf("%s: chip and stripe were taken for the same", name)
		} else if strings.Contains(err.Error(), string(c.PAN)) {
			t.Errorf("%s: the PAN is shown", name)
		}
	}
	if got := fmt.Sprintf("%v %+v %#v %s", tr, tr, tr, v); strings.Contains(got, "5892") || strings.Contains(got, "951") {
		t.Error("tracks are printed")
	}
}

// TestElements: the records that AFL and file creation tell of are there, the
// static data is that of the signed records, and nothing is too long.
func TestElements(t *testing.T) {
	for _, how := range [][]string{{"sda", "dda", "cda"}, {"sda"}, {"dda"}, {"xda"}} {
		s := scheme(t)
		s.Authentication = how
		s.Contactless = len(how) == 1 && how[0] != "xda"
		k := Certificates{
			CAIndex: 1, Issuer: make([]byte, 248), IssuerRemainder: make([]byte, 35), IssuerExponent: []byte{1, 0, 1},
			Static: make([]byte, 247), ICC: make([]byte, 247), ICCExponent: []byte{1, 0, 1},
		}
		c := card("AHMADI/MOHAMMAD REZA ALIZAD")
		if _, err := Elements(s, c, Verification{CVV: "327"}, k); err == nil {
			t.Error("a name of 27 characters passed")
		}
		c.Name = c.Name[:26]
		e, err := Elements(s, c, Verification{CVV: "327", PVKI: "1", PVV: "2319"}, k)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range ElementNames(s) {
			if e[n] == nil {
				t.Errorf("%v: there is no %s", how, n)
			}
		}
		if len(e) != len(ElementNames(s)) {
			t.Errorf("%v: %d elements, %d names", how, len(e), len(ElementNames(s)))
		}
		gpo, err := tlv.Parse(e["emv.9104"])
		if err != nil || len(gpo) != 2 {
			t.Fatal(err)
		}
		var static []byte
		for afl := gpo[1].Value; len(afl) > 0; afl = afl[4:] {
			for n := afl[1]; n <= afl[2]; n++ {
				r := e[fmt.Sprintf("emv.%02X%02X", afl[0]>>3, n)]
				if len(r) == 0 || len(r) > 254 || r[0] != 0x70 {
					t.Fatalf("%v: record %d of file %d has %d bytes", how, n, afl[0]>>3, len(r))
				}
				if n < afl[1]+afl[3] {
					_, _, skip, _ := tlv.Header(r)
					static = append(static, r[skip:]...)
				}
			}
		}
		if how[0] == "xda" { // Book 3, 10.3: data objects, and the AID
			static = append(static, unhex("82029800"+"9F0607F0000003641010")...)
		} else {
			static = append(static, gpo[0].Value...)
		}
		if aip := gpo[0].Value; aip[0]&0x04 != 0 || !bytes.Contains(s.CDOL2, []byte{0x91, 0x08}) {
			t.Errorf("%v: AIP %X, CDOL2 %X: the issuer is authenticated in the second GENERATE AC (Common Core Definitions 6.5.4.1)", how, aip, s.CDOL2)
		}
		if !bytes.Equal(static, StaticData(s, c)) {
			t.Errorf("%v: the static data is another", how)
		}
	}
}

func TestSchemeMistakes(t *testing.T) {
	for path, spoil := range map[string]func(*Scheme){
		"$.iccKey.bits":          func(s *Scheme) { s.ICCKey.Bits = 1984 },
		"$.serviceCode":          func(s *Scheme) { s.ServiceCode = "101" },
		"$.cdol2":                func(s *Scheme) { s.CDOL2 = s.CDOL1 },
		"$.authentication":       func(s *Scheme) { s.Authentication = nil },
		"$.cryptogram.option":    func(s *Scheme) { s.Cryptogram.Option = "C" },
		"$.pin.length":           func(s *Scheme) { s.PIN.Length = 3 },
		"$.stripe.tracks[0]":     func(s *Scheme) { s.Stripe.Tracks = []int{4} },
		"$.actionCodes.online":   func(s *Scheme) { s.ActionCodes.Online = nil },
		"$.bin":                  func(s *Scheme) { s.BIN = "5892" },
		"$.aid":                  func(s *Scheme) { s.AID = s.AID[:4] },
		"$.cvmList.rules":        func(s *Scheme) { s.CVMList.Rules = nil },
		"$.stripe.coercivity":    func(s *Scheme) { s.Stripe.Coercivity = "medium" },
		"$.expiry":               func(s *Scheme) { s.Expiry = "never" },
		"$.cryptogram.arpc":      func(s *Scheme) { s.Cryptogram.ARPC = 3 },
		"$.pin.offset":           func(s *Scheme) { s.PIN.Offset = true },
		"$.label":                func(s *Scheme) { s.Label = "THE BANK OF SEPAH" },
		"$.cryptogram.cci":       func(s *Scheme) { s.Cryptogram.CCI = Hex{0xA4} },
		"$.offline":              func(s *Scheme) { s.Offline.Lower = 1 },
		"$.cryptogram.scripts":   func(s *Scheme) { s.Cryptogram.Scripts = 0 },
		"$.range":                func(s *Scheme) { s.Range = "" },
		"$.iccKey.exponent":      func(s *Scheme) { s.ICCKey.Exponent = 17 },
		"$.priority":             func(s *Scheme) { s.Priority = 0 },
		"$.language":             func(s *Scheme) { s.Language = "FA" },
		"$.ddol":                 func(s *Scheme) { s.DDOL = Hex{0x9F} },
		"$.cryptogram.dki":       func(s *Scheme) { s.Cryptogram.DKI = nil },
		"$.usage":                func(s *Scheme) { s.Usage = Hex{1} },
		"$.minAge":               func(s *Scheme) { s.MinAge = -1 },
		"$.pin.method":           func(s *Scheme) { s.PIN.Method = "" },
		"$.cryptogram.masterKey": func(s *Scheme) { s.Cryptogram.MasterKey = "" },
	} {
		s := scheme(t)
		spoil(s)
		var found []string
		s.Check(func(p, _ string, _ ...any) { found = append(found, p) })
		if len(found) == 0 || found[0] != path {
			t.Errorf("%s: found %v", path, found)
		}
	}
}

// TestXDASchemeMistakes: what goes with elliptic curves and what does not.
func TestXDASchemeMistakes(t *testing.T) {
	for path, spoil := range map[string]func(*Scheme){
		"":                     func(*Scheme) {},
		"$.authentication":     func(s *Scheme) { s.Authentication = []string{"xda", "dda"} },
		"$.iccKey.curve":       func(s *Scheme) { s.ICCKey.Curve = "P-384" },
		"$.iccKey.bits":        func(s *Scheme) { s.ICCKey.Bits = 1408 },
		"$.iccKey.exponent":    func(s *Scheme) { s.ICCKey.Exponent = 3 },
		"$.ddol":               func(s *Scheme) { s.DDOL = Hex{0x9F, 0x37, 4} },
		"$.actionCodes.online": func(s *Scheme) { s.ActionCodes.Online[3] = 0xF8 },
		"$.cvmList.rules[1]":   func(s *Scheme) { s.CVMList.Rules[1] = Hex{0x44, 3} },
	} {
		s := schemeOf(t, "sepah-xda")
		spoil(s)
		var found []string
		s.Check(func(p, _ string, _ ...any) { found = append(found, p) })
		if path == "" && len(found) > 0 || path != "" && (len(found) != 1 || found[0] != path) {
			t.Errorf("%s: found %v", path, found)
		}
	}
	s := scheme(t)
	s.ICCKey.Curve = "P-256"
	var found []string
	s.Check(func(p, _ string, _ ...any) { found = append(found, p) })
	if len(found) != 1 || found[0] != "$.iccKey.curve" {
		t.Errorf("a curve beside RSA: found %v", found)
	}
}

func TestAccount(t *testing.T) {
	s := scheme(t)
	iban, _ := IBAN("015", 0, "1234567890")
	a := Account{IBAN: iban, Account: "1234567890", PAN: "5892100000000016", Name: "AHMADI/ALI"}
	if err := a.Check(s); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprintf("%v %+v %#v", a, a, a); strings.Contains(got, "12345") {
		t.Error("an account is printed")
	}
	for _, b := range []Account{{IBAN: iban[:25], Account: a.Account}, {IBAN: iban, Account: "1"}, {IBAN: iban, Account: a.Account, PAN: "6037990000000016"}, {IBAN: iban, Account: a.Account, Name: "a"}} {
		if b.Check(s) == nil {
			t.Error("a wrong account passed")
		}
	}
}

func FuzzParseTracks(f *testing.F) {
	f.Add("B5892100000000016^AHMADI/ALI^311220112319951")
	f.Add("5892100000000016=311220112319951")
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) (Track, error){ParseTrack1, ParseTrack2} {
			if tr, err := parse(text); err == nil && (len(tr.YYMM) != 4 || len(tr.ServiceCode) != 3) {
				t.Error("an incomplete track was read")
			}
		}
		_ = Compare(Tracks{One: []byte(text), Two: []byte(text)}, []byte(text), text)
	})
}

// TestContactlessElements: what is read over the air names nobody, is signed as the
// rest is, and has the iCVV in its track 2 equivalent data.
func TestContactlessElements(t *testing.T) {
	s := scheme(t)
	k := Certificates{CAIndex: 1, Issuer: make([]byte, 248), IssuerExponent: []byte{3}, Static: make([]byte, 247), ICC: make([]byte, 247), ICCExponent: []byte{3}}
	c := card("AHMADI/ALI")
	contact, err := Elements(s, c, Verification{CVV: "327"}, k)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range ContactlessNames() {
		if contact[n] != nil {
			t.Errorf("a contact card has %s", n)
		}
	}
	s.Contactless = true
	e, err := Elements(s, c, Verification{CVV: "327"}, k)
	if err != nil {
		t.Fatal(err)
	}
	for n, v := range contact {
		if n != "emv.0062" && !bytes.Equal(v, e[n]) {
			t.Errorf("%s is another on a contactless card", n)
		}
	}
	afl, _ := tlv.Find(e["emv.9105"], 0x94)
	aip, _ := tlv.Find(e["emv.9105"], 0x82)
	if !bytes.Equal(aip, s.AIP()) || !bytes.Equal(afl[:4], []byte{1 << 3, 2, 2, 0}) || afl[7] != 1 {
		t.Errorf("AIP %X, AFL %X", aip, afl)
	}
	for ; len(afl) > 0; afl = afl[4:] {
		for n := afl[1]; n <= afl[2]; n++ {
			r := e[fmt.Sprintf("emv.%02X%02X", afl[0]>>3, n)]
			if _, named := tlv.Path(r, 0x70, 0x5F20); r == nil || named || bytes.Contains(r, []byte("AHMADI")) {
				t.Errorf("record %d of file %d: %X", n, afl[0]>>3, r)
			}
		}
	}
	near, _ := tlv.Path(e["emv.0102"], 0x70, 0x57)
	far, _ := tlv.Path(e["emv.0101"], 0x70, 0x57)
	if near == nil || !bytes.Equal(near, far) {
		t.Errorf("track 2 equivalent data %X", near)
	}
	if pdol, ok := tlv.Path(e["emv.9103"], 0xA5, 0x9F38); !ok || len(pdol) != 12 {
		t.Errorf("PDOL %X", pdol)
	}
}
