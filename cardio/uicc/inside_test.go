package uicc

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
)

// FuzzAnswers: what cards answer to challenges and to FETCH is taken apart, or is
// ErrMalformed; what is taken apart is whole.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{
		"db08a54211d5e3ba50bf10b40ba9a3c58b2a05bbf0d987b21bf8cb10f769bcd751044604127672711c6d3441",
		"db08a54211d5e3ba50bf" + strings.Repeat("20"+strings.Repeat("b4", 32), 2),
		"dc0e797d7a19ca27f99f4363d3ca24be", "db", "db00", "dc0f00", "d009810301250082028182", "d081098103012500",
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parse3G(b)
		switch {
		case err != nil:
			if !errors.Is(err, ErrMalformed) {
				t.Error(err)
			}
		case len(a.AUTS) == 14 && a.RES == nil && a.CK == nil && a.IK == nil:
		case a.AUTS == nil && len(a.RES) >= 4 && keyLength(a.CK) && keyLength(a.IK):
		default:
			t.Error("half an answer")
		}
		if d, err := toolkitDetails(b); err == nil && len(d) != 3 || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%x, %v", d, err)
		}
	})
}

// TestAnswerLengths: CK and IK have 16 bytes, of TUAK 32 too, and no other length.
func TestAnswerLengths(t *testing.T) {
	field := func(n int) []byte { return append([]byte{byte(n)}, bytes.Repeat([]byte{0xA5}, n)...) }
	for _, c := range []struct {
		res, ck, ik int
		ok          bool
	}{{8, 16, 16, true}, {4, 32, 32, true}, {16, 32, 16, true}, {8, 24, 24, false}, {8, 16, 0, false}, {8, 33, 32, false}, {3, 32, 32, false}} {
		b := slices.Concat([]byte{tagOK}, field(c.res), field(c.ck), field(c.ik))
		a, err := parse3G(b)
		if (err == nil) != c.ok || c.ok && (len(a.RES) != c.res || len(a.CK) != c.ck || len(a.IK) != c.ik) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// FuzzGuard: whatever is sent, no SELECT behind the guard names a file by an identifier
// that is not on its lists, and nothing is read by a short identifier.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{"00A4000C026F7E", "00A4080C047FFF6F7E", "00A4080C067F105F3A4F30", "00B08B000B", "00B2015C28", "00A4040C07A0000000871002", "A0A40000026F7B", "00A4000C022FE2", "00A4030C026F7E", "00A4000C0000026F7E"} {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, dir := range []string{"", dirMF, dirTelecom, dirGSM, dirADF} {
			reached := false
			g := &guard{inner: answering(func([]byte) { reached = true }), dir: dir, file: dir + "/6F07"}
			_, _ = g.Transmit(t.Context(), b)
			if !reached {
				continue
			}
			c, err := apdu.Parse(b)
			if err != nil {
				t.Fatalf("not a command, and sent: %x", b)
			}
			if c.INS == insReadBinary && c.P1&0x80 != 0 || c.INS == insReadRecord && c.P2>>3 != 0 {
				t.Errorf("a short identifier: %x", b)
			}
			if c.INS != insSelect || c.P1 == 0x04 {
				continue
			}
			if len(c.Data)%2 != 0 {
				t.Errorf("half an identifier: %x", b)
				continue
			}
			for at := 0; at < len(c.Data); at += 2 {
				fid := strings.ToUpper(hex.EncodeToString(c.Data[at : at+2]))
				known := folders[fid]
				for _, files := range allowed {
					known = known || files[fid] != ""
				}
				if !known {
					t.Errorf("%s was selected: %x", fid, b)
				}
			}
		}
	})
}

// answering is a card that says yes.
type answering func(command []byte)

func (a answering) Transmit(_ context.Context, command []byte) ([]byte, error) {
	a(command)
	return []byte{0x90, 0x00}, nil
}

// TestPINOfTemplate: which reference is PIN1, by PIN status templates written after TS
// 102 221 clause 11.1.1.4.10.
func TestPINOfTemplate(t *testing.T) {
	for name, c := range map[string]struct {
		template string
		want     byte
	}{
		"none":                         {"", 0x01},
		"PIN1 and PIN2":                {"c609 9001c0 830101 830181", 0x01},
		"another application's":        {"c609 9001c0 830102 830182", 0x02},
		"disabled":                     {"c606 900100 830103", 0x03},
		"disabled, universal PIN":      {"c60c 900140 830101 950108 830111", 0x11},
		"disabled, universal not used": {"c60c 900140 830101 950100 830111", 0x01},
		"universal PIN disabled too":   {"c60c 900100 830101 950108 830111", 0x01},
		"enabled, universal PIN":       {"c60c 9001c0 830101 950108 830111", 0x01},
		"universal PIN alone":          {"c60c 9001e0 83010a 830111 830181", 0x11},
		"ADM1 first":                   {"c609 9001c0 83010a 830105", 0x05},
	} {
		inner, err := hex.DecodeString("82027821" + "83027fff" + strings.ReplaceAll(c.template, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		f, err := ParseFCP(append([]byte{0x62, byte(len(inner))}, inner...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := f.pin1(); got != c.want {
			t.Errorf("%s: %02X, not %02X", name, got, c.want)
		}
	}
}
