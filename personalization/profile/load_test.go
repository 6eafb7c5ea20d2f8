package profile

import (
	"encoding/hex"
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
	for _, name := range []string{"chips/virtual-gp.yaml", "diversifications/kdf3.yaml", "diversifications/emv.yaml", "diversifications/none.yaml", "applets/virtual-lds.yaml", "products/identity.yaml"} {
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
		{"secret in clear", applet, "enciphered: true", "enciphered: false", "would travel in the clear"},
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
		{"a success for a refusal", applet, `status: "6985"`, `status: "9000"`, "does not say that the card refuses"},
		{"no chip authentication", product, "[1, 2, 11, 13, 14]", "[1, 2, 11, 13]", "data group 14 is missing"},
		{"nothing vouches for the services", product, "[1, 2, 11, 13, 14]", "[1, 2, 11, 14]", "data group 13 is missing"},
		{"signed and not written", product, "[1, 2, 11, 13, 14]", "[1, 2, 11, 12, 13, 14]", "data group 12 is not made"},
		{"photo too large", product, "maxBytes: 24576", "maxBytes: 40000", "do not fit a file"},
		{"unknown chip", product, "chip: virtual-gp", "chip: other", "has no profile"},
		{"weak level", chip, `level: "33"`, `level: "01"`, "leaves card data in the clear"},
		{"no i", chip, `i: "70"`, `i: ""`, "i must be 1 byte"},
		{"level that i does not offer", chip, `i: "70"`, `i: "30"`, "a chip with i 30 does not offer level 33"},
		{"unknown key set", applet, "keys: final }", "keys: spare }", `key set "spare"`},
		{"two mistakes in one file", chip, "title: Software GlobalPlatform 2.3.1 card, SCP03 with AES-128\nvirtual", "tittle: x\nvirtuall", `did you mean "virtual"?`},
		{"mistyped action", applet, "install-for-personalization: {}\n\n  - id: secrets", "instal-for-personalization: {}\n\n  - id: secrets", `did you mean "install-for-personalization"?`},
		{"no hexadecimal digits", applet, `dgi: "0101"`, `dgi: 0101`, "put hexadecimal digits in quotes"},
		{"unknown function", applet, "value: file.com", `value: "tvl(60, file.com)"`, `did you mean "tlv"?`},
		{"unknown probe state", applet, "card-state: secured", "card-state: secure", `did you mean "secured"?`},
		{"two questions", applet, "probe: { key-version: final }", "probe: { key-version: final, installed: true }", "exactly one thing"},
		{"unknown quirk", chip, "limits:", "quirks: [count-data-onli]\nlimits:", `did you mean "count-data-only"?`},
		{"unknown diversification", chip, "diversification: kdf3, bits: 128 }\n  final", "diversification: kdf33, bits: 128 }\n  final", `did you mean "kdf3"?`},
		{"keys of the other protocol", chip, "protocol: scp03", "protocol: scp02", "scp02 has 3des keys"},
		{"not reached", applet, "  - id: proof-locked", "  - id: dead\n    kind: final\n    set-status: { card: terminated }\n    probe: { card-state: terminated }\n  - id: proof-locked", "can never be reached"},
		{"nothing open", applet, "  - id: open\n    open-channel: { keys: transport }\n", "", "needs a secure channel"},
		{"reading left out", applet, "  access: [pace, bac]\n", "", "how a reader opens"},
		{"pairing records without a PIN", applet, "  pin: true ", "  pin: false ", "behind the holder's PIN"},
		{"pairing records past a file's end", applet, "  pairings: 3 ", "  pairings: 32 ", "the chip's files have 32767 at most"},
		{"own header too short", applet, "  - id: keys\n", "  - id: own\n    kind: repeatable\n    command: { header: \"00DA00\" }\n  - id: keys\n", "a header has 4 bytes"},
		{"loop without bounds", applet, "  - id: keys\n", "  - id: own\n    kind: repeatable\n    command: { header: \"00DA0000\", data: it.chunk, chunk: { of: file.sod, size: 20 } }\n  - id: keys\n", "bounded"},
		{"block larger than the limit", applet, "  - id: keys\n", "  - id: own\n    kind: repeatable\n    command: { header: \"00DA0000\", data: it.chunk, chunk: { of: file.sod, size: 300, max: 9 } }\n  - id: keys\n", "sends blocks of 300 bytes"},
		{"secret in a header", applet, "  - id: keys\n", "  - id: own\n    kind: repeatable\n    command: { header: \"00DA secret.pin-digits\" }\n  - id: keys\n", "would stand in every trace"},
		{"files in the clear", applet, "  - id: open\n    open-channel: { keys: transport }\n", "  - id: plain\n    select: {}\n  - id: photo\n    kind: repeatable\n    put-data: { list: [ { tag: \"01\", value: file.dg2 } ] }\n  - id: open\n    open-channel: { keys: transport }\n", "file.dg2 would travel in the clear"},
		{"transport keys stay", applet, "  - id: keys\n    kind: resumable\n    put-key: { replace: transport, with: final }\n    probe: { key-version: final }\n", "", "no step replaces the transport keys"},
		{"keys replaced by themselves", applet, "with: final }\n    probe: { key-version: final }", "with: transport }\n    probe: { key-version: transport }", "replaced by itself"},
		{"probe of other keys", applet, "probe: { key-version: final }", "probe: { key-version: transport }", "asks for the keys that it puts"},
		{"probe of another state", applet, "probe: { card-state: secured }", "probe: { card-state: initialized }", "asks for the state that the step sets"},
		{"back to another state", applet, "set-status: { card: secured }\n    probe: { card-state: secured }", "set-status: { card: op-ready }\n    probe: { card-state: op-ready }", "does not go back"},
		{"a refusal that proves nothing", applet, `status: "6985"`, `status: "6D00"`, "that is 69xx or 6Axx"},
		{"refusal of what is no write", applet, `refused: { dgi: "011E", status: "6985" }`, `refused: { command: { header: "00B00000" }, status: "6982" }`, "what is refused must be a write"},
		{"writing without a kind", applet, "  - id: keys\n", "  - id: own\n    command: { header: \"00D60000\", data: \"00\" }\n  - id: keys\n", "say its kind"},
		{"files without a kind", applet, "  - id: keys\n", "  - id: own\n    command: { header: \"90000000\", data: file.dg1 }\n  - id: keys\n", "say its kind"},
		{"probe with a secret", applet, "probe: { key-version: final }", "probe: { answer: { header: \"00CA0000\", data: captured.x, done: [\"9000\"], pending: [\"6A88\"] } }", "a probe is made of digits alone"},
		{"STORE DATA to the card manager", applet, "  - id: begin-files\n    install-for-personalization: {}\n", "", "would go to the card manager"},
		{"no EF.SOD", applet, `        - { dgi: "011D", value: file.sod }` + "\n", "", "no step writes file.sod"},
		{"loop too short for the photo", applet, "  - id: keys\n", "  - id: own\n    kind: repeatable\n    command: { header: \"90000000\", data: it.chunk, chunk: { of: file.dg2, size: 100, max: 40 } }\n  - id: keys\n", "could not be sent for the largest card"},
		{"version in decimal", chip, "version: 0x30", "version: 30", "write the version in hexadecimal"},
		{"no card master", chip, "set: cmk.issuer/1", "set: csca/1", "names no card master key"},
		{"fits every card", chip, "atr: \"3B................................\"\ncplc:\n  fabricator: \"CBCB\"\n  type: \"0001\"\n", "", "fits every card"},
		{"keys that everybody knows", chip, "set: cmk.virtual/1, diversification: kdf3", "set: cmk.virtual/1, diversification: none", "which every card of chip virtual-gp shares"},
		{"3DES template for AES keys", chip, "set: cmk.issuer/1,  diversification: kdf3, bits: 128", "set: cmk.issuer/1,  diversification: emv, bits: 256", "does not make keys of 256 bits"},
		{"captured nowhere", applet, "value: file.com", "value: captured.label", "no command since the last select or open-channel captures"},
		{"captured by what a crash skips", applet, "  - id: keys\n", "  - id: own\n    kind: resumable\n    generate-key: { header: \"00460000\", capture: { point: \"tag 7F49\" } }\n    probe: { installed: true }\n  - id: keys\n", "is lost when a crash comes after it"},
		{"more parts than can be numbered", applet, "  - id: keys\n", "  - id: own\n    kind: repeatable\n    command: { header: \"00DA 00 it.index\", data: it.chunk, chunk: { of: file.com, size: 2, max: 300 } }\n  - id: keys\n", "at most 256 parts"},
		{"two applications", product, "  - applet: virtual-lds\n", "  - applet: virtual-lds\n  - applet: virtual-lds\n", "applet virtual-lds is listed twice"},
		{"loop name outside a loop", applet, "value: file.com", "value: it.chunk", "means nothing here"},
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
			for _, p := range ps {
				if p.Line == 0 || p.Col == 0 {
					t.Errorf("no place: %v", p)
				}
			}
		})
	}
}

// TestHonestProfiles: what a careful author would write is no mistake.
func TestHonestProfiles(t *testing.T) {
	const chip, applet = "chips/virtual-gp.yaml", "applets/virtual-lds.yaml"
	for name, c := range map[string]struct{ file, old, new string }{
		"STORE DATA refused in the clear": {applet, "  - id: begin-refused\n    install-for-personalization: {}\n\n  - id: writing-refused\n    refused: { dgi: \"011E\", status: \"6985\" }",
			"  - id: again\n    select: {}\n\n  - id: writing-refused\n    refused: { command: { header: \"80E28000\", data: \"011E00\" }, status: \"6985\" }"},
		"captured bytes in a header": {applet, "  - id: proof\n    prove: lds", "  - id: look\n    select: {}\n  - id: where\n    command: { header: \"80CA0101\", le: 2, capture: { p: \"0..1\" } }\n  - id: read\n    command: { header: \"00B0 captured.p\", le: 2 }\n  - id: proof\n    prove: lds"},
		"an anchor":                  {chip, "version: 0x30", "version: &v 0x30"},
	} {
		if _, err := Load(shipped(t, c.file, c.old, c.new)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
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
		_, err := Load(profiles.FS, fstest.MapFS{"chips/x.yaml": {Data: b}})
		var ps Problems
		if err != nil && !errors.As(err, &ps) {
			t.Errorf("an error that is no list of problems: %v", err)
		}
	})
}

// TestSIMKindsByATR: each answer to reset by which osmocom's pySim knows sysmocom's cards
// is of one programmable kind.
func TestSIMKindsByATR(t *testing.T) {
	s, err := Load(profiles.FS)
	if err != nil {
		t.Fatal(err)
	}
	for tail, want := range map[string]string{
		"4C753034054BA9": "sysmocom-sja2", "4C7531330251B2": "sysmocom-sja2", "4C5275310451D5": "sysmocom-sja2",
		"357530350251CC": "sysmocom-sja5", "357530350265F8": "sysmocom-sja5", "357530350259C4": "sysmocom-sja5",
	} {
		atr, err := hex.DecodeString("3B9F96801F878031E073FE211B674A" + tail)
		if err != nil {
			t.Fatal(err)
		}
		for name, kind := range s.SIMs {
			if len(kind.Programming) > 0 && kind.Fits(atr) != (name == want) {
				t.Errorf("%X as %s: %v", atr, name, kind.Fits(atr))
			}
		}
	}
}
