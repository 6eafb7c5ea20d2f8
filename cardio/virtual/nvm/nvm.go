// Package nvm is the non-volatile memory of a software chip: a small store of
// keys and values whose changes commit together, one commit an APDU, and
// survive the death of the process.
//
// In a file it is an append-only journal. Each commit is one write of one
// record with a length and a CRC-32C; a record that is cut off at the end is
// dropped when the file is opened, so a commit has happened entirely or not
// at all. There is no fsync per commit: the state survives a killed process,
// not a machine that loses power, which for a rehearsal card is the right
// trade (an fsync costs more than the whole APDU).
//
// It is no database: everything is held in memory, keys are short strings,
// values are at most MaxValue bytes.
package nvm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// MaxValue is the greatest value in bytes.
const MaxValue = 1 << 20

// ErrCorrupt marks a file that is no card memory, or one that is damaged
// elsewhere than at its end.
var ErrCorrupt = errors.New("nvm: the card's memory file is damaged")

// ErrInUse means that another process, or another Memory of this one, has the
// file open.
var ErrInUse = errors.New("nvm: the card's memory file is in use")

// ErrClosed means that the memory was closed.
var ErrClosed = errors.New("nvm: the card's memory is closed")

// Memory is one chip's memory. It is not safe for concurrent use: the chip's
// lock guards it.
type Memory struct {
	values  map[string][]byte
	undo    []change
	pending []byte // operations since the last commit, encoded

	path   string
	file   *os.File // nil when in memory only
	size   int64    // bytes in the file
	closed bool
	broken error // a failed write: nothing more is accepted
}

// change undoes one operation.
type change struct {
	key     string
	existed bool
	old     []byte // whole value, or the overwritten range when partial
	partial bool
	off     int
	length  int // of the value before a partial write
}

// InMemory returns a memory without a file.
func InMemory() *Memory {
	return &Memory{values: map[string][]byte{}}
}

// Space returns the part of the memory that belongs to name. Spaces do not
// see each other. A name holds no zero byte.
func (m *Memory) Space(name string) Space {
	return Space{m: m, prefix: name + "\x00"}
}

// Space is a named part of a Memory. Reads see changes that are not yet
// committed.
type Space struct {
	m      *Memory
	prefix string
}

// Get returns the value of key: nil when there is none, an empty slice that
// is not nil when the value is empty. The slice belongs to the memory: it
// must not be changed and is valid until the next change of the same key.
func (s Space) Get(key string) []byte {
	v, ok := s.m.values[s.prefix+key]
	if !ok {
		return nil
	}
	return v[:len(v):len(v)]
}

// Set replaces the value of key by a copy of value. It panics when the value
// is longer than MaxValue: a chip has no such object, so a caller that asks
// for it is wrong.
func (s Space) Set(key string, value []byte) {
	if len(value) > MaxValue {
		panic(fmt.Sprintf("nvm: a value of %d bytes", len(value)))
	}
	k := s.prefix + key
	old, existed := s.m.values[k]
	s.m.undo = append(s.m.undo, change{key: k, existed: existed, old: old})
	s.m.values[k] = append(make([]byte, 0, len(value)), value...)
	s.m.record(opSet, k, 0, value)
}

// WriteAt writes data into the value of key from offset off (bytes). The
// value is made when there is none and grows as needed; a gap is filled with
// zeros. It panics when off is negative or the value would be longer than
// MaxValue.
func (s Space) WriteAt(key string, off int, data []byte) {
	if off < 0 || off+len(data) > MaxValue {
		panic(fmt.Sprintf("nvm: a write of %d bytes at %d", len(data), off))
	}
	k := s.prefix + key
	v, existed := s.m.values[k]
	c := change{key: k, existed: existed, partial: true, off: off, length: len(v)}
	if off < len(v) {
		c.old = slices.Clone(v[off:min(len(v), off+len(data))])
	}
	s.m.undo = append(s.m.undo, c)
	s.m.values[k] = overwrite(v, off, data)
	s.m.record(opWrite, k, off, data)
}

// Delete removes key; no key, no effect.
func (s Space) Delete(key string) {
	k := s.prefix + key
	old, existed := s.m.values[k]
	if !existed {
		return
	}
	s.m.undo = append(s.m.undo, change{key: k, existed: true, old: old})
	delete(s.m.values, k)
	s.m.record(opDelete, k, 0, nil)
}

// Keys returns the keys that begin with prefix, sorted.
func (s Space) Keys(prefix string) []string {
	var out []string
	for k := range s.m.values {
		if rest, ok := strings.CutPrefix(k, s.prefix); ok && strings.HasPrefix(rest, prefix) {
			out = append(out, rest)
		}
	}
	slices.Sort(out)
	return out
}

// overwrite is the write both of a live memory and of one being replayed.
func overwrite(v []byte, off int, data []byte) []byte {
	if v == nil {
		v = []byte{}
	}
	if gap := off + len(data) - len(v); gap > 0 {
		v = append(v, make([]byte, gap)...)
	}
	copy(v[off:], data)
	return v
}

// Rollback undoes every change since the last commit.
func (m *Memory) Rollback() {
	for i := len(m.undo) - 1; i >= 0; i-- {
		c := m.undo[i]
		switch {
		case !c.existed:
			delete(m.values, c.key)
		case c.partial:
			v := m.values[c.key]
			copy(v[min(c.off, len(v)):], c.old)
			m.values[c.key] = v[:c.length]
		default:
			m.values[c.key] = c.old
		}
	}
	m.undo = m.undo[:0]
	m.pending = m.pending[:0]
}

// Dirty reports whether there are changes that are not committed.
func (m *Memory) Dirty() bool { return len(m.pending) > 0 }

// Dump is everything in the memory, by space and key: for tests and tools that
// compare cards. The values are copies.
func (m *Memory) Dump() map[string][]byte {
	out := make(map[string][]byte, len(m.values))
	for k, v := range m.values {
		out[strings.ReplaceAll(k, "\x00", "/")] = bytes.Clone(v)
	}
	return out
}
