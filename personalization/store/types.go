package store

import (
	"time"

	"github.com/google/uuid"
)

// OrderState is where an order stands.
type OrderState string

// The states of an order. An order is open in all of them but issued, failed,
// withdrawn and superseded; a person has at most one open order.
const (
	OrderAccepted         OrderState = "accepted"          // taken in; its image is being prepared
	OrderConflict         OrderState = "conflict"          // the person is known under another name, birth date or photo
	OrderAwaitingDecision OrderState = "awaiting-decision" // a card of it was set aside, or its image cannot be made yet
	OrderAwaitingBank     OrderState = "awaiting-bank"     // the bank has not opened its account yet
	OrderPrepared         OrderState = "prepared"          // has an image, waits for its lot
	OrderReleased         OrderState = "released"          // may be claimed by a line
	OrderInProgress       OrderState = "in-progress"       // an attempt is running
	OrderInDoubt          OrderState = "in-doubt"          // an attempt ended nobody knows how
	OrderIssued           OrderState = "issued"            // a card was made and proven
	OrderFailed           OrderState = "failed"            // its image can never be made
	OrderWithdrawn        OrderState = "withdrawn"         // taken back by people
	OrderSuperseded       OrderState = "superseded"        // replaced by a higher revision of its record
)

// Open reports whether an order in this state may still become a card.
func (s OrderState) Open() bool {
	switch s {
	case OrderIssued, OrderFailed, OrderWithdrawn, OrderSuperseded:
		return false
	}
	return true
}

// Outcome is how an attempt ended. The zero value means that it is running, or
// that its process died and nobody has looked since.
type Outcome string

// The outcomes of an attempt.
const (
	OutcomeIssued      Outcome = "issued"      // the card was made, locked and proven
	OutcomeClean       Outcome = "clean"       // nothing was written: blank and order go back where they were
	OutcomeInDoubt     Outcome = "in-doubt"    // what the card holds is not known
	OutcomeSpoiled     Outcome = "spoiled"     // the blank is destroyed; two people say so
	OutcomeQuarantined Outcome = "quarantined" // the blank is set aside until people decide
)

// Actor is who did something and through what, for the audit. ID comes from
// [Store.Actor], so that audit rows hold no names.
type Actor struct {
	ID      uuid.UUID
	Through string // "cli", "api", "line", …
}

// DataKey is a person's data key as the token wrapped it. Its fields are those
// of the vault's DataKey, so that one converts to the other.
type DataKey struct {
	Epoch   string // month of the key that wraps it, yyyy-mm
	Wrapped []byte
}

// NewID makes a random, time-ordered identifier (RFC 9562, version 7).
func NewID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// Order is what anyone who knows an order's identifier may see of it.
type Order struct {
	ID         uuid.UUID
	RecordID   string // recordId of the signed record
	Revision   int
	Product    string
	State      OrderState
	Reason     string // stable code of the last change, "" when there is nothing to say
	Lot        uuid.UUID
	CardNumber string // of the card, "" until issued
	CreatedAt  time.Time
	ChangedAt  time.Time
}

// Image is a card image: every byte for a card, sealed.
type Image struct {
	ID         uuid.UUID
	Version    int    // counted from 1 within the order
	CardNumber string // 9 characters; also the document number
	Profile    string // product profile that it was made for, with version
	Content    []byte // sealed files and surface; additional data: table image, column content
	Secrets    []byte // sealed card secrets; additional data: table image, column secrets
}
