package bankfile

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
)

const maxProblems = 20

// Read reads a file of any kind, in either form. It is read whole or not at all: the
// error is ErrFile with a *LineError for each wrong line, at most 20 of them. A header
// that is wrong ends the reading. Whether it follows the file before it is for
// Info.Follows.
func Read(r io.Reader) (File, Info, error) {
	d := reader{whole: sha256.New()}
	scan := bufio.NewScanner(io.TeeReader(r, d.whole))
	scan.Buffer(make([]byte, 0, 512), maxLine)
	scan.Split(lines)
	for !d.stop && len(d.problems) < maxProblems && scan.Scan() {
		d.line++
		d.read(scan.Bytes())
	}
	switch err := scan.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		d.line++
		d.wrong(fmt.Errorf("is longer than %d bytes", maxLine))
	case errors.Is(err, errLineEnd):
		d.line++
		d.wrong(err)
	case err != nil:
		return nil, Info{}, fmt.Errorf("reading a bank file: %w", err)
	case len(d.problems) == 0 && !d.done:
		d.line++
		d.wrong(errors.New("the file ends without a trailer"))
	}
	if len(d.problems) > 0 {
		return nil, Info{}, fmt.Errorf("%w: %w", ErrFile, errors.Join(d.problems...))
	}
	var digest Digest
	d.whole.Sum(digest[:0])
	return d.file, about(d.file, d.format, digest), nil
}

// As reads a file of one kind: bankfile.As[*bankfile.Acknowledgement](r).
func As[F File](r io.Reader) (F, Info, error) {
	var none F
	f, info, err := Read(r)
	if err != nil {
		return none, Info{}, err
	}
	of, ok := f.(F)
	if !ok {
		return none, Info{}, fmt.Errorf("%w: it is of kind %s, and another kind is needed", ErrFile, f.Kind())
	}
	return of, info, nil
}

var errLineEnd = errors.New("does not end with CR LF")

// lines splits at CR LF and takes no other end.
func lines(data []byte, atEOF bool) (int, []byte, error) {
	switch i := bytes.IndexByte(data, '\n'); {
	case i > 0 && data[i-1] == '\r':
		return i + 1, data[:i-1], nil
	case i >= 0 || atEOF && len(data) > 0:
		return 0, nil, errLineEnd
	}
	return 0, nil, nil
}

type reader struct {
	file     File
	format   Format
	columns  table
	whole    hash.Hash
	running  Digest
	line     int // of the file
	records  uint64
	code     int // index of the last record's code in details
	header   bool
	done     bool // the trailer was read
	stop     bool
	problems []error
}

func (d *reader) wrong(err error) {
	d.problems = append(d.problems, &LineError{Line: d.line, Err: err})
}

func (d *reader) fatal(err error) {
	d.wrong(err)
	d.stop = true
}

func (d *reader) read(line []byte) {
	if d.file == nil && !d.first(line) {
		return
	}
	if d.line == 1 && d.format == CSV {
		d.running = link(d.running, line)
		return
	}
	code, cells, err := d.cells(line)
	if err == nil && d.done {
		err = errors.New("stands after the trailer")
	}
	if err != nil {
		d.fail(err)
		return
	}
	switch {
	case !d.header && code != 'H':
		d.fatal(errors.New("is not the header, which comes first"))
	case code == 'H':
		d.head(cells)
	case code == 'T':
		d.trail(cells)
	default:
		d.detail(code, cells)
	}
	d.running = link(d.running, line)
}

// fail is wrong, and the end of it in a header.
func (d *reader) fail(err error) {
	d.wrong(err)
	d.stop = d.stop || !d.header || d.done
}

// first finds kind and form in the first line.
func (d *reader) first(line []byte) bool {
	if len(line) > 6 && line[0] == 'H' {
		for _, k := range kinds {
			if string(line[1:6]) == string(k) {
				d.format, d.file = Fixed, newFile(k)
				d.columns = columns[k]
				return true
			}
		}
	}
	for _, k := range kinds {
		t := columns[k]
		if row, err := split(string(line)); err == nil && strings.Join(row, ",") == strings.Join(t.names, ",") {
			d.format, d.file, d.columns = CSV, newFile(k), t
			return true
		}
	}
	d.fatal(errors.New("is neither the header of a fixed file nor the column names of a CSV file that is known"))
	return false
}

// split is one row of a CSV file. No value has a line end, so a line is a row.
func split(line string) ([]string, error) {
	if !strings.Contains(line, `"`) {
		return strings.Split(line, ","), nil
	}
	row, err := csv.NewReader(strings.NewReader(line)).Read()
	if err != nil {
		return nil, errors.New("is no row of comma-separated values")
	}
	return row, nil
}

// row is the values of one record: those of a CSV row, or a fixed line to cut.
type row struct {
	csv   []string
	fixed string
}

func (d *reader) cells(line []byte) (code byte, r row, err error) {
	known := "HT" + d.file.details()
	if d.format == Fixed {
		if len(line) != LineLength {
			return 0, r, fmt.Errorf("has %d characters, and every line has %d", len(line), LineLength)
		}
		if strings.IndexByte(known, line[0]) < 0 {
			return 0, r, errors.New("begins with a record code that is not known")
		}
		return line[0], row{fixed: string(line[1:])}, nil
	}
	values, err := split(string(line))
	switch {
	case err != nil:
		return 0, r, err
	case len(values) != len(d.columns.names):
		return 0, r, fmt.Errorf("has %d values, and every row has %d", len(values), len(d.columns.names))
	case len(values[0]) != 1 || !strings.Contains(known, values[0]):
		return 0, r, errors.New("begins with a record code that is not known")
	}
	return values[0][0], row{csv: values}, nil
}

// take gives each field its text, and checks that nothing is left over.
func (d *reader) take(r row, fields []field, to func(f field, text string) error) error {
	used := map[int]bool{0: true}
	at := 0
	for _, f := range fields {
		var text string
		if d.format == CSV {
			i := d.columns.index[f.name]
			used[i] = true
			text = r.csv[i]
		} else {
			text = unfill(r.fixed[at:at+f.width], f.number)
			at += f.width
		}
		if !harmless(text) {
			return fmt.Errorf("%s has a character that bank files do not have", f.name)
		}
		if err := to(f, text); err != nil {
			return fmt.Errorf("%s %w", f.name, err)
		}
	}
	if d.format == Fixed && strings.Trim(r.fixed[at:], " ") != "" {
		return errors.New("has more than its fields")
	}
	for i, text := range r.csv {
		if text != "" && !used[i] {
			return fmt.Errorf("has a value in column %s, which such a record does not have", d.columns.names[i])
		}
	}
	return nil
}

// unfill takes the filling of the fixed form away.
func unfill(text string, number bool) string {
	if !number {
		return strings.TrimRight(text, " ")
	}
	if !digits(text) {
		return "" // which is no number
	}
	if text = strings.TrimLeft(text, "0"); text == "" {
		return "0"
	}
	return text
}

func parse(f field, text string) error { return f.parse(text) }

func (d *reader) head(r row) {
	if d.header {
		d.wrong(errors.New("is a second header"))
		return
	}
	d.header = true
	err := d.take(r, d.file.headFields(), parse)
	if err == nil {
		err = d.file.head().check()
	}
	if err != nil {
		d.fatal(err)
	}
}

func (d *reader) detail(code byte, r row) {
	if d.records++; d.records > MaxRecords {
		d.fatal(fmt.Errorf("is record %d, and a file has at most %d", d.records, MaxRecords))
		return
	}
	if i := strings.IndexByte(d.file.details(), code); i < d.code {
		d.wrong(fmt.Errorf("is a record %c after those that come after it", code))
	} else {
		d.code = i
	}
	var n uint64
	err := d.take(r, append([]field{number("line", 8, &n)}, d.file.grow(code)...), parse)
	if err == nil && n != d.records {
		err = fmt.Errorf("line is not the record's number, %d", d.records)
	}
	if err == nil {
		err = d.file.wrong(code, d.file.count(code)-1)
	}
	if err != nil {
		d.wrong(err)
	}
}

func (d *reader) trail(r row) {
	d.done = true
	if len(d.problems) > 0 {
		return // the totals are wrong for it
	}
	running := d.running
	err := d.take(r, trailer(d.file, &running), func(f field, text string) error {
		if want, err := f.format(); err != nil || text != want {
			return errors.New("is not what the lines give")
		}
		return nil
	})
	if err == nil {
		err = d.file.whole()
	}
	if err != nil {
		d.wrong(err)
	}
}
