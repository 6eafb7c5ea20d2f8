package gp_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// cplcSample is laid out by hand: each field's value is its position.
const cplcSample = "4790" + "5167" + "4791" + "2348" + "0100" + "2345" + "00112233" + "6789" + "4812" + "3456" +
	"4813" + "3457" + "1b1c" + "3458" + "00000001" + "1d1e" + "3459" + "00000002"

func TestCPLC(t *testing.T) {
	for _, s := range []string{cplcSample, "9f7f2a" + cplcSample} {
		c, err := gp.ParseCPLC(unhex(t, s))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Serial(); got != "47905167678900112233" {
			t.Errorf("serial %s", got)
		}
		if c.ICSerialNumber != 0x00112233 || c.ICBatch != 0x6789 || c.PersonalizationEquipmentID != 2 || c.OSReleaseLevel != 0x0100 {
			t.Errorf("fields are in the wrong place: %+v", c)
		}
		equal(t, "written again", c.Bytes(), unhex(t, cplcSample))
	}
	for _, s := range []string{"", "9f7f", "9f7f29" + cplcSample[2:], "9f7e2a" + cplcSample, "9f7f2a" + cplcSample + "00"} {
		_, err := gp.ParseCPLC(unhex(t, s))
		wantError(t, err, gp.ErrMalformed)
	}
}

func TestKeyInformation(t *testing.T) {
	got, err := gp.ParseKeyInformation(unhex(t, "e018"+"c00401308810"+"c00402308810"+"c00403308810"+"c0040131"+"8820"))
	if err != nil {
		t.Fatal(err)
	}
	aes := func(id, version byte, n int) gp.KeyInformation {
		return gp.KeyInformation{ID: id, Version: version, Components: []gp.KeyType{{Type: gp.KeyTypeAES, Length: n}}}
	}
	if diff := cmp.Diff([]gp.KeyInformation{aes(1, 0x30, 16), aes(2, 0x30, 16), aes(3, 0x30, 16), aes(1, 0x31, 32)}, got); diff != "" {
		t.Error(diff)
	}
	if !gp.HasKeyVersion(got, 0x30) || gp.HasKeyVersion(got, 0x31) || gp.HasKeyVersion(got, 0x32) {
		t.Error("a key set is three keys of one version")
	}
	extended, err := gp.ParseKeyInformation(unhex(t, "e00c"+"c00a0171"+"ff880020"+"0118"+"0100"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]gp.KeyInformation{aes(1, 0x71, 32)}, extended); diff != "" {
		t.Error(diff)
	}
	for _, s := range []string{"", "e1", "e004c0020130", "e007c00501308810ff", "e005c00301ff88", "e006c0040130ff88", "e002c0"} {
		_, err := gp.ParseKeyInformation(unhex(t, s))
		wantError(t, err, gp.ErrMalformed)
	}
}

func TestCardRecognition(t *testing.T) {
	// GPC_SPE_034 H.2: the template of a 2.3.1 card with SCP03 i=70 and SCP02 i=55.
	b := unhex(t, "663e733c"+"06072a864886fc6b01"+"600c060a2a864886fc6b02020301"+"630906072a864886fc6b03"+
		"640b06092a864886fc6b040370"+"640b06092a864886fc6b040255")
	got, err := gp.ParseCardRecognition(b)
	if err != nil {
		t.Fatal(err)
	}
	want := gp.CardRecognition{Version: "2.3.1", Channels: []gp.ChannelOption{{SCP: 3, I: 0x70}, {SCP: 2, I: 0x55}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, s := range []string{"", "6600", "66027300ff", "660473026001"} {
		if _, err := gp.ParseCardRecognition(unhex(t, s)); err != nil {
			wantError(t, err, gp.ErrMalformed)
		}
	}
	// Other people's identifiers are passed over.
	got, err = gp.ParseCardRecognition(unhex(t, "660d730b"+"640906072a864886fc6c01"))
	if err != nil || len(got.Channels) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestFCI(t *testing.T) {
	got, err := gp.ParseFCI(unhex(t, "6f108408a000000151000000a5049f6501ff"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(gp.FCI{AID: gp.ISDAID, MaxData: 255}, got); diff != "" {
		t.Error(diff)
	}
	for _, s := range []string{"", "6f00", "6f068404a0000001", "6fff"} {
		_, err := gp.ParseFCI(unhex(t, s))
		wantError(t, err, gp.ErrMalformed)
	}
}

func TestGetStatusContinues(t *testing.T) {
	ctx := context.Background()
	entry := "e3134f08a0000001510000009f70010fc503800000"
	pages := []apdu.Response{
		{Data: unhex(t, entry), SW: 0x6310},
		{Data: unhex(t, "e3214f07a00000024710019f700107c50100c405a000000001cc08a000000151000000"), SW: apdu.SWSuccess},
	}
	var sent []apdu.Command
	got, err := gp.GetStatus(ctx, func(_ context.Context, c apdu.Command) (apdu.Response, error) {
		sent = append(sent, c)
		r := pages[0]
		pages = pages[1:]
		return r, nil
	}, gp.ListApplications)
	if err != nil {
		t.Fatal(err)
	}
	want := []gp.RegistryEntry{
		{AID: gp.ISDAID, LifeCycle: 0x0F, Privileges: []byte{0x80, 0, 0}},
		{AID: unhex(t, "a0000002471001"), LifeCycle: 0x07, Privileges: []byte{0}, LoadFile: unhex(t, "a000000001"), SecurityDomain: gp.ISDAID},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(sent) != 2 || sent[0].P2 != 0x02 || sent[1].P2 != 0x03 {
		t.Errorf("sent %v", sent)
	}
	answer := func(r apdu.Response) gp.Sender {
		return func(context.Context, apdu.Command) (apdu.Response, error) { return r, nil }
	}
	if got, err := gp.GetStatus(ctx, answer(apdu.Response{SW: apdu.SWReferencedDataNotFound}), gp.ListISD); got != nil || err != nil {
		t.Errorf("no entries: %v, %v", got, err)
	}
	_, err = gp.GetStatus(ctx, answer(apdu.Response{SW: apdu.SWSecurityStatusNotSatisfied}), gp.ListISD)
	wantError(t, err, apdu.SWSecurityStatusNotSatisfied)
	_, err = gp.GetStatus(ctx, answer(apdu.Response{Data: unhex(t, entry), SW: 0x6310}), gp.ListISD)
	wantError(t, err, gp.ErrMalformed) // a card that never ends
	for _, s := range []string{"e3", "e200", "e300", "e3029f70", "e3039f7000"} {
		_, err = gp.ParseStatus(unhex(t, s))
		wantError(t, err, gp.ErrMalformed)
	}
}

func TestInitializeUpdateAnswers(t *testing.T) {
	// Every i that changes the length, and every length: only the right one is read.
	for i, want := range map[byte]int{0x60: 29, 0x70: 32, 0x61: 45, 0x71: 48} {
		b := make([]byte, 64)
		copy(b, traceAt(t, gp.LevelFull).InitUpdateResponse[:12])
		b[12] = i
		for n := range len(b) {
			iu, err := gp.ParseInitializeUpdate(b[:n])
			if n != want {
				wantError(t, err, gp.ErrMalformed)
			} else if err != nil || len(iu.CardChallenge) != int(gp.ModeOf(i)) {
				t.Errorf("i=%02X: %+v, %v", i, iu, err)
			}
		}
	}
	b := append([]byte(nil), traceAt(t, gp.LevelFull).InitUpdateResponse...)
	b[11] = 0x01
	_, err := gp.ParseInitializeUpdate(b)
	wantError(t, err, gp.ErrUnsupported)
	b[11] = 0x02
	for n := range len(b) {
		iu, err := gp.ParseInitializeUpdate(b[:n])
		switch {
		case n != 28:
			wantError(t, err, gp.ErrMalformed)
		case err != nil || iu.SCP != 2 || len(iu.SequenceCounter) != 2 || len(iu.CardChallenge) != 6 || len(iu.CardCryptogram) != 8:
			t.Errorf("SCP02: %+v, %v", iu, err)
		}
	}
}

func TestCommandBytes(t *testing.T) {
	aid := unhex(t, "a0000002471001")
	for name, test := range map[string]struct {
		command apdu.Command
		want    string
	}{
		"SELECT":                        {gp.SelectCommand(aid), "00a4040007a000000247100100"},
		"SELECT ISD":                    {gp.SelectISDCommand(), "00a4040000"},
		"GET DATA CPLC":                 {gp.GetDataCommand(gp.TagCPLC), "80ca9f7f00"},
		"INSTALL [for personalization]": {gp.InstallForPersonalizationCommand(aid), "80e620000d000007a000000247100100000000"},
		"SET STATUS card":               {gp.SetCardStatusCommand(gp.CardSecured), "80f0800f"},
		"SET STATUS application":        {gp.SetApplicationStatusCommand(aid, gp.ApplicationLocked), "80f0408007a0000002471001"},
		"GET STATUS":                    {gp.GetStatusCommand(gp.ListISD, false), "80f28002024f0000"},
	} {
		b, err := test.command.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		equal(t, name, b, unhex(t, test.want))
	}
}

func TestPutKey(t *testing.T) {
	ctx := context.Background()
	dek, err := gp.NewSoftwareCipher(unhex(t, "202122232425262728292a2b2c2d2e2f"))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{16, 24, 32} {
		var components []gp.KeyComponent
		answer := []byte{0x31}
		for i := range 3 {
			key := bytes.Repeat([]byte{byte(0x10*i + size)}, size)
			k, err := gp.NewKeyComponent(ctx, dek, key)
			if err != nil {
				t.Fatal(err)
			}
			clear, err := dek.DecryptCBC(ctx, make([]byte, 16), k.Ciphertext)
			if err != nil {
				t.Fatal(err)
			}
			if len(clear) != gp.PaddedKeySize(size) || !bytes.Equal(clear[:size], key) {
				t.Errorf("key %d of %d bytes travels as %d", i+1, size, len(clear))
			}
			components = append(components, k)
			answer = append(answer, k.KCV...)
		}
		c := gp.PutKeyCommand(0x31, 1, components)
		if c.INS != 0xD8 || c.P1 != 0 || c.P2 != 0x81 || c.Data[0] != 0x31 {
			t.Errorf("header %v", c)
		}
		padded := gp.PaddedKeySize(size)
		if len(c.Data) != 1+3*(3+padded+4) || c.Data[1] != 0x88 || int(c.Data[2]) != padded+1 || int(c.Data[3]) != size || c.Data[4+padded] != 3 {
			t.Errorf("layout of %d-byte keys: %d bytes of data", size, len(c.Data))
		}
		if err := gp.CheckPutKeyResponse(answer, 0x31, components); err != nil {
			t.Error(err)
		}
		for i := range answer {
			bad := append([]byte(nil), answer...)
			bad[i] ^= 1
			wantError(t, gp.CheckPutKeyResponse(bad, 0x31, components), gp.ErrKCV)
			if i > 0 {
				wantError(t, gp.CheckPutKeyResponse(answer[:i], 0x31, components), gp.ErrMalformed)
			}
		}
		wantError(t, gp.CheckPutKeyResponse(append(answer, 0), 0x31, components), gp.ErrMalformed)
	}
	if c := gp.ReplaceKeyCommand(0x30, 0x31, 2, make([]gp.KeyComponent, 1)); c.P1 != 0x30 || c.P2 != 2 {
		t.Errorf("one key replaced: %v", c)
	}
}

func TestStoreData(t *testing.T) {
	commands, err := gp.StoreData([]gp.DGI{{ID: 0x0101, Value: []byte{1, 2, 3}}, {ID: 0x7FFF}}, gp.StoreDataOptions{MaxData: 6})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"80e2080006010103010203", "80e28801037fff00"} {
		b, err := commands[i].Bytes()
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "block", b, unhex(t, want))
	}
	enciphered, err := gp.StoreData([]gp.DGI{{ID: 0x8001, Value: make([]byte, 32)}}, gp.StoreDataOptions{Enciphered: true, MaxData: 239})
	if err != nil || len(enciphered) != 1 || enciphered[0].P1 != 0xE8 {
		t.Errorf("%v, %v", enciphered, err)
	}
	for name, test := range map[string]struct {
		dgis    []gp.DGI
		options gp.StoreDataOptions
		long    bool
	}{
		"nothing":       {nil, gp.StoreDataOptions{MaxData: 239}, false},
		"no block size": {[]gp.DGI{{ID: 1}}, gp.StoreDataOptions{}, false},
		"huge blocks":   {[]gp.DGI{{ID: 1}}, gp.StoreDataOptions{MaxData: 65536}, false},
		"half a block":  {[]gp.DGI{{ID: 1, Value: make([]byte, 15)}}, gp.StoreDataOptions{MaxData: 239, Enciphered: true}, false},
		"257 blocks":    {[]gp.DGI{{ID: 1, Value: make([]byte, 256)}}, gp.StoreDataOptions{MaxData: 1}, true},
		"65,536 bytes":  {[]gp.DGI{{ID: 1, Value: make([]byte, 65536)}}, gp.StoreDataOptions{MaxData: 255}, true},
	} {
		_, err := gp.StoreData(test.dgis, test.options)
		if err == nil || errors.Is(err, gp.ErrTooLong) != test.long {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStoreDataStream: the blocks, joined, are the groupings again.
func TestStoreDataStream(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var dgis []gp.DGI
		for range rapid.IntRange(1, 5).Draw(rt, "groupings") {
			dgis = append(dgis, gp.DGI{
				ID:    rapid.Uint16().Draw(rt, "id"),
				Value: make([]byte, rapid.SampledFrom([]int{0, 1, 0xFE, 0xFF, 0x100, 700}).Draw(rt, "size")),
			})
		}
		n := rapid.IntRange(30, 255).Draw(rt, "block")
		commands, err := gp.StoreData(dgis, gp.StoreDataOptions{MaxData: n})
		if err != nil {
			rt.Fatal(err)
		}
		var stream []byte
		for i, c := range commands {
			last := i == len(commands)-1
			if int(c.P2) != i || (c.P1 == 0x88) != last || !last && (c.P1 != 0x08 || len(c.Data) != n) {
				rt.Fatalf("block %d of %d: %v", i, len(commands), c)
			}
			stream = append(stream, c.Data...)
		}
		for _, d := range dgis {
			if got := uint16(stream[0])<<8 | uint16(stream[1]); got != d.ID {
				rt.Fatalf("DGI %04X where %04X belongs", got, d.ID)
			}
			length, stream2 := int(stream[2]), stream[3:]
			if length == 0xFF {
				length, stream2 = int(stream[3])<<8|int(stream[4]), stream[5:]
			}
			if length != len(d.Value) {
				rt.Fatalf("length %d, want %d", length, len(d.Value))
			}
			stream = stream2[length:]
		}
		if len(stream) != 0 {
			rt.Fatalf("%d bytes are left over", len(stream))
		}
	})
}

// TestStoreDataMixed: a block holds enciphered groupings or plain ones, the
// blocks are counted through, and P1 is the EMV Card Personalization
// Specification's where that is asked for.
func TestStoreDataMixed(t *testing.T) {
	dgis := []gp.DGI{
		{ID: 0x0101, Value: make([]byte, 20)},
		{ID: 0x8000, Value: make([]byte, 48), Enciphered: true},
		{ID: 0x8010, Value: make([]byte, 8), Enciphered: true},
		{ID: 0x9000, Value: make([]byte, 9)},
		{ID: 0x7FFF},
	}
	emv := &gp.StoreDataP1{Plain: 0x00, Enciphered: 0x60, Last: 0x80}
	for _, c := range []struct {
		name string
		o    gp.StoreDataOptions
		want []string // P1, P2 and size
	}{
		{"GlobalPlatform", gp.StoreDataOptions{MaxData: 255}, []string{"08 00 23", "68 01 62", "88 02 15"}},
		{"EMV CPS", gp.StoreDataOptions{MaxData: 255, P1: emv}, []string{"00 00 23", "60 01 62", "80 02 15"}},
		{"cut", gp.StoreDataOptions{MaxData: 40, P1: emv}, []string{"00 00 23", "60 01 40", "60 02 22", "80 03 15"}},
		{"one a command", gp.StoreDataOptions{MaxData: 255, P1: emv, OnePerCommand: true}, []string{"00 00 23", "60 01 51", "60 02 11", "00 03 12", "80 04 3"}},
		{"no last", gp.StoreDataOptions{MaxData: 255, P1: &gp.StoreDataP1{Plain: 0x00, Enciphered: 0x60}}, []string{"00 00 23", "60 01 62", "00 02 15"}},
	} {
		cmds, err := gp.StoreData(dgis, c.o)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, cmd := range cmds {
			got = append(got, fmt.Sprintf("%02X %02X %d", cmd.P1, cmd.P2, len(cmd.Data)))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	dgis[1].Value = make([]byte, 47)
	if _, err := gp.StoreData(dgis, gp.StoreDataOptions{MaxData: 255}); err == nil {
		t.Error("an enciphered grouping of 47 bytes was packed")
	}
}
