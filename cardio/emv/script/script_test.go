package script

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
)

// plain shows what is MACed: the MAC is its length and first bytes, and
// encipherment only pads.
type plain struct {
	message []byte
	aes     bool
}

func (p *plain) MAC(_ context.Context, data []byte) ([]byte, error) {
	p.message = bytes.Clone(data)
	return []byte{1, 2, 3, 4, 5, 6, 7, byte(len(data))}, nil
}

func (p *plain) MACPadded(ctx context.Context, data []byte) ([]byte, error) {
	mac, err := p.MAC(ctx, data)
	if p.aes {
		mac = append(mac, 9, 10, 11, 12, 13, 14, 15, 16)
	}
	return mac, err
}

func (*plain) Encipher(_ context.Context, data []byte) ([]byte, error) {
	out := append(bytes.Clone(data), 0x80)
	for len(out)%8 != 0 {
		out = append(out, 0)
	}
	return out, nil
}

// TestLayout: the bytes of commands and of what their MAC is over, as Book 2,
// section 9 has them.
func TestLayout(t *testing.T) {
	k := &plain{}
	s := Session{Keys: k, ATC: []byte{0, 9}, ARQC: []byte("ARQCARQC")}
	pin := []byte{0x24, 0x12, 0x34, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}
	arqc := hex.EncodeToString(s.ARQC)
	for _, test := range []struct {
		format        Format
		length        int
		c             Command
		want, message string
	}{
		{Format2, 0, ApplicationBlock(), "841e0000080102030405060 70f", "841e000008 0009" + arqc},
		{Format2, 0, PutData(0x9F14, []byte{5}), "04da9f1409 05 0102030405060710", "04da9f1409 0009" + arqc + "05"},
		{Format2, 0, PINChange(2, pin), "8424000218 241234ffffffffff8000000000000000 010203040506071f", "8424000218 0009" + arqc + "241234ffffffffff8000000000000000"},
		{Format1, 0, CardBlock(), "8c1600000a 8e08 0102030405060710", arqc + "8c16000080000000"},
		{Format1, 4, PINUnblock(), "8c24000006 8e04 01020304", "0102030405060710 8c24000080000000"},
		{Format1, 0, PINChange(1, pin), "8c2400011d 871101241234ffffffffff8000000000000000 8e08 0102030405060728",
			"0102030405060710 8c24000180000000 871101241234ffffffffff8000000000000000 8000000000"},
		{Format1, 0, UpdateRecord(2, 3, []byte{0x70, 0}), "0cdc03140e 81027000 8e08 0102030405060718", "0102030405060728 0cdc031480000000 8102700080000000"},
	} {
		s.Format, s.MACLength = test.format, test.length
		got, err := s.Secure(t.Context(), test.c)
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.ReplaceAll(test.want, " ", ""); hex.EncodeToString(got) != want {
			t.Errorf("%v\n%x, want\n%s", test.c, got, want)
		}
		if want := strings.ReplaceAll(test.message, " ", ""); hex.EncodeToString(k.message) != want {
			t.Errorf("%v is MACed over\n%x, want\n%s", test.c, k.message, want)
		}
		if _, err := apdu.Parse(got); err != nil {
			t.Error(err)
		}
	}
	if x := fmt.Sprintf("%v %+v %#v %x", PINChange(1, pin), PINChange(1, pin), PINChange(1, pin), PINChange(1, pin)); strings.Contains(x, "1234") || strings.Contains(x, "18 52") {
		t.Errorf("%s shows the PIN", x)
	}
}

// TestAES: blocks are of 16 bytes.
func TestAES(t *testing.T) {
	k := &plain{aes: true}
	s := Session{Keys: k, ATC: []byte{0, 9}, ARQC: []byte("ARQCARQC"), AES: true, Format: Format1}
	if _, err := s.Secure(t.Context(), ApplicationUnblock()); err != nil {
		t.Fatal(err)
	}
	if want := hex.EncodeToString(s.ARQC) + "0000000000000000" + "8c180000800000000000000000000000"; hex.EncodeToString(k.message) != want {
		t.Errorf("%x, want %s", k.message, want)
	}
	if _, err := s.Secure(t.Context(), PutData(0x9F14, []byte{5})); err != nil { // the whole MAC is chained
		t.Fatal(err)
	}
	if want := "0102030405060720090a0b0c0d0e0f10" + "0cda9f14800000000000000000000000" + "81010580000000000000000000000000"; hex.EncodeToString(k.message) != want {
		t.Errorf("%x, want %s", k.message, want)
	}
}

func TestWhatCannotBe(t *testing.T) {
	good := Session{Keys: &plain{}, ATC: []byte{0, 9}, ARQC: []byte("ARQCARQC"), Format: Format2}
	for name, change := range map[string]func(*Session, *Command){
		"no counter":   func(s *Session, _ *Command) { s.ATC = nil },
		"no ARQC":      func(s *Session, _ *Command) { s.ARQC = nil },
		"no format":    func(s *Session, _ *Command) { s.Format = 3 },
		"class":        func(_ *Session, c *Command) { c.CLA = 0x84 },
		"short MAC":    func(s *Session, _ *Command) { s.Format, s.MACLength = Format1, 3 },
		"too long":     func(_ *Session, c *Command) { c.Data = make([]byte, 250) },
		"wrong cipher": func(s *Session, c *Command) { s.AES = true; *c = PINChange(1, make([]byte, 8+8)) },
	} {
		s, c := good, ApplicationBlock()
		change(&s, &c)
		if _, err := s.Secure(t.Context(), c); !errors.Is(err, ErrCommand) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, _ := good.Secure(t.Context(), CardBlock())
	for name, f := range map[string]func() ([]byte, error){
		"tag":  func() ([]byte, error) { return Template(0x73, nil, c) },
		"id":   func() ([]byte, error) { return Template(Before, []byte{1}, c) },
		"none": func() ([]byte, error) { return Template(After, nil) },
		"long": func() ([]byte, error) { return Template(After, nil, c, c, c, c, c, c, c, c, c) },
	} {
		if _, err := f(); !errors.Is(err, ErrCommand) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, err := Template(After, []byte{1, 2, 3, 4}, c); err != nil || hex.EncodeToString(b[:9]) != "72169f18040102030"+"4"[:0]+"4" {
		t.Errorf("%x %v", b, err)
	}
}
