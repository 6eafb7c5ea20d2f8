package cap_test

import (
	"archive/zip"
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cardbureau/cardio/gp/cap"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// parts are the components of the smallest applet, written by hand from the
// layouts of the Java Card Virtual Machine Specification, chapter 6.
type parts map[cap.Tag][]byte

// smallest lacks the Directory, which fixed writes.
func smallest(t testing.TB) parts {
	return parts{
		cap.Header:       unhex(t, "01001a"+"decaffed"+"0202"+"04"+"0301"+"07a0000002471001"+"08"+hex.EncodeToString([]byte("org/demo"))),
		cap.Applet:       unhex(t, "03000c"+"01"+"08a000000247100101"+"0001"),
		cap.Import:       unhex(t, "04000b"+"01"+"0601"+"07a0000000620101"),
		cap.ConstantPool: unhex(t, "050006"+"0001"+"06800000"),
		cap.Class:        unhex(t, "060004"+"00800001"),
		cap.Method:       unhex(t, "070005"+"00"+"01107a7a"),
		cap.StaticField:  unhex(t, "08000a"+"00000000000000000000"),
		cap.RefLocation:  unhex(t, "090004"+"00000000"),
	}
}

// fixed makes the Directory fit the other components.
func (p parts) fixed() parts {
	var d []byte
	for tag := cap.Header; tag <= cap.Debug; tag++ {
		n := max(len(p[tag])-3, 0)
		if tag == cap.Directory {
			n = 33 + p.custom()
		}
		d = append(d, byte(n>>8), byte(n))
	}
	applets := byte(0)
	if a := p[cap.Applet]; len(a) > 3 {
		applets = a[3]
	}
	d = append(d, 0, 0, 0, 0, 0, 0, p[cap.Import][3], applets, byte(p.custom()/9))
	if c := p[0x80]; c != nil {
		d = append(d, 0x80, byte((len(c)-3)>>8), byte(len(c)-3), 5, 0xF0, 1, 2, 3, 4)
	}
	p[cap.Directory] = append([]byte{2, 0, byte(len(d))}, d...)
	return p
}

func (p parts) custom() int {
	if p[0x80] != nil {
		return 9
	}
	return 0
}

var order = []cap.Tag{1, 2, 4, 3, 6, 7, 8, 10, 5, 9, 11, 12, 0x80}

func (p parts) ijc() []byte {
	var out []byte
	for _, tag := range order {
		out = append(out, p[tag]...)
	}
	return out
}

// jar packs the components in another order than a card takes them.
func (p parts) jar(t testing.TB) []byte {
	t.Helper()
	files := [][2]string{{"META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n"}}
	for _, tag := range slices.Backward(order) {
		if p[tag] != nil {
			name := tag.String()
			if tag >= 0x80 {
				name = "Extra"
			}
			files = append(files, [2]string{"org/demo/javacard/" + name + ".cap", string(p[tag])})
		}
	}
	return pack(t, files)
}

func pack(t testing.TB, files [][2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		e, err := w.Create(f[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func full(t testing.TB) parts {
	p := smallest(t)
	p[cap.Header][3+6] |= 0x02
	p[cap.Export] = unhex(t, "0a000100")
	p[cap.Descriptor] = unhex(t, "0b0002aabb")
	p[cap.Debug] = unhex(t, "0c0001cc")
	p[0x80] = unhex(t, "800002ddee")
	return p.fixed()
}

func TestRead(t *testing.T) {
	p := full(t)
	for name, b := range map[string][]byte{"JAR": p.jar(t), "IJC": p.ijc()} {
		f, err := cap.Read(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := &cap.File{
			Format:  cap.Version{Major: 2, Minor: 2},
			Package: cap.Package{AID: unhex(t, "a0000002471001"), Version: cap.Version{Major: 1, Minor: 3}},
			Name:    "org/demo",
			Imports: []cap.Package{{AID: unhex(t, "a0000000620101"), Version: cap.Version{Major: 1, Minor: 6}}},
			Applets: [][]byte{unhex(t, "a000000247100101")},
			Custom:  []cap.Custom{{Tag: 0x80, Size: 2, AID: unhex(t, "f001020304")}},
		}
		if diff := cmp.Diff(want, f, cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "components" }, cmp.Ignore())); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		var block []byte
		for _, tag := range []cap.Tag{1, 2, 4, 3, 6, 7, 8, 10, 5, 9} {
			block = append(block, p[tag]...)
		}
		if got := f.LoadFileDataBlock(cap.BlockOptions{}); !bytes.Equal(got, block) {
			t.Errorf("%s: %x, want %x", name, got, block)
		}
		block = append(append(block, p[11]...), p[0x80]...)
		if got := f.LoadFileDataBlock(cap.BlockOptions{Descriptor: true, Custom: true}); !bytes.Equal(got, block) {
			t.Errorf("%s with all: %x, want %x", name, got, block)
		}
		if !bytes.Equal(f.Component(cap.Debug), p[cap.Debug]) || f.Component(0x81) != nil {
			t.Errorf("%s: components", name)
		}
	}
}

// TestVersion21 has neither a package name nor a size of Debug.
func TestVersion21(t *testing.T) {
	p := smallest(t).fixed()
	p[cap.Header] = unhex(t, "010011"+"decaffed"+"0102"+"04"+"0301"+"07a0000002471001")
	d := p[cap.Directory]
	d = append(bytes.Clone(d[:3+22]), d[3+24:]...)
	d[2], d[4], d[6] = 31, 17, 31
	p[cap.Directory] = d
	f, err := cap.Read(p.ijc())
	if err != nil || f.Name != "" || f.Format.String() != "2.1" {
		t.Errorf("%+v, %v", f, err)
	}
	p[cap.Debug] = unhex(t, "0c0001cc")
	if _, err := cap.Read(p.ijc()); !errors.Is(err, cap.ErrMalformed) {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	good := func() parts { return smallest(t).fixed() }
	with := func(tag cap.Tag, s string) []byte {
		p := smallest(t)
		p[tag] = unhex(t, s)
		return p.fixed().ijc()
	}
	flip := func(tag cap.Tag, at int, v byte) []byte {
		p := good()
		p[tag][at] = v
		return p.ijc()
	}
	if _, err := cap.Read(good().ijc()); err != nil {
		t.Fatal(err)
	}
	without := func(tag cap.Tag) []byte {
		p := good()
		delete(p, tag)
		return p.ijc()
	}
	swapped := append(append(bytes.Clone(good()[cap.Header]), good()[cap.Import]...), good()[cap.Directory]...)
	header := string(good()[cap.Header])
	for name, test := range map[string]struct {
		file []byte
		want error
	}{
		"nothing":                  {nil, cap.ErrMalformed},
		"two bytes":                {[]byte{1, 0}, cap.ErrMalformed},
		"cut off":                  {good().ijc()[:60], cap.ErrMalformed},
		"something after":          {append(good().ijc(), 0), cap.ErrMalformed},
		"magic":                    {flip(cap.Header, 3, 0), cap.ErrMalformed},
		"version 2.4":              {flip(cap.Header, 7, 4), cap.ErrUnsupported},
		"version 3.2":              {flip(cap.Header, 8, 3), cap.ErrUnsupported},
		"version 2.3 of 2.2":       {flip(cap.Header, 7, 3), cap.ErrMalformed},
		"extended of 2.2":          {flip(cap.Header, 9, 0x0C), cap.ErrMalformed},
		"unknown flag":             {flip(cap.Header, 9, 0x14), cap.ErrMalformed},
		"no applet flag":           {flip(cap.Header, 9, 0), cap.ErrMalformed},
		"export flag":              {flip(cap.Header, 9, 6), cap.ErrMalformed},
		"short AID":                {flip(cap.Header, 12, 4), cap.ErrMalformed},
		"name no UTF-8":            {flip(cap.Header, 21, 0xFF), cap.ErrMalformed},
		"no Header":                {without(cap.Header), cap.ErrMalformed},
		"no Method":                {without(cap.Method), cap.ErrMalformed},
		"twice":                    {append(good().ijc(), good()[cap.RefLocation]...), cap.ErrMalformed},
		"order":                    {swapped, cap.ErrMalformed},
		"static resources":         {append(good().ijc(), 13, 0, 0, 0, 0), cap.ErrMalformed},
		"component 14":             {append(good().ijc(), 14, 0, 0), cap.ErrUnsupported},
		"custom not announced":     {append(good().ijc(), 0x80, 0, 0), cap.ErrMalformed},
		"Directory size":           {flip(cap.Directory, 4, 1), cap.ErrMalformed},
		"Directory imports":        {flip(cap.Directory, 3+30, 2), cap.ErrMalformed},
		"Directory applets":        {flip(cap.Directory, 3+31, 0), cap.ErrMalformed},
		"Directory custom":         {flip(cap.Directory, 3+32, 1), cap.ErrMalformed},
		"Directory image":          {flip(cap.Directory, 3+25, 1), cap.ErrMalformed},
		"Directory arrays":         {flip(cap.Directory, 3+27, 1), cap.ErrMalformed},
		"constants":                {with(cap.ConstantPool, "0500020001"), cap.ErrMalformed},
		"references":               {with(cap.RefLocation, "09000400010000"), cap.ErrMalformed},
		"imports cut off":          {with(cap.Import, "04000b020601"+"07a0000000620101"), cap.ErrMalformed},
		"no applets in Applet":     {with(cap.Applet, "03000100"), cap.ErrMalformed},
		"the same applet twice":    {with(cap.Applet, "030011"+"02"+"05a000000247"+"0001"+"05a000000247"+"0001"), cap.ErrMalformed},
		"install method elsewhere": {with(cap.Applet, "030009"+"01"+"05a000000247"+"0005"), cap.ErrMalformed},
		"huge":                     {make([]byte, cap.MaxFile+1), cap.ErrTooLarge},
		"huge IJC":                 {make([]byte, cap.MaxUnpacked+1), cap.ErrTooLarge},
		"broken ZIP":               {[]byte("PK\x03\x04"), cap.ErrMalformed},
		"empty ZIP":                {pack(t, [][2]string{{"a.txt", ""}}), cap.ErrMalformed},
		"two packages":             {pack(t, [][2]string{{"a/javacard/Header.cap", header}, {"b/javacard/Header.cap", header}}), cap.ErrMalformed},
		"the same twice":           {pack(t, [][2]string{{"a/javacard/Header.cap", header}, {"a/javacard/Header.cap", header}}), cap.ErrMalformed},
		"wrong folder":             {pack(t, [][2]string{{"a/Header.cap", header}}), cap.ErrMalformed},
		"wrong name":               {pack(t, [][2]string{{"a/javacard/Class.cap", header}}), cap.ErrMalformed},
		"two in one":               {pack(t, [][2]string{{"a/javacard/Header.cap", header + header}}), cap.ErrMalformed},
		"capx":                     {pack(t, [][2]string{{"a/javacard/Method.capx", header}}), cap.ErrMalformed},
		"bomb":                     {pack(t, [][2]string{{"a/javacard/Header.cap", string(make([]byte, 1<<18))}}), cap.ErrTooLarge},
	} {
		if _, err := cap.Read(test.file); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBombOfManyFiles: each component is small enough, their sum is not.
func TestBombOfManyFiles(t *testing.T) {
	var files [][2]string
	for tag := 0x80; tag < 0xA8; tag++ {
		c := make([]byte, 3+0xFFFF)
		c[0], c[1], c[2] = byte(tag), 0xFF, 0xFF
		files = append(files, [2]string{"a/javacard/" + hex.EncodeToString(c[:1]) + ".cap", string(c)})
	}
	if _, err := cap.Read(pack(t, files)); !errors.Is(err, cap.ErrTooLarge) {
		t.Error(err)
	}
	files = make([][2]string, 1025)
	if _, err := cap.Read(pack(t, files)); !errors.Is(err, cap.ErrTooLarge) {
		t.Error(err)
	}
}

// TestHash uses the digests of "abc" that FIPS 180-4's examples give.
func TestHash(t *testing.T) {
	for h, want := range map[crypto.Hash]string{
		crypto.SHA1:   "a9993e364706816aba3e25717850c26c9cd0d89d",
		crypto.SHA256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		crypto.SHA384: "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
		crypto.SHA512: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
	} {
		if got, err := cap.Hash(h, []byte("abc")); err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%v: %x, %v", h, got, err)
		}
	}
	if _, err := cap.Hash(crypto.SHA224, nil); err == nil {
		t.Error("SHA-224 was taken")
	}
}

func TestLoadFile(t *testing.T) {
	domain := unhex(t, "a000000151")
	for _, test := range []struct {
		size int
		daps []cap.DAP
		want string
	}{
		{3, nil, "c403"},
		{0x80, nil, "c48180"},
		{0x1234, []cap.DAP{{Domain: domain, Signature: []byte{1, 2}}}, "e20b" + "4f05a000000151" + "c3020102" + "c4821234"},
	} {
		block := make([]byte, test.size)
		got, err := cap.LoadFile(block, test.daps...)
		if err != nil || !bytes.Equal(got, append(unhex(t, test.want), block...)) {
			t.Errorf("%d bytes: %x, %v", test.size, got[:min(len(got), 24)], err)
		}
	}
	if _, err := cap.LoadFile(nil); err == nil {
		t.Error("nothing was taken")
	}
	for _, d := range []cap.DAP{{Domain: domain}, {Domain: domain[:4], Signature: []byte{1}}} {
		if _, err := cap.LoadFile([]byte{1}, d); err == nil {
			t.Errorf("%+v was taken", d)
		}
	}
}

// FuzzRead: what is taken gives, as components in the card's order, the same
// block again.
func FuzzRead(f *testing.F) {
	f.Add(full(f).jar(f))
	f.Add(full(f).ijc())
	f.Add(smallest(f).fixed().ijc())
	f.Add(joined(compact23(f)))
	f.Add(joined(extended23(f)))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := cap.Read(b)
		if err != nil {
			if !errors.Is(err, cap.ErrMalformed) && !errors.Is(err, cap.ErrUnsupported) && !errors.Is(err, cap.ErrTooLarge) {
				t.Error(err)
			}
			return
		}
		all := cap.BlockOptions{Descriptor: true, Custom: true}
		block := c.LoadFileDataBlock(all)
		again, err := cap.Read(block)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.LoadFileDataBlock(all), block) {
			t.Error("the block is another one when read again")
		}
	})
}
