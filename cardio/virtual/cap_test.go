package virtual

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	hostcap "cardbureau/cardio/gp/cap"
	"cardbureau/cardio/tlv"
)

func TestParseCAP(t *testing.T) {
	f, err := parseCAP(testCAP(10))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(f.aid, packageAID) || f.major != 1 || f.minor != 3 || len(f.applets) != 1 || !bytes.Equal(f.applets[0], moduleAID) ||
		len(f.imports) != 2 || f.imports[1].Major != 1 || f.imports[1].Minor != 3 {
		t.Errorf("%+v", f)
	}
	// Format 2.2 with package name, Export, Descriptor and a custom component.
	p := capParts(10)
	p[1] = component(1, "decaffed"+"0202"+"06"+"0301"+"05f0cb000001"+"03"+hex.EncodeToString([]byte("a/b")))
	p[10], p[11], p[0x80] = component(10, "00"), component(11, "aabb"), component(0x80, "cc")
	p = withDirectory(p)
	d := hex.EncodeToString(p[2][3:])
	p[2] = component(2, d[:2*2]+"002a"+d[4*2-4+4:len(d)-18]+"0000"+d[len(d)-18:len(d)-2]+"01"+"80"+"0001"+"05f0cb000002")
	if _, err := parseCAP(block(p)); err != nil {
		t.Error(err)
	}
	// A library has no applets.
	p = capParts(10)
	p[1] = component(1, "decaffed"+"0102"+"00"+"0301"+"05f0cb000001")
	delete(p, 3)
	if f, err := parseCAP(block(withDirectory(p))); err != nil || len(f.applets) != 0 {
		t.Errorf("%+v %v", f, err)
	}
}

func TestParseCAPRefusals(t *testing.T) {
	with := func(tag byte, content string) []byte {
		p := capParts(10)
		if p[tag] = component(tag, content); tag != 2 {
			p = withDirectory(p)
		}
		return block(p)
	}
	without := func(tag byte) []byte {
		p := withDirectory(capParts(10))
		delete(p, tag)
		return block(p)
	}
	good := testCAP(10)
	directory := func(at int, v byte) []byte {
		p := withDirectory(capParts(10))
		p[2][3+at] = v
		return block(p)
	}
	for name, b := range map[string][]byte{
		"nothing":              {},
		"two bytes":            {1, 0},
		"cut off":              good[:len(good)-1],
		"bytes after":          append(bytes.Clone(good), 0),
		"magic":                with(1, "decaffee"+"0102"+"04"+"0301"+"05f0cb000001"),
		"format 3.0":           with(1, "decaffed"+"0003"+"04"+"0301"+"05f0cb000001"),
		"format 2.0":           with(1, "decaffed"+"0002"+"04"+"0301"+"05f0cb000001"),
		"extended":             with(1, "decaffed"+"0302"+"0c"+"0301"+"05f0cb000001"),
		"no applets, it says":  with(1, "decaffed"+"0102"+"00"+"0301"+"05f0cb000001"),
		"exports, it says":     with(1, "decaffed"+"0102"+"06"+"0301"+"05f0cb000001"),
		"short AID":            with(1, "decaffed"+"0102"+"04"+"0301"+"04f0cb0000"),
		"Header too long":      with(1, "decaffed"+"0102"+"04"+"0301"+"05f0cb00000100"),
		"Header cut off":       with(1, "decaffed"+"0102"+"04"+"0301"+"06f0cb000001"),
		"no Header":            without(1),
		"no Directory":         without(2),
		"no Applet":            without(3),
		"no Import":            without(4),
		"no ConstantPool":      without(5),
		"no Method":            without(7),
		"no RefLocation":       without(9),
		"order":                append(bytes.Clone(good[len(good)-7:]), good...),
		"Header twice":         append(bytes.Clone(good[:21]), good...),
		"Debug":                append(bytes.Clone(good), component(12, "00")...),
		"static resources":     append(bytes.Clone(good), component(13, "00")...),
		"custom not announced": append(bytes.Clone(good), component(0x80, "00")...),
		"size in Directory":    directory(1, 0),
		"imports in Directory": directory(28, 1),
		"applets in Directory": directory(29, 2),
		"custom in Directory":  directory(30, 1),
		"other RID":            with(3, "01"+"06f1cb00000101"+"0001"),
		"applet twice":         with(3, "02"+"06f0cb00000101"+"0001"+"06f0cb00000101"+"0001"),
		"no applets":           with(3, "00"),
		"applets cut off":      with(3, "02"+"06f0cb00000101"+"0001"),
		"imports cut off":      with(4, "03"+"0001"+"07a0000000620001"+"0301"+"07a0000000620101"),
		"imports too many":     with(4, "01"+"0001"+"07a0000000620001"+"0301"+"07a0000000620101"),
	} {
		if _, err := parseCAP(b); !errors.Is(err, errCAP) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestImports: what a load file imports must be there in a version that
// serves, of the card's own packages or of those loaded.
func TestImports(t *testing.T) {
	withImport := func(s string) []byte {
		p := capParts(10)
		p[4] = component(4, "01"+s)
		return block(withDirectory(p))
	}
	for s, sw := range map[string]apdu.StatusWord{
		"0601" + "07a0000000620101": apdu.SWSuccess,
		"0701" + "07a0000000620101": apdu.SWConditionsOfUseNotSatisfied, // a later minor version
		"0002" + "07a0000000620101": apdu.SWConditionsOfUseNotSatisfied, // another major version
		"0001" + "06a00000015100":   apdu.SWSuccess,
		"0001" + "05f0cb000009":     apdu.SWConditionsOfUseNotSatisfied,
		"0101" + "06a00000024710":   apdu.SWConditionsOfUseNotSatisfied, // on the card, and no package
	} {
		h, _ := newHost(t, 16)
		h.open(0x01)
		h.must(apdu.SWSuccess, forLoad(packageAID, nil, nil, nil, nil))
		if _, sw2 := h.send(loads(tlv.Encode(0xC4, withImport(s)), 255-8)[0]); sw2 != sw {
			t.Errorf("%s: %v, want %v", s, sw2, sw)
		}
	}
	// A library, an applet that imports it, and the order of their deletion.
	h, _ := newHost(t, 16)
	h.open(0x01)
	library := capParts(10)
	library[1] = component(1, "decaffed"+"0102"+"00"+"0201"+"05f0cb000009")
	delete(library, 3)
	other := mustHex("F0CB000009")
	h.must(apdu.SWSuccess, forLoad(other, nil, nil, nil, nil))
	h.must(apdu.SWSuccess, loads(tlv.Encode(0xC4, block(withDirectory(library))), 240)[0])
	h.loadAll(withImport("0101" + "05f0cb000009"))
	h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insDelete, 0, 0x80, tlv.Encode(0x4F, other)...))
	h.must(apdu.SWSuccess, cmd(insDelete, 0, 0, tlv.Encode(0x4F, packageAID)...))
	h.must(apdu.SWSuccess, cmd(insDelete, 0, 0, tlv.Encode(0x4F, other)...))
	// A module that the card has already is not brought a second time.
	h.loadAll(testCAP(10))
	second := capParts(10)
	second[1] = component(1, "decaffed"+"0102"+"04"+"0301"+"06f0cb00000109")
	h.must(apdu.SWSuccess, forLoad(mustHex("F0CB00000109"), nil, nil, nil, nil))
	h.must(apdu.SWConditionsOfUseNotSatisfied, loads(tlv.Encode(0xC4, block(withDirectory(second))), 240)[0])
}

// TestPackagesOfABlank replace the default ones.
func TestPackagesOfABlank(t *testing.T) {
	keys := testKeys(0x30, 16)
	blank := testBlank(keys)
	blank.Packages = []Package{{AID: mustHex("A0000000620001"), Major: 1}, {AID: mustHex("A0000000620101"), Major: 1, Minor: 2}}
	c, err := New(Config{Blank: &blank, Applets: testModules()})
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, card: on(t, c.mem, nil), keys: keys, length: 8}
	h.open(0x01)
	h.must(apdu.SWSuccess, forLoad(packageAID, nil, nil, nil, nil))
	h.must(apdu.SWConditionsOfUseNotSatisfied, loads(tlv.Encode(0xC4, testCAP(10)), 240)[0]) // built against 1.3
}

// TestHostLoads: what the host side reads and builds is what the chip takes.
func TestHostLoads(t *testing.T) {
	file, err := hostcap.Read(testCAP(3000))
	if err != nil {
		t.Fatal(err)
	}
	data := file.LoadFileDataBlock(hostcap.BlockOptions{})
	if !bytes.Equal(data, testCAP(3000)) {
		t.Fatal("the host made another load file data block")
	}
	load, err := hostcap.LoadFile(data)
	if err != nil {
		t.Fatal(err)
	}
	h, _ := newHost(t, 16)
	h.open(0x33)
	command := func(c apdu.Command, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		r := h.must(apdu.SWSuccess, c)
		if receipt, err := gp.ParseReceipt(r); receipt != nil || err != nil {
			t.Fatal(err)
		}
	}
	command(gp.InstallForLoad{LoadFile: packageAID, Hash: blockHash(32, data), Parameters: gp.LoadParameters{Code: 4000}}.Command())
	commands, err := gp.LoadCommands(load, 223)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		command(c, nil)
	}
	command(gp.InstallForInstall{LoadFile: packageAID, Module: moduleAID, Application: appAID, Selectable: true,
		Parameters: gp.InstallParameters{Volatile: 100, NonVolatile: 1000}}.Command())
	command(gp.InstallForInstall{LoadFile: mustHex(SecurityDomainLoadFileAID), Module: mustHex(SecurityDomainModuleAID), Application: domainAID,
		Selectable: true, Privileges: gp.PrivilegeSecurityDomain | gp.PrivilegeAuthorizedManagement}.Command())
	command(gp.InstallForExtradition{Domain: domainAID, Object: appAID}.Command())
	reset := gp.PrivilegeCardLock
	command(gp.InstallForRegistryUpdate{Application: appAID, Privileges: &reset}.Command())
	entries, err := gp.ParseStatus(h.must(apdu.SWSuccess, cmd(insGetStatus, 0x40, 2, tlv.Encode(0x4F, appAID)...)))
	if err != nil || len(entries) != 1 || !bytes.Equal(entries[0].SecurityDomain, domainAID) || !bytes.Equal(entries[0].Privileges, unhex(t, "100000")) {
		t.Errorf("%+v, %v", entries, err)
	}
	command(gp.DeleteCommand(packageAID, true, nil))
	command(gp.DeleteCommand(domainAID, false, nil))
}

// FuzzParseCAP: whatever is loaded is a CAP file or refused, and what the host
// side reads the chip reads alike.
func FuzzParseCAP(f *testing.F) {
	f.Add(testCAP(1))
	f.Add(testCAP(1)[:30])
	f.Add(component(1, "decaffed"+"0102"+"04"+"0301"+"05f0cb000001"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if file, err := hostcap.Read(b); err == nil {
			c, err := parseCAP(file.LoadFileDataBlock(hostcap.BlockOptions{Descriptor: true, Custom: true}))
			for _, a := range file.Applets {
				if !bytes.Equal(a[:5], file.Package.AID[:5]) {
					return // the host leaves that to the card
				}
			}
			if err != nil {
				t.Fatalf("the host takes it: %v", err)
			}
			if !bytes.Equal(c.aid, file.Package.AID) || len(c.applets) != len(file.Applets) || len(c.imports) != len(file.Imports) ||
				c.major != file.Package.Version.Major || c.minor != file.Package.Version.Minor {
				t.Fatalf("%+v, the host has %+v", c, file)
			}
		}
		c, err := parseCAP(b)
		if err != nil {
			if !errors.Is(err, errCAP) {
				t.Fatal(err)
			}
			return
		}
		if !validAID(c.aid) {
			t.Fatalf("%X", c.aid)
		}
		for _, a := range c.applets {
			if !validAID(a) {
				t.Fatalf("%X", a)
			}
		}
	})
}

// FuzzContent throws the data fields of INSTALL, LOAD and DELETE at a chip
// with a session open, a load file announced.
func FuzzContent(f *testing.F) {
	f.Add(byte(insInstall), byte(installLoad), forLoad(packageAID, nil, nil, unhex(f, "EF04C6020001"), nil).Data)
	f.Add(byte(insInstall), byte(installBoth), forInstall(installBoth, packageAID, moduleAID, appAID, []byte{0}, unhex(f, "C900EF03CF0140")).Data)
	f.Add(byte(insLoad), byte(0x80), tlv.Encode(0xC4, testCAP(1)))
	f.Add(byte(insDelete), byte(0), tlv.Encode(0x4F, packageAID))
	f.Add(byte(insPutKey), byte(0), unhex(f, "70A103010001A00301000100"))
	f.Fuzz(func(t *testing.T, ins, p1 byte, data []byte) {
		if len(data) > apdu.MaxShortData {
			return
		}
		h, _ := newHost(t, 16)
		h.open(0x00)
		h.must(apdu.SWSuccess, forLoad(packageAID, nil, nil, nil, nil))
		if _, sw := h.send(cmd(ins, p1, 0, data...)); sw == apdu.SWNoPreciseDiagnosis {
			t.Fatal("the chip failed inside")
		}
	})
}
