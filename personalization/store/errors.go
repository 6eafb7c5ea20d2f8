package store

import (
	"errors"
	"fmt"

	"cardbureau/personalization/stock"

	"github.com/google/uuid"
)

// Errors of intake. Each refuses one record and leaves nothing behind.
var (
	// ErrRecordContentDiffers: the same recordId and revision came before with
	// other content, or the recordId belongs to another person.
	ErrRecordContentDiffers = errors.New("a record with this id and revision but other content was taken in before")
	// ErrPersonHasOpenOrder: a new recordId for a person whose order is open.
	ErrPersonHasOpenOrder = errors.New("the person already has an open order under another record")
	// ErrRevisionOld: a lower revision than the one known.
	ErrRevisionOld = errors.New("a higher revision of the record was taken in before")
	// ErrRevisionTooLate: a higher revision after personalization began.
	ErrRevisionTooLate = errors.New("the record's revision comes too late: its card was begun")
	// ErrDailyCap: the signing key's cap of records a day is used up.
	ErrDailyCap = errors.New("the signing key's daily number of records is used up")
	// ErrPersonKeyDiffers: somebody else stored the person's data key first.
	// Look the person up again, seal under that key, and accept again.
	ErrPersonKeyDiffers = errors.New("the person is known under another data key")
)

// Errors of preparation, lots and orders.
var (
	ErrNotFound        = errors.New("not found")
	ErrStale           = errors.New("the order moved on while its image was made")
	ErrCardNumberTaken = errors.New("the card number is taken; draw another")
	ErrWrongState      = errors.New("the state does not allow this")
	ErrTwoPeople       = errors.New("this takes two different people")
)

// Errors of the line.
var (
	ErrUnlistedBlank = errors.New("the blank is on no list")
	ErrNoOrder       = errors.New("no released order is waiting for this kind of blank")
	// ErrFenced: the attempt is no longer the newest of its order and blank, or
	// it already has another outcome. Stop touching the card.
	ErrFenced = errors.New("the attempt has been superseded; its result does not count")
	// ErrStationClosed: the session that proves that this process lives is gone.
	ErrStationClosed = errors.New("the station's session has ended")
)

// ErrBlankNotOnHand says in which state a presented blank is instead of on
// hand. Match it with errors.As.
type ErrBlankNotOnHand struct {
	Serial  string
	State   stock.State
	Attempt uuid.UUID // the attempt in doubt, when State is in-doubt
}

func (e *ErrBlankNotOnHand) Error() string {
	return fmt.Sprintf("blank %s is not on hand but %s", e.Serial, e.State)
}
