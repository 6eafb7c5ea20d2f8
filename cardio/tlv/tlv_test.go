package tlv_test

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cardbureau/cardio/tlv"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEFCOM reads an EF.COM as ICAO Doc 9303-10 4.6.1 lays it out: LDS 1.7,
// Unicode 4.0.0, DG1 and DG2.
func TestEFCOM(t *testing.T) {
	b := unhex(t, "60145f0104303130375f36063034303030305c026175")
	tag, n, size, err := tlv.Header(b[:4])
	if err != nil || tag != 0x60 || n != 20 || size != 2 {
		t.Fatalf("%X %d %d %v", uint32(tag), n, size, err)
	}
	for tag, want := range map[tlv.Tag]string{0x5F01: "30313037", 0x5F36: "303430303030", 0x5C: "6175"} {
		if got, ok := tlv.Path(b, 0x60, tag); !ok || hex.EncodeToString(got) != want {
			t.Errorf("%X: %x", uint32(tag), got)
		}
	}
}

func TestLengthForms(t *testing.T) {
	for n, want := range map[int]string{
		0: "00", 127: "7f", 128: "8180", 255: "81ff", 256: "820100", 65535: "82ffff",
		65536: "83010000", 1<<24 - 1: "83ffffff", 1 << 24: "8401000000",
	} {
		if got := tlv.AppendLength(nil, n); hex.EncodeToString(got) != want {
			t.Errorf("%d: %x, want %s", n, got, want)
		}
		_, got, size, err := tlv.Header(append([]byte{0x04}, unhex(t, want)...))
		if err != nil || got != n || size != 1+len(want)/2 {
			t.Errorf("%s: %d in %d bytes, %v", want, got, size, err)
		}
	}
}

func TestTags(t *testing.T) {
	for tag, constructed := range map[tlv.Tag]bool{0x04: false, 0x60: true, 0x5F01: false, 0x7F49: true, 0x9F7F: false, 0xBF8102: true, 0xDF8101: false} {
		b := tlv.Encode(tag, []byte{1}, nil, []byte{2})
		o, rest, err := tlv.Next(b)
		if err != nil || o.Tag != tag || len(rest) != 0 || !bytes.Equal(o.Value, []byte{1, 2}) {
			t.Errorf("%X: %x, %v", uint32(tag), b, err)
		}
		if tag.Constructed() != constructed {
			t.Errorf("%X: constructed is %v", uint32(tag), !constructed)
		}
	}
}

func TestMalformed(t *testing.T) {
	for _, s := range []string{
		"5f",           // tag cut off
		"04",           // no length
		"0402ff",       // value cut off
		"0480",         // indefinite length
		"0485ffffffff", // five bytes of length
		"0484ffffffff", // more than 2 GiB
		"0482ff",       // length cut off
		"bf81828301",   // a tag of four bytes
		"040100ff",     // something after it
	} {
		if o, err := tlv.Parse(unhex(t, s)); !errors.Is(err, tlv.ErrMalformed) {
			t.Errorf("%s: %v, %v", s, o, err)
		}
	}
	if _, _, err := tlv.Next(nil); !errors.Is(err, tlv.ErrMalformed) {
		t.Error(err)
	}
	if _, ok := tlv.Find(unhex(t, "0402ff"), 0x04); ok {
		t.Error("a value that is cut off was found")
	}
	if _, ok := tlv.Path(unhex(t, "6002040105"), 0x60, 0x05); ok {
		t.Error("a tag that is not there was found")
	}
}

// TestValuesDoNotOverlap: appending to one object's value must not write into
// the next.
func TestValuesDoNotOverlap(t *testing.T) {
	objects, err := tlv.Parse(unhex(t, "0401aa0401bb"))
	if err != nil {
		t.Fatal(err)
	}
	_ = append(objects[0].Value, 0xFF, 0xFF, 0xFF)
	if objects[1].Value[0] != 0xBB {
		t.Error("the second object was overwritten")
	}
}

func objects() *rapid.Generator[[]tlv.Object] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) tlv.Object {
		return tlv.Object{
			Tag:   rapid.SampledFrom([]tlv.Tag{0x04, 0x30, 0x5F1F, 0x7F61, 0x9F70, 0xDF8101}).Draw(t, "tag"),
			Value: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value"),
		}
	}), 0, 8)
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := objects().Draw(rt, "objects")
		var b []byte
		for _, o := range want {
			b = tlv.Append(b, o.Tag, o.Value)
		}
		got, err := tlv.Parse(b)
		if err != nil {
			rt.Fatal(err)
		}
		if len(want) == 0 {
			want = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatal(diff)
		}
		if len(want) > 0 {
			if v, ok := tlv.Path(tlv.Encode(0x6F, b), 0x6F, want[0].Tag); !ok || !bytes.Equal(v, want[0].Value) {
				rt.Fatal("the first object is not found inside another")
			}
		}
	})
}

// TestAgainstASN1 has the standard library read what this package writes.
func TestAgainstASN1(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		value := rapid.SliceOfN(rapid.Byte(), 0, 70000).Draw(rt, "value")
		var got []byte
		if rest, err := asn1.Unmarshal(tlv.Encode(0x04, value), &got); err != nil || len(rest) != 0 || !bytes.Equal(got, value) {
			rt.Fatalf("%d bytes: %v", len(value), err)
		}
	})
}

// FuzzParse: what is parsed is the same when written again in its shortest
// form.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"0401aa", "7f49025f01", "3006040101040102", "9f7f81020102", "0482000101"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		parsed, err := tlv.Parse(b)
		if err != nil {
			if !errors.Is(err, tlv.ErrMalformed) {
				t.Error(err)
			}
			return
		}
		var short []byte
		for _, o := range parsed {
			short = tlv.Append(short, o.Tag, o.Value)
		}
		if len(short) > len(b) {
			t.Errorf("%x grew to %x", b, short)
		}
		again, err := tlv.Parse(short)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(parsed, again); diff != "" {
			t.Error(diff)
		}
	})
}
