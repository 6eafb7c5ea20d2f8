package bankfile

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
)

// lineEnd ends every line (RFC 4180 section 2).
const lineEnd = "\r\n"

// Write writes the file, and says what is to be kept of it: its digest is the next
// file's Previous. Nothing is written when something is wrong with it: ErrFile, with
// the record.
func Write(w io.Writer, f File, format Format) (Info, error) {
	if format != CSV && format != Fixed {
		return Info{}, fmt.Errorf("%w: there is no format %q", ErrFile, string(format))
	}
	if n := records(f); n > MaxRecords {
		return Info{}, fmt.Errorf("%w: it has %d records, and at most %d go into one; make another of the same day", ErrFile, n, MaxRecords)
	}
	out := writer{format: format, columns: columns[f.Kind()]}
	if format == CSV {
		out.end(strings.Join(out.columns.names, ","))
	}
	if err := f.head().check(); err != nil {
		return Info{}, fmt.Errorf("%w: header: %w", ErrFile, err)
	}
	if err := out.record('H', f.headFields()); err != nil {
		return Info{}, fmt.Errorf("%w: header: %w", ErrFile, err)
	}
	line := uint64(0)
	for _, code := range []byte(f.details()) {
		for n := range f.count(code) {
			line++
			err := out.record(code, append([]field{number("line", 8, &line)}, f.at(code, n)...))
			if err == nil {
				err = f.wrong(code, n)
			}
			if err != nil {
				return Info{}, fmt.Errorf("%w: record %d: %w", ErrFile, line, err)
			}
		}
	}
	if err := f.whole(); err != nil {
		return Info{}, fmt.Errorf("%w: %w", ErrFile, err)
	}
	running := out.running
	if err := out.record('T', trailer(f, &running)); err != nil {
		return Info{}, fmt.Errorf("%w: trailer: %w", ErrFile, err)
	}
	if _, err := w.Write(out.text.Bytes()); err != nil {
		return Info{}, fmt.Errorf("writing %s file %d: %w", f.Kind(), f.head().Sequence, err)
	}
	return about(f, format, sha256.Sum256(out.text.Bytes())), nil
}

func about(f File, format Format, digest Digest) Info {
	h := f.head()
	i := Info{Kind: f.Kind(), Format: format, Sequence: h.Sequence, Day: h.Day, Digest: digest, Previous: h.Previous,
		Records: records(f), Totals: map[string]uint64{}}
	for _, t := range f.totals() {
		text, _ := t.format()
		var n uint64
		fmt.Sscan(text, &n)
		i.Totals[t.name] = n
	}
	return i
}

// writer collects a file's text and its running hash.
type writer struct {
	format  Format
	columns table
	text    bytes.Buffer
	running Digest
}

func (w *writer) record(code byte, fields []field) error {
	cells := make([]string, len(fields))
	for i, f := range fields {
		text, err := f.format()
		if err == nil && (!harmless(text) || len(text) > f.width) {
			err = fmt.Errorf("has a character that bank files do not have, or is too long")
		}
		if err != nil {
			return fmt.Errorf("%s %w", f.name, err)
		}
		cells[i] = text
	}
	if w.format == CSV {
		row := make([]string, len(w.columns.names))
		row[0] = string(code)
		for i, f := range fields {
			row[w.columns.index[f.name]] = cells[i]
		}
		w.end(strings.Join(row, ","))
		return nil
	}
	line := bytes.Repeat([]byte{' '}, LineLength)
	line[0] = code
	at := 1
	for i, f := range fields {
		from := at
		if f.number {
			for j := range f.width - len(cells[i]) {
				line[at+j] = '0'
			}
			from = at + f.width - len(cells[i])
		}
		copy(line[from:], cells[i])
		at += f.width
	}
	w.end(string(line))
	return nil
}

// end adds a line and takes it into the running hash.
func (w *writer) end(line string) {
	w.running = link(w.running, []byte(line))
	w.text.WriteString(line)
	w.text.WriteString(lineEnd)
}

// link is the running hash after one more line: SHA-256 over the hash before (32 bytes,
// zeros at first) and the line without its end.
func link(before Digest, line []byte) (after Digest) {
	h := sha256.New()
	h.Write(before[:])
	h.Write(line)
	h.Sum(after[:0])
	return after
}

// table is the columns of a kind's CSV form: the code, and each field of header,
// records and trailer. A row leaves empty what its record does not have.
type table struct {
	names []string
	index map[string]int
}

// columns are the tables of all kinds, made once.
var columns = map[Kind]table{}

func init() {
	for _, k := range kinds {
		columns[k] = makeTable(k)
	}
}

func makeTable(kind Kind) table {
	t := table{index: map[string]int{}}
	add := func(names ...string) {
		for _, n := range names {
			if _, there := t.index[n]; !there {
				t.index[n] = len(t.names)
				t.names = append(t.names, n)
			}
		}
	}
	f := newFile(kind)
	add("record")
	for _, x := range f.headFields() {
		add(x.name)
	}
	add("line")
	for _, code := range []byte(f.details()) {
		for _, x := range f.grow(code) {
			add(x.name)
		}
	}
	var none Digest
	for _, x := range trailer(f, &none) {
		add(x.name)
	}
	return t
}
