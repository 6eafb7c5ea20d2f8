package gp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

// recording is a recorded conversation with a real card, whose answers are
// given again to the recorded commands, in their order.
type recording struct {
	ENC, MAC, DEK, NewKey, HostChallenge hexBytes
	Exchanges                            [][2]hexBytes

	next int
}

// realCard is a recording, which has to be played to its end.
func realCard(t *testing.T, name string) *recording {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	r := &recording{}
	if err := json.Unmarshal(b, r); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r.next != len(r.Exchanges) {
			t.Errorf("%d of %d commands were sent", r.next, len(r.Exchanges))
		}
	})
	return r
}

// open opens a secure channel with the domain that was selected.
func (r *recording) open(t *testing.T, level gp.Level) gp.Sender {
	t.Helper()
	ctx := t.Context()
	answer, err := gp.Plain(r)(ctx, gp.InitializeUpdateCommand(0, r.HostChallenge))
	if err != nil {
		t.Fatal(err)
	}
	iu, err := gp.ParseInitializeUpdate(answer.Data)
	if err != nil || !iu.PseudoRandom() {
		t.Fatalf("%+v %v", iu, err)
	}
	static, err := gp.NewSoftwareKeys(r.ENC, r.MAC, r.DEK)
	if err != nil {
		t.Fatal(err)
	}
	channel, ea, err := gp.OpenSCP03(ctx, static, iu, r.HostChallenge, gp.ISDAID, level)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(channel.Close)
	if sw, err := r.Transmit(ctx, ea); err != nil || !bytes.Equal(sw, []byte{0x90, 0x00}) {
		t.Fatalf("%X %v", sw, err)
	}
	return gp.Secure(channel, r)
}

// list is GET STATUS.
func list(t *testing.T, send gp.Sender, what byte) []gp.RegistryEntry {
	t.Helper()
	entries, err := gp.GetStatus(t.Context(), send, what)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func (r *recording) Transmit(_ context.Context, command []byte) ([]byte, error) {
	if r.next == len(r.Exchanges) {
		return nil, fmt.Errorf("%X after the end", command)
	}
	e := r.Exchanges[r.next]
	// Le, which no MAC covers, may be given where that host gave none.
	if !bytes.Equal(command, e[0]) && !bytes.Equal(command, append(bytes.Clone(e[0]), 0x00)) {
		return nil, fmt.Errorf("%X instead of %X", command, []byte(e[0]))
	}
	r.next++
	return e[1], nil
}

// TestRealCard takes stock of a card that no one here made: an NXP JCOP 4 in
// the configuration with SCP03, i = 70, at level 01. Every byte that the host
// sends has to be the one that the card took.
func TestRealCard(t *testing.T) {
	card := realCard(t, "jcop4-p71.json")
	ctx := t.Context()
	plain := gp.Plain(card)
	data := func(what string, r []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return r
	}
	get := func(tag uint16) []byte {
		t.Helper()
		r, err := plain(ctx, gp.GetDataCommand(tag))
		return data(fmt.Sprintf("GET DATA %04X", tag), r.Data, err)
	}

	r, err := plain(ctx, gp.SelectISDCommand())
	fci, err := gp.ParseFCI(data("SELECT", r.Data, err))
	if err != nil || !bytes.Equal(fci.AID, gp.ISDAID) || fci.MaxData != 255 {
		t.Fatalf("%+v %v", fci, err)
	}
	cplc, err := gp.ReadCPLC(ctx, plain)
	if err != nil || cplc.Serial() != "4790D321483955891920" {
		t.Errorf("CPLC %+v %v", cplc, err)
	}
	get(0x0042) // issuer identification number: a blank has none
	get(0x00CF)
	get(0x00C1)
	recognition, err := gp.ReadCardRecognition(ctx, plain)
	if want := (gp.CardRecognition{Version: "2.3", Channels: []gp.ChannelOption{{SCP: 3, I: 0x70}}}); err != nil || !cmp.Equal(recognition, want) {
		t.Errorf("card recognition data %+v %v", recognition, err)
	}
	get(0x0067)
	keys, err := gp.ReadKeyInformation(ctx, plain)
	if err != nil || len(keys) != 3 || !gp.HasKeyVersion(keys, 0x01) {
		t.Errorf("key information %+v %v", keys, err)
	}

	secure := card.open(t, 0x01)
	domain := []byte(gp.ISDAID)
	supplementary := []byte{0xA0, 0x00, 0x00, 0x01, 0x51, 0x53, 0x50}
	// This card's domain names its load file, and itself as its domain.
	want := []gp.RegistryEntry{{AID: domain, LifeCycle: 1, Privileges: []byte{0x9E, 0xFE, 0x80}, LoadFile: supplementary, SecurityDomain: domain}}
	if diff := cmp.Diff(want, list(t, secure, gp.ListISD)); diff != "" {
		t.Errorf("the domain (-want +got):\n%s", diff)
	}
	if got := list(t, secure, gp.ListApplications); len(got) != 0 {
		t.Errorf("applications: %+v", got)
	}
	files := list(t, secure, gp.ListLoadFilesAndModules)
	module := append(bytes.Clone(supplementary), 0x41)
	first := gp.RegistryEntry{AID: supplementary, LifeCycle: 1, Version: []byte{0xFF, 0xFF}, Modules: [][]byte{module}, SecurityDomain: domain}
	if len(files) != 4 || !cmp.Equal(files[0], first) {
		t.Errorf("load files: %+v", files)
	}
	if got := list(t, secure, gp.ListLoadFiles); len(got) != 4 || got[0].Modules != nil {
		t.Errorf("load files: %+v", got)
	}
}

// The same card at level 33: commands and answers are enciphered, and the
// counter goes on after an answer that carries no MAC, 6A88.
func TestRealCardEnciphered(t *testing.T) {
	card := realCard(t, "jcop4-p71-level33.json")
	if _, err := gp.Plain(card)(t.Context(), gp.SelectISDCommand()); err != nil {
		t.Fatal(err)
	}
	secure := card.open(t, 0x33)
	if got := list(t, secure, gp.ListISD); len(got) != 1 || !bytes.Equal(got[0].Privileges, []byte{0x9E, 0xFE, 0x80}) {
		t.Errorf("the domain: %+v", got)
	}
	if got := list(t, secure, gp.ListApplications); len(got) != 0 {
		t.Errorf("applications: %+v", got)
	}
	if got := list(t, secure, gp.ListLoadFilesAndModules); len(got) != 4 {
		t.Errorf("load files: %+v", got)
	}
}

// A JCOP 4 with factory keys, which have the version FF, takes a key set of
// the version 01: the keys travel under the factory DEK.
func TestRealCardTakesKeys(t *testing.T) {
	ctx := t.Context()
	card := realCard(t, "jcop4-p71-putkey.json")
	if _, err := gp.Plain(card)(ctx, gp.SelectISDCommand()); err != nil {
		t.Fatal(err)
	}
	secure := card.open(t, 0x01)
	keys, err := gp.ReadKeyInformation(ctx, secure)
	if err != nil || !gp.HasKeyVersion(keys, 0xFF) || gp.HasKeyVersion(keys, 0x01) {
		t.Errorf("key information %+v %v", keys, err)
	}
	dek, err := gp.NewSoftwareCipher(card.DEK)
	if err != nil {
		t.Fatal(err)
	}
	key, err := gp.NewKeyComponent(ctx, dek, card.NewKey)
	if err != nil {
		t.Fatal(err)
	}
	three := []gp.KeyComponent{key, key, key}
	r, err := secure(ctx, gp.PutKeyCommand(0x01, 1, three))
	if err != nil || !r.SW.OK() {
		t.Fatalf("PUT KEY: %v %v", r.SW, err)
	}
	if err := gp.CheckPutKeyResponse(r.Data, 0x01, three); err != nil {
		t.Error(err)
	}
}

// A JCOP 4 that holds more than one answer takes cuts its list anywhere: in the
// length of an entry, and before its last byte (hardware capture of the public
// project OpenPhysical/Gp4Net, tests/TestData/Hardware).
func TestRealCardCutsTheList(t *testing.T) {
	whole := unhex(t, "e3254f07a00000015153509f700101ce02ffff8408a000000151535041cc08a000000151000000"+
		"e3314f0da00000016443446f634c6974659f700101ce020100840ea00000016443446f634c69746501cc08a000000151000000"+
		"e31b4f07a00000006202049f700101ce020100cc08a000000151000000e31b4f07a00000006202029f700101ce020103cc08a000000151000000"+
		"e32a4f09a000000308000010009f700101ce02010a840ba000000308000010000100cc08a000000151000000"+
		"e32a4f0aa00000038200110001009f700101ce020100840aa0000003820011000101cc08a000000151000000"+
		"e32c4f06d276000124019f700101ce0201008410d276000124010304afaf000000000000cc08a000000151000000")
	want, err := gp.ParseStatus(whole)
	if err != nil || len(want) != 7 {
		t.Fatalf("%d entries, %v", len(want), err)
	}
	const recorded = 239 // where that card cut
	for _, cut := range []int{1, 2, recorded, len(whole) - 1} {
		first := true
		got, err := gp.GetStatus(t.Context(), func(_ context.Context, c apdu.Command) (apdu.Response, error) {
			if first != (c.P2 == 0x02) {
				t.Errorf("P2 = %02X", c.P2)
			}
			if first {
				first = false
				return apdu.Response{Data: whole[:cut], SW: 0x6310}, nil
			}
			return apdu.Response{Data: whole[cut:], SW: apdu.SWSuccess}, nil
		}, gp.ListLoadFilesAndModules)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("cut at %d (-want +got):\n%s", cut, diff)
		}
	}
}

// TestRealCardTookContent: the data fields of content management that a JCOP 4
// answered with 9000 (OpenPhysical/Gp4Net, tests/TestData/Hardware and the
// trace gp_pro_install_scp03).
func TestRealCardTookContent(t *testing.T) {
	fips, fipsModule := unhex(t, "a00000030800001000"), unhex(t, "a000000308000010000100")
	file, module := unhex(t, "a0000003820011000100"), unhex(t, "a0000003820011000101")
	supplementary, supplementaryModule := unhex(t, "a0000001515350"), unhex(t, "a000000151535041")
	domain := func(last byte, p gp.Privileges, parameters ...byte) gp.InstallForInstall {
		return gp.InstallForInstall{
			LoadFile: supplementary, Module: supplementaryModule, Application: append(bytes.Clone(supplementary), last),
			Privileges: p, Parameters: gp.InstallParameters{Application: parameters}, Selectable: true,
		}
	}
	for name, test := range map[string]struct {
		builder interface{ Command() (apdu.Command, error) }
		p1      byte
		data    string
	}{
		"for load": {gp.InstallForLoad{LoadFile: fips, Domain: gp.ISDAID}, 0x02, "09a0000003080000100008a000000151000000000000"},
		"for load to the selected domain": {gp.InstallForLoad{LoadFile: file}, 0x02,
			"0aa000000382001100010000000000"},
		"for install": {gp.InstallForInstall{LoadFile: fips, Module: fipsModule, Application: fipsModule, Selectable: true}, 0x0C,
			"09a000000308000010000ba0000003080000100001000ba000000308000010000100010002c90000"},
		"for install with parameters": {gp.InstallForInstall{
			LoadFile: file, Module: module, Application: unhex(t, "a00000038200110001a1"), Selectable: true,
			Parameters: gp.InstallParameters{Application: []byte{0xC9, 0x01, 0x01}},
		}, 0x0C, "0aa00000038200110001000aa00000038200110001010aa00000038200110001a1010005c903c9010100"},
		"domain with delegated management": {domain(0xD1, gp.PrivilegeDelegated), 0x0C,
			"07a000000151535008a00000015153504108a0000001515350d101a002c90000"},
		"domain that verifies": {domain(0xD4, gp.PrivilegeDAP), 0x0C,
			"07a000000151535008a00000015153504108a0000001515350d401c002c90000"},
		"domain that takes extradited applications": {domain(0xD3, gp.PrivilegeSecurityDomain, 0x82, 0x02, 0x20, 0x20), 0x0C,
			"07a000000151535008a00000015153504108a0000001515350d3018006c9048202202000"},
	} {
		c, err := test.builder.Command()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.P1 != test.p1 || c.P2 != 0 {
			t.Errorf("%s: P1 %02X P2 %02X", name, c.P1, c.P2)
		}
		equal(t, name, c.Data, unhex(t, test.data))
	}
	c, err := gp.DeleteCommand(unhex(t, "a00000038200110001a1"), true, nil)
	if err != nil || c.P2 != 0x80 {
		t.Errorf("DELETE: %v %v", c, err)
	}
	equal(t, "DELETE", c.Data, unhex(t, "4f0aa00000038200110001a1"))
}
