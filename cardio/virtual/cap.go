package virtual

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// capFile is what the chip reads of a load file data block: the components of
// a Java Card CAP file in the compact format 2.1, 2.2 or 2.3, one after
// another (Java Card Virtual Machine Specification 3.0.5, chapter 6). What
// only an interpreter needs is not looked at.
type capFile struct {
	aid          []byte
	major, minor byte
	imports      []Package
	applets      [][]byte
}

// errCAP marks a load file data block that is no CAP file.
var errCAP = errors.New("virtual: no CAP file")

// Component tags.
const (
	capHeader       = 1
	capDirectory    = 2
	capApplet       = 3
	capImport       = 4
	capConstantPool = 5
	capClass        = 6
	capMethod       = 7
	capStaticField  = 8
	capRefLocation  = 9
	capExport       = 10
	capDescriptor   = 11
	capDebug        = 12
	capCustom       = 128
)

// Flags of the Header component (table 6-3).
const (
	capHasInt    = 0x01
	capHasExport = 0x02
	capHasApplet = 0x04
)

// capOrder is where a component stands in a load file (section 6.2 and the
// Java Card Runtime Environment's recommended order); Debug is never loaded.
var capOrder = map[byte]int{capHeader: 1, capDirectory: 2, capImport: 3, capApplet: 4, capClass: 5, capMethod: 6,
	capStaticField: 7, capExport: 8, capConstantPool: 9, capRefLocation: 10, capDescriptor: 11}

// parseCAP reads a load file data block and checks what it reads: magic,
// order, sizes against the Directory, flags, AIDs. It fails with errCAP.
func parseCAP(block []byte) (capFile, error) {
	var f capFile
	parts, custom, err := splitCAP(block)
	if err != nil {
		return f, err
	}
	for tag := byte(capHeader); tag <= capRefLocation; tag++ {
		if parts[tag] == nil && tag != capApplet {
			return f, fmt.Errorf("%w: component %d is missing", errCAP, tag)
		}
	}
	flags, sizes, err := f.header(parts[capHeader])
	if err != nil {
		return f, err
	}
	if (flags&capHasApplet != 0) != (parts[capApplet] != nil) || (flags&capHasExport != 0) != (parts[capExport] != nil) {
		return f, fmt.Errorf("%w: the flags of Header and the components disagree", errCAP)
	}
	if err := f.readImports(parts[capImport]); err != nil {
		return f, err
	}
	if err := f.readApplets(parts[capApplet]); err != nil {
		return f, err
	}
	return f, f.directory(parts, custom, sizes)
}

// splitCAP cuts a block into its components' contents, by tag; an empty
// component is not nil. Custom components come last.
func splitCAP(block []byte) (parts map[byte][]byte, custom []byte, err error) {
	parts = map[byte][]byte{}
	place := 0
	for len(block) > 0 {
		if len(block) < 3 {
			return nil, nil, fmt.Errorf("%w: %d bytes left over", errCAP, len(block))
		}
		tag, n := block[0], int(binary.BigEndian.Uint16(block[1:]))
		if 3+n > len(block) {
			return nil, nil, fmt.Errorf("%w: component %d is cut off", errCAP, tag)
		}
		at, ok := capOrder[tag]
		if tag >= capCustom {
			at, ok = int(tag), true
			custom = append(custom, tag)
		}
		if !ok || at <= place {
			return nil, nil, fmt.Errorf("%w: component %d out of place", errCAP, tag)
		}
		place = at
		parts[tag] = block[3 : 3+n : 3+n]
		block = block[3+n:]
	}
	return parts, custom, nil
}

// capReader reads the fields of a component; bad after the first that is not
// there.
type capReader struct {
	b   []byte
	bad bool
}

func (r *capReader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return make([]byte, n)
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *capReader) u1() byte { return r.take(1)[0] }
func (r *capReader) u2() int  { return int(binary.BigEndian.Uint16(r.take(2))) }

func (r *capReader) aid() []byte {
	n := int(r.u1())
	if n < 5 || n > 16 {
		r.bad = true
		return nil
	}
	return r.take(n)
}

// packageInfo is minor and major version and AID.
func (r *capReader) packageInfo() Package {
	minor, major := r.u1(), r.u1()
	return Package{Minor: minor, Major: major, AID: r.aid()}
}

func (r *capReader) end(component string) error {
	if r.bad || len(r.b) != 0 {
		return fmt.Errorf("%w: %s is not laid out as it should be", errCAP, component)
	}
	return nil
}

// header reads the Header component (section 6.4). sizes is how many sizes the
// Directory lists: 2.1 knows no Debug component.
func (f *capFile) header(b []byte) (flags byte, sizes int, err error) {
	r := capReader{b: b}
	magic := r.take(4)
	minor, major := r.u1(), r.u1()
	flags = r.u1()
	p := r.packageInfo()
	sizes = capDescriptor
	if minor >= 2 {
		sizes = capDebug
		if len(r.b) > 0 { // the package name may be left out
			r.take(int(r.u1()))
		}
	}
	if !bytes.Equal(magic, []byte{0xDE, 0xCA, 0xFF, 0xED}) || major != 2 || minor < 1 || minor > 3 ||
		flags&^(capHasInt|capHasExport|capHasApplet) != 0 {
		return 0, 0, fmt.Errorf("%w: a Header of another format", errCAP)
	}
	f.aid, f.major, f.minor = p.AID, p.Major, p.Minor
	return flags, sizes, r.end("Header")
}

func (f *capFile) readImports(b []byte) error {
	r := capReader{b: b}
	for n := int(r.u1()); n > 0 && !r.bad; n-- {
		f.imports = append(f.imports, r.packageInfo())
	}
	return r.end("Import")
}

// readApplets reads the Applet component (section 6.6): each applet's AID has
// the RID of the package.
func (f *capFile) readApplets(b []byte) error {
	if b == nil {
		return nil
	}
	r := capReader{b: b}
	n := int(r.u1())
	if n == 0 {
		r.bad = true
	}
	for ; n > 0 && !r.bad; n-- {
		aid := r.aid()
		r.u2() // offset of its install method
		if r.bad {
			break
		}
		if !bytes.Equal(aid[:5], f.aid[:5]) {
			return fmt.Errorf("%w: an applet of another RID than its package's", errCAP)
		}
		if slices.ContainsFunc(f.applets, func(o []byte) bool { return bytes.Equal(o, aid) }) {
			return fmt.Errorf("%w: an applet twice", errCAP)
		}
		f.applets = append(f.applets, aid)
	}
	return r.end("Applet")
}

// directory checks the Directory component (section 6.5) against what is
// there. Descriptor, Debug and custom components may be announced and not
// loaded.
func (f *capFile) directory(parts map[byte][]byte, custom []byte, sizes int) error {
	r := capReader{b: parts[capDirectory]}
	for tag := byte(1); int(tag) <= sizes; tag++ {
		n := r.u2()
		optional := tag >= capDescriptor && parts[tag] == nil
		if n != len(parts[tag]) && !optional {
			return fmt.Errorf("%w: Directory has another size for component %d", errCAP, tag)
		}
	}
	r.take(6) // static field sizes
	imports, applets, customs := int(r.u1()), int(r.u1()), int(r.u1())
	announced := map[byte]int{}
	for ; customs > 0 && !r.bad; customs-- {
		tag, n := r.u1(), r.u2()
		r.aid()
		announced[tag] = n
	}
	if err := r.end("Directory"); err != nil {
		return err
	}
	if imports != len(f.imports) || applets != len(f.applets) {
		return fmt.Errorf("%w: Directory has other numbers of imports and applets", errCAP)
	}
	for _, tag := range custom {
		if n, ok := announced[tag]; !ok || n != len(parts[tag]) {
			return fmt.Errorf("%w: custom component %d is not announced", errCAP, tag)
		}
	}
	return nil
}
