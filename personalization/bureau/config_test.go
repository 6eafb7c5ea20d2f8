package bureau

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func configFolder(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ConfigName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDefaultConfigLoads(t *testing.T) {
	c, err := LoadConfig(configFolder(t, ConfigText(false, "bureau-1", "UTO", "", "", "/m.so", "cardbureau", "", Certificates{}, nil, "identity")))
	if err != nil {
		t.Fatal(err)
	}
	if !c.Development() || c.Rules[0].Name != "identity" || c.HSM.Module != "/m.so" {
		t.Errorf("got %+v", c)
	}
	if _, err := LoadConfig(configFolder(t, ConfigText(true, "bureau-1", "IRN", "", "", "/m.so", "cardbureau", "", Certificates{Contact: "pki@example.org", CRLs: []string{"http://example.org/irn.crl"}}, []string{"a.jwk", "b.jwk"}, "identity"))); err != nil {
		t.Error(err)
	}
}

func TestConfigMistakes(t *testing.T) {
	base := ConfigText(false, "bureau-1", "UTO", "", "", "/m.so", "cardbureau", "", Certificates{}, nil, "identity")
	for _, c := range []struct{ old, new, want string }{
		{"audience =", "audiance =", `unknown key "audiance"`},
		{`"development"`, `"staging"`, "environment is"},
		{`"UTO"`, `"uto"`, "three capital letters"},
		{"[[product]]\nname = \"identity\"", "", "no [[product]] rule"},
		{"sessions = 2", "sessions = [", ":"},
		{`"development"`, `"production"`, "UTO is for development"},
		{`url = ""`, `url = "postgres://bureau:secret@db/cards"`, "url holds a password"},
	} {
		_, err := LoadConfig(configFolder(t, strings.Replace(base, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.new, err, c.want)
		}
	}
	if _, err := LoadConfig(t.TempDir()); err == nil || !strings.Contains(err.Error(), "cardbureau init") {
		t.Errorf("missing file: %v", err)
	}
}

func TestContradictionIsRefused(t *testing.T) {
	c, err := LoadConfig(configFolder(t, ConfigText(false, "bureau-1", "UTO", "", "softhsm", "", "cardbureau", "", Certificates{}, nil, "identity")))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []CreateRequest{{}, {Audience: "bureau-1", State: "UTO"}} {
		if err := r.agrees(c); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
	for _, r := range []CreateRequest{{Audience: "bureau-2"}, {Production: true}, {DatabaseURL: "postgres://x"}, {Custodians: []string{"a"}}} {
		if err := r.agrees(c); err == nil || !strings.Contains(err.Error(), "is already") {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
