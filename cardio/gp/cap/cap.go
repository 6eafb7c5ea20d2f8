// Package cap reads Java Card CAP files and makes of them what a card loads.
//
// It takes the compact format of versions 2.1 to 2.3 and the extended format of
// version 2.3 (Java Card Virtual Machine Specification 3.1, chapter 6), as a
// JAR or as the components one after another (IJC). It checks the layout of
// what it reports and the components' sizes against the Directory component. It
// is not a bytecode verifier, and it sends nothing: package gp has the
// commands. Cards before Java Card 3.1, and many after, load no extended file:
// File.Extended tells.
package cap

import (
	"errors"
	"fmt"
)

// What reading a CAP file can fail of.
var (
	// ErrMalformed: not laid out as the specification says.
	ErrMalformed = errors.New("malformed CAP file")
	// ErrUnsupported: a format or version that this package does not know.
	ErrUnsupported = errors.New("CAP format not supported")
	// ErrTooLarge: more than this package is willing to unpack.
	ErrTooLarge = errors.New("CAP file too large")
)

// Tag says which component it is (Java Card Virtual Machine Specification,
// chapter 6). Tags from 128 to 255 are custom components.
type Tag byte

// The components. StaticResources came with version 2.3.
const (
	Header          Tag = 1
	Directory       Tag = 2
	Applet          Tag = 3
	Import          Tag = 4
	ConstantPool    Tag = 5
	Class           Tag = 6
	Method          Tag = 7
	StaticField     Tag = 8
	RefLocation     Tag = 9
	Export          Tag = 10
	Descriptor      Tag = 11
	Debug           Tag = 12
	StaticResources Tag = 13

	firstCustom Tag = 128
)

// loadOrder is the order in which a card takes components (Java Card Virtual
// Machine Specification, chapter 6). Debug never travels.
var loadOrder = [...]Tag{Header, Directory, Import, Applet, Class, Method, StaticField, Export, ConstantPool, RefLocation, StaticResources, Descriptor}

var names = map[Tag]string{
	Header: "Header", Directory: "Directory", Applet: "Applet", Import: "Import", ConstantPool: "ConstantPool", Class: "Class",
	Method: "Method", StaticField: "StaticField", RefLocation: "RefLocation", Export: "Export", Descriptor: "Descriptor", Debug: "Debug",
	StaticResources: "StaticResources",
}

// String is the component's name, which is also its file's name in a JAR
// without ".cap" or ".capx"; "custom component" and its tag for the others.
func (t Tag) String() string {
	if s, ok := names[t]; ok {
		return s
	}
	return fmt.Sprintf("custom component %d", byte(t))
}

// Version is a major and a minor number, as in 1.6.
type Version struct{ Major, Minor byte }

// String writes it with a dot.
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// Package is a Java package with its AID, 5 to 16 bytes.
type Package struct {
	AID     []byte
	Version Version
}

// Custom is a custom component as the Directory component announces it.
type Custom struct {
	Tag  Tag
	Size int    // bytes, without tag and size
	AID  []byte // 5 to 16 bytes
}

// NamedPackage is a package with the name that the file has for it, such as
// "com/example/passport"; empty where the file does not say.
type NamedPackage struct {
	Package
	Name string
}

// Resource is a static resource, of at most 32,767 bytes.
type Resource struct {
	ID   int
	Size int // bytes
}

// File is a CAP file that was read. It aliases nothing of its input.
type File struct {
	// Format is the version of the CAP format, 2.1, 2.2 or 2.3.
	Format Version
	// Extended reports the extended format: several packages, or more than 64
	// KiB of code.
	Extended bool
	// Package is the package in the file; of the extended format, AID and
	// version of the file itself, which is what a card registers.
	Package Package
	// Public are the packages of an extended file that others may use.
	Public []NamedPackage
	// Name is the package's name as the file has it, such as
	// "com/example/passport"; empty where the file does not say.
	Name string
	// Ints reports that the package uses the type int (ACC_INT): not every
	// card has it.
	Ints bool
	// Imports are the packages that must be on the card, with the version
	// that this package was built against.
	Imports []Package
	// Applets are the AIDs of the applets inside, 5 to 16 bytes each.
	Applets [][]byte
	// Resources are the static resources, in the file's order.
	Resources []Resource
	// Custom are the announced custom components, in the Directory's order.
	Custom []Custom

	components map[Tag][]byte
}

// Component returns a component from its tag on, or nil where the file has
// none. The caller must not change it.
func (f *File) Component(t Tag) []byte { return f.components[t] }

// BlockOptions say which of the components that a card may do without are
// loaded.
type BlockOptions struct {
	Descriptor bool // the Descriptor component
	Custom     bool // custom components, after all others, in the Directory's order
}

// LoadFileDataBlock is what the card stores and a load file data block hash is
// made of: the components in the order of the specification, without Debug.
func (f *File) LoadFileDataBlock(o BlockOptions) []byte {
	var out []byte
	for _, t := range loadOrder {
		if t != Descriptor || o.Descriptor {
			out = append(out, f.components[t]...)
		}
	}
	if o.Custom {
		for _, c := range f.Custom {
			out = append(out, f.components[c.Tag]...)
		}
	}
	return out
}
