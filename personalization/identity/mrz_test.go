package identity

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The worked examples of Doc 9303: part 5 (TD1 and its truncation), part 11
// appendix D (a long document number).
func TestTD1KnownAnswers(t *testing.T) {
	tests := map[string]struct {
		in   MRZ
		want string
	}{
		"part 5 specimen": {
			MRZ{DocumentCode: "I", State: "UTO", DocumentNumber: "D23145890", BirthDate: "1974-08-12", Sex: "F",
				ExpiryDate: "2012-04-15", Nationality: "UTO", Primary: "ERIKSSON", Secondary: "ANNA MARIA"},
			"I<UTOD231458907<<<<<<<<<<<<<<<" + "7408122F1204159UTO<<<<<<<<<<<6" + "ERIKSSON<<ANNA<MARIA<<<<<<<<<<",
		},
		"long document number": {
			MRZ{DocumentCode: "I", State: "UTO", DocumentNumber: "D23145890734", BirthDate: "1934-07-12", Sex: "M",
				ExpiryDate: "1995-07-12", Nationality: "UTO", Primary: "STEVENSON", Secondary: "PETER JOHN"},
			"I<UTOD23145890<7349<<<<<<<<<<<" + "3407127M9507122UTO<<<<<<<<<<<2" + "STEVENSON<<PETER<JOHN<<<<<<<<<",
		},
		"optional data and a truncated name": {
			MRZ{DocumentCode: "ID", State: "THA", DocumentNumber: "955555546", Optional1: "2902968000000", BirthDate: "1968-02-29",
				Sex: "F", ExpiryDate: "2013-07-24", Nationality: "THA", Primary: "NILAVADHANANANDA", Secondary: "CHAYAPA DEJTHAMRONG KRASUANG"},
			"IDTHA95555554612902968000000<<" + "6802295F1307245THA<<<<<<<<<<<6" + "NILAVADHANANANDA<<CHAYAPA<DE<K",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := TD1(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestTD1OfOurCards(t *testing.T) {
	m := MRZ{DocumentCode: "IR", State: "UTO", DocumentNumber: "B7K2M9X4C", BirthDate: "1990-00-00", Sex: "X",
		ExpiryDate: "2031-05-06", Nationality: "D", Secondary: "GULALAI"}
	got, err := TD1(m)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got, "IRUTOB7K2M9X4C") || len(got) != TD1Length {
		t.Errorf("upper line %q", got[:30])
	}
	if !regexp.MustCompile(`^90<<<<\d<310506\dD<<<{11}\d$`).MatchString(got[30:60]) {
		t.Errorf("middle line %q", got[30:60])
	}
	if got[60:] != "GULALAI"+strings.Repeat("<", 23) {
		t.Errorf("lower line %q", got[60:])
	}
	// What BAC and PACE are keyed with holds the same fillers.
	info, err := m.Information()
	if err != nil {
		t.Fatal(err)
	}
	if want := got[5:15] + got[30:37] + got[38:45]; info != want {
		t.Errorf("MRZ information %q, the zone has %q", info, want)
	}
}

func TestTD1Refuses(t *testing.T) {
	good := MRZ{DocumentCode: "IR", State: "UTO", DocumentNumber: "B7K2M9X4C", BirthDate: "1990-01-02", Sex: "M",
		ExpiryDate: "2031-05-06", Nationality: "AFG", Primary: "KARIMI", Secondary: "ZAHRA"}
	if _, err := TD1(good); err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(*MRZ){
		"code of a passport":        func(m *MRZ) { m.DocumentCode = "P" },
		"code ending in V":          func(m *MRZ) { m.DocumentCode = "IV" },
		"code of crew":              func(m *MRZ) { m.DocumentCode = "AC" },
		"code of three letters":     func(m *MRZ) { m.DocumentCode = "IRX" },
		"no State":                  func(m *MRZ) { m.State = "" },
		"State in lower case":       func(m *MRZ) { m.State = "uto" },
		"no number":                 func(m *MRZ) { m.DocumentNumber = "" },
		"number with a space":       func(m *MRZ) { m.DocumentNumber = "B7K 2" },
		"number too long":           func(m *MRZ) { m.DocumentNumber = strings.Repeat("B", 23) },
		"long number beside option": func(m *MRZ) { m.DocumentNumber, m.Optional1 = "B7K2M9X4C7", "X" },
		"option too long":           func(m *MRZ) { m.Optional2 = "ABCDEFGHIJKL" },
		"impossible date":           func(m *MRZ) { m.BirthDate = "1990-02-30" },
		"day without month":         func(m *MRZ) { m.BirthDate = "1990-00-12" },
		"date of another form":      func(m *MRZ) { m.BirthDate = "19900101" },
		"expiry unknown":            func(m *MRZ) { m.ExpiryDate = "2031-05-00" },
		"sex":                       func(m *MRZ) { m.Sex = "" },
		"nationality with a digit":  func(m *MRZ) { m.Nationality = "A1G" },
		"no name":                   func(m *MRZ) { m.Primary, m.Secondary = " ", "<" },
		"name not transliterated":   func(m *MRZ) { m.Primary = "کریمی" },
		"name with a digit":         func(m *MRZ) { m.Secondary = "ZAHRA2" },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			m := good
			spoil(&m)
			_, err := TD1(m)
			if !errors.Is(err, ErrMRZ) {
				t.Fatalf("error %v", err)
			}
			for _, secret := range []string{m.Primary, m.Secondary, m.DocumentNumber, m.BirthDate} {
				if len(secret) > 1 && strings.Contains(err.Error(), secret) {
					t.Errorf("the error tells what the field holds: %v", err)
				}
			}
		})
	}
}

func TestMRZDate(t *testing.T) {
	for in, want := range map[string]string{
		"1969-08-06": "690806", "2000-02-29": "000229", "1990-05-00": "9005<<", "1990-00-00": "90<<<<",
	} {
		if got, err := MRZDate(in); err != nil || got != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "1990-1-1", "1990-13-01", "2001-02-29", "1990-13-00", "199O-01-01", "1990/01/01"} {
		if _, err := MRZDate(in); !errors.Is(err, ErrMRZ) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// Doc 9303-5, 4.2.3: the manner that this package chose among those allowed.
func TestNameFieldKnownAnswers(t *testing.T) {
	tests := []struct{ primary, secondary, want string }{
		{"NILAVADHANANANDA", "CHAYAPA DEJTHAMRONG KRASUANG", "NILAVADHANANANDA<<CHAYAPA<DE<K"},              // 4.2.3.1 a
		{"BENNELONG WOOLOOMOOLOO WARRANDYTE WARNAMBOOL", "DINGO POTOROO", "BENNELONG<WOOLOOMOOLOO<W<W<<DI"}, // 4.2.3.2 a
		{"PAPANDROPOULOUS", "JONATHON ALEC", "PAPANDROPOULOUS<<JONATHON<ALEC"},                              // 4.2.3.3
		{"VAN DER MUELLEN", "MARTIN", "VAN<DER<MUELLEN<<MARTIN<<<<<<<"},                                     // 4.2.3.4
		{"AL-BASRI", "HUDA MUHAMMAD JAWAD", "AL<BASRI<<HUDA<MUHAMMAD<JAWAD<"},
		{"VILARCHAO FERNANDEZ", "JOSE RAMON", "VILARCHAO<FERNANDEZ<<JOSE<RAMO"},
		{"ARKFREITH", "", "ARKFREITH<<<<<<<<<<<<<<<<<<<<<"}, // 4.2.3.5
		{"SATRIYA SUDARPA", "", "SATRIYA<SUDARPA<<<<<<<<<<<<<<<"},
		// Other shapes.
		{"", "SATRIYA SUDARPA", "SATRIYA<SUDARPA<<<<<<<<<<<<<<<"},
		{"D'ARTAGNAN", "jean-luc", "DARTAGNAN<<JEAN<LUC<<<<<<<<<<<"},
		{strings.Repeat("A", 40), "BIBI", strings.Repeat("A", 27) + "<<B"},
		{strings.Repeat("A", 27), "BIBI", strings.Repeat("A", 27) + "<<B"},
		{strings.Repeat("A", 28), "B", strings.Repeat("A", 27) + "<<B"},
		{strings.Repeat("A", 40), "", strings.Repeat("A", 30)},
		{"AAAAAAAAAA", strings.Repeat("B", 30), "AAAAAAAAAA<<" + strings.Repeat("B", 18)},
		{"AAAAAAAAAAAAAAAA", "B C D E F G H I", "AAAAAAAAAAAAAAA<<B<C<D<E<F<G<H"},
	}
	for _, tt := range tests {
		got, err := NameField(tt.primary, tt.secondary, TD1Line)
		if err != nil || got != tt.want {
			t.Errorf("%s, %s:\n got %s %v\nwant %s", tt.primary, tt.secondary, got, err, tt.want)
		}
	}
}

func TestNameFieldRules(t *testing.T) {
	word := rapid.StringMatching(`[A-Z]{1,14}`)
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SliceOfN(word, 1, 8).Draw(t, "primary")
		s := rapid.SliceOfN(word, 0, 8).Draw(t, "secondary")
		got, err := NameField(strings.Join(p, " "), strings.Join(s, " "), TD1Line)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != TD1Line || strings.Contains(strings.TrimRight(got, "<"), "<<<") {
			t.Fatalf("%q", got)
		}
		full := strings.Join(p, "<")
		if len(s) > 0 {
			full += "<<" + strings.Join(s, "<")
		}
		if len(full) <= TD1Line {
			if strings.TrimRight(got, "<") != full {
				t.Fatalf("%q fits and became %q", full, got)
			}
			return
		}
		single := true // every component one letter: nothing can be shortened
		for _, w := range append(append([]string{}, p...), s...) {
			single = single && len(w) == 1
		}
		if got[TD1Line-1] == '<' && !single {
			t.Fatalf("%q was truncated to %q, which does not say so", full, got)
		}
		parts := strings.SplitN(strings.TrimRight(got, "<"), "<<", 2)
		if (len(parts) == 2) != (len(s) > 0) {
			t.Fatalf("%q lost an identifier: %q", full, got)
		}
		for i, id := range parts {
			for j, w := range strings.Split(id, "<") {
				if w == "" || !strings.HasPrefix([][]string{p, s}[i][j], w) {
					t.Fatalf("%q became %q", full, got)
				}
			}
		}
	})
}

func TestCheckDigit(t *testing.T) {
	// Doc 9303-3, 4.9 and appendix A.
	for in, want := range map[string]byte{"520727": '3', "AB2134<<<": '5', "L898902C<": '3', "690806": '1', "940623": '6', "": '0'} {
		if got, err := CheckDigit(in); err != nil || got != want {
			t.Errorf("%q: %c, %v", in, got, err)
		}
	}
	if _, err := CheckDigit("a"); !errors.Is(err, ErrMRZ) {
		t.Errorf("a lower-case letter: %v", err)
	}
}

func FuzzTD1(f *testing.F) {
	f.Add("IR", "UTO", "B7K2M9X4C", "", "1990-00-00", "M", "2031-05-06", "AFG", "", "KARIMI", "ZAHRA")
	f.Add("I", "D", "D23145890734", "", "1934-07-12", "X", "1995-07-12", "D", "A1", "VAN DER", "")
	zone := regexp.MustCompile(`^[A-Z0-9<]{90}$`)
	f.Fuzz(func(t *testing.T, code, state, number, o1, birth, sex, expiry, nationality, o2, primary, secondary string) {
		got, err := TD1(MRZ{code, state, number, o1, birth, sex, expiry, nationality, o2, primary, secondary})
		if err != nil {
			if !errors.Is(err, ErrMRZ) {
				t.Fatalf("unmarked error %v", err)
			}
			return
		}
		if !zone.MatchString(got) {
			t.Fatalf("zone %q", got)
		}
		if d, _ := CheckDigit(got[5:30] + got[30:37] + got[38:45] + got[48:59]); d != got[59] {
			t.Fatalf("composite check digit of %q", got)
		}
	})
}
