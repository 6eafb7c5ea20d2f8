package bankfile

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"
)

// Status is what became of a card, or of an account's order for one.
type Status string

// The statuses.
const (
	Issued    Status = "issued"    // made and proven; the account's first card
	Replaced  Status = "replaced"  // made and proven; takes the place of an earlier card of the account
	Spoiled   Status = "spoiled"   // begun and came to nothing: this PAN with this sequence number will never be live
	Voided    Status = "voided"    // ended before a card was begun: this PAN with this sequence number will never be live
	Withdrawn Status = "withdrawn" // the account was taken back before a card was begun
)

var statuses = []Status{Issued, Replaced, Spoiled, Voided, Withdrawn}

// ibanModulus keeps the hash total of IBANs to 18 digits.
const ibanModulus = 1_000_000_000_000_000_000

// Issue is one row of an issuing result. It holds an IBAN: it prints as the last four
// digits of the PAN and its status.
type Issue struct {
	Token         []byte    // PAN token, 16 to 32 bytes
	First6, Last4 string    // of the PAN
	Sequence      uint64    // PAN sequence number, 0 to 99
	IBAN          string    `json:"-"`
	Expiry        time.Time // its month alone is written
	Status        Status
	Date          time.Time // of the outcome, not after the file's day
}

// String shows no IBAN.
func (i Issue) String() string { return fmt.Sprintf("card …%s %s", i.Last4, i.Status) }

// Format is String for every verb.
func (i Issue) Format(f fmt.State, _ rune) { fmt.Fprint(f, i.String()) }

// LogValue is String.
func (i Issue) LogValue() slog.Value { return slog.StringValue(i.String()) }

func (i *Issue) fields() []field {
	return []field{
		token("pan_token", &i.Token),
		truncated("pan", &i.First6, &i.Last4),
		number("pan_sequence", 2, &i.Sequence),
		iban("iban", &i.IBAN),
		moment("expiry", "200601", "a month YYYYMM", &i.Expiry),
		oneOf("status", 9, &i.Status, statuses),
		date("date", &i.Date),
	}
}

// Issuing is an issuing result: what was issued, and what will not be, up to the end of
// its day and in no file before. An account that came to an end before it had a PAN has
// no token and PAN, and before a card's data was made no expiry.
type Issuing struct {
	Header
	DayNumber uint64 // of the day's issuing results, from 1
	Rows      []Issue
}

// Kind is KindIssuing.
func (*Issuing) Kind() Kind       { return KindIssuing }
func (f *Issuing) head() *Header  { return &f.Header }
func (*Issuing) details() string  { return "D" }
func (f *Issuing) count(byte) int { return len(f.Rows) }

func (f *Issuing) headFields() []field {
	return append(f.Header.fields(KindIssuing), number("day_number", 3, &f.DayNumber))
}

func (f *Issuing) at(_ byte, n int) []field { return f.Rows[n].fields() }

func (f *Issuing) grow(byte) []field {
	f.Rows = append(f.Rows, Issue{})
	return f.Rows[len(f.Rows)-1].fields()
}

func (f *Issuing) wrong(_ byte, n int) error {
	r := &f.Rows[n]
	token, pan, expiry := len(r.Token) > 0, r.First6 != "", !r.Expiry.IsZero()
	ended := r.Status == Voided || r.Status == Withdrawn
	switch {
	case token != pan || !token && (expiry || r.Sequence != 0 || !ended):
		return errors.New("pan_token and pan are needed; an account that was voided or withdrawn before it had a PAN has neither, no expiry, and sequence 0")
	case !expiry && !ended:
		return errors.New("expiry is needed, but of what was voided or withdrawn before a card's data was made")
	case r.Date.IsZero() || r.Date.Truncate(24*time.Hour).After(f.Day):
		return errors.New("date is needed, and not after the file's day")
	}
	return nil
}

func (f *Issuing) totals() []field {
	by := map[Status]uint64{}
	var last4, accounts uint64
	for _, r := range f.Rows {
		by[r.Status]++
		n, _ := strconv.ParseUint(r.Last4, 10, 64)
		last4 += n
		accounts = addIBAN(accounts, r.IBAN)
	}
	var t []field
	for _, s := range statuses {
		t = append(t, total(string(s), 8, by[s]))
	}
	return append(t, total("last4_total", 12, last4), total("iban_total", 18, accounts))
}

// addIBAN adds the last 18 digits of an IBAN to a hash total.
func addIBAN(sum uint64, iban string) uint64 {
	if len(iban) < 18 {
		return sum
	}
	n, _ := strconv.ParseUint(iban[len(iban)-18:], 10, 64)
	return (sum + n) % ibanModulus
}

func (f *Issuing) whole() error {
	if f.DayNumber == 0 {
		return errors.New("day_number is counted from 1")
	}
	seen := map[string]int{}
	for n, r := range f.Rows {
		if r.Status != Issued && r.Status != Replaced {
			continue
		}
		card := fmt.Sprintf("%x %d", r.Token, r.Sequence)
		if before, twice := seen[card]; twice {
			return fmt.Errorf("records %d and %d say both that the same card was issued", before, n+1)
		}
		seen[card] = n + 1
	}
	return nil
}
