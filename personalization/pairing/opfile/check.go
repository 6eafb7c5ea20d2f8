package opfile

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxErrors is how many refused lines Check names.
const maxErrors = 100

// Summary is what Check finds.
type Summary struct {
	Header Header
	Digest [32]byte // SHA-256 of the whole file
}

// Check reads a whole file and refuses it for any line that is not as it should be,
// or an ICCID or IMSI that stands twice. The error names up to 100 lines, each a
// *LineError.
func Check(r io.Reader, kind Kind) (Summary, error) {
	hash := sha256.New()
	f, err := NewReader(io.TeeReader(r, hash), kind)
	if err != nil {
		return Summary{}, err
	}
	var bad []error
	seen := make(map[string]bool)
	for row, err := range f.Rows() {
		if err == nil && (seen[row.ICCID] || seen[row.IMSI]) {
			err = &LineError{Line: row.Line, Reason: "its ICCID or IMSI stands in the file before"}
		}
		if err != nil {
			if bad = append(bad, err); len(bad) == maxErrors {
				break
			}
			continue
		}
		seen[row.ICCID], seen[row.IMSI] = true, true
		row.Zero()
	}
	return Summary{Header: f.Header, Digest: [32]byte(hash.Sum(nil))}, errors.Join(bad...)
}

// Write writes a file. What could not be read again is refused.
func Write(w io.Writer, kind Kind, h Header, rows []Row) error {
	h.Quantity = len(rows)
	var b bytes.Buffer
	fmt.Fprintf(&b, "Customer: %s\nQuantity: %d\nType: %s\nProfile: %s\nBatch: %s\nTransport_key: %s\n", h.Customer, h.Quantity, h.Type, h.Profile, h.Batch, h.TransportKey)
	if h.TUAK != nil {
		fmt.Fprintf(&b, "Algorithm: %s\n", h.algorithm())
	}
	if h.Programming {
		fmt.Fprintf(&b, "Purpose: %s\n", forProgramming)
	}
	fmt.Fprintf(&b, "%s: %s\n", kind, strings.Join(h.Variables, "/"))
	for _, r := range rows {
		for i, v := range h.Variables {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(r.value(strings.ToUpper(v)))
		}
		b.WriteByte('\n')
	}
	defer clear(b.Bytes())
	if _, err := Check(bytes.NewReader(b.Bytes()), kind); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}
