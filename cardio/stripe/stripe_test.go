package stripe_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cardbureau/cardio/stripe"
	"cardbureau/cardio/virtual/encoder"
)

var sample = stripe.Tracks{
	One: []byte("B5892100000000016^AHMADI/ALI^311220112319951"), Two: []byte("5892100000000016=311220112319951"),
	Three: []byte("015892100000000016=3640000000000000000000000000031121===1="),
}

// TestWorkedExample: start sentinel and one digit of a numeric track as ISO/IEC
// 7811-2 draws them: lowest bit first, odd parity.
func TestWorkedExample(t *testing.T) {
	bits, err := stripe.Encode(2, []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	want := "11010" + "10000" + "11111" + "10101" // ; 1 ? and LRC 5 (0B^1^F)
	var got strings.Builder
	for _, b := range bits[stripe.LeadingZeros : len(bits)-stripe.LeadingZeros] {
		fmt.Fprint(&got, b)
	}
	if got.String() != want {
		t.Errorf("%s, want %s", got.String(), want)
	}
}

func TestRoundTrip(t *testing.T) {
	alphabets := map[int]string{1: " !\"#$&'()*+,-./0123456789:;<=>@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_", 2: "0123456789:<=>", 3: "0123456789:<=>"}
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 3).Draw(rt, "track")
		text := []byte(rapid.StringOfN(rapid.SampledFrom([]rune(alphabets[n])), 0, map[int]int{1: 76, 2: 37, 3: 104}[n], -1).Draw(rt, "text"))
		bits, err := stripe.Encode(n, text)
		if err != nil {
			rt.Fatal(err)
		}
		if got, err := stripe.Decode(n, bits); err != nil || !bytes.Equal(got, text) {
			rt.Fatalf("%q became %q, %v", text, got, err)
		}
		back := make([]byte, len(bits))
		for i, b := range bits {
			back[len(bits)-1-i] = b
		}
		// A backslash is an end sentinel backwards: a track 1 that begins with one may be
		// whole in both directions. It is reserved for national letters, and on no card.
		both := n == 1 && bytes.HasPrefix(text, []byte(`\`))
		if got, err := stripe.Decode(n, back); !both && (err != nil || !bytes.Equal(got, text)) {
			rt.Fatalf("swiped backwards: %q, %v", got, err)
		}
		at := rapid.IntRange(stripe.LeadingZeros, len(bits)-stripe.LeadingZeros-1).Draw(rt, "bit")
		bits[at] ^= 1
		if got, err := stripe.Decode(n, bits); err == nil && bytes.Equal(got, text) {
			rt.Fatal("a wrong bit was not seen")
		}
	})
}

// TestBackwards: what reads like an empty track from its wrong end is none.
func TestBackwards(t *testing.T) {
	for _, text := range []string{"4>4", "5892109900000018=3111201188780=4"} {
		bits, err := stripe.Encode(2, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(bits)
		if got, err := stripe.Decode(2, bits); err != nil || string(got) != text {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
}

// TestWrongLRC: every character is whole, and their sum is not.
func TestWrongLRC(t *testing.T) {
	bits, err := stripe.Encode(2, sample.Two)
	if err != nil {
		t.Fatal(err)
	}
	lrc := bits[len(bits)-stripe.LeadingZeros-5:]
	lrc[0] ^= 1
	lrc[1] ^= 1 // parity stays odd
	if _, err := stripe.Decode(2, bits); !errors.Is(err, stripe.ErrLRC) {
		t.Errorf("wrong LRC: %v", err)
	}
	bits, _ = stripe.Encode(2, sample.Two)
	bits[stripe.LeadingZeros+8] ^= 1
	if _, err := stripe.Decode(2, bits); !errors.Is(err, stripe.ErrParity) {
		t.Errorf("wrong parity: %v", err)
	}
	for n, text := range map[int]string{1: "a", 2: "A", 3: ";"} {
		if _, err := stripe.Encode(n, []byte(text)); !errors.Is(err, stripe.ErrCharacter) {
			t.Errorf("track %d: %v", n, err)
		}
	}
	if _, err := stripe.Encode(2, make([]byte, 38)); !errors.Is(err, stripe.ErrLength) {
		t.Error(err)
	}
}

func open(t *testing.T, e *encoder.Encoder) *stripe.Encoder {
	t.Helper()
	d, err := stripe.New(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	d.Swipe = 200 * time.Millisecond
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// TestEncoder drives the software encoder through everything that the driver has.
func TestEncoder(t *testing.T) {
	ctx := t.Context()
	e := encoder.New(&encoder.Memory{})
	d := open(t, e)
	model, firmware, err := d.Model(ctx)
	if err != nil || model != "3" || !strings.HasPrefix(firmware, "REV") {
		t.Errorf("%q %q %v", model, firmware, err)
	}
	for _, c := range []stripe.Coercivity{stripe.Low, stripe.High} {
		if err := d.SetCoercivity(ctx, c); err != nil {
			t.Fatal(err)
		}
		if got, err := d.Coercivity(ctx); err != nil || got != c {
			t.Errorf("%c, %v", got, err)
		}
	}
	if err := d.SetLeadingZeros(ctx, 61, 22); err != nil {
		t.Fatal(err)
	}
	if a, b, err := d.LeadingZeros(ctx); err != nil || a != 61 || b != 22 {
		t.Errorf("%d %d %v", a, b, err)
	}
	if err := d.Write(ctx, sample); !errors.Is(err, stripe.ErrNoCard) {
		t.Fatalf("without a card: %v", err)
	}
	e.Insert("card 1")
	if err := d.WriteAndCompare(ctx, sample); err != nil {
		t.Fatal(err)
	}
	got, err := d.Read(ctx)
	if err != nil || !got.Equal(sample) {
		t.Fatalf("read back: %v", err)
	}
	e.Eject()
	e.Insert("card 2")
	if got, err := d.Read(ctx); err != nil || len(got.One)+len(got.Two)+len(got.Three) > 0 {
		t.Errorf("another card's stripe: %v", err)
	}
	bits, err := stripe.EncodeAll(stripe.Tracks{Two: sample.Two})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.WriteRaw(ctx, bits); err != nil {
		t.Fatal(err)
	}
	if err := d.Compare(ctx, stripe.Tracks{Two: sample.Two}); err != nil {
		t.Error(err)
	}
	if got, err := d.Read(ctx); err != nil || !bytes.Equal(got.Two, sample.Two) {
		t.Errorf("the device's own reading: %v", err)
	}
	if err := d.Erase(ctx, 2); err != nil {
		t.Fatal(err)
	}
	if err := d.Compare(ctx, stripe.Tracks{Two: sample.Two}); !errors.Is(err, stripe.ErrDiffers) {
		t.Errorf("an erased stripe: %v", err)
	}
	if s := fmt.Sprintf("%v %+v %#v %x", sample, sample, sample, sample); strings.Contains(s, "5892") {
		t.Error("tracks are printed")
	}
}

// TestFaults: whatever the device does wrong, no wrong stripe is taken for right,
// and writing again mends it.
func TestFaults(t *testing.T) {
	for f, want := range map[encoder.Fault]error{
		encoder.Refuse: stripe.ErrRefused, encoder.Lose: stripe.ErrDiffers, encoder.Flip: nil, encoder.Silence: nil, encoder.Deaf: nil,
	} {
		for at := 1; at <= 3; at++ { // write, bits a character, read
			e := encoder.New(&encoder.Memory{})
			e.Insert("card")
			d := open(t, e)
			e.Fail(at, f)
			err := d.WriteAndCompare(t.Context(), sample)
			wrong := at == 1 || f == encoder.Silence || f == encoder.Deaf
			if wrong && err == nil || !wrong && err != nil || at == 1 && want != nil && !errors.Is(err, want) {
				t.Errorf("fault %d at command %d: %v", f, at, err)
			}
			if err := d.Reset(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := d.WriteAndCompare(t.Context(), sample); err != nil {
				t.Errorf("fault %d at command %d, then: %v", f, at, err)
			}
		}
	}
}

// TestPseudoTerminal opens the software encoder as a serial port.
func TestPseudoTerminal(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	dir := encoder.Dir(t.TempDir())
	e := encoder.New(dir)
	path, err := e.Serve(ctx)
	if err != nil {
		t.Fatal(err)
	}
	d, err := stripe.Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	e.Insert("card")
	if err := d.WriteAndCompare(ctx, sample); err != nil {
		t.Fatal(err)
	}
	if raw, err := dir.Load("card"); err != nil || len(raw) == 0 {
		t.Errorf("the stripe was not kept: %v", err)
	}
	if _, err := stripe.Open(ctx, "/dev/no-such-port"); err == nil {
		t.Error("a port that is not there was opened")
	}
}

func FuzzDecode(f *testing.F) {
	bits, _ := stripe.Encode(2, sample.Two)
	f.Add(2, bits)
	f.Fuzz(func(_ *testing.T, n int, b []byte) {
		_, _ = stripe.Decode(1+(n%3+3)%3, b)
	})
}

// talker is a device that answers whatever the fuzzer says.
type talker struct{ b []byte }

func (d *talker) Read(p []byte) (int, error) {
	if len(d.b) == 0 {
		return 0, errors.New("nothing more")
	}
	n := copy(p, d.b)
	d.b = d.b[n:]
	return n, nil
}
func (*talker) Write(p []byte) (int, error)        { return len(p), nil }
func (*talker) Close() error                       { return nil }
func (*talker) SetReadTimeout(time.Duration) error { return nil }
func (*talker) ResetInputBuffer() error            { return nil }

func FuzzDevice(f *testing.F) {
	f.Add([]byte{0x1B, 'y', 0x1B, 's', 0x1B, 1, '%', '?', 0x1B, 2, 0x1B, '+', 0x1B, 3, 0x1B, '*', '?', 0x1C, 0x1B, '0'})
	f.Fuzz(func(_ *testing.T, b []byte) {
		d, err := stripe.New(context.Background(), &talker{b})
		if err == nil {
			_, _ = d.Read(context.Background())
			_, _ = d.ReadRaw(context.Background())
		}
	})
}
