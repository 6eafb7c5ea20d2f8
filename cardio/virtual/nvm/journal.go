package nvm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// The file: magic, then records of
//
//	length (4 bytes, big-endian) of the payload
//	CRC-32C (4 bytes) of the payload
//	payload: operations of op (1 byte), key (uvarint length, bytes),
//	         offset (uvarint, only opWrite), value (uvarint length, bytes; not opDelete)
const magic = "cardNVM1"

const (
	opSet    = 1
	opWrite  = 2
	opDelete = 3
)

const recordHeader = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record appends one operation to the commit being made.
func (m *Memory) record(op byte, key string, off int, value []byte) {
	b := append(m.pending, op)
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = append(b, key...)
	if op == opWrite {
		b = binary.AppendUvarint(b, uint64(off))
	}
	if op != opDelete {
		b = binary.AppendUvarint(b, uint64(len(value)))
		b = append(b, value...)
	}
	m.pending = b
}

// Open opens the memory in a file, which is made (mode 0600) when it is not
// there, and locks it against a second opener (ErrInUse). A record that was
// cut off at the end is dropped.
func Open(path string) (*Memory, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("nvm: opening the card's memory: %w", err)
	}
	m := &Memory{values: map[string][]byte{}, path: path, file: f}
	if err := m.load(); err != nil {
		f.Close()
		return nil, err
	}
	return m, nil
}

func (m *Memory) load() error {
	if err := lock(m.file); err != nil {
		return err
	}
	b, err := io.ReadAll(m.file)
	if err != nil {
		return fmt.Errorf("nvm: reading the card's memory: %w", err)
	}
	if len(b) < len(magic) && magic[:len(b)] == string(b) {
		if _, err := m.file.WriteAt([]byte(magic), 0); err != nil {
			return fmt.Errorf("nvm: writing the card's memory: %w", err)
		}
		m.size = int64(len(magic))
		return nil
	}
	values, good, err := replay(b)
	if err != nil {
		return err
	}
	m.values = values
	if good < len(b) {
		if err := m.file.Truncate(int64(good)); err != nil {
			return fmt.Errorf("nvm: dropping a torn commit: %w", err)
		}
	}
	m.size = int64(good)
	return m.compactIfWasteful()
}

func lock(f *os.File) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return ErrInUse
		}
		return fmt.Errorf("nvm: locking the card's memory: %w", err)
	}
	return nil
}

// replay rebuilds the values of a journal. good is the length of the part
// that is whole; what follows is a torn commit.
func replay(b []byte) (values map[string][]byte, good int, err error) {
	if len(b) < len(magic) || string(b[:len(magic)]) != magic {
		return nil, 0, fmt.Errorf("%w: it does not begin as one", ErrCorrupt)
	}
	values = map[string][]byte{}
	good = len(magic)
	for good < len(b) {
		payload, ok := wholeRecord(b[good:])
		if !ok {
			// A torn write is the last thing in the file. A whole record
			// behind a damaged one means that the medium lost something.
			if n, ok := recordLength(b[good:]); ok && n < len(b)-good {
				if _, ok := wholeRecord(b[good+n:]); ok {
					return nil, 0, fmt.Errorf("%w: a record in the middle fails its checksum", ErrCorrupt)
				}
			}
			return values, good, nil
		}
		if err := apply(values, payload); err != nil {
			return nil, 0, err
		}
		good += recordHeader + len(payload)
	}
	return values, good, nil
}

func recordLength(b []byte) (int, bool) {
	if len(b) < recordHeader {
		return 0, false
	}
	return recordHeader + int(binary.BigEndian.Uint32(b)), true
}

func wholeRecord(b []byte) (payload []byte, ok bool) {
	n, ok := recordLength(b)
	if !ok || n == recordHeader || n > len(b) {
		return nil, false
	}
	payload = b[recordHeader:n]
	return payload, crc32.Checksum(payload, castagnoli) == binary.BigEndian.Uint32(b[4:])
}

func apply(values map[string][]byte, p []byte) error {
	bad := fmt.Errorf("%w: a record holds what it should not", ErrCorrupt)
	number := func() (int, bool) {
		v, n := binary.Uvarint(p)
		if n <= 0 || v > MaxValue {
			return 0, false
		}
		p = p[n:]
		return int(v), true
	}
	field := func() ([]byte, bool) {
		n, ok := number()
		if !ok || n > len(p) {
			return nil, false
		}
		f := p[:n]
		p = p[n:]
		return f, true
	}
	for len(p) > 0 {
		op := p[0]
		p = p[1:]
		key, ok := field()
		if !ok {
			return bad
		}
		switch op {
		case opDelete:
			delete(values, string(key))
			continue
		case opSet:
			value, ok := field()
			if !ok {
				return bad
			}
			values[string(key)] = append(make([]byte, 0, len(value)), value...)
		case opWrite:
			off, ok := number()
			if !ok {
				return bad
			}
			value, ok := field()
			if !ok || off+len(value) > MaxValue {
				return bad
			}
			values[string(key)] = overwrite(values[string(key)], off, value)
		default:
			return bad
		}
	}
	return nil
}

// Commit makes the changes since the last commit lasting, all of them or
// none. When the file cannot be written the changes are undone, and the
// memory accepts no further commit: a chip that lies about its state is worse
// than one that is broken.
func (m *Memory) Commit() error {
	if m.closed {
		return ErrClosed
	}
	if m.broken != nil {
		return m.broken
	}
	if len(m.pending) == 0 {
		return nil
	}
	if m.file != nil {
		rec := encodeRecord(m.pending)
		if _, err := m.file.WriteAt(rec, m.size); err != nil {
			m.Rollback()
			m.broken = fmt.Errorf("nvm: writing the card's memory: %w", err)
			return m.broken
		}
		m.size += int64(len(rec))
	}
	m.undo = m.undo[:0]
	m.pending = m.pending[:0]
	return nil
}

func encodeRecord(payload []byte) []byte {
	rec := make([]byte, recordHeader, recordHeader+len(payload))
	binary.BigEndian.PutUint32(rec, uint32(len(payload)))
	binary.BigEndian.PutUint32(rec[4:], crc32.Checksum(payload, castagnoli))
	return append(rec, payload...)
}

// Close undoes what is not committed, compacts a wasteful file and gives it
// back. A second Close does nothing.
func (m *Memory) Close() error {
	if m.closed {
		return nil
	}
	m.Rollback()
	m.closed = true
	if m.file == nil {
		return nil
	}
	err := m.compactIfWasteful()
	return errors.Join(err, m.file.Close())
}

// compactIfWasteful rewrites a file that is much larger than what it holds.
// The new file is synced before it takes the old one's name, since a rename
// may reach the disk before the data does.
func (m *Memory) compactIfWasteful() error {
	keys := make([]string, 0, len(m.values))
	live := len(magic) + recordHeader
	for k, v := range m.values {
		keys = append(keys, k)
		live += len(k) + len(v) + 8
	}
	if m.broken != nil || m.size <= int64(2*live+4096) {
		return nil
	}
	slices.Sort(keys)
	snapshot := &Memory{}
	for _, k := range keys {
		snapshot.record(opSet, k, 0, m.values[k])
	}
	out := []byte(magic)
	if len(snapshot.pending) > 0 {
		out = append(out, encodeRecord(snapshot.pending)...)
	}
	f, err := os.CreateTemp(filepath.Dir(m.path), ".nvm-*")
	if err != nil {
		return fmt.Errorf("nvm: compacting: %w", err)
	}
	err = func() error {
		if err := lock(f); err != nil {
			return err
		}
		if _, err := f.WriteAt(out, 0); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		return os.Rename(f.Name(), m.path)
	}()
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return fmt.Errorf("nvm: compacting: %w", err)
	}
	m.file.Close()
	m.file, m.size = f, int64(len(out))
	return nil
}
