package gp_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

func TestContentCommands(t *testing.T) {
	file, module, app, domain := unhex(t, "a000000001"), unhex(t, "a00000000101"), unhex(t, "a0000002471001"), gp.ISDAID
	final := gp.PrivilegeFinalApplication
	type builder interface{ Command() (apdu.Command, error) }
	for name, test := range map[string]struct {
		builder builder
		want    string
	}{
		"load": {gp.InstallForLoad{LoadFile: file}, "80e602000a" + "05a000000001" + "00000000" + "00"},
		"load with all": {gp.InstallForLoad{
			LoadFile: file, Domain: domain, Hash: []byte{1, 2}, Token: []byte{9},
			Parameters: gp.LoadParameters{Code: 0x7FFF, Volatile: 1, NonVolatile: 0x8000},
		}, "80e6020025" + "05a000000001" + "08a000000151000000" + "020102" + "10" + "ef0e" + "c6027fff" + "c7020001" + "c80400008000" + "0109" + "00"},
		"install": {gp.InstallForInstall{LoadFile: file, Module: module, Application: app},
			"80e604001b" + "05a000000001" + "06a00000000101" + "07a0000002471001" + "0100" + "02c900" + "00" + "00"},
		"install and make selectable": {gp.InstallForInstall{
			LoadFile: file, Module: module, Application: app, Selectable: true, Privileges: gp.PrivilegeCardReset | gp.PrivilegeTrustedPath,
			Parameters: gp.InstallParameters{
				Application: []byte{7}, Volatile: 16, NonVolatile: 0x10000, Service: []byte{1, 2}, Implicit: []byte{0x80}, More: []byte{0xEA, 0},
			},
			Token: []byte{9},
		}, "80e60c0034" + "05a000000001" + "06a00000000101" + "07a0000002471001" + "03048000" +
			"18" + "c90107" + "ef11" + "c7020010" + "c80400010000" + "cb020102" + "cf0180" + "ea00" + "0109" + "00"},
		"make selectable": {gp.InstallForMakeSelectable{Application: app, Privileges: gp.PrivilegeCardReset},
			"80e608000e" + "0000" + "07a0000002471001" + "0104" + "0000" + "00"},
		"extradition": {gp.InstallForExtradition{Domain: domain, Object: app},
			"80e6100015" + "08a000000151000000" + "00" + "07a0000002471001" + "00" + "0000" + "00"},
		"registry update": {gp.InstallForRegistryUpdate{Application: app, Privileges: &final},
			"80e6400010" + "0000" + "07a0000002471001" + "03000200" + "0000" + "00"},
		"registry update of the domain": {gp.InstallForRegistryUpdate{Domain: domain, Parameters: []byte{0xEF, 0}},
			"80e6400010" + "08a000000151000000" + "00" + "00" + "00" + "02ef00" + "00" + "00"},
	} {
		c, err := test.builder.Command()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b, err := c.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		equal(t, name, b, unhex(t, test.want))
	}
	for name, b := range map[string]builder{
		"no load file":    gp.InstallForLoad{},
		"long domain":     gp.InstallForLoad{LoadFile: file, Domain: make([]byte, 17)},
		"short module":    gp.InstallForInstall{LoadFile: file, Module: file[:4], Application: app},
		"no application":  gp.InstallForMakeSelectable{},
		"no domain":       gp.InstallForExtradition{Object: app},
		"too long":        gp.InstallForLoad{LoadFile: file, Token: make([]byte, 250)},
		"short in update": gp.InstallForRegistryUpdate{Application: app[:4]},
	} {
		if c, err := b.Command(); err == nil {
			t.Errorf("%s: %v", name, c)
		}
	}
}

func TestDeleteAndLock(t *testing.T) {
	aid := unhex(t, "a000000001")
	command := func(c apdu.Command, err error) apdu.Command {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, test := range map[string]struct {
		command apdu.Command
		want    string
	}{
		"object":         {command(gp.DeleteCommand(aid, false, nil)), "80e40000074f05a00000000100"},
		"related":        {command(gp.DeleteCommand(aid, true, []byte{1, 2})), "80e400800b4f05a0000000019e02010200"},
		"key":            {command(gp.DeleteKeysCommand(1, 0x30)), "80e4000006d00101d2013000"},
		"version":        {command(gp.DeleteKeysCommand(0, 0x30)), "80e4000003d2013000"},
		"identifier":     {command(gp.DeleteKeysCommand(1, 0)), "80e4000003d0010100"},
		"domain":         {gp.SetDomainStatusCommand(aid, gp.ApplicationLocked), "80f0608005a000000001"},
		"status plain":   {gp.GetStatusPlainCommand(gp.ListLoadFilesAndModules, false), "80f21000024f0000"},
		"status plain 2": {gp.GetStatusPlainCommand(gp.ListLoadFiles, true), "80f22001024f0000"},
	} {
		b, err := test.command.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		equal(t, name, b, unhex(t, test.want))
	}
	for _, err := range []error{
		func() error { _, err := gp.DeleteCommand(aid[:4], false, nil); return err }(),
		func() error { _, err := gp.DeleteCommand(aid, false, make([]byte, 255)); return err }(),
		func() error { _, err := gp.DeleteKeysCommand(0, 0); return err }(),
	} {
		if err == nil {
			t.Error("was built")
		}
	}
}

// TestLoadCommands: the blocks, joined, are the load file again.
func TestLoadCommands(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		file := rapid.SliceOfN(rapid.Byte(), 1, 2000).Draw(rt, "file")
		n := rapid.IntRange(8, 255).Draw(rt, "block")
		commands, err := gp.LoadCommands(file, n)
		if err != nil {
			rt.Fatal(err)
		}
		var joined []byte
		for i, c := range commands {
			last := i == len(commands)-1
			if c.CLA != 0x80 || c.INS != 0xE8 || int(c.P2) != i || (c.P1 == 0x80) != last || !last && (c.P1 != 0 || len(c.Data) != n) {
				rt.Fatalf("block %d of %d: %v", i, len(commands), c)
			}
			joined = append(joined, c.Data...)
		}
		if !bytes.Equal(joined, file) {
			rt.Fatal("not the load file")
		}
	})
	if c, err := gp.LoadCommands(make([]byte, 256), 1); err != nil || c[255].P2 != 255 {
		t.Errorf("256 blocks: %v", err)
	}
	for _, test := range []struct {
		size, block int
		long        bool
	}{{0, 255, false}, {1, 0, false}, {1, 65536, false}, {257, 1, true}} {
		if _, err := gp.LoadCommands(make([]byte, test.size), test.block); err == nil || errors.Is(err, gp.ErrTooLong) != test.long {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

func TestReceipt(t *testing.T) {
	for s, want := range map[string]*gp.Receipt{
		"":                                      nil,
		"00":                                    nil,
		"0a" + "03010203" + "020007" + "020a0b": {Receipt: []byte{1, 2, 3}, Counter: 7, Domain: []byte{0x0A, 0x0B}, More: []byte{}},
		"810d" + "8103010203" + "020100" + "00" + "03aabbcc": {Receipt: []byte{1, 2, 3}, Counter: 256, Domain: []byte{}, More: []byte{3, 0xAA, 0xBB, 0xCC}},
	} {
		got, err := gp.ParseReceipt(unhex(t, s))
		if err != nil {
			t.Errorf("%s: %v", s, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", s, diff)
		}
	}
	for _, s := range []string{"01", "0100", "80", "82", "81", "0000", "020101", "050101010700", "0501010200" + "07", "060101020007" + "01", "070101020007" + "00" + "01"} {
		r, err := gp.ParseReceipt(unhex(t, s))
		if !errors.Is(err, gp.ErrMalformed) {
			t.Errorf("%s: %+v, %v", s, r, err)
		}
	}
}

func TestStatusFormats(t *testing.T) {
	pages := []apdu.Response{
		{Data: unhex(t, "05a000000001"+"0100"+"02"+"06a00000000101"+"06a00000000102"), SW: 0x6310},
		{Data: unhex(t, "05a000000002"+"0100"+"00"), SW: apdu.SWSuccess},
	}
	var sent []byte
	got, err := gp.GetStatusPlain(context.Background(), func(_ context.Context, c apdu.Command) (apdu.Response, error) {
		r := pages[0]
		pages, sent = pages[1:], append(sent, c.P1, c.P2)
		return r, nil
	}, gp.ListLoadFilesAndModules)
	if err != nil {
		t.Fatal(err)
	}
	want := []gp.RegistryEntry{
		{AID: unhex(t, "a000000001"), LifeCycle: 1, Privileges: []byte{0}, Modules: [][]byte{unhex(t, "a00000000101"), unhex(t, "a00000000102")}},
		{AID: unhex(t, "a000000002"), LifeCycle: 1, Privileges: []byte{0}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	equal(t, "P1 P2", sent, unhex(t, "10001001"))
	for _, s := range []string{"05", "05a000000001", "05a00000000101", "04a00000000100", "05a0000000010100", "05a000000001010001", "05a00000000101000106a0"} {
		_, err := gp.ParseStatusPlain(unhex(t, s), gp.ListLoadFilesAndModules)
		wantError(t, err, gp.ErrMalformed)
	}
	// Load file with version and modules; application with implicit selection.
	got, err = gp.ParseStatus(unhex(t, "e31b4f05a0000000019f700101c400ce0201038406a00000000101c500"+
		"e3114f05a0000000029f700107c50104cf0180"))
	want = []gp.RegistryEntry{
		{AID: unhex(t, "a000000001"), LifeCycle: 1, LoadFile: []byte{}, Privileges: []byte{}, Version: []byte{1, 3}, Modules: [][]byte{unhex(t, "a00000000101")}},
		{AID: unhex(t, "a000000002"), LifeCycle: 7, Privileges: []byte{4}, Implicit: []byte{0x80}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestPrivileges(t *testing.T) {
	for p, want := range map[gp.Privileges]string{
		0: "00", gp.PrivilegeMandatedDAP: "c1", gp.PrivilegeSecurityDomain | gp.PrivilegeAuthorizedManagement: "804000", gp.PrivilegeReceiptGeneration: "000080",
	} {
		equal(t, "privileges", p.Bytes(), unhex(t, want))
		if got, err := gp.ParsePrivileges(p.Bytes()); err != nil || got != p || !got.Has(p) || got.Has(p|gp.PrivilegeCVM) {
			t.Errorf("%X: %X, %v", p, got, err)
		}
	}
	for _, n := range []int{0, 2, 4} {
		_, err := gp.ParsePrivileges(make([]byte, n))
		wantError(t, err, gp.ErrMalformed)
	}
}
