package cap

import (
	"bytes"
	"fmt"
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
	if components[StaticResources] != nil && f.Format.Minor < 3 {
		return nil, fmt.Errorf("%w: a StaticResources component in version %v", ErrMalformed, f.Format)
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
	if err := f.resources(); err != nil {
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
		c.b = b[headerSize(t, f.Extended):]
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
	if f.Format.Major != 2 || f.Format.Minor < 1 || f.Format.Minor > 3 {
		return 0, fmt.Errorf("%w: version %v", ErrUnsupported, f.Format)
	}
	f.Extended = flags&accExtended != 0
	if f.Extended && f.Format.Minor < 3 {
		return 0, fmt.Errorf("%w: the extended format in version %v", ErrMalformed, f.Format)
	}
	if flags&^(accInt|accExport|accApplet|accExtended) != 0 {
		return 0, fmt.Errorf("%w: Header flags %02X", ErrMalformed, flags)
	}
	f.Ints = flags&accInt != 0
	f.Package = c.pkg()
	if f.Extended {
		f.publicPackages(c)
	} else if f.Format.Minor >= 2 {
		f.Name = c.name()
	}
	return flags, c.end()
}

// publicPackages are all packages of an extended file, then all their names.
func (f *File) publicPackages(c *cursor) {
	count := int(c.u1())
	if c.err == nil && count == 0 {
		c.fail(fmt.Errorf("no package in it"))
	}
	for range count {
		p := NamedPackage{Package: c.pkg()}
		if c.err != nil {
			return
		}
		f.Public = append(f.Public, p)
	}
	for i := range f.Public {
		f.Public[i].Name = c.name()
	}
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
	method, blocks := len(f.components[Method])-headerSize(Method, f.Extended), 0
	if f.Extended {
		blocks = int(f.content(Method).u1())
	}
	for range count {
		aid, block := c.aid(), 0
		if f.Extended {
			block = int(c.u1())
		}
		offset := c.u2()
		if c.err != nil {
			break
		}
		if f.Extended && block >= blocks {
			c.fail(fmt.Errorf("an install method in block %d of %d", block, blocks))
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

// sizes checks the components whose size follows from their own counts. The
// blocks of an extended RefLocation are left alone.
func (f *File) sizes() error {
	c := f.content(ConstantPool)
	c.take(4 * c.u2())
	if err := c.end(); err != nil {
		return err
	}
	if f.Extended {
		return f.methodBlocks()
	}
	c = f.content(RefLocation)
	c.take(c.u2())
	c.take(c.u2())
	return c.end()
}

// methodBlocks checks that an extended Method component has its blocks.
func (f *File) methodBlocks() error {
	c := f.content(Method)
	count := int(c.u1())
	if c.err == nil && (count == 0 || count > 127) {
		c.fail(fmt.Errorf("%d blocks", count))
	}
	last, size := -1, len(f.components[Method])
	for range count {
		at := c.u4()
		if c.err != nil {
			break
		}
		if at <= last || at >= size {
			c.fail(fmt.Errorf("a block at %d of %d bytes, after one at %d", at, size, last))
			break
		}
		last = at
	}
	c.b = nil // the blocks themselves
	return c.end()
}

const maxResource = 32767 // bytes of a static resource

// resources reads the StaticResources component, where there is one.
func (f *File) resources() error {
	if f.components[StaticResources] == nil {
		return nil
	}
	c := f.content(StaticResources)
	count, seen := c.u2(), map[int]bool{}
	if c.err == nil && count == 0 {
		c.fail(fmt.Errorf("no resource in it"))
	}
	for range count {
		r := Resource{ID: c.u2(), Size: c.u4()}
		if c.err != nil {
			break
		}
		if seen[r.ID] || r.Size > maxResource {
			c.fail(fmt.Errorf("resource %d of %d bytes is there twice or too long", r.ID, r.Size))
			break
		}
		seen[r.ID] = true
		f.Resources = append(f.Resources, r)
	}
	for _, r := range f.Resources {
		c.take(r.Size)
	}
	return c.end()
}

// directory compares what the Directory component says of the others. Version
// 2.1 does not count a Debug component.
func (f *File) directory() error {
	c := f.content(Directory)
	last := Debug
	switch f.Format.Minor {
	case 3:
		last = StaticResources
	case 1:
		last = Descriptor
		if f.components[Debug] != nil {
			return fmt.Errorf("%w: a Debug component in version %v", ErrMalformed, f.Format)
		}
	}
	for t := Header; t <= last; t++ {
		said, b := c.size(wide(t, f.Extended)), f.components[t]
		if c.err != nil {
			break
		}
		// What no card needs may have been left out after conversion.
		if b == nil && (t == Descriptor || t == Debug) {
			continue
		}
		if there := max(len(b)-headerSize(t, f.Extended), 0); said != there {
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
	if f.Extended {
		if v, there := c.u1(), f.content(Method).u1(); c.err == nil && v != there {
			c.fail(fmt.Errorf("%d method blocks, not %d", there, v))
		}
	}
	announced := map[Tag]bool{}
	for range int(c.u1()) {
		u := Custom{Tag: Tag(c.u1()), Size: c.size(f.Extended), AID: c.aid()}
		if c.err != nil {
			break
		}
		b := f.components[u.Tag]
		if u.Tag < firstCustom || announced[u.Tag] || b == nil || len(b)-headerSize(u.Tag, f.Extended) != u.Size {
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
