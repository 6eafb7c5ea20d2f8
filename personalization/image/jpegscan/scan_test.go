package jpegscan

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"testing"

	"cardbureau/personalization/record/sample"
)

// picture is a picture of noise, so that long codes occur.
func picture(t testing.TB, width, height, quality int, grey bool) []byte {
	t.Helper()
	rnd := rand.New(rand.NewPCG(uint64(width), uint64(height)))
	colour, shades := image.NewRGBA(image.Rect(0, 0, width, height)), image.NewGray(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			v := uint8(rnd.Uint32())
			colour.Set(x, y, color.RGBA{v, uint8(rnd.Uint32()), uint8(x * y), 255})
			shades.Set(x, y, color.Gray{v})
		}
	}
	var out bytes.Buffer
	var from image.Image = colour
	if grey {
		from = shades
	}
	if err := jpeg.Encode(&out, from, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func pictures(t testing.TB) map[string][]byte {
	return map[string][]byte{
		"one pixel":  picture(t, 1, 1, 75, false),
		"one MCU":    picture(t, 16, 16, 75, false),
		"odd sides":  picture(t, 29, 17, 90, false),
		"grey":       picture(t, 29, 17, 50, true),
		"long codes": picture(t, 24, 24, 100, false),
	}
}

// decodes is the judge: the standard library's decoder.
func decodes(data []byte) bool {
	_, err := jpeg.Decode(bytes.NewReader(data))
	return err == nil
}

func TestWholePictures(t *testing.T) {
	for name, data := range pictures(t) {
		if !Complete(data) {
			t.Errorf("%s: not vouched for", name)
		}
		if !Complete(append(bytes.Clone(data), "behind the end"...)) {
			t.Errorf("%s: not vouched for with something behind its end", name)
		}
	}
	portrait := sample.Portrait(rand.New(rand.NewPCG(1, 2)), "F", 30)
	if !Complete(portrait) {
		t.Error("a portrait of the samples is not vouched for")
	}
}

// Nothing that was cut off is vouched for, wherever: at every byte near the end,
// at some before.
func TestCutOff(t *testing.T) {
	for name, data := range pictures(t) {
		for n := len(data) - 1; n >= 0; n -= 1 + (len(data)-n)/100 {
			if Complete(data[:n]) {
				t.Fatalf("%s: vouched for with %d of %d bytes", name, n, len(data))
			}
		}
	}
}

// A byte that was altered, any of them or one in some, is noticed, or the decoder
// makes a picture of what it says now.
func TestAltered(t *testing.T) {
	for name, data := range pictures(t) {
		for i := 0; i < len(data); i += 1 + len(data)/1000 {
			for _, flip := range []byte{0x01, 0x90} {
				altered := bytes.Clone(data)
				altered[i] ^= flip
				if Complete(altered) && !decodes(altered) {
					t.Fatalf("%s: vouched for with byte %d altered by %02X, and it does not decode", name, i, flip)
				}
			}
		}
	}
}

// Other kinds of JPEG are a decoder's business.
func TestOtherKinds(t *testing.T) {
	data := picture(t, 16, 16, 75, false)
	at := bytes.Index(data, []byte{0xFF, markSOF0})
	progressive := bytes.Clone(data)
	progressive[at+1] = 0xC2
	restarts := append(append(bytes.Clone(data[:at]), 0xFF, 0xDD, 0, 4, 0, 1), data[at:]...)
	adobe := append(append(bytes.Clone(data[:2]), 0xFF, 0xEE, 0, 2), data[2:]...)
	for name, other := range map[string][]byte{
		"empty": nil, "no JPEG": []byte("no JPEG at all"), "progressive": progressive, "restarts": restarts, "APP14": adobe,
	} {
		if Complete(other) {
			t.Errorf("%s: vouched for", name)
		}
	}
}

func FuzzComplete(f *testing.F) {
	for _, data := range pictures(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if Complete(data) && !decodes(data) {
			t.Error("vouched for, and it does not decode")
		}
	})
}

func BenchmarkComplete(b *testing.B) {
	portrait := sample.Portrait(rand.New(rand.NewPCG(1, 2)), "F", 30)
	b.Run("scan", func(b *testing.B) {
		for b.Loop() {
			Complete(portrait)
		}
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			decodes(portrait)
		}
	})
}
