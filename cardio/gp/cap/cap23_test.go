package cap_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cardbureau/cardio/gp/cap"
)

// compact23 is the smallest applet in the compact format of version 2.3, with
// one static resource, and extended23 the same in the extended format. Both are
// written by hand from the Java Card Virtual Machine Specification 3.1, chapter
// 6. They are in the order in which a card takes them.
func compact23(t testing.TB) [][]byte {
	p := smallest(t)
	p[cap.Header][4+3] = 3
	resources := unhex(t, "0d0000000b"+"0001"+"0007"+"00000003"+"aabbcc")
	directory := unhex(t, "020025"+
		"001a"+"0025"+"000c"+"000b"+"0006"+"0004"+"0005"+"000a"+"0004"+"0000"+"0000"+"0000"+"0000000b"+
		"000000000000"+"01"+"01"+"00")
	return [][]byte{p[cap.Header], directory, p[cap.Import], p[cap.Applet], p[cap.Class], p[cap.Method], p[cap.StaticField], p[cap.ConstantPool], p[cap.RefLocation], resources}
}

func extended23(t testing.TB) [][]byte {
	p := smallest(t)
	name := hex.EncodeToString([]byte("org/demo"))
	header := unhex(t, "010030"+"decaffed"+"0302"+"0c"+
		"0204"+"07a0000002471001"+
		"02"+"0301"+"07a0000002471002"+"0501"+"07a0000002471003"+"08"+name+"00")
	applet := unhex(t, "03000d"+"01"+"08a000000247100101"+"00"+"0001")
	method := unhex(t, "070000000a"+"01"+"00000005"+"00"+"01107a7a")
	references := unhex(t, "0900000005"+"01"+"00000000")
	descriptor := unhex(t, "0b00000002"+"aabb")
	custom := unhex(t, "8000000002"+"ddee")
	directory := unhex(t, "020039"+
		"0030"+"0039"+"000d"+"000b"+"0006"+"0004"+"0000000a"+"000a"+"00000005"+"0000"+"00000002"+"00000000"+"00000000"+
		"000000000000"+"01"+"01"+"01"+"01"+
		"80"+"00000002"+"05f001020304")
	return [][]byte{header, directory, p[cap.Import], applet, p[cap.Class], method, p[cap.StaticField], p[cap.ConstantPool], references, descriptor, custom}
}

func joined(components [][]byte) []byte { return bytes.Join(components, nil) }

// jar23 packs components as a converter does: those with a long size as .capx.
func jar23(t testing.TB, components [][]byte, extended bool) []byte {
	var files [][2]string
	for _, c := range components {
		name, ending := cap.Tag(c[0]).String(), ".cap"
		switch cap.Tag(c[0]) {
		case cap.StaticResources:
			ending = ".capx"
		case cap.Method, cap.RefLocation, cap.Descriptor, 0x80:
			if extended {
				ending = ".capx"
			}
		}
		if c[0] >= 0x80 {
			name = "Extra"
		}
		files = append([][2]string{{"org/demo/javacard/" + name + ending, string(c)}}, files...)
	}
	return pack(t, files)
}

func TestVersion23(t *testing.T) {
	p := compact23(t)
	for name, b := range map[string][]byte{"IJC": joined(p), "JAR": jar23(t, p, false)} {
		f, err := cap.Read(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if f.Extended || f.Format.String() != "2.3" || f.Name != "org/demo" {
			t.Errorf("%s: %+v", name, f)
		}
		if diff := cmp.Diff([]cap.Resource{{ID: 7, Size: 3}}, f.Resources); diff != "" {
			t.Error(diff)
		}
		if got := f.LoadFileDataBlock(cap.BlockOptions{}); !bytes.Equal(got, joined(p)) {
			t.Errorf("%s: %x", name, got)
		}
	}
}

func TestExtended(t *testing.T) {
	p := extended23(t)
	for name, b := range map[string][]byte{"IJC": joined(p), "JAR": jar23(t, p, true)} {
		f, err := cap.Read(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := []cap.NamedPackage{
			{Package: cap.Package{AID: unhex(t, "a0000002471002"), Version: cap.Version{Major: 1, Minor: 3}}, Name: "org/demo"},
			{Package: cap.Package{AID: unhex(t, "a0000002471003"), Version: cap.Version{Major: 1, Minor: 5}}},
		}
		if diff := cmp.Diff(want, f.Public); diff != "" {
			t.Error(diff)
		}
		if !f.Extended || hex.EncodeToString(f.Package.AID) != "a0000002471001" || f.Package.Version.String() != "4.2" || len(f.Applets) != 1 || len(f.Custom) != 1 {
			t.Errorf("%s: %+v", name, f)
		}
		if got := f.LoadFileDataBlock(cap.BlockOptions{Descriptor: true, Custom: true}); !bytes.Equal(got, joined(p)) {
			t.Errorf("%s: %x", name, got)
		}
	}
}

func TestRefused23(t *testing.T) {
	change := func(make func(testing.TB) [][]byte, component, at int, v byte) []byte {
		p := make(t)
		p[component][at] = v
		return joined(p)
	}
	for name, b := range map[string][]byte{
		"no resource":                  change(compact23, 9, 6, 0),
		"a long resource":              change(compact23, 9, 11, 0x80),
		"a resource cut off":           change(compact23, 9, 12, 4),
		"resources' size in Directory": change(compact23, 1, 3+27, 1),
		"no package":                   change(extended23, 0, 3+17, 0),
		"no method block":              change(extended23, 5, 5, 0),
		"a method block elsewhere":     change(extended23, 5, 9, 200),
		"an applet's block":            change(extended23, 3, 13, 1),
		"method blocks in Directory":   change(extended23, 1, 3+46, 2),
		"method's size in Directory":   change(extended23, 1, 3+15, 1),
		"custom size in Directory":     change(extended23, 1, 3+49, 1),
	} {
		if _, err := cap.Read(b); !errors.Is(err, cap.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKnownPackages(t *testing.T) {
	if got := cap.PackageName(unhex(t, "A0000000620101")); got != "javacard.framework" {
		t.Error(got)
	}
	if got := cap.PackageName(unhex(t, "A0000002471001")); got != "" {
		t.Error(got)
	}
	f, err := cap.Read(smallest(t).fixed().ijc())
	if err != nil || f.JavaCard() != "3.0.5" {
		t.Errorf("%q, %v", f.JavaCard(), err)
	}
}
