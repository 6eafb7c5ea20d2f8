package record

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
)

// Line is one line of a file of records.
type Line struct {
	Number int    // from 1, empty lines counted
	Bytes  []byte // without the line feed; the receiver's own
	// Unterminated says that the file ended without a line feed: the line may
	// have been cut off.
	Unterminated bool
	// Err is a *Refusal for a line that is too long (Bytes is nil), any other
	// error for a file that could not be read on, after which nothing follows.
	Err error
}

// Lines cuts a file of records into lines of at most limit bytes (0: MaxLine).
// Empty lines are left out. A longer line is skipped in bounded memory and
// reported; the next line follows as if nothing had been.
func Lines(r io.Reader, limit int) iter.Seq[Line] {
	if limit <= 0 {
		limit = MaxLine
	}
	return func(yield func(Line) bool) {
		br := bufio.NewReaderSize(r, 64<<10)
		for n := 1; ; n++ {
			b, tooLong, err := readLine(br, limit)
			line := Line{Number: n, Unterminated: errors.Is(err, io.EOF)}
			if n == 1 {
				b = bytes.TrimPrefix(b, []byte("\uFEFF"))
			}
			switch {
			case err != nil && !line.Unterminated:
				line.Err = err
			case tooLong:
				line.Err = refuse(LineTooLong, "")
			default:
				line.Bytes = bytes.TrimRight(b, "\r\n")
			}
			empty := line.Err == nil && len(bytes.TrimSpace(line.Bytes)) == 0
			if !empty && !yield(line) || err != nil {
				return
			}
		}
	}
}

// readLine reads up to and with the next line feed. Of a line over limit bytes it
// keeps nothing.
func readLine(br *bufio.Reader, limit int) (line []byte, tooLong bool, err error) {
	for {
		part, err := br.ReadSlice('\n')
		switch {
		case tooLong:
		case len(line)+len(bytes.TrimRight(part, "\r\n")) > limit:
			line, tooLong = nil, true
		default:
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, tooLong, err
		}
	}
}

// VerifyLine is Verify for a line of a file. A last line that has no line feed
// and ends before its record is complete is refused as line-cut-off; a complete
// record needs no line feed.
func (v *Verifier) VerifyLine(ctx context.Context, line Line) (*Verified, error) {
	if line.Err != nil {
		return nil, line.Err
	}
	out, err := v.Verify(ctx, line.Bytes)
	var ref *Refusal
	if line.Unterminated && errors.As(err, &ref) && ref.incomplete {
		return nil, &Refusal{Code: LineCutOff, RecordID: ref.RecordID}
	}
	return out, err
}
