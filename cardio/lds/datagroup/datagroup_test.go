package datagroup

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"cardbureau/cardio/tlv"
	"github.com/google/go-cmp/cmp"
)

// EF.COM of 9303-11 appendix D.4.
func TestCOMAppendixD(t *testing.T) {
	c, err := ParseCOM([]byte("\x60\x14\x5F\x01\x040106\x5F\x36\x06040000\x5C\x02\x61\x75"))
	if err != nil {
		t.Fatal(err)
	}
	if c.LDSVersion != "0106" || c.UnicodeVersion != "040000" || !slices.Equal(c.DataGroups, []int{1, 2}) {
		t.Errorf("got %+v", c)
	}
}

// The specimens of 9303-4, -5 and -6: the Utopian Anna Maria Eriksson. The
// long number is D23145890734 of 9303-5's appendix.
func TestMRZSpecimens(t *testing.T) {
	for name, c := range map[string]struct {
		mrz  string
		want MRZ
	}{
		"TD3": {"P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<" + "L898902C36UTO7408122F1204159ZE184226B<<<<<10",
			MRZ{"TD3", "P", "UTO", "L898902C3", "UTO", "740812", "120415", "F", "ERIKSSON", "ANNA MARIA", "ZE184226B"}},
		"TD2": {"I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<" + "D231458907UTO7408122F1204159<<<<<<<6",
			MRZ{"TD2", "I", "UTO", "D23145890", "UTO", "740812", "120415", "F", "ERIKSSON", "ANNA MARIA", ""}},
		"TD1": {"I<UTOD231458907<<<<<<<<<<<<<<<" + "7408122F1204159UTO<<<<<<<<<<<6" + "ERIKSSON<<ANNA<MARIA<<<<<<<<<<",
			MRZ{"TD1", "I", "UTO", "D23145890", "UTO", "740812", "120415", "F", "ERIKSSON", "ANNA MARIA", ""}},
		"TD1 long number": {"I<UTOD23145890<7349<<<<<<<<<<<" + "3407127M9507122UTO<<<<<<<<<<<2" + "STEVENSON<<PETER<JOHN<<<<<<<<<",
			MRZ{"TD1", "I", "UTO", "D23145890734", "UTO", "340712", "950712", "M", "STEVENSON", "PETER JOHN", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseMRZ(c.mrz)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			wrong := strings.Replace(c.mrz, "0", "1", 1)
			if _, err := ParseMRZ(wrong); !errors.Is(err, ErrMalformed) {
				t.Errorf("a changed digit: %v", err)
			}
		})
	}
}

func dg2(image []byte, features int) []byte {
	n := 20 + 8*features + 12 + len(image)
	record := []byte("FAC\x00010\x00")
	record = append(record, 0, 0, byte((n+14)>>8), byte(n+14), 0, 1)
	face := make([]byte, 32+8*features)
	face[2], face[3], face[5] = byte(n>>8), byte(n), byte(features)
	copy(face[20+8*features:], []byte{1, 0, 1, 0x9D, 2, 0x13, 1})
	record = append(append(record, face...), image...)
	return tlv.Encode(0x75, tlv.Encode(0x7F61, tlv.Encode(0x02, []byte{1}),
		tlv.Encode(0x7F60, tlv.Encode(0xA1, tlv.Encode(0x81, []byte{2})), tlv.Encode(0x5F2E, record))))
}

func TestDG2(t *testing.T) {
	image := []byte("\xFF\xD8 not really a portrait \xFF\xD9")
	for _, features := range []int{0, 3} {
		p, err := ParseDG2(dg2(image, features))
		if err != nil {
			t.Fatal(err)
		}
		if len(p) != 1 || p[0].JPEG2000 || p[0].Width != 413 || p[0].Height != 531 || !bytes.Equal(p[0].Image, image) {
			t.Errorf("got %+v", p)
		}
	}
}

func TestDG11(t *testing.T) {
	file := tlv.Encode(0x6B, tlv.Encode(0x5C, []byte{0x5F, 0x0E, 0x5F, 0x2B, 0x5F, 0x11}),
		tlv.Encode(0x5F0E, []byte("رازی<<ابو<بکر")), tlv.Encode(0x5F2B, []byte("08650000")), tlv.Encode(0x5F11, []byte("ری<جبال")))
	got, err := ParseDG11(file)
	if err != nil {
		t.Fatal(err)
	}
	want := Details{Primary: "رازی", Secondary: "ابو بکر", Birth: "08650000", BirthPlace: []string{"ری", "جبال"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	missing := tlv.Encode(0x6B, tlv.Encode(0x5C, []byte{0x5F, 0x0E, 0x5F, 0x2B}), tlv.Encode(0x5F0E, []byte("A")))
	if _, err := ParseDG11(missing); !errors.Is(err, ErrMalformed) {
		t.Errorf("a listed tag that is missing: %v", err)
	}
}

func TestTags(t *testing.T) {
	for n := 1; n <= 16; n++ {
		if Number(byte(Tag(n))) != n {
			t.Errorf("DG%d", n)
		}
	}
	if Tag(0) != 0 || Tag(17) != 0 || Number(0x60) != 0 {
		t.Error("numbers outside 1 to 16 have no tag")
	}
}

func FuzzDataGroups(f *testing.F) {
	f.Add([]byte("\x60\x14\x5F\x01\x040106\x5F\x36\x06040000\x5C\x02\x61\x75"))
	f.Add(dg2([]byte("image"), 1))
	f.Add(tlv.Encode(0x61, tlv.Encode(0x5F1F, []byte("I<UTOD23145890<7349<<<<<<<<<<<3407127M9507122UTO<<<<<<<<<<<2STEVENSON<<PETER<JOHN<<<<<<<<<"))))
	f.Add(tlv.Encode(0x6B, tlv.Encode(0x5C, []byte{0x5F, 0x0E}), tlv.Encode(0x5F0E, []byte("A<<B"))))
	f.Add(tlv.Encode(0x6E, []byte{0x31, 0}))
	f.Add(tlv.Encode(0x6F, []byte{0x30, 0}))
	f.Fuzz(func(t *testing.T, file []byte) {
		_, err := ParseCOM(file)
		check(t, err)
		_, err = ParseDG1(file)
		check(t, err)
		_, err = ParseDG2(file)
		check(t, err)
		_, err = ParseDG11(file)
		check(t, err)
		_, err = DG14(file)
		check(t, err)
		_, err = DG15(file)
		check(t, err)
	})
}

func check(t *testing.T, err error) {
	if err != nil && !errors.Is(err, ErrMalformed) {
		t.Fatalf("an error of another kind: %v", err)
	}
}
