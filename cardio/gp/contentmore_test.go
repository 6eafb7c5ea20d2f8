package gp_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/tlv"
)

// TestParameters has every tag of GPC_SPE_034 table 11-49 where it belongs.
func TestParameters(t *testing.T) {
	reference := &gp.SignatureReference{
		DomainIdentification: []byte{1}, DomainImage: []byte{2}, Provider: []byte{3}, Token: []byte{4},
	}
	b6 := "b60d" + "420101" + "450102" + "5f200103" + "930104"
	for name, test := range map[string]struct {
		got  []byte
		want string
	}{
		"load": {gp.LoadParameters{Code: 1, Format: []byte{0x80}, DataBlock: []byte{5, 6}, Signature: reference}.Bytes(),
			"ef0b" + "c6020001" + "cd0180" + "dd020506" + b6},
		"load, reference alone": {gp.LoadParameters{Signature: reference}.Bytes(), b6},
		"nothing":               {gp.LoadParameters{}.Bytes(), ""},
		"install": {gp.InstallParameters{VolatileReserved: 2, NonVolatileReserved: 0x8000, UICC: []byte{7}, Implicit: []byte{0x81, 0x42}, Signature: reference}.Bytes(),
			"c900" + "ef13" + "d7020002" + "d80400008000" + "ca0107" + "cf0181" + "cf0142" + b6},
		"registry update": {gp.RegistryParameters{Service: []byte{8, 9}, Implicit: []byte{0x80}, Restrict: []byte{1}}.Bytes(), "ef0a" + "cb020809" + "cf0180" + "d90101"},
		"extradition":     {gp.RegistryParameters{Signature: reference}.Bytes(), b6},
	} {
		if !bytes.Equal(test.got, unhex(t, test.want)) {
			t.Errorf("%s: %x, want %s", name, test.got, test.want)
		}
	}
}

func TestCombinedProcess(t *testing.T) {
	file := unhex(t, "a000000001")
	first, err := gp.InstallForLoad{LoadFile: file, Combined: true}.Command()
	if err != nil || first.P1 != 0x0E || first.P2 != 0x01 {
		t.Errorf("%v, %v", first, err)
	}
	last, err := gp.InstallForInstall{LoadFile: file, Module: file, Application: file, Combined: true}.Command()
	if err != nil || last.P1 != 0x0C || last.P2 != 0x03 {
		t.Errorf("%v, %v", last, err)
	}
}

// TestMoreCommands: the pieces, joined, are the data again, and say which one
// is the last.
func TestMoreCommands(t *testing.T) {
	file := unhex(t, "a000000001")
	token := make([]byte, 256)
	load := gp.InstallForLoad{LoadFile: file, Token: token}
	if _, err := load.Command(); err == nil {
		t.Error("a long command was given as a short one")
	}
	for name, build := range map[string]func(int) ([]apdu.Command, error){
		"INSTALL":  load.Commands,
		"install":  gp.InstallForInstall{LoadFile: file, Module: file, Application: file, Token: token}.Commands,
		"select":   gp.InstallForMakeSelectable{Application: file, Token: token}.Commands,
		"extradit": gp.InstallForExtradition{Domain: file, Object: file, Token: token}.Commands,
		"registry": gp.InstallForRegistryUpdate{Application: file, Token: token}.Commands,
		"DELETE":   gp.Delete{AID: file, Token: token}.Commands,
	} {
		whole, err := build(apdu.MaxExtendedData)
		if err != nil || len(whole) != 1 || whole[0].P1&0x80 != 0 {
			t.Fatalf("%s: %v, %v", name, whole, err)
		}
		if raw, err := whole[0].Bytes(); err != nil || raw[4] != 0 {
			t.Errorf("%s has no extended length: %v", name, err)
		}
		parts, err := build(239)
		if err != nil || len(parts) != 2 {
			t.Fatalf("%s: %v, %v", name, parts, err)
		}
		var joined []byte
		for i, p := range parts {
			if more := p.P1&0x80 != 0; more != (i < len(parts)-1) || p.P1&0x7F != whole[0].P1 || p.INS != whole[0].INS || p.P2 != whole[0].P2 {
				t.Errorf("%s: %v of %d", name, p, i)
			}
			joined = append(joined, p.Data...)
		}
		equal(t, name, joined, whole[0].Data)
	}
	for _, n := range []int{0, 65536} {
		if _, err := load.Commands(n); err == nil {
			t.Errorf("commands of %d bytes", n)
		}
	}
	if _, err := gp.MoreCommands(apdu.Command{INS: 0xE8}, 1); err == nil {
		t.Error("LOAD was cut")
	}
	if _, err := (gp.Delete{}).Commands(255); err == nil {
		t.Error("nothing was deleted")
	}
}

// TestTokenData lays tokens' input out by hand (GPC_SPE_034 C.4): P1, P2, the
// length of what follows and the fields, whatever the token.
func TestTokenData(t *testing.T) {
	file, app, domain := unhex(t, "a000000001"), unhex(t, "a0000002471001"), gp.ISDAID
	token := []byte{1, 2, 3}
	type maker interface{ TokenData() ([]byte, error) }
	for name, test := range map[string]struct {
		command maker
		want    string
	}{
		"load": {gp.InstallForLoad{LoadFile: file, Domain: domain, Hash: []byte{9, 9}, Token: token},
			"0200" + "13" + "05a000000001" + "08a000000151000000" + "020909" + "00"},
		"install": {gp.InstallForInstall{LoadFile: file, Module: file, Application: app, Selectable: true, Token: token},
			"0c00" + "19" + "05a000000001" + "05a000000001" + "07a0000002471001" + "0100" + "02c900"},
		"make selectable": {gp.InstallForMakeSelectable{Application: app, Token: token}, "0800" + "0d" + "0000" + "07a0000002471001" + "0100" + "00"},
		"extradition":     {gp.InstallForExtradition{Domain: domain, Object: app, Token: token}, "1000" + "14" + "08a000000151000000" + "00" + "07a0000002471001" + "00" + "00"},
		"registry update": {gp.InstallForRegistryUpdate{Application: app, Token: token}, "4000" + "0c" + "0000" + "07a0000002471001" + "00" + "00"},
		"delete":          {gp.Delete{AID: app, Related: true, Token: token}, "0080" + "09" + "4f07a0000002471001"},
		"one byte of length": {gp.InstallForLoad{LoadFile: file, Parameters: gp.LoadParameters{DataBlock: make([]byte, 150)}},
			"0200" + "a6" + "05a000000001" + "00" + "00" + "819c" + "ef8199" + "dd8196" + strings.Repeat("00", 150)},
		"long": {gp.InstallForLoad{LoadFile: file, Hash: make([]byte, 64), Parameters: gp.LoadParameters{DataBlock: make([]byte, 200)}},
			"0200" + "000118" + "05a000000001" + "00" + "40" + strings.Repeat("00", 64) + "81ce" + "ef81cb" + "dd81c8" + strings.Repeat("00", 200)},
	} {
		got, err := test.command.TokenData()
		if err != nil || !bytes.Equal(got, unhex(t, test.want)) {
			t.Errorf("%s: %x, %v, want %s", name, got, err, test.want)
		}
	}
	for _, c := range []maker{gp.InstallForLoad{}, gp.Delete{}} {
		if _, err := c.TokenData(); err == nil {
			t.Errorf("%T of nothing has token data", c)
		}
	}
	c, err := gp.Delete{AID: app, Signature: &gp.SignatureReference{Token: []byte{7}}, Token: token}.Command()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "DELETE with B6 and 9E", c.Data, unhex(t, "4f07a0000002471001"+"b603930107"+"9e03010203"))
}

func TestStatusQuery(t *testing.T) {
	for name, test := range map[string]struct {
		q    gp.StatusQuery
		next bool
		want string
	}{
		"beginning": {gp.StatusQuery{What: gp.ListApplications, AID: unhex(t, "a000")}, false, "80f24002044f02a00000"},
		"tags":      {gp.StatusQuery{What: gp.ListLoadFiles, Tags: []tlv.Tag{0x9F70, 0x4F, 0xCE}}, true, "80f22003084f005c044f9f70ce00"},
		"plain":     {gp.StatusQuery{What: gp.ListISD, Plain: true, Tags: []tlv.Tag{0xC5}}, false, "80f28000024f0000"},
	} {
		b, err := test.q.Command(test.next).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		equal(t, name, b, unhex(t, test.want))
	}
	// The older format continues as the newer one does.
	answers := []apdu.Response{
		{Data: unhex(t, "05a0000000010100"+"01"+"06a00000000101"), SW: 0x6310},
		{Data: unhex(t, "05a0000000020100"+"00"), SW: apdu.SWSuccess},
	}
	got, err := gp.StatusQuery{What: gp.ListLoadFilesAndModules, Plain: true}.Run(context.Background(), func(_ context.Context, c apdu.Command) (apdu.Response, error) {
		r := answers[0]
		answers = answers[1:]
		return r, nil
	})
	if err != nil || len(got) != 2 || len(got[0].Modules) != 1 || len(got[1].Modules) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestStoreDataForms(t *testing.T) {
	for name, test := range map[string]struct {
		data       string
		format     gp.DataFormat
		encryption gp.DataEncryption
		o          gp.StoreDataOptions
		want       []string
	}{
		"TLV":           {"5f500141", gp.FormatTLV, gp.EncryptionUnstated, gp.StoreDataOptions{MaxData: 255}, []string{"80e29000045f500141"}},
		"unstated":      {"0102", gp.FormatUnstated, gp.EncryptionApplication, gp.StoreDataOptions{MaxData: 1}, []string{"80e220000101", "80e2a0010102"}},
		"response":      {"010100", gp.FormatDGI, gp.EncryptionDEK, gp.StoreDataOptions{MaxData: 255, Response: true}, []string{"80e2e9000301010000"}},
		"interindustry": {"010100", gp.FormatDGI, gp.EncryptionUnstated, gp.StoreDataOptions{MaxData: 255, Interindustry: true}, []string{"00e2880003010100"}},
		"nothing":       {"", gp.FormatUnstated, gp.EncryptionUnstated, gp.StoreDataOptions{MaxData: 255}, []string{"80e28000"}},
	} {
		commands, err := gp.StoreDataBytes(unhex(t, test.data), test.format, test.encryption, test.o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []string
		for _, c := range commands {
			b, err := c.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, hex.EncodeToString(b))
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	long := make([]byte, 300)
	if _, err := gp.StoreDataBytes(long, gp.FormatDGI, 0, gp.StoreDataOptions{MaxData: 1}); !errors.Is(err, gp.ErrTooLong) {
		t.Error(err)
	}
	wrapped, err := gp.StoreDataBytes(long, gp.FormatDGI, 0, gp.StoreDataOptions{MaxData: 1, Wrap: true})
	if err != nil || len(wrapped) != 300 || wrapped[255].P2 != 0xFF || wrapped[256].P2 != 0 || wrapped[299].P1 != 0x88 {
		t.Errorf("%d blocks, %v", len(wrapped), err)
	}
	for _, err := range []error{
		func() error {
			_, err := gp.StoreDataBytes(long, gp.FormatTLV|gp.FormatDGI, 0, gp.StoreDataOptions{MaxData: 255})
			return err
		}(),
		func() error {
			_, err := gp.StoreDataBytes(long, gp.FormatDGI, 0x40, gp.StoreDataOptions{MaxData: 255})
			return err
		}(),
		func() error {
			_, err := gp.StoreDataBytes([]byte{0x5F}, gp.FormatTLV, 0, gp.StoreDataOptions{MaxData: 255})
			return err
		}(),
	} {
		if err == nil {
			t.Error("was built")
		}
	}
}

func TestPutPublicKeys(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	r := rsaKey(t, 1024)
	c, err := gp.PutPublicKeys(0, 0x70, 1, ec.Public(), r.Public())
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Concat([]byte{0x70, 0xB0, 97}, point, []byte{0xF0, 1, 1, 0}, []byte{0xA1, 0x81, 128}, r.N.Bytes(), []byte{0xA0, 3, 1, 0, 1, 0})
	if !bytes.Equal(c.Data, want) || c.P1 != 0 || c.P2 != 0x81 || c.INS != 0xD8 {
		t.Errorf("%v %x, want %x", c, c.Data, want)
	}
	if c, err = gp.PutPublicKeys(0x73, 0x73, 2, ec.Public()); err != nil || c.P1 != 0x73 || c.P2 != 2 {
		t.Errorf("%v, %v", c, err)
	}
	if err := gp.CheckPutKeyResponse([]byte{0x73}, 0x73, nil); err != nil {
		t.Error(err)
	}
	if _, err := gp.PutPublicKeys(0, 1, 1); err == nil {
		t.Error("no key was put")
	}
	if _, err := gp.PutPublicKeys(0, 1, 1, crypto.PublicKey("key")); err == nil {
		t.Error("a string was put")
	}
}

func TestWords(t *testing.T) {
	for want, got := range map[string]string{
		"SECURED": gp.CardStateName(0x0F), "CARD_LOCKED": gp.CardStateName(0x7F), "TERMINATED": gp.CardStateName(0xFF),
		"OP_READY": gp.CardStateName(1), "INITIALIZED": gp.CardStateName(7), "state 02": gp.CardStateName(2),
		"SELECTABLE": gp.ApplicationStateName(7), "INSTALLED": gp.ApplicationStateName(3), "LOCKED": gp.ApplicationStateName(0x83),
		"SELECTABLE, of its own 0F": gp.ApplicationStateName(0x0F), "PERSONALIZED": gp.DomainStateName(0x0F), "LOADED": gp.LoadFileStateName(1),
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	p := gp.PrivilegeDAP | gp.PrivilegeFinalApplication | 1
	if diff := cmp.Diff([]string{"Security Domain", "DAP Verification", "Final Application", "privileges 000001"}, p.Names()); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"card-reset", "Card Reset", "CARD RESET"} {
		if got, ok := gp.PrivilegeNamed(name); !ok || got != gp.PrivilegeCardReset {
			t.Errorf("%s: %X", name, got)
		}
	}
	if _, ok := gp.PrivilegeNamed("root"); ok {
		t.Error("root is a privilege")
	}
	if gp.KeyTypeName(0x88) != "AES" || gp.KeyTypeName(0x77) != "type 77" {
		t.Error("key types")
	}
}

func TestCardResources(t *testing.T) {
	for _, s := range []string{"ff210d" + "810105" + "820400012000" + "83020800", "810105" + "820400012000" + "83020800"} {
		got, err := gp.ParseCardResources(unhex(t, s))
		if err != nil || got != (gp.CardResources{Applications: 5, NonVolatile: 0x12000, Volatile: 0x800}) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if got, err := gp.ParseCardResources(unhex(t, "820200ff")); err != nil || got != (gp.CardResources{Applications: -1, NonVolatile: 255, Volatile: -1}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, s := range []string{"", "ff2100", "8100", "81050000000000", "81"} {
		_, err := gp.ParseCardResources(unhex(t, s))
		wantError(t, err, gp.ErrMalformed)
	}
}

func TestSelectDomain(t *testing.T) {
	answer := func(sw apdu.StatusWord) gp.Sender {
		return func(context.Context, apdu.Command) (apdu.Response, error) {
			return apdu.Response{Data: []byte{0x6F, 0}, SW: sw}, nil
		}
	}
	for sw, want := range map[apdu.StatusWord]bool{0x9000: false, 0x6283: true} {
		fci, locked, err := gp.SelectDomain(t.Context(), answer(sw), nil)
		if err != nil || locked != want || len(fci) != 2 {
			t.Errorf("%v: locked %v, %v", sw, locked, err)
		}
	}
	_, _, err := gp.SelectDomain(t.Context(), answer(apdu.SWFileNotFound), gp.ISDAID)
	wantError(t, err, apdu.SWFileNotFound)
}
