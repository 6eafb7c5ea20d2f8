package trace

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"cardbureau/cardio/apdu"
)

// ErrMalformed marks what is no trace of this version.
var ErrMalformed = errors.New("not a well-formed trace")

// maxLine is the greatest length of a line: an extended command and an
// extended answer in hexadecimal, and a companion of each.
const maxLine = 1 << 20

// Reader reads a trace line by line and checks its form.
type Reader struct {
	in     *bufio.Scanner
	header Header
	line   int
	n      int
	// exchanges are those an Opened answer may still belong to: the last one
	// that was named, and the number of the last exchange.
	opened, last int
}

// NewReader reads the first line.
func NewReader(r io.Reader) (*Reader, error) {
	t := &Reader{in: bufio.NewScanner(r)}
	t.in.Buffer(make([]byte, 0, 4096), maxLine)
	line, err := t.next()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: it is empty", ErrMalformed)
	}
	if err != nil {
		return nil, err
	}
	// A later version may have other fields: say that first.
	var what struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(line, &what); err != nil || what.Format != Format {
		return nil, t.wrong("the first line does not say %q", Format)
	}
	if what.Version != Version {
		return nil, t.wrong("it has version %d, and this program reads version %d", what.Version, Version)
	}
	if err := strict(line, &t.header); err != nil {
		return nil, t.wrong("%v", err)
	}
	if t.header.Mode != Redacted && t.header.Mode != Full {
		return nil, t.wrong("there is no mode %q", t.header.Mode)
	}
	return t, nil
}

// Header is the trace's first line.
func (t *Reader) Header() Header { return t.header }

// Line is the number of the line that was read last, from 1.
func (t *Reader) Line() int { return t.line }

// Next is the next event, or io.EOF at the end. A line that was cut off, as the
// last one is when a program is killed, is ErrMalformed.
func (t *Reader) Next() (Event, error) {
	line, err := t.next()
	if err != nil {
		return Event{}, err
	}
	var e Event
	if err := strict(line, &e); err != nil {
		return Event{}, t.wrong("%v", err)
	}
	if e.N != t.n+1 {
		return Event{}, t.wrong("event %d follows event %d", e.N, t.n)
	}
	if err := t.check(&e); err != nil {
		return Event{}, t.wrong("%v", err)
	}
	t.n++
	return e, nil
}

func (t *Reader) next() ([]byte, error) {
	if !t.in.Scan() {
		if err := t.in.Err(); err != nil {
			return nil, t.wrong("after it: %v", err)
		}
		return nil, io.EOF
	}
	t.line++
	return t.in.Bytes(), nil
}

func (t *Reader) wrong(format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %s", ErrMalformed, t.line, fmt.Sprintf(format, args...))
}

// strict decodes one JSON object that has no fields but those known, and
// nothing after it.
func strict(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// check holds an event to its kind.
func (t *Reader) check(e *Event) error {
	if e.At < 0 || e.Took < 0 {
		return errors.New("a negative time")
	}
	if !isHex(e.ATR) {
		return errors.New("an answer to reset that is not hexadecimal")
	}
	var want Event // what of e belongs to its kind
	switch want.N, want.At, want.Kind = e.N, e.At, e.Kind; e.Kind {
	case CardIn:
		want.ATR = e.ATR
		t.opened = e.N
	case Reset:
		want.ATR, want.Cold = e.ATR, e.Cold
		t.opened = e.N
	case Exchange:
		want.Command, want.Answer, want.Error, want.Took, want.Inside = e.Command, e.Answer, e.Error, e.Took, e.Inside
		t.last = e.N
		if err := t.exchange(e); err != nil {
			return err
		}
	case Opened:
		want.Of, want.Answer = e.Of, e.Answer
		if e.Of <= t.opened || e.Of > t.last {
			return fmt.Errorf("answer to event %d, out of order", e.Of)
		}
		t.opened = e.Of
		if err := t.answer(e.Answer); err != nil {
			return err
		}
	default:
		return fmt.Errorf("there is no event %q", e.Kind)
	}
	a, _ := json.Marshal(want)
	b, _ := json.Marshal(e)
	if !bytes.Equal(a, b) {
		return fmt.Errorf("fields that do not belong to an event %q", e.Kind)
	}
	return nil
}

func (t *Reader) exchange(e *Event) error {
	if e.Command == nil {
		return errors.New("an exchange without a command")
	}
	if err := t.command(*e.Command); err != nil {
		return err
	}
	if e.Inside != nil {
		if err := t.command(*e.Inside); err != nil {
			return fmt.Errorf("inside: %w", err)
		}
	}
	if e.Error != "" {
		if e.Error != InDoubt && e.Error != NotSent {
			return fmt.Errorf("there is no error %q", e.Error)
		}
		if e.SW != "" || e.Length != 0 || e.Response != nil {
			return errors.New("an answer beside an error")
		}
		return nil
	}
	return t.answer(e.Answer)
}

func (t *Reader) command(c Command) error {
	switch {
	case len(c.Header) != 0 && len(c.Header) != 8 || !isHex(c.Header):
		return errors.New("a header of other than 4 bytes")
	case c.Ne < 0 || c.Ne > apdu.MaxExtendedNe || c.Lc < 0 || c.Lc > apdu.MaxExtendedData+9:
		return errors.New("a length that no command has")
	case c.Channel < 0 || c.Channel > 19:
		return errors.New("a channel that no command has")
	}
	return t.parts(c.Data, c.Lc)
}

func (t *Reader) answer(a Answer) error {
	if len(a.SW) != 4 || !isHex(a.SW) {
		return errors.New("a status word of other than 2 bytes")
	}
	if a.Length < 0 || a.Length > apdu.MaxExtendedNe+64 {
		return errors.New("a length that no answer has")
	}
	return t.parts(a.Response, a.Length)
}

func (t *Reader) parts(p Parts, n int) error {
	sum := 0
	for _, one := range p {
		shown := one.Hex != "" && one.Length == 0 && one.Digest == "" && isHex(one.Hex)
		digested := one.Hex == "" && one.Length > 0 && len(one.Digest) == 2*digestSize && isHex(strings.ToUpper(one.Digest))
		if !shown && !digested {
			return errors.New("a part that is neither shown nor a length with its digest")
		}
		if digested && t.header.Mode == Full {
			return errors.New("a full trace with a digest")
		}
		if sum += one.size(); sum > n || sum < 0 {
			break
		}
	}
	if sum != n {
		return fmt.Errorf("parts of other than %d bytes", n)
	}
	return nil
}

// isHex reports whole bytes in capital hexadecimal digits.
func isHex(s string) bool {
	for _, c := range s {
		if !strings.ContainsRune("0123456789ABCDEF", c) {
			return false
		}
	}
	return len(s)%2 == 0
}
