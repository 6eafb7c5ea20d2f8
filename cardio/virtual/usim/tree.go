package usim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"cardbureau/cardio/virtual/nvm"
)

// ErrNoCard means that a memory holds no SIM.
var ErrNoCard = errors.New("usim: the memory holds no SIM")

type kind byte

// Kinds of files.
const (
	folder      kind = iota + 1 // MF and DF
	application                 // ADF
	transparent
	linear
	cyclic
)

// file is a file of the card. What it holds is in the memory under data, which
// files of the second and the third generation share.
type file struct {
	fid      uint16
	kind     kind
	sfi      byte // 0: none
	rule     byte // record of EF.ARR
	record   int  // bytes; of linear and cyclic ones
	aid      []byte
	data     string
	path     string
	parent   *file
	children []*file
}

func (f *file) isFolder() bool { return f.kind == folder || f.kind == application }

func (f *file) child(fid uint16) *file {
	for _, c := range f.children {
		if c.fid == fid && c.kind != application {
			return c
		}
	}
	return nil
}

func (f *file) bySFI(sfi byte) *file {
	for _, c := range f.children {
		if c.sfi == sfi && !c.isFolder() {
			return c
		}
	}
	return nil
}

// Spaces and keys of the memory.
const (
	chipSpace   = "usim"
	filePrefix  = "file/"
	dataPrefix  = "data/"
	inactive    = "inactive/"
	pinPrefix   = "pin/"
	keyATR      = "atr"
	keyKind     = "kind"
	keyToolkit  = "toolkit"
	fidMF       = 0x3F00
	fidADF      = 0x7FFF
	fidARR      = 0x6F06
	fidRootARR  = 0x2F06
	rootPath    = "3F00"
	headerBytes = 7
)

func (f *file) encode() []byte {
	b := []byte{byte(f.kind), f.sfi, f.rule}
	b = binary.BigEndian.AppendUint16(b, uint16(f.record))
	b = binary.BigEndian.AppendUint16(b, f.fid)
	b = append(append(b, byte(len(f.aid))), f.aid...)
	return append(b, f.data...)
}

func decodeFile(path string, b []byte) (*file, error) {
	if len(b) < headerBytes+1 || len(b) < headerBytes+1+int(b[headerBytes]) {
		return nil, fmt.Errorf("%w: the file %s is damaged", ErrNoCard, path)
	}
	n := int(b[headerBytes])
	f := &file{
		kind: kind(b[0]), sfi: b[1], rule: b[2], record: int(binary.BigEndian.Uint16(b[3:])), fid: binary.BigEndian.Uint16(b[5:]),
		aid: append([]byte(nil), b[headerBytes+1:headerBytes+1+n]...), data: string(b[headerBytes+1+n:]), path: path,
	}
	if f.kind < folder || f.kind > cyclic || (f.kind == linear || f.kind == cyclic) && f.record == 0 {
		return nil, fmt.Errorf("%w: the file %s is damaged", ErrNoCard, path)
	}
	return f, nil
}

// loadTree reads the files; their order in the memory has folders before what
// is in them.
func loadTree(s nvm.Space) (*file, error) {
	all := map[string]*file{}
	for _, key := range s.Keys(filePrefix) {
		path := strings.TrimPrefix(key, filePrefix)
		f, err := decodeFile(path, s.Get(key))
		if err != nil {
			return nil, err
		}
		all[path] = f
		if path == rootPath {
			continue
		}
		up, _, _ := cutLast(path)
		f.parent = all[up]
		if f.parent == nil || !f.parent.isFolder() {
			return nil, fmt.Errorf("%w: the file %s has no folder", ErrNoCard, path)
		}
		f.parent.children = append(f.parent.children, f)
	}
	if all[rootPath] == nil {
		return nil, ErrNoCard
	}
	return all[rootPath], nil
}

func cutLast(path string) (before, after string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

// content is what a file holds; it belongs to the memory.
func (c *Chip) content(f *file) []byte { return c.space.Get(dataPrefix + f.data) }

func (c *Chip) records(f *file) int { return len(c.content(f)) / f.record }

// record is record n, from 1; nil when there is none.
func (c *Chip) record(f *file, n int) []byte {
	if n < 1 || n > c.records(f) {
		return nil
	}
	return c.content(f)[(n-1)*f.record : n*f.record]
}

func (c *Chip) active(f *file) bool { return c.space.Get(inactive+f.path) == nil }
