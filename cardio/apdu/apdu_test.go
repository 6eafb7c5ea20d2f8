package apdu_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cardbureau/cardio/apdu"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSevenCases has each case of ISO/IEC 7816-4 clause 5.2 at its borders.
func TestSevenCases(t *testing.T) {
	d255, d256 := make([]byte, 255), make([]byte, 256)
	for _, test := range []struct {
		name    string
		command apdu.Command
		want    []byte
	}{
		{"1", apdu.Command{CLA: 0x80, INS: 0xF0, P1: 0x80, P2: 0x0F}, unhex(t, "80f0800f")},
		{"2 short", apdu.Command{INS: 0xB0, Ne: 16}, unhex(t, "00b0000010")},
		{"2 short, 256", apdu.Command{INS: 0xB0, Ne: 256}, unhex(t, "00b0000000")},
		{"3 short", apdu.Command{INS: 0xD6, Data: []byte{1, 2}}, unhex(t, "00d60000020102")},
		{"3 short, 255", apdu.Command{INS: 0xD6, Data: d255}, append(unhex(t, "00d60000ff"), d255...)},
		{"4 short", apdu.Command{INS: 0xA4, P1: 4, Data: []byte{1, 2}, Ne: 256}, unhex(t, "00a4040002010200")},
		{"2 extended", apdu.Command{INS: 0xB0, Ne: 257}, unhex(t, "00b00000000101")},
		{"2 extended, 65,536", apdu.Command{INS: 0xB0, Ne: 65536}, unhex(t, "00b00000000000")},
		{"3 extended", apdu.Command{INS: 0xD6, Data: d256, Extended: true}, append(unhex(t, "00d60000000100"), d256...)},
		{"4 extended", apdu.Command{INS: 0xD6, Data: d256, Ne: 300}, append(append(unhex(t, "00d60000000100"), d256...), 0x01, 0x2C)},
		{"4 extended, forced", apdu.Command{INS: 0xA4, Data: []byte{9}, Ne: 1, Extended: true}, unhex(t, "00a40000000001090001")},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.command.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, test.want) {
				t.Errorf("%x, want %x", got, test.want)
			}
			parsed, err := apdu.Parse(test.want)
			if err != nil {
				t.Fatal(err)
			}
			test.command.Extended = parsed.Extended
			if diff := cmp.Diff(test.command, parsed); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsNoCommand(t *testing.T) {
	for _, s := range []string{
		"", "00", "00a404", // no header
		"00a40400 02 01", "00a40400 02 01020000", // Lc does not fit
		"00a40400 0000",         // half a length
		"00a40400 00000000",     // extended Lc of zero
		"00a40400 000002 01",    // extended data cut off
		"00a40400 000001 01 00", // half an extended Le
		"00a40400 000001 01 000000",
	} {
		if c, err := apdu.Parse(unhex(t, s)); !errors.Is(err, apdu.ErrMalformed) {
			t.Errorf("%q was taken as %v (%v)", s, c, err)
		}
	}
	for _, c := range []apdu.Command{{Ne: -1}, {Ne: 65537}, {Data: make([]byte, 65536)}} {
		if _, err := c.Bytes(); err == nil {
			t.Errorf("%v was encoded", c)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := apdu.Command{
			CLA: rapid.Byte().Draw(rt, "cla"), INS: rapid.Byte().Draw(rt, "ins"),
			P1: rapid.Byte().Draw(rt, "p1"), P2: rapid.Byte().Draw(rt, "p2"),
			Ne:       rapid.OneOf(rapid.IntRange(0, 258), rapid.Just(65536)).Draw(rt, "ne"),
			Extended: rapid.Bool().Draw(rt, "extended"),
		}
		if data := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(rt, "data"); len(data) > 0 {
			c.Data = data
		}
		b, err := c.Bytes()
		if err != nil {
			rt.Fatal(err)
		}
		got, err := apdu.Parse(b)
		if err != nil {
			rt.Fatal(err)
		}
		got.Extended = c.Extended // a header alone does not show it
		if diff := cmp.Diff(c, got); diff != "" {
			rt.Fatal(diff)
		}
	})
}

func TestChain(t *testing.T) {
	data := []byte("a command chain of thirty-four by.")
	c := apdu.Command{CLA: 0x00, INS: 0x86, Data: data, Ne: 256}
	for limit := 0; limit <= len(data)+1; limit++ {
		parts := apdu.Chain(c, limit)
		var joined []byte
		for i, p := range parts {
			last := i == len(parts)-1
			if (p.CLA == 0x10) == last || (p.Ne == 0) == last || limit > 0 && len(p.Data) > limit {
				t.Errorf("limit %d, part %d of %d: %v", limit, i+1, len(parts), p)
			}
			joined = append(joined, p.Data...)
		}
		if !bytes.Equal(joined, data) {
			t.Errorf("limit %d: the parts do not make the whole", limit)
		}
	}
}

func TestAfterWarning(t *testing.T) {
	for _, v := range [][3]string{
		{"84f24002024f0000", "6310", "00c0000000"},
		{"81f24002024f0000", "6282", "01c0000000"},
		{"e5f24002024f0000", "6200", "45c0000000"},
		{"00200081023132", "63c2", ""},       // no answer expected
		{"0020008102313200", "63c2", ""},     // a counter
		{"00b0000000", "6282", ""},           // case 2
		{"84f24002024f0000", "9000", ""},     //
		{"84f24002024f0000", "01026310", ""}, // data is there
		{"84f2", "6310", ""},
	} {
		if got := apdu.AfterWarning(unhex(t, v[0]), unhex(t, v[1])); hex.EncodeToString(got) != v[2] {
			t.Errorf("%s, %s: %x", v[0], v[1], got)
		}
	}
}

func TestForT0(t *testing.T) {
	for in, want := range map[string]string{
		"80f0800f":           "80f0800f00",
		"00b0000010":         "00b0000010",
		"00d60000020102":     "00d60000020102",
		"00a4040002010200":   "00a40400020102",
		"00b00000000101":     "",
		"00a404000201020000": "",
	} {
		got, err := apdu.ForT0(unhex(t, in))
		if (err != nil) != (want == "") || hex.EncodeToString(got) != want {
			t.Errorf("%s became %x (%v), want %q", in, got, err, want)
		}
	}
}

func TestStatusWords(t *testing.T) {
	if n, ok := apdu.StatusWord(0x63C2).Retries(); !ok || n != 2 {
		t.Error("63C2 leaves two tries")
	}
	if _, ok := apdu.SWAuthenticationFailed.Retries(); ok {
		t.Error("6300 counts no tries")
	}
	err := error(&apdu.StatusError{Header: [4]byte{0, 0x20, 0, 0x81}, SW: 0x63C1})
	if got := err.Error(); got != "command 00200081: card answered 63C1 (verification failed, tries left: 1)" {
		t.Error(got)
	}
	if !errors.Is(&apdu.StatusError{SW: apdu.SWFileNotFound}, apdu.SWFileNotFound) {
		t.Error("a StatusError is its status word")
	}
	if got := apdu.StatusWord(0x9F10).String(); got != "9F10" {
		t.Error(got)
	}
	if got := apdu.SWFileNotFound.Error(); got != "card answered 6A82 (file or application not found)" {
		t.Error(got)
	}
}

func TestParseResponse(t *testing.T) {
	for _, b := range [][]byte{nil, {0x90}} {
		if _, err := apdu.ParseResponse(b); !errors.Is(err, apdu.ErrInDoubt) {
			t.Errorf("%x: %v, want in doubt", b, err)
		}
	}
	r, err := apdu.ParseResponse([]byte{1, 2, 0x62, 0x82})
	if err != nil || r.SW != apdu.SWEndOfFile || !bytes.Equal(r.Data, []byte{1, 2}) {
		t.Errorf("%v, %v", r, err)
	}
	if !bytes.Equal(r.Bytes(), []byte{1, 2, 0x62, 0x82}) {
		t.Errorf("%x", r.Bytes())
	}
}

// TestCommandsHideTheirData: what is logged of a command is its header and
// lengths.
func TestCommandsHideTheirData(t *testing.T) {
	c := apdu.Command{CLA: 0x00, INS: 0x20, P2: 0x81, Data: []byte("123456")}
	if s := c.String(); s != "00200081 Lc=6 Ne=0" {
		t.Error(s)
	}
}
