package bankfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Kind says what a file is for, as its header writes it.
type Kind string

// The kinds.
const (
	KindIssuing         Kind = "ISSUE" // bureau to bank: what became of each card
	KindReconciliation  Kind = "RECON" // bureau to bank: the day's balances and totals
	KindAcknowledgement Kind = "ACKNO" // bank to bureau: what the bank took of a file
)

var kinds = []Kind{KindIssuing, KindReconciliation, KindAcknowledgement}

// Format is how a file is written.
type Format string

// The formats. What a file says is the same in both; its digest is not.
const (
	CSV   Format = "csv"   // RFC 4180, a row of column names, then rows of as many values
	Fixed Format = "fixed" // lines of LineLength characters
)

// Limits of a file.
const (
	LineLength = 240     // characters of a line in the fixed form, without CR LF
	MaxRecords = 100_000 // between header and trailer; more go into another file of the day
	maxLine    = 2048    // bytes of a line in either form
)

// Errors of files. What is wrong with a line is a *LineError beside ErrFile.
var (
	ErrFile    = errors.New("the bank file is not right")
	ErrChain   = errors.New("the bank file does not follow the one before it")
	ErrBalance = errors.New("the reconciliation does not balance")
	ErrAnswers = errors.New("the acknowledgement does not answer this file")
)

// LineError says what is wrong with one line of a file. It repeats nothing of it.
type LineError struct {
	Line int // in the file, from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Err) }

// Unwrap is what is wrong.
func (e *LineError) Unwrap() error { return e.Err }

// Digest is a SHA-256 digest, as text 64 hexadecimal digits in lower case.
type Digest [sha256.Size]byte

// String is the digest in hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText is String.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads String's form and no other.
func (d *Digest) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(d) || !bytes.Equal([]byte(hex.EncodeToString(b)), text) {
		return fmt.Errorf("is not 64 hexadecimal digits in lower case")
	}
	copy(d[:], b)
	return nil
}

// Header is what every file begins with.
type Header struct {
	Sender, Receiver string    // codes that both agreed on, at most 11 characters
	Sequence         uint64    // of the sender's files of this kind, from 1, without gap
	Previous         Digest    // of the sender's file of this kind before; zero in the first
	Day              time.Time // the business day that it is about
	Created          time.Time // to the second, UTC
}

func (h *Header) fields(kind Kind) []field {
	return []field{
		constant("kind", string(kind)),
		constant("version", "1"),
		name("sender", 11, &h.Sender),
		name("receiver", 11, &h.Receiver),
		number("sequence", 8, &h.Sequence),
		digest("previous", &h.Previous),
		date("day", &h.Day),
		moment("created", "20060102T150405Z", "a time YYYYMMDDThhmmssZ", &h.Created),
	}
}

func (h *Header) check() error {
	switch {
	case h.Sequence == 0:
		return errors.New("files are numbered from 1")
	case (h.Sequence == 1) != (h.Previous == Digest{}):
		return errors.New("previous is the digest of the file before, and zeros in file 1 alone")
	case h.Day.IsZero() || h.Created.IsZero():
		return errors.New("day and created are needed")
	}
	return nil
}

// Info is what is kept of a file that was written or read.
type Info struct {
	Kind     Kind              `json:"kind"`
	Format   Format            `json:"format"`
	Sequence uint64            `json:"sequence"`
	Day      time.Time         `json:"day"`
	Digest   Digest            `json:"digest"` // SHA-256 of all bytes of the file
	Previous Digest            `json:"previous"`
	Records  int               `json:"records"` // between header and trailer
	Totals   map[string]uint64 `json:"totals"`  // the trailer's, by field name
}

// Follows checks that the file is the next after before; nil for the first of all.
// ErrChain tells a file that is missing, there twice, or not the one that came.
func (i Info) Follows(before *Info) error {
	last := Info{Kind: i.Kind}
	if before != nil {
		last = *before
	}
	switch {
	case i.Kind != last.Kind:
		return fmt.Errorf("%w: it is of kind %s, the one before of kind %s", ErrChain, i.Kind, last.Kind)
	case i.Sequence != last.Sequence+1:
		return fmt.Errorf("%w: its number is %d, and %d is next", ErrChain, i.Sequence, last.Sequence+1)
	case i.Previous != last.Digest:
		return fmt.Errorf("%w: file %d that came before it is not the one that it names", ErrChain, last.Sequence)
	}
	return nil
}

// File is an *Issuing, a *Reconciliation or an *Acknowledgement.
type File interface {
	// Kind says which.
	Kind() Kind
	head() *Header
	headFields() []field
	// details are the record codes between header and trailer in their order.
	details() string
	// count is how many records of a code there are; at gives the fields of one, and
	// grow makes another and gives its fields.
	count(code byte) int
	at(code byte, n int) []field
	grow(code byte) []field
	// wrong checks record n of a code against itself and the header.
	wrong(code byte, n int) error
	// totals are the trailer's fields as the records give them.
	totals() []field
	// whole checks what no single line shows.
	whole() error
}

func newFile(kind Kind) File {
	switch kind {
	case KindIssuing:
		return &Issuing{}
	case KindReconciliation:
		return &Reconciliation{}
	default:
		return &Acknowledgement{}
	}
}

// records is the number of records between header and trailer.
func records(f File) (n int) {
	for _, code := range []byte(f.details()) {
		n += f.count(code)
	}
	return n
}

func trailer(f File, running *Digest) []field {
	n := uint64(records(f))
	return append(append([]field{number("records", 8, &n)}, f.totals()...), digest("line_hash", running))
}

// total is a number of the trailer.
func total(name string, width int, value uint64) field { return number(name, width, &value) }
