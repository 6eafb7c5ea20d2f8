package kinds_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"cardbureau/cardio/uicc/kinds"
	profiles "cardbureau/firmware-profiles"
)

// TestShipped: what is shipped is right, and the key of the USIM is written last.
func TestShipped(t *testing.T) {
	set, err := kinds.Load(profiles.FS)
	if err != nil {
		t.Fatal(err)
	}
	if k := set["operator-issued"]; k == nil || len(k.Programming) != 0 {
		t.Errorf("operators' own: %+v", k)
	}
	for _, name := range []string{"sysmocom-sja2", "sysmocom-sja5"} {
		k := set[name]
		if k == nil || k.ADM != 10 || len(k.ATRs) == 0 || len(k.Programming) == 0 || k.Programming[len(k.Programming)-1].Path != "7FFF/AF20" {
			t.Errorf("%s: %+v", name, k)
		}
	}
}

const good = "kind: sim\nname: x\ntitle: X\nadm: 10\nprogramming:\n  - { path: 7FFF/6F07, value: imsi }\n"

// TestRefused: a file that is wrong is refused by its name.
func TestRefused(t *testing.T) {
	if _, err := kinds.Load(fstest.MapFS{"sims/x.yaml": {Data: []byte(good)}}); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"another kind": strings.Replace(good, "sim", "chip", 1), "another name": strings.Replace(good, "x", "y", 1),
		"an unknown field": good + "more: 1\n", "location": strings.Replace(good, "6F07", "6F7E", 1),
		"the phone book": strings.Replace(good, "7FFF/6F07", "7F10/5F3A/4F30", 1), "the ICCID": strings.Replace(good, "7FFF/6F07", "3F00/2FE2", 1),
		"no key": strings.Replace(good, "adm: 10\n", "", 1), "nothing": "",
	} {
		_, err := kinds.Load(fstest.MapFS{"sims/x.yaml": {Data: []byte(text)}})
		if !errors.Is(err, kinds.ErrProfile) || !strings.Contains(err.Error(), "sims/x.yaml") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("kind: sim"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := kinds.Parse(b); err == nil && k.Check() != nil || err != nil && !errors.Is(err, kinds.ErrProfile) {
			t.Errorf("%+v, %v", k, err)
		}
	})
}
