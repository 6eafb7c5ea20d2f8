package pinpad

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"testing"

	"cardbureau/cardio/apdu"
)

// reader is a pin-pad whose bytes are laid out by hand from part 10.
type reader struct {
	t        *testing.T
	features string
	want     map[uint32]string
	answer   string
}

func (r *reader) control(_ context.Context, code uint32, in []byte) ([]byte, error) {
	if code == 0x42000D48 { // SCARD_CTL_CODE(3400)
		if r.features == "" {
			return nil, errors.New("not supported")
		}
		return unhex(r.t, r.features), nil
	}
	if want := unhex(r.t, r.want[code]); !bytes.Equal(in, want) {
		r.t.Errorf("control %X\n got %X\nwant %X", code, in, want)
	}
	return unhex(r.t, r.answer), nil
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStructures(t *testing.T) {
	r := &reader{t: t, features: "060442330006" + "070442330007" + "120442330012", answer: "9000", want: map[uint32]string{
		// timeouts, format, block, length format, max and min digits, validation,
		// messages, language, index, prologue; length of the command, command
		0x42330006: "3C3C820000" + "0806" + "02" + "01" + "2904" + "00" + "000000" + "04000000" + "00200081",
		// …, offsets old and new, digits, confirmation, validation, messages, language, three indexes, …
		0x42330007: "3C3C820600" + "0006" + "0606" + "01" + "02" + "02" + "2904" + "000100" + "000000" + "11000000" + "002400810C" + "313233343536" + "000000000000",
	}}
	p, err := Open(t.Context(), r.control, 0x81)
	if err != nil {
		t.Fatal(err)
	}
	if sw, err := p.Verify(t.Context()); err != nil || !sw.OK() {
		t.Error(sw, err)
	}
	if sw, err := p.Change(t.Context(), []byte("123456")); err != nil || !sw.OK() {
		t.Error(sw, err)
	}
	r.want[0x42330007] = "3C3C820600" + "0008" + "0606" + "01" + "02" + "02" + "2904" + "000100" + "000000" + "13000000" + "002C00810E" + "3132333435363738" + "000000000000"
	r.answer = "63C2"
	if sw, err := p.Reset(t.Context(), []byte("12345678")); err != nil || sw != 0x63C2 {
		t.Error(sw, err)
	}
	for answer, want := range map[string]error{"6400": ErrTimeout, "6401": ErrCancelled, "6402": ErrDiffers, "6403": ErrLength, "90": apdu.ErrInDoubt, "": apdu.ErrInDoubt} {
		r.answer = answer
		if _, err := p.Verify(t.Context()); !errors.Is(err, want) {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

func TestNoPad(t *testing.T) {
	for _, features := range []string{"", "0604423300", "060342330006", "060442330006", "0604423300060704423300"} {
		r := &reader{t: t, features: features}
		if _, err := Open(t.Context(), r.control, 0x81); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", features, err)
		}
	}
}

func FuzzFeatures(f *testing.F) {
	f.Add([]byte{6, 4, 0x42, 0x33, 0, 6})
	f.Fuzz(func(t *testing.T, b []byte) {
		features, err := parseFeatures(b)
		if err == nil && len(features) > len(b)/6 {
			t.Fatal(features)
		}
	})
}
