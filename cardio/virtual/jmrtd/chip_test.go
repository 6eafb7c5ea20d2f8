package jmrtd_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/jmrtd"
	"cardbureau/cardio/virtual/nvm"
)

// card is the applet on the software card, selected by default.
type card struct {
	t    testing.TB
	mem  *nvm.Memory
	chip *virtual.Chip
	log  bytes.Buffer // of applets that panicked
}

func newCard(t testing.TB, factory func() *jmrtd.Applet) *card {
	t.Helper()
	key := bytes.Repeat([]byte{0x42}, 16)
	blank := virtual.LDSBlank(virtual.NewSerial(1, 1), virtual.Keys{Version: 0x30, ENC: key, MAC: key, DEK: key})
	c := &card{t: t, mem: nvm.InMemory()}
	var err error
	c.chip, err = virtual.New(virtual.Config{Memory: c.mem, Blank: &blank, Log: slog.New(slog.NewTextHandler(&c.log, nil)),
		Applets: map[string]func() virtual.Applet{jmrtd.AID: func() virtual.Applet { return factory() }}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// raw sends a command and compares the whole answer, both in hexadecimal.
func (c *card) raw(command, want string) {
	c.t.Helper()
	got, err := c.chip.Transmit(context.Background(), unhex(c.t, command))
	if err != nil {
		c.t.Fatal(err)
	}
	if !strings.EqualFold(hex.EncodeToString(got), want) {
		c.t.Errorf("command %.40s: got %X, want %s", command, got, want)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type vectors struct {
	BAC struct {
		DocumentNumber, Check, Birth, Expiry string
		KEnc, KMac, RndIC, KIFD, KsEnc, SSC  string
	}
}

func loadVectors(t testing.TB) (v vectors) {
	t.Helper()
	b, err := os.ReadFile("testdata/identity.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// document is what a card gets.
type document struct {
	number, birth, expiry string
	key                   *rsa.PrivateKey
	can                   string // with it for the fork
	files                 map[uint16][]byte
	order                 []uint16
}

var testKey = func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		panic(err)
	}
	return k
}()

func file(tag tlv.Tag, n int) []byte {
	value := make([]byte, n)
	for i := range value {
		value[i] = byte(i*7 + n)
	}
	return tlv.Encode(tag, value)
}

func newDocument(t testing.TB, can string) document {
	v := loadVectors(t).BAC
	d := document{number: v.DocumentNumber, birth: v.Birth, expiry: v.Expiry, key: testKey, can: can,
		files: map[uint16][]byte{0x011E: file(0x60, 20), 0x011D: file(0x77, 700), 0x0101: file(0x61, 93), 0x0102: file(0x75, 1500), 0x010F: file(0x6F, 162)},
		order: []uint16{0x011E, 0x011D, 0x0101, 0x0102, 0x010F}}
	if can != "" {
		d.files[0x011C] = unhex(t, "31143012060A04007F0007020204020202010202010C")
		d.order = append(d.order, 0x011C)
	}
	return d
}

func (d document) password(t testing.TB) lds.Password {
	p, err := lds.MRZ(d.number, d.birth, d.expiry)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// commands are the whole personalization, written out as the vectors' dialect
// has it.
func (d document) commands() [][]byte {
	var out [][]byte
	add := func(ins, p1, p2 byte, data []byte) {
		b, err := apdu.Command{INS: ins, P1: p1, P2: p2, Data: data}.Bytes()
		if err != nil {
			panic(err)
		}
		out = append(out, b)
	}
	add(0xDA, 0, 0x62, tlv.Encode(0x62, tlv.Encode(0x04, []byte(d.number)), tlv.Encode(0x04, []byte(d.birth)), tlv.Encode(0x04, []byte(d.expiry))))
	add(0xDA, 0, 0x60, append([]byte{0x60, 0x00}, tlv.Encode(0x04, d.key.N.FillBytes(make([]byte, 128)))...))
	add(0xDA, 0, 0x61, append([]byte{0x61, 0x00}, tlv.Encode(0x04, d.key.D.FillBytes(make([]byte, 128)))...))
	if d.can != "" {
		add(0xDA, 0, 0x65, tlv.Encode(0x65, tlv.Encode(0x66, append([]byte{2}, d.can...)),
			tlv.Encode(0x66, []byte("\x03123456")), tlv.Encode(0x66, []byte("\x0412345678"))))
	}
	for _, fid := range d.order {
		content := d.files[fid]
		add(0xE0, 0, 0, []byte{0x63, 4, byte(len(content) >> 8), byte(len(content)), byte(fid >> 8), byte(fid)})
		add(0xA4, 0x02, 0x0C, []byte{byte(fid >> 8), byte(fid)})
		for at := 0; at < len(content); at += 255 {
			add(0xD6, byte(at>>8), byte(at), content[at:min(at+255, len(content))])
		}
	}
	if d.can != "" {
		add(0xDA, 0xDE, 0xAF, nil)
	}
	add(0xDA, 0xDE, 0xAD, nil)
	return out
}

// personalize sends commands through any card until one is not answered 9000.
func personalize(c apdu.Card, commands [][]byte) error {
	for _, b := range commands {
		answer, err := c.Transmit(context.Background(), b)
		if err != nil {
			return err
		}
		if !bytes.Equal(answer, []byte{0x90, 0}) {
			return fmt.Errorf("%X… is answered %X", b[:4], answer)
		}
	}
	return nil
}

// issued is a card with a document on it, locked and reset.
func issued(t testing.TB, factory func() *jmrtd.Applet, d document) *card {
	t.Helper()
	c := newCard(t, factory)
	if err := personalize(c.chip, d.commands()); err != nil {
		t.Fatal(err)
	}
	c.chip.Reset()
	return c
}

// content is what the applet keeps, to compare two cards by.
func (c *card) content() map[string]string {
	s := c.mem.Space("app:" + jmrtd.AID)
	out := map[string]string{}
	for _, k := range s.Keys("") {
		out[k] = string(s.Get(k))
	}
	return out
}
