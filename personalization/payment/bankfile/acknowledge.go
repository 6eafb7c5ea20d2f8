package bankfile

import (
	"errors"
	"fmt"
)

// Code is the bank's answer, two digits.
type Code string

// Answers to a record.
const (
	Accepted         Code = "00"
	UnknownAccount   Code = "01"
	ClosedAccount    Code = "02"
	UnknownToken     Code = "03"
	NotTogether      Code = "04" // account and PAN token belong to different accounts
	WrongExpiry      Code = "05"
	UnexpectedStatus Code = "06"
	AlreadyReported  Code = "07"
	Other            Code = "49"
)

// Answers to a whole file, besides Accepted. Such a file is refused whole: the
// acknowledgement has no lines.
const (
	FileOutOfOrder    Code = "51" // number or previous digest
	FileUnreadable    Code = "52"
	FileWrongTotals   Code = "53" // trailer and lines differ
	FileUnknownSender Code = "54"
	FileOther         Code = "99"
)

var (
	lineCodes = []Code{Accepted, UnknownAccount, ClosedAccount, UnknownToken, NotTogether, WrongExpiry, UnexpectedStatus, AlreadyReported, Other}
	fileCodes = []Code{Accepted, FileOutOfOrder, FileUnreadable, FileWrongTotals, FileUnknownSender, FileOther}
)

var codeTexts = map[Code]string{
	Accepted: "accepted", UnknownAccount: "the account is not known", ClosedAccount: "the account is closed",
	UnknownToken: "the PAN token is not known", NotTogether: "account and PAN token do not belong together",
	WrongExpiry: "the expiry is not the agreed one", UnexpectedStatus: "the status cannot follow the one before",
	AlreadyReported: "the same was reported before", Other: "refused for another reason",
	FileOutOfOrder: "the file does not follow the one before it", FileUnreadable: "the file cannot be read",
	FileWrongTotals: "trailer and lines differ", FileUnknownSender: "the sender is not known", FileOther: "refused for another reason",
}

// Text says what the code means.
func (c Code) Text() string { return codeTexts[c] }

// Answer is the bank's answer to one record.
type Answer struct {
	Of   uint64 // number of the record in the file that is answered, from 1
	Code Code
}

// Acknowledgement is the bank's answer to a file: to the whole of it, or record by
// record. Records without an answer stay open for a later acknowledgement.
type Acknowledgement struct {
	Header
	OfKind     Kind
	OfSequence uint64
	OfDigest   Digest
	File       Code
	Answers    []Answer // in ascending order of records, each once
}

// Kind is KindAcknowledgement.
func (*Acknowledgement) Kind() Kind      { return KindAcknowledgement }
func (f *Acknowledgement) head() *Header { return &f.Header }

func (f *Acknowledgement) headFields() []field {
	return append(f.Header.fields(KindAcknowledgement),
		oneOf("of_kind", 5, &f.OfKind, kinds[:2]),
		number("of_sequence", 8, &f.OfSequence),
		digest("of_digest", &f.OfDigest),
		oneOf("file_code", 2, &f.File, fileCodes))
}

func (*Acknowledgement) details() string            { return "D" }
func (f *Acknowledgement) count(byte) int           { return len(f.Answers) }
func (f *Acknowledgement) at(_ byte, n int) []field { return f.Answers[n].fields() }
func (f *Acknowledgement) grow(byte) []field {
	f.Answers = append(f.Answers, Answer{})
	return f.Answers[len(f.Answers)-1].fields()
}

func (a *Answer) fields() []field {
	return []field{number("of_line", 8, &a.Of), oneOf("code", 2, &a.Code, lineCodes)}
}

func (f *Acknowledgement) wrong(_ byte, n int) error {
	switch {
	case f.File != Accepted:
		return errors.New("a file that is refused whole has no answers by record")
	case f.Answers[n].Of == 0:
		return errors.New("of_line is counted from 1")
	case n > 0 && f.Answers[n].Of <= f.Answers[n-1].Of:
		return errors.New("of_line is not after the one before: answers stand in ascending order, each record once")
	}
	return nil
}

func (f *Acknowledgement) totals() []field {
	var accepted, rejected, sum uint64
	for _, a := range f.Answers {
		if sum += a.Of; a.Code == Accepted {
			accepted++
		} else {
			rejected++
		}
	}
	return []field{total("accepted", 8, accepted), total("rejected", 8, rejected), total("of_line_total", 18, sum)}
}

func (f *Acknowledgement) whole() error {
	if f.OfSequence == 0 {
		return errors.New("of_sequence is counted from 1")
	}
	return nil
}

// AnswersFile checks that the acknowledgement is of that file, and of no record that
// it does not have. ErrAnswers otherwise. A refused file's digest may differ: that
// can be why it was refused.
func (f *Acknowledgement) AnswersFile(sent Info) error {
	switch {
	case f.OfKind != sent.Kind || f.OfSequence != sent.Sequence:
		return fmt.Errorf("%w: it is of %s file %d, not of %s file %d", ErrAnswers, f.OfKind, f.OfSequence, sent.Kind, sent.Sequence)
	case f.File == Accepted && f.OfDigest != sent.Digest:
		return fmt.Errorf("%w: the bank read another file than the %s file %d that was sent", ErrAnswers, sent.Kind, sent.Sequence)
	case len(f.Answers) > 0 && f.Answers[len(f.Answers)-1].Of > uint64(sent.Records):
		return fmt.Errorf("%w: it answers record %d, and there are %d", ErrAnswers, f.Answers[len(f.Answers)-1].Of, sent.Records)
	}
	return nil
}
