// Package lifecycle is the states of a pairing of an identity card and a SIM, and
// which of them may follow which. It is pure: the database holds itself to the same
// table, and a test compares the two.
package lifecycle

import "slices"

// State is where a pairing stands.
type State string

// The states.
const (
	Reserved        State = "reserved"         // SIM and number are set aside for the person
	Personalized    State = "personalized"     // the SIM holds the subscription
	Proven          State = "proven"           // both chips answered in one session
	OperatorPending State = "operator-pending" // the operator was asked and has not answered
	Active          State = "active"           // confirmed by the operator, signed by the issuer
	Suspended       State = "suspended"        // for a time not to be trusted
	SwapPending     State = "swap-pending"     // the operator says that the number goes to another SIM
	Revoked         State = "revoked"          // for good
	Expired         State = "expired"          // for good: its session or its validity ended
)

// States lists all.
var States = []State{Reserved, Personalized, Proven, OperatorPending, Active, Suspended, SwapPending, Revoked, Expired}

// next is the table. There is no way from swap-pending to another SIM: the old
// pairing ends or comes back, and another SIM is paired anew.
var next = map[State][]State{
	Reserved:        {Personalized, Revoked, Expired},
	Personalized:    {Proven, Revoked, Expired},
	Proven:          {OperatorPending, Revoked, Expired},
	OperatorPending: {Active, Revoked, Expired},
	Active:          {Suspended, SwapPending, Revoked, Expired},
	Suspended:       {Active, SwapPending, Revoked, Expired},
	SwapPending:     {Active, Suspended, Revoked, Expired},
}

// May reports whether a pairing may go from one state to another.
func (s State) May(to State) bool { return slices.Contains(next[s], to) }

// Live reports whether a pairing holds its SIM: no other pairing may have it, and
// it counts for how many a person may have.
func (s State) Live() bool { return slices.Contains(States, s) && s != Revoked && s != Expired }
