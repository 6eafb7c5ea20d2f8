package lds_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"maps"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds"
	"cardbureau/cardio/lds/sod"
	"cardbureau/cardio/lds/sod/sodtest"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/jmrtd"
)

// activeDocument is a document with active and without chip authentication, as
// the open-source applet holds it.
type activeDocument struct {
	files map[uint16][]byte
	key   *rsa.PrivateKey
	trust *sod.Trust
}

func newActiveDocument(t testing.TB, portrait int) activeDocument {
	t.Helper()
	issuer := sodtest.New(t)
	csca, err := sod.ParseCertificates(issuer.CSCA("secp384r1"))
	if err != nil {
		t.Fatal(err)
	}
	issuer.Signer("prime256v1", sodtest.SignerExtensions)
	d := activeDocument{}
	if d.trust, err = sod.NewTrust(csca...); err != nil {
		t.Fatal(err)
	}
	if d.key, err = rsa.GenerateKey(rand.Reader, 1024); err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&d.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	groups := map[int][]byte{1: tlv.Encode(0x61, tlv.Encode(0x5F1F, []byte(td1()))), 2: dg2(t, portrait), 15: tlv.Encode(0x6F, spki)}
	d.files = map[uint16][]byte{
		lds.FileCOM: tlv.Encode(0x60, tlv.Encode(0x5F01, []byte("0108")), tlv.Encode(0x5F36, []byte("040000")), tlv.Encode(0x5C, []byte{0x61, 0x75, 0x6F})),
		lds.FileSOD: issuer.SOD(groups, "-md", "sha256"),
	}
	for n, g := range groups {
		d.files[lds.FileDG(n)] = g
	}
	return d
}

// card writes the document to the applet, in plain.
func (d activeDocument) card(t testing.TB, fork bool) *virtual.Chip {
	t.Helper()
	key := bytes.Repeat([]byte{0x42}, 16)
	blank := virtual.LDSBlank(virtual.NewSerial(1, 1), virtual.Keys{Version: 0x30, ENC: key, MAC: key, DEK: key})
	factory := func() virtual.Applet { return jmrtd.New() }
	files := maps.Clone(d.files)
	if fork {
		factory = func() virtual.Applet { return jmrtd.NewPACE() }
		files[lds.FileCardAccess] = fromHex(t, "31143012060A04007F0007020204020202010202010C")
	}
	chip, err := virtual.New(virtual.Config{Blank: &blank, Applets: map[string]func() virtual.Applet{jmrtd.AID: factory}})
	if err != nil {
		t.Fatal(err)
	}
	send := func(ins, p1, p2 byte, data []byte) {
		t.Helper()
		if _, err := apdu.Must(context.Background(), chip, apdu.Command{INS: ins, P1: p1, P2: p2, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	send(0xDA, 0, 0x62, tlv.Encode(0x62, tlv.Encode(0x04, []byte(number)), tlv.Encode(0x04, []byte(birth)), tlv.Encode(0x04, []byte(expiry))))
	send(0xDA, 0, 0x60, append([]byte{0x60, 0}, tlv.Encode(0x04, d.key.N.FillBytes(make([]byte, 128)))...))
	send(0xDA, 0, 0x61, append([]byte{0x61, 0}, tlv.Encode(0x04, d.key.D.FillBytes(make([]byte, 128)))...))
	for id, b := range files {
		send(0xE0, 0, 0, []byte{0x63, 4, byte(len(b) >> 8), byte(len(b)), byte(id >> 8), byte(id)})
		send(0xA4, 2, 0x0C, []byte{byte(id >> 8), byte(id)})
		for at := 0; at < len(b); at += 255 {
			send(0xD6, byte(at>>8), byte(at), b[at:min(at+255, len(b))])
		}
	}
	if fork {
		send(0xDA, 0, 0x65, tlv.Encode(0x65, tlv.Encode(0x66, append([]byte{2}, can...))))
		send(0xDA, 0xDE, 0xAF, nil)
	}
	send(0xDA, 0xDE, 0xAD, nil)
	chip.Reset()
	return chip
}

// A document on the open-source applet, which has no EF.CardAccess, gives
// fewer bytes than it is asked for and takes Le = 00 for zero, passes every
// check; so does one on its fork, which knows no SELECT of the application
// under secure messaging.
func TestInspectPlaintextApplet(t *testing.T) {
	d := newActiveDocument(t, 9_000)
	byCAN, byMRZ := passwords(t)
	withAccess := maps.Clone(d.files)
	withAccess[lds.FileCardAccess] = fromHex(t, "31143012060A04007F0007020204020202010202010C")
	for name, c := range map[string]struct {
		fork bool
		o    lds.Options
		by   string
	}{
		"applet":                     {false, lds.Options{Password: byMRZ}, lds.CheckBAC},
		"applet, the maker's proof":  {false, lds.Options{Password: byMRZ, Expected: d.files, AvoidLe00: true}, lds.CheckBAC},
		"applet, BAC asked for":      {false, lds.Options{Password: byMRZ, BAC: true}, lds.CheckBAC},
		"fork with CAN":              {true, lds.Options{Password: byCAN}, lds.CheckPACE},
		"fork with MRZ, the maker's": {true, lds.Options{Password: byMRZ, Expected: withAccess, AvoidLe00: true}, lds.CheckPACE},
		"fork by BAC":                {true, lds.Options{Password: byMRZ, BAC: true}, lds.CheckBAC},
		"applet, another block":      {false, lds.Options{Password: byMRZ, Block: 226}, lds.CheckBAC},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Trust = d.trust
			doc, report := lds.Inspect(context.Background(), d.card(t, c.fork), c.o)
			if !report.OK() || !report.Held(lds.CheckActive) || !report.Held(c.by) {
				t.Fatalf("refused:\n%s", report)
			}
			for n, file := range doc.Groups {
				if !bytes.Equal(file, d.files[lds.FileDG(n)]) {
					t.Errorf("DG%d is another", n)
				}
			}
			if len(doc.Groups) != 3 {
				t.Errorf("%d data groups", len(doc.Groups))
			}
		})
	}
}

// A copy of the files on a chip with a key of its own is found out, whichever
// public key it shows.
func TestInspectCopiedChip(t *testing.T) {
	_, byMRZ := passwords(t)
	d := newActiveDocument(t, 600)
	other := newActiveDocument(t, 600)
	d.key = other.key
	shows := d
	shows.files = maps.Clone(d.files)
	shows.files[lds.FileDG(15)] = other.files[lds.FileDG(15)]
	for name, d := range map[string]activeDocument{"the signed DG15": d, "a DG15 of its own": shows} {
		t.Run(name, func(t *testing.T) {
			_, report := lds.Inspect(context.Background(), d.card(t, false), lds.Options{Password: byMRZ, Trust: d.trust})
			if report.OK() || report.Held(lds.CheckActive) || !errors.Is(report.Err(), lds.ErrActiveAuthentication) {
				t.Errorf("accepted:\n%s", report)
			}
		})
	}
}

// AvoidLe00 never sends Le = 00 in plain, whatever remains of a file.
func TestReaderAvoidsLe00(t *testing.T) {
	chip := newActiveDocument(t, 600).card(t, true)
	for _, block := range []int{0, 256, 300} {
		card := &counter{Card: chip, between: func(_ int, command []byte) []byte {
			c, err := apdu.Parse(command)
			switch {
			case err != nil:
				t.Fatal(err)
			case c.INS == 0xA4:
				return []byte{0x90, 0}
			case !c.Extended && c.Ne == apdu.MaxShortNe:
				t.Errorf("block %d: Le = 00", block)
			}
			file := tlv.Encode(0x75, make([]byte, 552)) // 556 bytes: 300 and 256
			at := int(c.P1)<<8 | int(c.P2)
			return apdu.Response{Data: file[at:min(at+c.Ne, len(file))], SW: apdu.SWSuccess}.Bytes()
		}}
		got, err := lds.Reader{Card: card, Block: block, AvoidLe00: true}.Files(context.Background(), lds.File{ID: 0x0102}, lds.File{ID: 0x0102, Size: 556})
		if err != nil || len(got) != 2 || len(got[0]) != 556 || len(got[1]) != 556 {
			t.Errorf("block %d: %d files, %v", block, len(got), err)
		}
	}
}

// A chip that gives less than it is asked for, ever less, or nothing, is read
// as far as it goes.
func TestReaderShortAnswers(t *testing.T) {
	file := tlv.Encode(0x75, bytes.Repeat([]byte("0123456789"), 90))
	for name, c := range map[string]struct {
		gives func(n int) int // bytes by the number of the READ BINARY
		good  bool
	}{
		"at most 100": {func(int) int { return 100 }, true},
		"less later":  {func(n int) int { return max(20, 120-2*n) }, true},
		"a few bytes": {func(int) int { return 10 }, false},
		"nothing":     {func(int) int { return 0 }, false},
		"then nothing": {func(n int) int {
			if n > 3 {
				return 0
			}
			return 100
		}, false},
	} {
		for _, size := range []int{0, len(file)} {
			reads := 0
			card := &counter{Card: nil, between: func(_ int, command []byte) []byte {
				r, err := apdu.Parse(command)
				if err != nil {
					t.Fatal(err)
				}
				if r.INS == 0xA4 {
					return []byte{0x90, 0}
				}
				reads++
				if reads > 500 {
					t.Fatal("the reader does not end")
				}
				at := int(r.P1)<<8 | int(r.P2)
				return apdu.Response{Data: file[at:min(at+min(r.Ne, c.gives(reads)), len(file))], SW: apdu.SWSuccess}.Bytes()
			}}
			got, err := lds.Reader{Card: card}.Files(context.Background(), lds.File{ID: 0x0102, Size: size})
			if c.good && (err != nil || !bytes.Equal(got[0], file)) || !c.good && !errors.Is(err, lds.ErrMalformed) {
				t.Errorf("%s, size %d: %v", name, size, err)
			}
		}
	}
}
