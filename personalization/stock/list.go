package stock

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Blank is one card without a person, as a delivery list names it.
type Blank struct {
	Serial string `json:"serial"` // serial identification of the chip, CPLC fields as the chip profile writes them
	Chip   string `json:"chip"`   // name of the chip profile
	Batch  string `json:"batch"`  // the maker's batch
}

// Limits of a list.
const (
	MaxLine  = 1024      // bytes
	MaxField = 64        // characters
	MaxList  = 1_000_000 // blanks
)

// ListProblem says what is wrong with one line of a list.
type ListProblem struct {
	Line    int // counted from 1
	Problem string
}

func (p *ListProblem) Error() string { return fmt.Sprintf("line %d: %s", p.Line, p.Problem) }

// ReadList reads a list of blanks: comma-separated values with a header line
// that names the columns serial, chip and batch in any order (others are
// passed over), or JSON, one object a line with the same names and no others.
// Empty lines and, before the first line of values, a byte order mark are
// passed over.
//
// Delivery lists are taken whole or not at all: a list with a single wrong line
// was cut, mixed up or made for somebody else. The error joins a *ListProblem
// for each wrong line, at most 20 of them, and there are no blanks then. A
// serial twice in a list is such a problem.
//
// A serial is upper-case letters, digits and hyphens; chip and batch are
// letters, digits and any of . _ / -. known tells whether there is a profile of
// a chip; a chip of which there is none makes its line wrong. nil takes any.
func ReadList(r io.Reader, known func(chip string) bool) ([]Blank, error) {
	in := bufio.NewReader(r)
	if bom, _ := in.Peek(3); bytes.Equal(bom, []byte("\xef\xbb\xbf")) {
		in.Discard(3)
	}
	l := list{seen: map[string]int{}, known: known}
	scan := bufio.NewScanner(in)
	scan.Buffer(make([]byte, 0, MaxLine), MaxLine)
	for !l.stop && len(l.problems) < maxProblems && scan.Scan() {
		l.line++
		if text := strings.TrimSpace(scan.Text()); text != "" {
			l.read(text)
		}
	}
	if err := scan.Err(); errors.Is(err, bufio.ErrTooLong) {
		l.line++
		l.wrong(fmt.Sprintf("is longer than %d bytes", MaxLine))
	} else if err != nil {
		return nil, fmt.Errorf("reading a list of blanks: %w", err)
	}
	if len(l.problems) == 0 && len(l.blanks) == 0 {
		l.wrong("the list names no blank")
	}
	if len(l.problems) > 0 {
		return nil, errors.Join(l.problems...)
	}
	return l.blanks, nil
}

const maxProblems = 20

type list struct {
	line     int
	columns  map[string]int // of a comma-separated list, nil before its header
	json     bool
	stop     bool
	blanks   []Blank
	seen     map[string]int // serial to line
	problems []error
	known    func(chip string) bool // nil: any chip
}

func (l *list) wrong(problem string) {
	l.problems = append(l.problems, &ListProblem{Line: l.line, Problem: problem})
}

func (l *list) read(text string) {
	if l.columns == nil && !l.json {
		if l.json = strings.HasPrefix(text, "{"); !l.json {
			l.header(text)
			return
		}
	}
	var (
		b  Blank
		ok bool
	)
	if l.json {
		b, ok = l.object(text)
	} else {
		b, ok = l.values(text)
	}
	if !ok {
		return
	}
	switch first, twice := l.seen[b.Serial]; {
	case !field(b.Serial, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"):
		l.wrong("the serial is empty, longer than 64 characters, or not upper-case letters, digits and hyphens")
	case !field(b.Chip, nameCharacters), !field(b.Batch, nameCharacters):
		l.wrong("chip or batch is empty, longer than 64 characters, or not letters, digits and . _ / -")
	case l.known != nil && !l.known(b.Chip):
		l.wrong(fmt.Sprintf("there is no profile of chip %q: see cardbureau profile list", b.Chip))
	case twice:
		l.wrong(fmt.Sprintf("serial %s is on line %d already", b.Serial, first))
	case len(l.blanks) == MaxList:
		l.wrong(fmt.Sprintf("a list names at most %d blanks", MaxList))
	default:
		l.seen[b.Serial] = l.line
		l.blanks = append(l.blanks, b)
	}
}

const nameCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-"

func field(s, characters string) bool {
	return s != "" && len(s) <= MaxField && strings.Trim(s, characters) == ""
}

func (l *list) header(text string) {
	names, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		l.wrong("is neither a header of comma-separated values nor a JSON object")
		l.stop = true
		return
	}
	l.columns = map[string]int{}
	for i, n := range names {
		l.columns[strings.ToLower(strings.TrimSpace(n))] = i
	}
	if len(l.columns) != len(names) {
		l.wrong("the header names a column twice")
	}
	for _, need := range []string{"serial", "chip", "batch"} {
		if _, ok := l.columns[need]; !ok {
			l.wrong(fmt.Sprintf("the header does not name a column %q", need))
		}
	}
	l.stop = len(l.problems) > 0 // what the values mean is not known
}

func (l *list) values(text string) (Blank, bool) {
	v, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil || len(v) != len(l.columns) {
		l.wrong(fmt.Sprintf("does not have the header's %d values", len(l.columns)))
		return Blank{}, false
	}
	at := func(name string) string { return strings.TrimSpace(v[l.columns[name]]) }
	return Blank{Serial: at("serial"), Chip: at("chip"), Batch: at("batch")}, true
}

func (l *list) object(text string) (b Blank, ok bool) {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil || d.More() {
		l.wrong(`is not one JSON object {"serial": …, "chip": …, "batch": …}`)
		return b, false
	}
	return b, true
}

// WriteList writes blanks as ReadList reads them: comma-separated values.
func WriteList(w io.Writer, blanks []Blank) error {
	out := csv.NewWriter(w)
	out.Write([]string{"serial", "chip", "batch"}) // errors stay with the writer
	for _, b := range blanks {
		out.Write([]string{b.Serial, b.Chip, b.Batch})
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("writing a list of blanks: %w", err)
	}
	return nil
}
