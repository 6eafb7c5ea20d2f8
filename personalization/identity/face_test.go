package identity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/jpeg"
	"testing"

	"cardbureau/cardio/tlv"
)

func portrait(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func colourPortrait(t testing.TB) []byte {
	return portrait(t, image.NewYCbCr(image.Rect(0, 0, 413, 531), image.YCbCrSubsampleRatio420))
}

// jp2 is the beginning of a JPEG 2000 file: signature, file type and header
// boxes (ISO/IEC 15444-1, annex I).
func jp2(t testing.TB, width, height uint32) []byte {
	header := binary.BigEndian.AppendUint32(nil, height)
	header = binary.BigEndian.AppendUint32(header, width)
	header = append(header, unhex(t, "0003 07 07 00 00")...)
	ihdr := append(unhex(t, "00000016 69686472"), header...)
	out := append([]byte{}, jp2Signature...)
	out = append(out, unhex(t, "00000014 66747970 6A703220 00000000 6A703220")...)
	out = append(out, unhex(t, "0000001E 6A703268")...)
	return append(out, ihdr...)
}

func codestream(t testing.TB, width, height uint32) []byte {
	out := unhex(t, "FF4F FF51 002F 0000")
	for _, v := range []uint32{width, height, 0, 0, width, height, 0, 0} {
		out = binary.BigEndian.AppendUint32(out, v)
	}
	return append(out, unhex(t, "0003 070101 070101 070101")...)
}

func TestInspectImage(t *testing.T) {
	exif := append([]byte{0xFF, 0xD8, 0xFF, 0xE1, 0, 6, 'E', 'x', 'i', 'f', 0xFF}, colourPortrait(t)[2:]...)
	tests := map[string]struct {
		in   []byte
		want ImageInfo
	}{
		"colour JPEG":            {colourPortrait(t), ImageInfo{JPEG, 413, 531, 3}},
		"grey JPEG":              {portrait(t, image.NewGray(image.Rect(0, 0, 240, 320))), ImageInfo{JPEG, 240, 320, 1}},
		"JPEG with fill and APP": {exif, ImageInfo{JPEG, 413, 531, 3}},
		"JP2":                    {jp2(t, 307, 378), ImageInfo{JPEG2000, 307, 378, 3}},
		"codestream":             {codestream(t, 307, 378), ImageInfo{JPEG2000, 307, 378, 3}},
	}
	for name, tt := range tests {
		if got, err := InspectImage(tt.in); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, b := range map[string][]byte{
		"nothing":            nil,
		"PNG":                []byte("\x89PNG\r\n\x1a\n"),
		"JPEG start only":    {0xFF, 0xD8, 0xFF},
		"JPEG cut":           colourPortrait(t)[:100],
		"JPEG without frame": unhex(t, "FFD8 FFDA 0002"),
		"JP2 without header": jp2Signature,
		"JP2 of no width":    jp2(t, 0, 300),
		"JP2 too wide":       jp2(t, 70000, 300),
		"codestream cut":     codestream(t, 300, 300)[:20],
	} {
		if _, err := InspectImage(b); !errors.Is(err, ErrImage) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := DG2(b); !errors.Is(err, ErrImage) {
			t.Errorf("DG2 of %s: %v", name, err)
		}
	}
}

func TestDG2(t *testing.T) {
	for name, img := range map[string][]byte{"JPEG": colourPortrait(t), "JP2": jp2(t, 413, 531)} {
		t.Run(name, func(t *testing.T) {
			got, err := DG2(img)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) > len(img)+100 {
				t.Errorf("%d bytes around %d", len(got), len(img))
			}
			group, ok := tlv.Path(got, 0x75, 0x7F61)
			if n, found := tlv.Find(group, 0x02); !ok || !found || !bytes.Equal(n, []byte{1}) {
				t.Fatalf("%X", got[:40])
			}
			header, _ := tlv.Path(group, 0x7F60, 0xA1)
			if want := unhex(t, "8101 02 8201 00 8702 0101 8802 0008"); !bytes.Equal(header, want) {
				t.Errorf("header %X", header)
			}
			record, _ := tlv.Path(group, 0x7F60, 0x5F2E)
			if !bytes.HasSuffix(record, img) || len(record) != len(img)+46 {
				t.Fatal("the image is not there byte for byte")
			}
			kind := byte(0)
			if name == "JP2" {
				kind = 1
			}
			want := unhex(t, "46414300 30313000")                                                                     // FAC, 010
			want = binary.BigEndian.AppendUint32(want, uint32(len(record)))                                           // length of the record
			want = append(want, 0, 1)                                                                                 // one face
			want = binary.BigEndian.AppendUint32(want, uint32(len(record)-14))                                        // length of the face's block
			want = append(want, make([]byte, 16)...)                                                                  // nothing known of the face
			want = append(want, 1, kind, 413>>8, 413&0xFF, 531>>8, 531&0xFF, 1 /* RGB */, 0 /* source */, 0, 0, 0, 0) // full frontal
			if !bytes.Equal(record[:46], want) {
				t.Errorf("record header\n%X, want\n%X", record[:46], want)
			}
		})
	}
}

func FuzzInspectImage(f *testing.F) {
	f.Add(colourPortrait(f)[:700])
	f.Add(jp2(f, 300, 400))
	f.Add(codestream(f, 300, 400))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := InspectImage(b)
		if err != nil {
			if !errors.Is(err, ErrImage) {
				t.Fatal(err)
			}
			return
		}
		if info.Width == 0 || info.Height == 0 {
			t.Fatalf("%+v", info)
		}
	})
}
