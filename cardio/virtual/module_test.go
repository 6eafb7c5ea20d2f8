package virtual

import (
	"bytes"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual/nvm"
)

// build is an applet that says which build it is.
type build struct {
	inert
	name string
}

func (b build) Process(Env, apdu.Command) ([]byte, apdu.StatusWord) {
	return []byte(b.name), apdu.SWSuccess
}

func building(name string) func() Applet { return func() Applet { return build{name: name} } }

func TestModuleKey(t *testing.T) {
	for _, aid := range []string{"A0000002471001", "a0000002471001"} {
		if got := ModuleKey(aid, [2]byte{0x09, 0x45}); got != "A0000002471001/0945" {
			t.Errorf("%s: %s", aid, got)
		}
	}
}

// TestBuildsOfOneModule: two load files on one card bring the same module, and
// a third a version that has no code of its own.
func TestBuildsOfOneModule(t *testing.T) {
	module := mustHex(LDSAID)
	code := map[string]func() Applet{
		ModuleKey(LDSAID, [2]byte{0x09, 0x45}): building("0945"),
		ModuleKey(LDSAID, [2]byte{0x10, 0x00}): building("1000"),
		LDSAID:                                 building("bare"),
	}
	blank := testBlank(testKeys(0x30, 16))
	blank.LoadFiles, blank.Applications = nil, nil
	want := map[byte]string{1: "0945", 2: "1000", 3: "bare"}
	for i, version := range map[byte][2]byte{1: {0x09, 0x45}, 2: {0x10, 0x00}, 3: {0x09, 0x44}} {
		file := append(mustHex(LDSLoadFileAID), i)
		blank.LoadFiles = append(blank.LoadFiles, LoadFile{AID: file, Version: version, Modules: [][]byte{module}})
		blank.Applications = append(blank.Applications, Installation{AID: append(bytes.Clone(appAID), i), Module: module, LoadFile: file})
	}
	mem := nvm.InMemory()
	if err := Manufacture(mem, blank); err != nil {
		t.Fatal(err)
	}
	answers := func(c *Chip) map[byte]string {
		h, got := &host{t: t, card: c}, map[byte]string{}
		for i := range want {
			if _, sw := h.raw(append(append([]byte{0, 0xA4, 4, 0, 8}, appAID...), i)); !sw.OK() {
				t.Fatalf("SELECT %d: %v", i, sw)
			}
			got[i] = string(h.want(apdu.SWSuccess, "0010000000"))
		}
		return got
	}
	c, err := New(Config{Memory: mem, Applets: code})
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range answers(c) {
		if got != want[i] {
			t.Errorf("application %d runs build %s, want %s", i, got, want[i])
		}
	}
	delete(code, LDSAID)
	if _, err := New(Config{Memory: mem, Applets: code}); err == nil {
		t.Error("a card without the code of one of its builds was powered")
	}
	one := map[string]func() Applet{LDSAID: building("bare")}
	if c, err = New(Config{Memory: mem, Applets: one}); err != nil {
		t.Fatal(err)
	}
	for i, got := range answers(c) {
		if got != "bare" {
			t.Errorf("application %d runs build %s", i, got)
		}
	}
}

// TestBuildOfLoadedFile: what is loaded runs the build of its own version, and
// another after an update of the load file.
func TestBuildOfLoadedFile(t *testing.T) {
	blank := testBlank(testKeys(0x30, 16))
	code := testModules()
	module := aidKey(moduleAID)
	code[ModuleKey(module, [2]byte{1, 3})] = building("0103")
	code[ModuleKey(module, [2]byte{1, 4})] = building("0104")
	c, err := New(Config{Blank: &blank, Applets: code})
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, card: c, keys: blank.Keys, length: 8}
	for _, minor := range []string{"03", "04"} {
		parts := capParts(100)
		parts[1] = component(1, "decaffed"+"0102"+"04"+minor+"01"+"05f0cb000001")
		h.open(0x33)
		h.loadAll(block(withDirectory(parts)))
		h.must(apdu.SWSuccess, forInstall(installBoth, packageAID, moduleAID, appAID, []byte{0}, unhex(t, "C900")))
		h.want(apdu.SWSuccess, "00A4040007F0CB000001010100")
		if got := h.want(apdu.SWSuccess, "0010000000"); string(got) != "01"+minor {
			t.Errorf("version 1.%s runs build %s", minor, got)
		}
		h.open(0x33)
		h.must(apdu.SWSuccess, cmd(insDelete, 0, 0x80, tlv.Encode(0x4F, packageAID)...))
	}
}
