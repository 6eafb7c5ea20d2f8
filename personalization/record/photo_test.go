package record

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// noisy is a JPEG whose coded data holds every kind of byte.
func noisy(t testing.TB, grey bool) []byte {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	at := func() uint8 { return uint8(rnd.Uint32()) }
	var img image.Image
	if grey {
		g := image.NewGray(image.Rect(0, 0, 300, 400))
		for i := range g.Pix {
			g.Pix[i] = at()
		}
		img = g
	} else {
		c := image.NewRGBA(image.Rect(0, 0, 300, 400))
		for y := range 400 {
			for x := range 300 {
				c.Set(x, y, color.RGBA{at(), at(), at(), 255})
			}
		}
		img = c
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 98}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestInspectJPEG(t *testing.T) {
	for _, c := range []struct {
		data []byte
		want PhotoInfo
	}{
		{portrait(), PhotoInfo{Size{413, 531}, 3, 8}},
		{noisy(t, false), PhotoInfo{Size{300, 400}, 3, 8}},
		{noisy(t, true), PhotoInfo{Size{300, 400}, 1, 8}},
	} {
		if got, err := InspectPhoto("image/jpeg", c.data); err != nil || got != c.want {
			t.Errorf("got %+v, %v, want %+v", got, err, c.want)
		}
	}
}

// TestJPEGCutAnywhere cuts a picture at every byte: no cut may pass.
func TestJPEGCutAnywhere(t *testing.T) {
	b := portrait()
	for n := range len(b) {
		if _, err := InspectPhoto("image/jpeg", b[:n]); err == nil {
			t.Fatalf("cut after %d of %d bytes and accepted", n, len(b))
		}
	}
	b = noisy(t, false)
	for n := 0; n < len(b); n += 101 {
		if _, err := InspectPhoto("image/jpeg", b[:n]); err == nil {
			t.Fatalf("cut after %d of %d bytes and accepted", n, len(b))
		}
	}
}

// edit returns b with the bytes at the first marker m changed by f.
func edit(t *testing.T, b []byte, m byte, f func(segment []byte)) []byte {
	t.Helper()
	b = bytes.Clone(b)
	i := bytes.Index(b, []byte{0xFF, m})
	if i < 0 {
		t.Fatalf("no marker %X", m)
	}
	f(b[i:])
	return b
}

func TestJPEGFaults(t *testing.T) {
	b := portrait()
	sos := bytes.Index(b, []byte{0xFF, markSOS})
	for _, c := range []struct {
		say  string
		data []byte
	}{
		{"does not begin", []byte("GIF89a")},
		{"does not begin", nil},
		{"not sequential", edit(t, b, markSOF0, func(s []byte) { s[1] = 0xC2 })},
		{"not sequential", edit(t, b, markSOF0, func(s []byte) { s[1] = 0xC3 })},
		{"not sequential", edit(t, b, markSOF0, func(s []byte) { s[1] = 0xC9 })},
		{"12 bits", edit(t, b, markSOF0, func(s []byte) { s[4] = 12 })},
		{"not given", edit(t, b, markSOF0, func(s []byte) { s[5], s[6] = 0, 0 })},
		{"wrong length", edit(t, b, markSOF0, func(s []byte) { s[9] = 4 })},
		{"no frame header", append([]byte{0xFF, markSOI}, b[sos:]...)},
		{"two frame headers", func() []byte {
			i := bytes.Index(b, []byte{0xFF, markSOF0})
			return append(append(bytes.Clone(b[:i]), b[i:i+19]...), b[i:]...)
		}()},
		{"where none may be", append([]byte{0xFF, markSOI, 0xFF, markEOI}, b[2:]...)},
		{"marker is missing", append([]byte{0xFF, markSOI, 0x12}, b[2:]...)},
		{"bytes follow", append(bytes.Clone(b), 0)},
		{"bytes follow", append(bytes.Clone(b), b...)},
		{"no picture", append(bytes.Clone(b[:sos+14]), 0xFF, markEOI)},
		{"cut short", edit(t, b, 0xDB, func(s []byte) { s[2] = 0xFF })},
	} {
		_, err := InspectPhoto("image/jpeg", c.data)
		if err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("got %v, want %q", err, c.say)
		}
	}
	if _, err := InspectPhoto("image/png", b); err == nil {
		t.Error("a PNG is no portrait")
	}
}

// TestJPEGWithSeveralScans puts a segment between two scans, which sequential
// JPEGs may have; the segment holds FF D9, which ends nothing there.
func TestJPEGWithSeveralScans(t *testing.T) {
	b := portrait()
	sos := bytes.Index(b, []byte{0xFF, markSOS})
	two := bytes.Clone(b[:len(b)-2])
	two = append(two, 0xFF, 0xFE, 0, 6, 0xFF, markEOI, 1, 2)
	two = append(two, b[sos:]...)
	if _, err := InspectPhoto("image/jpeg", two); err != nil {
		t.Error(err)
	}
}

// jp2 builds a JP2 file after ISO/IEC 15444-1 annex I around a codestream of
// markers only.
func jp2(w, h uint32, comps uint16, depth byte) []byte {
	be := binary.BigEndian
	mk := func(kind string, body []byte) []byte {
		return append(append(be.AppendUint32(nil, uint32(8+len(body))), kind...), body...)
	}
	ihdr := be.AppendUint32(be.AppendUint32(nil, h), w)
	ihdr = append(be.AppendUint16(ihdr, comps), depth-1, 7, 0, 0)
	colr := []byte{1, 0, 0, 0, 0, 0, 16}
	siz := []byte{0xFF, 0x4F, 0xFF, 0x51}
	siz = be.AppendUint16(siz, 38+3*comps)
	siz = append(siz, 0, 0)
	for _, v := range []uint32{w + 3, h + 5, 3, 5, w, h, 3, 5} { // with an image offset
		siz = be.AppendUint32(siz, v)
	}
	siz = be.AppendUint16(siz, comps)
	for range comps {
		siz = append(siz, depth-1, 1, 1)
	}
	siz = append(siz, 0xFF, 0x90, 1, 2, 3, 0xFF, 0xD9)
	out := bytes.Clone(jp2Signature)
	out = append(out, mk("ftyp", []byte("jp2 \x00\x00\x00\x00jp2 "))...)
	out = append(out, mk("jp2h", append(mk("ihdr", ihdr), mk("colr", colr)...))...)
	return append(out, mk("jp2c", siz)...)
}

// TestInspectRealJP2 reads a file that OpenJPEG 2.5 wrote.
func TestInspectRealJP2(t *testing.T) {
	b, err := os.ReadFile("testdata/portrait.jp2")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := InspectPhoto("image/jp2", b); err != nil || got != (PhotoInfo{Size{240, 320}, 3, 8}) {
		t.Errorf("got %+v, %v", got, err)
	}
	for n := range len(b) {
		if _, err := InspectPhoto("image/jp2", b[:n]); err == nil {
			t.Fatalf("cut after %d of %d bytes and accepted", n, len(b))
		}
	}
}

func TestInspectJP2(t *testing.T) {
	b := jp2(413, 531, 3, 8)
	if got, err := InspectPhoto("image/jp2", b); err != nil || got != (PhotoInfo{Size{413, 531}, 3, 8}) {
		t.Errorf("got %+v, %v", got, err)
	}
	at := bytes.Index(b, []byte("jp2c")) - 4
	open := bytes.Clone(b)
	copy(open[at:], []byte{0, 0, 0, 0}) // length 0: to the end of the file
	if _, err := InspectPhoto("image/jp2", open); err != nil {
		t.Error(err)
	}
	wide := append(bytes.Clone(b[:at]), 0, 0, 0, 1, 'j', 'p', '2', 'c')
	wide = binary.BigEndian.AppendUint64(wide, uint64(len(b)-at+8))
	wide = append(wide, b[at+8:]...) // length of eight bytes
	if _, err := InspectPhoto("image/jp2", wide); err != nil {
		t.Error(err)
	}
	for n := range len(b) {
		if _, err := InspectPhoto("image/jp2", b[:n]); err == nil {
			t.Fatalf("cut after %d of %d bytes and accepted", n, len(b))
		}
	}
	change := func(i int, v byte) []byte {
		c := bytes.Clone(b)
		c[i] = v
		return c
	}
	ihdr := bytes.Index(b, []byte("ihdr")) + 4
	for name, bad := range map[string][]byte{
		"a JPEG": portrait(), "a bare codestream": b[at+8:], "16 bits": change(ihdr+10, 15), "mixed depth": change(ihdr+10, 0xFF),
		"four components": jp2(413, 531, 4, 8), "another width": change(ihdr+7, 1), "huge": jp2(1<<17, 531, 3, 8),
		"no brand":  bytes.Replace(b, []byte("\x00jp2 "), []byte("\x00jpx "), 1),
		"no header": append(bytes.Clone(jp2Signature), b[at:]...), "bytes after": append(bytes.Clone(b), 0),
		"box smaller than its head": change(15, 3), "other compression": change(ihdr+11, 6),
		"no start of codestream": change(at+9, 0),
	} {
		if _, err := InspectPhoto("image/jp2", bad); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func FuzzPhoto(f *testing.F) {
	f.Add(true, portrait())
	f.Add(false, jp2(413, 531, 3, 8))
	f.Fuzz(func(t *testing.T, isJPEG bool, b []byte) {
		kind := "image/jp2"
		if isJPEG {
			kind = "image/jpeg"
		}
		info, err := InspectPhoto(kind, b)
		if err == nil && (info.Width <= 0 || info.Height <= 0 || !bytes.HasSuffix(b, []byte{0xFF, 0xD9})) {
			t.Errorf("accepted as %+v", info)
		}
	})
}
