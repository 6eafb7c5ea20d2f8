package profile

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	profiles "cardbureau/firmware-profiles"
)

// TestBankMistakesAreExplained: what is wrong with the bank's own domain and with a
// contactless product, in the shipped profiles with one text replaced.
func TestBankMistakesAreExplained(t *testing.T) {
	const (
		chip, payment, pse = "chips/virtual-gp-kmc.yaml", "applets/virtual-payment-kmc.yaml", "applets/virtual-pse-kmc.yaml"
		near, far, kmc     = "products/identity-bank-contactless.yaml", "products/identity-bank.yaml", "products/identity-bank-kmc.yaml"
	)
	for _, c := range []struct{ name, file, old, new, want string }{
		{"no such key set", chip, "keys: kmc", "keys: kmk", `security domain F0000003645344 has key set "kmk", which chip virtual-gp-kmc does not have: did you mean "kmc"?`},
		{"KMC_ID of three bytes", chip, "FFFF58921000", "589210", "a KMC_ID has 6 bytes, this one has 3"},
		{"KMC_ID that nobody reads", chip, "set: kmc/1,", "set: kmc/1, data: cplc,", "there is no KEYDATA for a kmcId"},
		{"undiversified", chip, "set: kmc/1, diversification: emv", "set: kmc/1, diversification: none", "the same on every card"},
		{"instance twice", chip, `aid: "F0000003641010"`, `aid: "315041592E5359532E4444463031"`, "is there twice"},
		{"short AID", chip, `aid: "F0000003645344"`, `aid: "F0"`, "5 to 16 bytes"},
		{"no role of a KMC", chip, "set: kmc/1", "set: kmcs/1", "names no card master key"},
		{"AES keys for SCP02", chip, "diversification: emv, type: 3des", "diversification: emv, type: aes", "scp02 has 3des keys"},
		{"the issuer's keys to the application", payment, "keys: kmc, with: applet", "keys: transport, with: applet", `has key set "kmc" on chip virtual-gp-kmc`},
		{"the bank's keys to the card manager", pse, "keys: kmc, with: applet", "keys: kmc", `which on chip virtual-gp-kmc is of security domain F0000003645344`},
		{"installed again", payment, "    open-channel: { keys: kmc, with: applet }\n", "    open-channel: { keys: kmc, with: applet }\n\n  - id: install\n    kind: resumable\n    install: {}\n    probe: { installed: true }\n", "installs what the maker of chip virtual-gp-kmc has installed"},
		{"a chip without the domain", kmc, "chip: virtual-gp-kmc", "chip: virtual-gp", `uses key set "kmc", which chip virtual-gp does not have`},
		{"PPSE left out", near, "  - applet: virtual-ppse\n", "", "a contactless product has ppse.9102, and no step writes it"},
		{"PPSE, and not contactless", near, "contactless: true\n", "", "a step writes ppse.9102, and the product is not contactless"},
		{"contactless without PPSE", far, "payment: sepah\n", "payment: sepah\ncontactless: true\n", "list one of PPSE before it"},
		{"contactless with XDA", "products/identity-bank-contactless.yaml", "payment: sepah\n", "payment: sepah-xda\n", "would not hold for the contactless application"},
		{"RSA's secrets with XDA", "products/identity-bank-xda.yaml", "applet: virtual-payment-xda", "applet: virtual-payment", "a step writes secret.emv-p, a part of an RSA key, which cards of scheme sepah-xda (xda) do not have"},
		{"XDA's secret with RSA", far, "applet: virtual-payment\n", "applet: virtual-payment-xda\n", "a step writes secret.emv-d, the private key of an elliptic curve, which cards of scheme sepah (sda, dda, cda) do not have"},
		{"RSA's applet with XDA", "products/identity-bank-xda.yaml", "applet: virtual-payment-xda", "applet: virtual-payment", "scheme sepah-xda needs secret.emv-d on the card"},
		{"an RSA key that SDA does not have", "payments/sepah.yaml", "authentication: [sda, dda, cda]", "authentication: [sda]", "a step writes secret.emv-dp, a part of an RSA key, which cards of scheme sepah (sda) do not have"},
		{"contactless without an account", "products/identity.yaml", "chip: virtual-gp\n", "chip: virtual-gp\ncontactless: true\n", "contactless is the bank application's"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(replaced(t, c.file, c.old, c.new))
			var ps Problems
			if !errors.As(err, &ps) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("the explanation does not contain %q:\n%v", c.want, err)
			}
			for _, p := range ps {
				if p.Line == 0 || p.Col == 0 {
					t.Errorf("no place: %v", p)
				}
			}
		})
	}
}

// replaced is every shipped profile, with one text of one file replaced.
func replaced(t testing.TB, file, old, new string) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	err := fs.WalkDir(profiles.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := profiles.FS.ReadFile(name)
		if name == file {
			if !strings.Contains(string(b), old) {
				t.Fatalf("%s does not contain %q", file, old)
			}
			b = []byte(strings.Replace(string(b), old, new, 1))
		}
		out[name] = &fstest.MapFile{Data: b}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
