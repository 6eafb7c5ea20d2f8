// Package captest writes small CAP files for tests: a package with one applet
// whose code is not worth running, laid out as the Java Card Virtual Machine
// Specification 3.0.5, chapter 6, says (compact format 2.1). It shares no code
// with the package that reads them.
package captest

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
)

// Import is a package that the made one needs.
type Import struct {
	AID          []byte
	Major, Minor byte
}

// Framework is javacard.framework of Java Card 2.2.2.
var Framework = Import{AID: []byte{0xA0, 0, 0, 0, 0x62, 1, 1}, Major: 1, Minor: 3}

// File says what the file holds. AIDs have 5 to 16 bytes and one RID.
type File struct {
	Package []byte // version 1.0
	Applet  []byte // nil: a library
	Imports []Import
	Code    int // bytes of methods, at least 4
}

var names = []string{"", "Header", "Directory", "Applet", "Import", "ConstantPool", "Class", "Method", "StaticField", "RefLocation"}

// order is that in which a card takes the components.
var order = []byte{1, 2, 4, 3, 6, 7, 8, 5, 9}

func component(tag byte, content []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{tag}, uint16(len(content))), content...)
}

func aid(dst, aid []byte) []byte { return append(append(dst, byte(len(aid))), aid...) }

func (f File) components() map[byte][]byte {
	p := map[byte][]byte{}
	flags := byte(0)
	if f.Applet != nil {
		flags = 0x04
		p[3] = append(aid([]byte{1}, f.Applet), 0, 1)
	}
	p[1] = aid([]byte{0xDE, 0xCA, 0xFF, 0xED, 1, 2, flags, 0, 1}, f.Package)
	p[4] = []byte{byte(len(f.Imports))}
	for _, i := range f.Imports {
		p[4] = aid(append(p[4], i.Minor, i.Major), i.AID)
	}
	p[5] = []byte{0, 0}
	p[6] = []byte{0}
	p[7] = make([]byte, max(f.Code, 4))
	for i := range p[7][1:] {
		p[7][i+1] = byte(i * 7)
	}
	p[8] = make([]byte, 10)
	p[9] = []byte{0, 0, 0, 0}
	var d []byte
	for tag := byte(1); tag <= 11; tag++ {
		n := len(p[tag])
		if tag == 2 {
			n = 31
		}
		d = binary.BigEndian.AppendUint16(d, uint16(n))
	}
	applets := byte(0)
	if f.Applet != nil {
		applets = 1
	}
	p[2] = append(d, 0, 0, 0, 0, 0, 0, byte(len(f.Imports)), applets, 0)
	return p
}

// IJC is the components one after another, in the order of a load file data
// block, which it is.
func (f File) IJC() []byte {
	var out []byte
	p := f.components()
	for _, tag := range order {
		if p[tag] != nil {
			out = append(out, component(tag, p[tag])...)
		}
	}
	return out
}

// JAR is the file as a converter writes it.
func (f File) JAR() ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	p := f.components()
	for tag, name := range names {
		if p[byte(tag)] == nil {
			continue
		}
		e, err := w.Create("test/javacard/" + name + ".cap")
		if err == nil {
			_, err = e.Write(component(byte(tag), p[byte(tag)]))
		}
		if err != nil {
			return nil, fmt.Errorf("captest: %w", err)
		}
	}
	err := w.Close()
	return b.Bytes(), err
}
