// Package stock is the accounting of blanks: what a list of blanks looks like
// as a file, in which states a blank can be, and the sums that must balance at
// every moment and over every shift. It knows no database; the store counts,
// this package says whether the counts are right.
package stock

// State is where a blank is in its life.
type State string

// The states of a blank. It is in exactly one.
const (
	OnHand      State = "on-hand"     // received, unused
	InUse       State = "in-use"      // an attempt is running on it
	Issued      State = "issued"      // has become a card
	Spoiled     State = "spoiled"     // destroyed, two people said so
	Quarantined State = "quarantined" // set aside until people decide
	InDoubt     State = "in-doubt"    // nobody knows what was written to it
	Test        State = "test"        // used up for a test
	Returned    State = "returned"    // sent back to the maker
)

// States lists every state in the order in which sheets show them.
var States = []State{OnHand, InUse, InDoubt, Issued, Spoiled, Quarantined, Test, Returned}

// Valid reports whether s is one of [States].
func (s State) Valid() bool {
	for _, k := range States {
		if s == k {
			return true
		}
	}
	return false
}

// Present reports whether a blank in this state still lies in the bureau and
// is carried into the next shift.
func (s State) Present() bool {
	return s == OnHand || s == InUse || s == InDoubt || s == Quarantined
}
