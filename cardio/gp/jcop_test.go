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
	Key, HostChallenge hexBytes
	Exchanges          [][2]hexBytes

	next int
}

func (r *recording) Transmit(_ context.Context, command []byte) ([]byte, error) {
	if r.next == len(r.Exchanges) {
		return nil, fmt.Errorf("%X after the end", command)
	}
	e := r.Exchanges[r.next]
	if !bytes.Equal(command, e[0]) {
		return nil, fmt.Errorf("%X instead of %X", command, []byte(e[0]))
	}
	r.next++
	return e[1], nil
}

// TestRealCard takes stock of a card that no one here made: an NXP JCOP 4 in
// the configuration with SCP03, i = 70, at level 01. Every byte that the host
// sends has to be the one that the card took.
func TestRealCard(t *testing.T) {
	b, err := os.ReadFile("testdata/jcop4-p71.json")
	if err != nil {
		t.Fatal(err)
	}
	card := &recording{}
	if err := json.Unmarshal(b, card); err != nil {
		t.Fatal(err)
	}
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

	r, err = plain(ctx, gp.InitializeUpdateCommand(0, card.HostChallenge))
	iu, err := gp.ParseInitializeUpdate(data("INITIALIZE UPDATE", r.Data, err))
	if err != nil || !iu.PseudoRandom() {
		t.Fatalf("%+v %v", iu, err)
	}
	static, err := gp.NewSoftwareKeys(card.Key, card.Key, card.Key)
	if err != nil {
		t.Fatal(err)
	}
	channel, ea, err := gp.OpenSCP03(ctx, static, iu, card.HostChallenge, fci.AID, 0x01)
	if err != nil {
		t.Fatal(err)
	}
	defer channel.Close()
	if sw, err := card.Transmit(ctx, ea); err != nil || !bytes.Equal(sw, []byte{0x90, 0x00}) {
		t.Fatalf("%X %v", sw, err)
	}
	secure := gp.Secure(channel, card)
	list := func(what byte) []gp.RegistryEntry {
		t.Helper()
		entries, err := gp.GetStatus(ctx, secure, what)
		if err != nil {
			t.Fatal(err)
		}
		return entries
	}
	domain := []byte(gp.ISDAID)
	supplementary := []byte{0xA0, 0x00, 0x00, 0x01, 0x51, 0x53, 0x50}
	// This card's domain names its load file, and itself as its domain.
	want := []gp.RegistryEntry{{AID: domain, LifeCycle: 1, Privileges: []byte{0x9E, 0xFE, 0x80}, LoadFile: supplementary, SecurityDomain: domain}}
	if diff := cmp.Diff(want, list(gp.ListISD)); diff != "" {
		t.Errorf("the domain (-want +got):\n%s", diff)
	}
	if got := list(gp.ListApplications); len(got) != 0 {
		t.Errorf("applications: %+v", got)
	}
	files := list(gp.ListLoadFilesAndModules)
	module := append(bytes.Clone(supplementary), 0x41)
	first := gp.RegistryEntry{AID: supplementary, LifeCycle: 1, Version: []byte{0xFF, 0xFF}, Modules: [][]byte{module}, SecurityDomain: domain}
	if len(files) != 4 || !cmp.Equal(files[0], first) {
		t.Errorf("load files: %+v", files)
	}
	if got := list(gp.ListLoadFiles); len(got) != 4 || got[0].Modules != nil {
		t.Errorf("load files: %+v", got)
	}
	if card.next != len(card.Exchanges) {
		t.Errorf("%d of %d commands were sent", card.next, len(card.Exchanges))
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
