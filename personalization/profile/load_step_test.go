package profile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"cardbureau/cardio/gp/cap/captest"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/nvm"
	profiles "cardbureau/firmware-profiles"
)

// inventedPackage is a CAP file for the invented applet, with the digest of its
// load file data block.
func inventedPackage(t testing.TB) (jar []byte, digest string) {
	t.Helper()
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	f := captest.File{Package: unhex("F043420001AA"), Applet: unhex("F043420001"), Imports: []captest.Import{captest.Framework}, Code: 700}
	jar, err := f.JAR()
	if err != nil {
		t.Fatal(err)
	}
	return jar, fmt.Sprintf("%X", sha256.Sum256(f.IJC()))
}

// withPackage is the invented dialect whose applet is loaded and installed first.
func withPackage(t testing.TB, jar []byte, digest string) fstest.MapFS {
	t.Helper()
	text, err := os.ReadFile("testdata/dialect/applets/invented.yaml")
	if err != nil {
		t.Fatal(err)
	}
	applet := strings.Replace(string(text), `package: { aid: "F043420001AA" }`,
		`package: { aid: "F043420001AA", cap: packages/invented.cap, sha256: [ "`+digest+`" ] }`, 1)
	applet = strings.Replace(applet, "steps:\n", `steps:
  - id: open-content
    open-channel: { keys: transport }
  - id: load
    kind: resumable
    load: {}
    probe: { loaded: true }
  - id: install
    kind: resumable
    install: { installed-only: true, parameters: "0102" }
    probe: { installed: true }
  - id: selectable
    kind: resumable
    make-selectable: {}
    probe: { application-state: "07" }

`, 1)
	product, err := os.ReadFile("testdata/dialect/products/invented.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{
		"applets/invented.yaml": {Data: []byte(applet)}, "products/invented.yaml": {Data: product}, "packages/invented.cap": {Data: jar},
	}
}

// TestLoadAndInstall: a profile brings its applet along. Torn at every APDU,
// LOAD's among them, the card is finished and holds what an undisturbed run
// leaves.
func TestLoadAndInstall(t *testing.T) {
	jar, digest := inventedPackage(t)
	set, err := Load(profiles.FS, withPackage(t, jar, digest))
	if err != nil {
		t.Fatal(err)
	}
	sameContents(t, func(t testing.TB) *bench { return newDialectBenchOf(t, set, false) })
}

// TestOnlyAllowedPackages: a CAP file that is not the one that the profile names
// is a mistake before any card is touched.
func TestOnlyAllowedPackages(t *testing.T) {
	jar, digest := inventedPackage(t)
	for name, c := range map[string]struct {
		fs   fstest.MapFS
		want string
	}{
		"another digest": {withPackage(t, jar, strings.Repeat("00", 32)), "which is not among package.sha256"},
		"no CAP file":    {withPackage(t, []byte("nothing"), digest), "packages/invented.cap"},
	} {
		var ps Problems
		if _, err := Load(profiles.FS, c.fs); !errors.As(err, &ps) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	missing := withPackage(t, jar, digest)
	delete(missing, "packages/invented.cap")
	if _, err := Load(profiles.FS, missing); err == nil || !strings.Contains(err.Error(), "the CAP file cannot be read") {
		t.Errorf("a missing CAP file: %v", err)
	}
}

// newDialectBenchOf is a bench for the invented dialect; installed says that the
// applet is on the blank already.
func newDialectBenchOf(t testing.TB, set *Set, installed bool) *bench {
	t.Helper()
	applet := set.Applets["invented"]
	key := keyOf(0x30)
	blank := virtual.Blank{
		Serial: virtual.NewSerial(1, 1), SCP: virtual.SCP03Full, Keys: virtual.Keys{Version: 0x30, ENC: key, MAC: key, DEK: key},
	}
	if installed {
		blank.LoadFiles = []virtual.LoadFile{{AID: applet.Package.AID, Version: [2]byte{1, 0}, Modules: [][]byte{applet.AID}}}
		blank.Applications = []virtual.Installation{{AID: applet.AID, Module: applet.AID, LoadFile: applet.Package.AID}}
	}
	b := &bench{mem: nvm.InMemory(), keys: &softKeys{}}
	var err error
	b.chip, err = virtual.New(virtual.Config{Memory: b.mem, Blank: &blank, Applets: map[string]func() virtual.Applet{
		applet.AID.String(): func() virtual.Applet { return &invented{} },
	}})
	if err != nil {
		t.Fatal(err)
	}
	b.run = dialectRun(set, b)
	return b
}
