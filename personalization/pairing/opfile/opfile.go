// Package opfile reads and writes the files that operators and SIM vendors exchange:
// the input file (.inp), which says which SIMs to make, and the output file (.out),
// which says what was made. There is no standard for them; this is the form that
// vendors have used for long, with its loose ends tied:
//
//   - anything: a comment
//     Customer: MCI
//     Quantity: 2
//     Type: PLUG-IN
//     Profile: 08.01
//     Batch: 00042
//     Transport_key: sim-transport/1
//     Var_Out: ICCID/IMSI/PIN1/PUK1/PIN2/PUK2/ADM1/KI/OPC
//     8998110000000000012 432110000000001 0000 12345678 …
//
// The header's names are those six and Var_In (input) or Var_Out (output), each once
// and in any order, the last one at the end. Two more may stand there: Algorithm, which
// is MILENAGE if it is not said, and Purpose, authentication or programming. Then follow the rows, fields separated
// by one space, as many as Quantity says. Upper and lower case of names do not
// matter. Lines end with LF or CR LF and have at most 2048 bytes.
//
// KI and OPC are under the transport key, 16 bytes each, with IV for forms that chain;
// or KEYS is both in one sealed piece. TUAK has TOPC, 32 bytes, for OPC. KIC1, KID1, KIK1
// to KIK3 are keys for messages over the air, of SIMs that the bureau programs. Nothing here deciphers them. Every line that is
// not as it should be is refused by its number, and no error repeats what it says.
package opfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"cardbureau/personalization/vault"
)

// Kind is what a file is.
type Kind string

// Kinds.
const (
	Input  Kind = "Var_In"  // .inp: ICCID and IMSI
	Output Kind = "Var_Out" // .out: what was made
)

// Limits of files.
const (
	MaxLine     = 2048
	MaxQuantity = 1_000_000
	maxHeader   = 200 // lines before the rows, comments among them
)

// ErrFile marks a file that is refused.
var ErrFile = errors.New("the SIM file is refused")

// LineError says which line is refused, and why. errors.Is finds ErrFile.
type LineError struct {
	Line   int // from 1
	Reason string
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// Unwrap is ErrFile.
func (e *LineError) Unwrap() error { return ErrFile }

// Row is one SIM. Fields that the file has not are empty. The keys are as they stand
// in the file: enciphered.
type Row struct {
	Line  int
	ICCID string
	IMSI  string

	PIN1, PUK1, PIN2, PUK2, ADM1 vault.Secret // ASCII; ADM1 8 digits, or its 8 bytes as 16 hexadecimal digits

	KI, OPC []byte            // 16 bytes each; of TUAK 16 or 32, and TOPC, 32
	IV      []byte            // 8 or 16 bytes
	Keys    []byte            // KI and OPC in one sealed piece, 60 bytes; of TUAK 76 or 92
	OTA     map[string][]byte // keys for messages over the air, by KIC1, KID1, KIK1 to KIK3
}

// String shows nothing of a row but its line.
func (r Row) String() string { return fmt.Sprintf("SIM of line %d", r.Line) }

// Format is String for every verb.
func (r Row) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(r.String())) }

// Zero overwrites what is secret.
func (r Row) Zero() {
	for _, s := range []vault.Secret{r.PIN1, r.PUK1, r.PIN2, r.PUK2, r.ADM1} {
		s.Zero()
	}
}

// Reader reads one file, once, line by line.
type Reader struct {
	Header Header

	kind  Kind
	lines *bufio.Reader
	line  int
	ended bool
}

// NewReader reads a file's header. What is wrong with it is a *LineError.
func NewReader(r io.Reader, kind Kind) (*Reader, error) {
	f := &Reader{kind: kind, lines: bufio.NewReaderSize(r, MaxLine+2)}
	seen := map[string]bool{}
	for {
		text, err := f.next()
		if errors.Is(err, io.EOF) {
			return nil, f.refuse("the file ends before its rows")
		}
		if err != nil {
			return nil, err
		}
		if f.line > maxHeader {
			return nil, f.refuse("the header is too long")
		}
		name, value, ok := strings.Cut(text, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case !ok:
			return nil, f.refuse("a header line is a name, a colon and a value")
		case seen[name]:
			return nil, f.refuse("this name stands twice")
		case !printable(value):
			return nil, f.refuse("the value is empty, too long, or has other characters than printable ASCII")
		}
		seen[name] = true
		if reason := f.Header.set(name, value, kind); reason != "" {
			return nil, f.refuse(reason)
		}
		if len(f.Header.Variables) > 0 {
			break
		}
	}
	for _, name := range names {
		if !seen[name] {
			return nil, f.refuse("the header has no " + name)
		}
	}
	return f, nil
}

func printable(s string) bool {
	return s != "" && len(s) <= 128 && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

func (f *Reader) refuse(reason string) error { return &LineError{Line: f.line, Reason: reason} }

// next is the next line that is no comment and not empty, without its end.
func (f *Reader) next() (string, error) {
	for {
		b, err := f.lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(b) == 0 {
			return "", io.EOF
		}
		f.line++
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return "", f.refuse(fmt.Sprintf("it is longer than %d bytes", MaxLine))
		case errors.Is(err, io.EOF):
			return "", f.refuse("the file ends within the line: it was cut off")
		case err != nil:
			return "", fmt.Errorf("read the SIM file: %w", err)
		}
		text := strings.TrimSuffix(string(b[:len(b)-1]), "\r")
		if text != "" && text[0] != '*' {
			return text, nil
		}
	}
}

// Rows gives the rows, and an error for each that is refused. It ends early when the
// file cannot be read on: a line too long, cut off, or more rows than the header says.
// At the end, fewer rows than that are an error too. It can be used once.
func (f *Reader) Rows() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		if f.ended {
			return
		}
		f.ended = true
		for n := 0; ; n++ {
			text, err := f.next()
			if errors.Is(err, io.EOF) {
				if n < f.Header.Quantity {
					f.line++
					yield(Row{}, f.refuse(fmt.Sprintf("the file ends after %d rows, its header says %d", n, f.Header.Quantity)))
				}
				return
			}
			if err == nil && n == f.Header.Quantity {
				err = f.refuse("there are more rows than the header says")
			}
			if err != nil {
				yield(Row{}, err)
				return
			}
			row, reason := f.Header.row(text)
			row.Line = f.line
			if reason != "" {
				row, err = Row{}, f.refuse(reason)
			}
			if !yield(row, err) {
				return
			}
		}
	}
}
