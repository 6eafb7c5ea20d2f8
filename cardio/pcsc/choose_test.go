package pcsc

import (
	"slices"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	const (
		acs     = "ACS ACR38U-CCID 00 00"
		omnikey = "HID Global OMNIKEY 3x21 Smart Card Reader [OMNIKEY 3x21] (K1234) 01 00"
		contact = "ACS ACR1281 1S Dual Reader [Contact] (R77) 02 00"
		radio   = "ACS ACR1281 1S Dual Reader [Contactless] (R77) 02 01"
		driver  = "Feitian bR301 03 00" // its driver says its serial number
	)
	all := []string{acs, omnikey, contact, radio, driver}
	serial := func(name string) string {
		if name == driver {
			return "FT-0042"
		}
		return SerialInName(name)
	}
	for name, test := range map[string]struct {
		selectors []string
		want      []string
		wrong     string
	}{
		"all":                 {nil, all, ""},
		"name":                {[]string{acs}, []string{acs}, ""},
		"name with brackets":  {[]string{omnikey}, []string{omnikey}, ""},
		"pattern":             {[]string{"ACS *"}, []string{acs, contact, radio}, ""},
		"brackets":            {[]string{"*[Contact]*"}, []string{contact}, ""},
		"one character":       {[]string{"* 0? 01"}, []string{radio}, ""},
		"serial in the name":  {[]string{"k1234"}, []string{omnikey}, ""},
		"serial by driver":    {[]string{"FT-0042"}, []string{driver}, ""},
		"several, once each":  {[]string{"FT-0042", "ACS *", acs}, []string{acs, contact, radio, driver}, ""},
		"pattern passed over": {[]string{"Gemalto *", acs}, []string{acs}, ""},
		"serial of two":       {[]string{"R77"}, nil, `2 readers have the serial number "R77", name the one that is meant: "` + contact + `", "` + radio + `"`},
		"unknown":             {[]string{acs, "K9"}, nil, `no reader has the name or serial number "K9", there are: "` + acs + `", "`},
		"pattern of nothing":  {[]string{"Gemalto *"}, nil, `no reader's name fits "Gemalto *", there are: `},
		"part of a name":      {[]string{"ACS"}, nil, `no reader has the name or serial number "ACS"`},
		"empty":               {[]string{""}, nil, `no reader has the name or serial number ""`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := choose(all, test.selectors, serial)
			if test.wrong == "" && (err != nil || !slices.Equal(got, test.want)) {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
			if test.wrong != "" && (err == nil || !strings.HasPrefix(err.Error(), test.wrong)) {
				t.Errorf("got %q, %v, want %s", got, err, test.wrong)
			}
		})
	}
	if _, err := choose(nil, []string{"*"}, serial); err == nil || err.Error() != "no reader is there: plug one in" {
		t.Error(err)
	}
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true}, {"*", "", true}, {"?", "", false}, {"a*b*c", "a1b2b3c", true}, {"a*b*c", "a1b2b3", false},
		{"*ab", "aab", true}, {"?b", "éb", true}, {"**", "x", true}, {"[a]", "a", false}, {"a/*", "a/b", true},
	} {
		if matches(test.pattern, test.name) != test.want {
			t.Errorf("%q and %q: not %v", test.pattern, test.name, test.want)
		}
	}
}
