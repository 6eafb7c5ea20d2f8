package document

import "time"

// ShiftSheet is the summary of one shift at the line: what was counted, what
// was made, what is in doubt, and who signs for it. It holds no personal data.
type ShiftSheet struct {
	Bureau      string    // who works: the audience of its records
	Shift       string    // number or id of the shift
	Opened      time.Time // times are printed in UTC
	Closed      time.Time // zero while the shift is open: the sheet then says provisional
	Drawn       time.Time // when the sheet was drawn; also the PDF's creation date
	Development bool      // made with development keys or software cards: said on every page

	Stock   Balance
	Blanks  []Count       // blanks by state
	Orders  []Count       // orders by state
	Readers []ReaderCount // a line a reader
	InDoubt []Doubt       // attempts without a known outcome

	// Signatories are the roles that sign, a line each; by default shift leader
	// and custodian of the stock.
	Signatories []string
}

// Count is how many of something are in a state.
type Count struct {
	State string // "on-hand", "issued"
	Count int
}

// ReaderCount is what one reader did during the shift. Attempts are all that
// were begun; the outcomes are those of the attempts.
type ReaderCount struct {
	Reader      string
	Station     string // machine that the reader is at; may be empty
	Attempts    int
	Issued      int // cards proven
	Clean       int // ended before anything was written
	Spoiled     int
	Quarantined int
	InDoubt     int
	Running     int
}

// Doubt is an attempt of which nobody knows how it ended. A person looks at the
// card before anything else is done with it.
type Doubt struct {
	Attempt string    // attempt id
	Card    string    // card number
	Blank   string    // serial number of the blank's chip
	Reader  string    // where it happened
	Since   time.Time // when the attempt began
}

// Balance is the count of blanks over a shift. Every blank that came is
// somewhere: received + carried in = issued + spoiled + quarantined + test +
// returned + on hand, and while work is under way also in use + in doubt.
type Balance struct {
	Received  int // during the shift
	CarriedIn int // on hand when it began

	Issued      int
	Spoiled     int
	Quarantined int
	Test        int
	Returned    int
	OnHand      int
	InUse       int // in a reader now
	InDoubt     int // waiting for a person to look
}

// In is how many blanks must be accounted for.
func (b Balance) In() int { return b.Received + b.CarriedIn }

// Accounted is how many blanks are known to be somewhere.
func (b Balance) Accounted() int {
	return b.Issued + b.Spoiled + b.Quarantined + b.Test + b.Returned + b.OnHand + b.InUse + b.InDoubt
}

// Difference is how many blanks are missing; negative where there are more
// than ever came. 0 balances.
func (b Balance) Difference() int { return b.In() - b.Accounted() }

// total sums the readers.
func (s ShiftSheet) total() ReaderCount {
	sum := ReaderCount{Reader: "All readers"}
	for _, r := range s.Readers {
		sum.Attempts += r.Attempts
		sum.Issued += r.Issued
		sum.Clean += r.Clean
		sum.Spoiled += r.Spoiled
		sum.Quarantined += r.Quarantined
		sum.InDoubt += r.InDoubt
		sum.Running += r.Running
	}
	return sum
}

func (s ShiftSheet) signatories() []string {
	if len(s.Signatories) > 0 {
		return s.Signatories
	}
	return []string{"Shift leader", "Custodian of the stock"}
}
