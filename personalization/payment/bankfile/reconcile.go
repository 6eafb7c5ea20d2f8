package bankfile

import (
	"errors"
	"fmt"
)

// Class is one of the places where an account that the bank has assigned can be.
type Class string

// Assigned counts all accounts ever assigned; each is in exactly one of the others.
const (
	Assigned       Class = "assigned"
	Waiting        Class = "waiting"     // no card was begun yet
	InProgress     Class = "in-progress" // on the line
	InDoubt        Class = "in-doubt"    // the line does not know how it ended; a person decides
	ClassIssued    Class = "issued"
	ClassSpoiled   Class = "spoiled" // the order ended without a card, and the account is there
	ClassWithdrawn Class = "withdrawn"
)

// Classes are all classes in the order of the file.
var Classes = []Class{Assigned, Waiting, InProgress, InDoubt, ClassIssued, ClassSpoiled, ClassWithdrawn}

// Balance is one class over the day: closing = opening + in - out.
type Balance struct {
	Class                     Class
	Opening, In, Out, Closing uint64
}

// FileTotals are the control totals of one issuing result, and how much of
// it the bank has answered: records = accepted + rejected + open.
type FileTotals struct {
	Sequence                 uint64
	Digest                   Digest
	Records                  uint64
	Accepted, Rejected, Open uint64
	Last4, IBAN              uint64    // the hash totals of its trailer
	By                       [5]uint64 // records by status: issued, replaced, spoiled, voided, withdrawn
}

// TotalsOf are the totals of an issuing result that was written, not answered yet.
func TotalsOf(i Info) FileTotals {
	n := uint64(i.Records)
	t := FileTotals{Sequence: i.Sequence, Digest: i.Digest, Records: n, Open: n, Last4: i.Totals["last4_total"], IBAN: i.Totals["iban_total"]}
	for at, s := range statuses {
		t.By[at] = i.Totals[string(s)]
	}
	return t
}

// RangeUse is how far a delegated range of PANs is used: closing = opening + taken,
// and never more than its size. PANs are taken without gap and never twice.
type RangeUse struct {
	Name                          string // of the range, at most 32 characters
	Size, Opening, Taken, Closing uint64
}

// Reconciliation is the day's account of all accounts, files and ranges.
type Reconciliation struct {
	Header
	Balances []Balance // one for each of Classes, in that order
	Files    []FileTotals
	Ranges   []RangeUse
}

// Kind is KindReconciliation.
func (*Reconciliation) Kind() Kind            { return KindReconciliation }
func (f *Reconciliation) head() *Header       { return &f.Header }
func (f *Reconciliation) headFields() []field { return f.Header.fields(KindReconciliation) }
func (*Reconciliation) details() string       { return "BFR" }

func (f *Reconciliation) count(code byte) int {
	switch code {
	case 'B':
		return len(f.Balances)
	case 'F':
		return len(f.Files)
	default:
		return len(f.Ranges)
	}
}

func (f *Reconciliation) at(code byte, n int) []field {
	switch code {
	case 'B':
		b := &f.Balances[n]
		return []field{oneOf("class", 11, &b.Class, Classes),
			number("opening", 18, &b.Opening), number("in", 8, &b.In), number("out", 8, &b.Out), number("closing", 18, &b.Closing)}
	case 'F':
		t := &f.Files[n]
		out := []field{number("file_sequence", 8, &t.Sequence), digest("file_digest", &t.Digest), number("file_records", 8, &t.Records),
			number("file_accepted", 8, &t.Accepted), number("file_rejected", 8, &t.Rejected), number("file_open", 8, &t.Open),
			number("file_last4_total", 12, &t.Last4), number("file_iban_total", 18, &t.IBAN)}
		for at, s := range statuses {
			out = append(out, number("file_"+string(s), 8, &t.By[at]))
		}
		return out
	default:
		r := &f.Ranges[n]
		return []field{name("range", 32, &r.Name), number("size", 18, &r.Size),
			number("range_opening", 18, &r.Opening), number("taken", 18, &r.Taken), number("range_closing", 18, &r.Closing)}
	}
}

func (f *Reconciliation) grow(code byte) []field {
	switch code {
	case 'B':
		f.Balances = append(f.Balances, Balance{})
	case 'F':
		f.Files = append(f.Files, FileTotals{})
	default:
		f.Ranges = append(f.Ranges, RangeUse{})
	}
	return f.at(code, f.count(code)-1)
}

// Numbers have 18 digits at most, so that sums of a few of them cannot overflow.
func (f *Reconciliation) wrong(code byte, n int) error {
	switch code {
	case 'B':
		if b := f.Balances[n]; b.Closing+b.Out != b.Opening+b.In {
			return errors.New("closing is not opening + in - out")
		}
	case 'F':
		if t := f.Files[n]; t.Sequence == 0 || t.Records != t.Accepted+t.Rejected+t.Open {
			return errors.New("file_records is not file_accepted + file_rejected + file_open, or file_sequence is 0")
		}
		if n > 0 && f.Files[n].Sequence != f.Files[n-1].Sequence+1 {
			return errors.New("file_sequence does not follow the one before")
		}
		var sum uint64
		for _, by := range f.Files[n].By {
			sum += by
		}
		if sum != f.Files[n].Records {
			return errors.New("file_records is not the sum of its statuses")
		}
	default:
		if r := f.Ranges[n]; r.Closing != r.Opening+r.Taken || r.Closing > r.Size {
			return errors.New("range_closing is not range_opening + taken, or more than size")
		}
	}
	return nil
}

func (f *Reconciliation) totals() []field {
	var assigned, lines, last4, ibans uint64
	for _, b := range f.Balances {
		if b.Class == Assigned {
			assigned = b.Closing
		}
	}
	for _, t := range f.Files {
		lines, last4, ibans = lines+t.Records, last4+t.Last4, (ibans+t.IBAN)%ibanModulus
	}
	return []field{total("assigned", 18, assigned), total("files", 8, uint64(len(f.Files))), total("issue_records", 18, lines),
		total("last4_total", 18, last4), total("iban_total", 18, ibans)}
}

// whole checks the balance: what was assigned is somewhere, at the day's beginning and
// at its end.
func (f *Reconciliation) whole() error {
	if len(f.Balances) != len(Classes) {
		return fmt.Errorf("%w: there are %d classes, the file has %d", ErrBalance, len(Classes), len(f.Balances))
	}
	seen := map[string]bool{}
	for _, r := range f.Ranges {
		if seen[r.Name] {
			return fmt.Errorf("%w: range %s stands there twice", ErrBalance, r.Name)
		}
		seen[r.Name] = true
	}
	var opening, closing uint64
	for i, b := range f.Balances {
		if b.Class != Classes[i] {
			return fmt.Errorf("%w: class %d is %s", ErrBalance, i+1, Classes[i])
		}
		if i > 0 {
			opening, closing = opening+b.Opening, closing+b.Closing
		}
	}
	all := f.Balances[0]
	switch {
	case all.Out != 0:
		return fmt.Errorf("%w: an account that was assigned stays assigned", ErrBalance)
	case all.Opening != opening:
		return fmt.Errorf("%w: %d accounts were assigned at the opening, and %d are accounted for", ErrBalance, all.Opening, opening)
	case all.Closing != closing:
		return fmt.Errorf("%w: %d accounts are assigned at the closing, and %d are accounted for", ErrBalance, all.Closing, closing)
	}
	return nil
}

// Opens checks that the day opens with what the day before closed with, for each class
// and for each range that was there before; nil for the first day, which opens with
// zeros. ErrBalance otherwise.
func (f *Reconciliation) Opens(before *Reconciliation) error {
	classes, ranges := map[Class]uint64{}, map[string]uint64{}
	if before != nil {
		for _, b := range before.Balances {
			classes[b.Class] = b.Closing
		}
		for _, r := range before.Ranges {
			ranges[r.Name] = r.Closing
		}
	}
	for _, b := range f.Balances {
		if b.Opening != classes[b.Class] {
			return fmt.Errorf("%w: %s opens with %d, and the day before closed with %d", ErrBalance, b.Class, b.Opening, classes[b.Class])
		}
	}
	for _, r := range f.Ranges {
		if r.Opening != ranges[r.Name] {
			return fmt.Errorf("%w: range %s opens with %d, and the day before closed with %d", ErrBalance, r.Name, r.Opening, ranges[r.Name])
		}
		delete(ranges, r.Name)
	}
	for lost := range ranges {
		return fmt.Errorf("%w: range %s of the day before is missing", ErrBalance, lost)
	}
	return nil
}
