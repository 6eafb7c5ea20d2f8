package cap

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

const (
	magic = "\xDE\xCA\xFF\xED"

	// Header flags (Java Card Virtual Machine Specification, chapter 6).
	accInt      = 0x01
	accExport   = 0x02
	accApplet   = 0x04
	accExtended = 0x08
)

// parse reads what a File reports and holds the components against each other.
func parse(components map[Tag][]byte) (*File, error) {
	f := &File{components: components}
	for _, t := range []Tag{Header, Directory, Import, ConstantPool, Class, Method, StaticField, RefLocation} {
		if components[t] == nil {
			return nil, fmt.Errorf("%w: no %v component", ErrMalformed, t)
		}
	}
	flags, err := f.header()
	if err != nil {
		return nil, err
	}
	for t, flag := range map[Tag]byte{Applet: accApplet, Export: accExport} {
		if (components[t] != nil) != (flags&flag != 0) {
			return nil, fmt.Errorf("%w: the Header's flags are %02X, which the %v component contradicts", ErrMalformed, flags, t)
		}
	}
	if err := f.imports(); err != nil {
		return nil, err
	}
	if err := f.applets(); err != nil {
		return nil, err
	}
	if err := f.sizes(); err != nil {
		return nil, err
	}
	if err := f.directory(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) content(t Tag) *cursor {
	c := &cursor{tag: t}
	if b := f.components[t]; b != nil {
		c.b = b[3:]
	}
	return c
}

func (f *File) header() (flags byte, err error) {
	c := f.content(Header)
	if m := c.take(len(magic)); c.err == nil && string(m) != magic {
		return 0, fmt.Errorf("%w: the Header begins with %X, not with DECAFFED", ErrMalformed, m)
	}
	f.Format = c.version()
	flags = c.u1()
	if c.err != nil {
		return 0, c.end()
	}
	if f.Format != (Version{2, 1}) && f.Format != (Version{2, 2}) {
		return 0, fmt.Errorf("%w: version %v", ErrUnsupported, f.Format)
	}
	if flags&accExtended != 0 {
		return 0, fmt.Errorf("%w: the extended format", ErrUnsupported)
	}
	if flags&^(accInt|accExport|accApplet) != 0 {
		return 0, fmt.Errorf("%w: Header flags %02X", ErrMalformed, flags)
	}
	f.Ints = flags&accInt != 0
	f.Package = c.pkg()
	if f.Format.Minor >= 2 {
		name := c.take(int(c.u1()))
		if c.err == nil && !utf8.Valid(name) {
			c.fail(fmt.Errorf("a package name that is no UTF-8"))
		}
		f.Name = string(name)
	}
	return flags, c.end()
}

func (f *File) imports() error {
	c := f.content(Import)
	for range int(c.u1()) {
		p := c.pkg()
		if c.err != nil {
			break
		}
		f.Imports = append(f.Imports, p)
	}
	return c.end()
}

func (f *File) applets() error {
	if f.components[Applet] == nil {
		return nil
	}
	c := f.content(Applet)
	count := int(c.u1())
	if c.err == nil && count == 0 {
		c.fail(fmt.Errorf("no applet in it"))
	}
	method := len(f.components[Method]) - 3
	for range count {
		aid, offset := c.aid(), c.u2()
		if c.err != nil {
			break
		}
		if offset >= method {
			c.fail(fmt.Errorf("an install method at %d of %d bytes", offset, method))
			break
		}
		for _, other := range f.Applets {
			if bytes.Equal(other, aid) {
				c.fail(fmt.Errorf("the AID %X twice", aid))
			}
		}
		f.Applets = append(f.Applets, aid)
	}
	return c.end()
}

// sizes checks the two components whose size follows from their own counts.
func (f *File) sizes() error {
	c := f.content(ConstantPool)
	c.take(4 * c.u2())
	if err := c.end(); err != nil {
		return err
	}
	c = f.content(RefLocation)
	c.take(c.u2())
	c.take(c.u2())
	return c.end()
}

// directory compares what the Directory component says of the others. Version
// 2.1 does not count a Debug component.
func (f *File) directory() error {
	c := f.content(Directory)
	last := Debug
	if f.Format.Minor < 2 {
		last = Descriptor
		if f.components[Debug] != nil {
			return fmt.Errorf("%w: a Debug component in version %v", ErrMalformed, f.Format)
		}
	}
	for t := Header; t <= last; t++ {
		said, b := c.u2(), f.components[t]
		if c.err != nil {
			break
		}
		// What no card needs may have been left out after conversion.
		if b == nil && (t == Descriptor || t == Debug) {
			continue
		}
		if there := max(len(b)-3, 0); said != there {
			c.fail(fmt.Errorf("%v has %d bytes, not %d", t, there, said))
		}
	}
	fields := f.content(StaticField)
	image, _, arrays := fields.u2(), fields.u2(), fields.u2()
	if fields.err != nil {
		return fields.end()
	}
	if v := c.u2(); c.err == nil && v != image {
		c.fail(fmt.Errorf("static field image of %d bytes, not %d", image, v))
	}
	if v := c.u2(); c.err == nil && v != arrays {
		c.fail(fmt.Errorf("%d initialized arrays, not %d", arrays, v))
	}
	c.u2() // array_init_size: bytes in the arrays
	if v := int(c.u1()); c.err == nil && v != len(f.Imports) {
		c.fail(fmt.Errorf("%d imported packages, not %d", len(f.Imports), v))
	}
	if v := int(c.u1()); c.err == nil && v != len(f.Applets) {
		c.fail(fmt.Errorf("%d applets, not %d", len(f.Applets), v))
	}
	announced := map[Tag]bool{}
	for range int(c.u1()) {
		u := Custom{Tag: Tag(c.u1()), Size: c.u2(), AID: c.aid()}
		if c.err != nil {
			break
		}
		b := f.components[u.Tag]
		if u.Tag < firstCustom || announced[u.Tag] || b == nil || len(b)-3 != u.Size {
			c.fail(fmt.Errorf("%v of %d bytes is not there, or there otherwise", u.Tag, u.Size))
			break
		}
		announced[u.Tag] = true
		f.Custom = append(f.Custom, u)
	}
	for t := range f.components {
		if c.err == nil && t >= firstCustom && !announced[t] {
			c.fail(fmt.Errorf("%v is not announced", t))
		}
	}
	return c.end()
}
