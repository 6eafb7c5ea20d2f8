package profile

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	profiles "cardbureau/firmware-profiles"
)

func TestShippedProfilesLoad(t *testing.T) {
	s, err := Load(profiles.FS)
	if err != nil {
		t.Fatal(err)
	}
	p := s.Products["identity"]
	if p == nil || s.ProductChip(p) == nil {
		t.Fatal("the identity product or its chip is missing")
	}
	if k := s.Chips["virtual-gp"].Keys["transport"]; k.Version != 0x30 || k.Bits != 128 {
		t.Errorf("transport keys are %+v", k)
	}
}

// shipped returns the files of the shipped profiles with one text replaced.
func shipped(t testing.TB, file, old, new string) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	for _, name := range []string{"chips/virtual-gp.yaml", "applets/virtual-lds.yaml", "products/identity.yaml"} {
		b, err := profiles.FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if name == file {
			if !strings.Contains(text, old) {
				t.Fatalf("%s does not contain %q", file, old)
			}
			text = strings.Replace(text, old, new, 1)
		}
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

func TestMistakesAreExplained(t *testing.T) {
	const chip, applet, product = "chips/virtual-gp.yaml", "applets/virtual-lds.yaml", "products/identity.yaml"
	for _, c := range []struct{ name, file, old, new, want string }{
		{"unknown key", chip, "title:", "tittle:", "tittle"},
		{"unknown element", applet, "file.com", "file.comm", `did you mean "file.com"?`},
		{"secret in clear", applet, "enciphered: true", "enciphered: false", "secrets are stored enciphered"},
		{"final without probe", applet, `probe: { application-state: "0F" }`, "", "has no probe"},
		{"no proof", applet, "prove: lds", "prove: locked", "before the proof"},
		{"kind missing", applet, "    kind: resumable\n", "", "say its kind"},
		{"write after lock", applet, "  - id: writing-refused\n    refused: { dgi: \"011E\", status: \"6985\" }",
			"  - id: late\n    kind: repeatable\n    store: { dgis: [ { dgi: \"011E\", value: file.com } ] }", "writes after final step"},
		{"write after the proof", applet, "  - id: open-final\n    open-channel: { keys: final }\n",
			"  - id: open-final\n    open-channel: { keys: final }\n\n  - id: late\n    kind: repeatable\n    store: { dgis: [ { dgi: \"011E\", value: file.com } ] }\n",
			`"complete" comes before the proof`},
		{"lock that is said to be repeatable", applet, "kind: final\n    set-status: { card: secured }", "kind: repeatable\n    set-status: { card: secured }", "its kind is final"},
		{"keys without probe", applet, "    probe: { key-version: final }\n", "", "which keys the card has"},
		{"no write is refused", applet, "  - id: writing-refused\n    refused: { dgi: \"011E\", status: \"6985\" }\n", "", "a write that is refused"},
		{"a success for a refusal", applet, `status: "6985"`, `status: "9000"`, "is no refusal"},
		{"no chip authentication", product, "[1, 2, 11, 13, 14]", "[1, 2, 11, 13]", "data group 14 is missing"},
		{"nothing vouches for the services", product, "[1, 2, 11, 13, 14]", "[1, 2, 11, 14]", "data group 13 is missing"},
		{"signed and not written", product, "[1, 2, 11, 13, 14]", "[1, 2, 11, 12, 13, 14]", "no step writes file.dg12"},
		{"photo too large", product, "maxBytes: 24576", "maxBytes: 40000", "do not fit a file"},
		{"unknown chip", product, "chip: virtual-gp", "chip: other", "has no profile"},
		{"weak level", chip, `level: "33"`, `level: "01"`, "level must be 03 or 33"},
		{"no i", chip, `i: "70"`, `i: ""`, "i must be 1 byte"},
		{"level that i does not offer", chip, `i: "70"`, `i: "30"`, "a chip with i 30 does not offer level 33"},
		{"unknown key set", applet, "keys: final }", "keys: spare }", `key set "spare"`},
		{"not YAML", chip, "kind: chip", "kind: [chip", "chips/virtual-gp.yaml"},
		{"odd hexadecimal", applet, `"0101"`, `"010"`, "hexadecimal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(shipped(t, c.file, c.old, c.new))
			var ps Problems
			if !errors.As(err, &ps) {
				t.Fatalf("got %v, want problems", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("the explanation does not contain %q:\n%v", c.want, err)
			}
			if ps[0].Line == 0 {
				t.Errorf("no line: %v", ps[0])
			}
		})
	}
}

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		p    Pattern
		b    string
		want bool
	}{{"3B..01", "\x3b\x77\x01", true}, {"3B..01", "\x3b\x77\x02", false}, {"3B..01", "\x3b\x77", false}, {"", "\x00", true}} {
		if got := c.p.Match([]byte(c.b)); got != c.want {
			t.Errorf("%q on %x: %v", c.p, c.b, got)
		}
	}
}

func FuzzLoad(f *testing.F) {
	for _, name := range []string{"chips/virtual-gp.yaml", "applets/virtual-lds.yaml", "products/identity.yaml"} {
		b, _ := profiles.FS.ReadFile(name)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = Load(fstest.MapFS{"chips/x.yaml": {Data: b}})
	})
}
