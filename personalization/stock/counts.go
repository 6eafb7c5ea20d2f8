package stock

import "fmt"

// Counts is a sheet: blanks received and carried in on one side, where they
// are on the other.
type Counts struct {
	Received    int `json:"received"`
	CarriedIn   int `json:"carriedIn"`
	Issued      int `json:"issued"`
	Spoiled     int `json:"spoiled"`
	Quarantined int `json:"quarantined"`
	Test        int `json:"test"`
	Returned    int `json:"returned"`
	OnHand      int `json:"onHand"`
	InUse       int `json:"inUse"`
	InDoubt     int `json:"inDoubt"`
}

// In is the sum of what came in: received and carried in.
func (c Counts) In() int { return c.Received + c.CarriedIn }

// Out is the sum of where blanks are: issued, spoiled, quarantined, test,
// returned, on hand, in use, in doubt.
func (c Counts) Out() int {
	return c.Issued + c.Spoiled + c.Quarantined + c.Test + c.Returned + c.OnHand + c.InUse + c.InDoubt
}

// Set puts the number of blanks in a state into its place.
func (c *Counts) Set(s State, n int) {
	switch s {
	case OnHand:
		c.OnHand = n
	case InUse:
		c.InUse = n
	case InDoubt:
		c.InDoubt = n
	case Issued:
		c.Issued = n
	case Spoiled:
		c.Spoiled = n
	case Quarantined:
		c.Quarantined = n
	case Test:
		c.Test = n
	case Returned:
		c.Returned = n
	}
}

// Present is the sum of what lies in the bureau: on hand, in use, in doubt and
// quarantined. It is what the next shift carries in.
func (c Counts) Present() int { return c.OnHand + c.InUse + c.InDoubt + c.Quarantined }

// ErrUnbalanced says that blanks are unaccounted for.
type ErrUnbalanced struct{ In, Out int }

func (e *ErrUnbalanced) Error() string {
	return fmt.Sprintf("the stock does not balance: %d blanks came in, %d are accounted for", e.In, e.Out)
}

// Balance returns *ErrUnbalanced unless [Counts.In] equals [Counts.Out].
func (c Counts) Balance() error {
	if c.In() != c.Out() {
		return &ErrUnbalanced{In: c.In(), Out: c.Out()}
	}
	return nil
}
