package pairing

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
)

// Errors of operators.
var (
	// ErrOperatorRefused: the operator said no. Nothing is paired.
	ErrOperatorRefused = errors.New("the operator refuses the subscription")
	// ErrWaits: both chips are proven, and nobody knows whether the operator has
	// activated, or the record is not signed. Service.Continue completes it.
	ErrWaits = errors.New("the pairing waits and is completed by asking again")
	// ErrNoOperator: the bureau does not pair with this operator.
	ErrNoOperator = errors.New("the bureau does not pair SIMs of this operator")
)

// RefusedError is an operator's refusal with its code. errors.Is finds
// ErrOperatorRefused.
type RefusedError struct{ Code string }

func (e *RefusedError) Error() string { return ErrOperatorRefused.Error() + " (" + e.Code + ")" }

// Unwrap is ErrOperatorRefused.
func (e *RefusedError) Unwrap() error { return ErrOperatorRefused }

// Subscription is what an operator is told: its own numbers, under the pairing's
// random name. It hears nothing of person, card or bank.
type Subscription struct {
	Pairing uuid.UUID
	ICCID   ICCID
	IMSI    IMSI // not after activation
	MSISDN  MSISDN
}

// OperatorAnswer is what an operator says that was asked to activate.
type OperatorAnswer int

// The answers. The zero value is none.
const (
	Confirmed OperatorAnswer = iota + 1 // the subscription is active
	Later                               // the operator calls back
)

// Operator is a telephone company. Every method may be called again with the same
// pairing and then changes nothing. An error that is no *RefusedError leaves open
// what became of the call.
type Operator interface {
	// Reserve sets number and SIM aside. An operator that does confirms that the number
	// may go with this SIM; a bureau has no other way to know.
	Reserve(ctx context.Context, s Subscription) error
	// Activate confirms the subscription and puts it into service.
	Activate(ctx context.Context, s Subscription) (OperatorAnswer, error)
	// Release ends a reservation or a subscription.
	Release(ctx context.Context, pairing uuid.UUID) error
	// Replaced says that the pairing's card was replaced or revoked: the subscription
	// goes on, and the holder pairs it again with the new card.
	Replaced(ctx context.Context, pairing uuid.UUID) error
	// Suspend takes a subscription out of service, or back into it.
	Suspend(ctx context.Context, pairing uuid.UUID, suspended bool) error
}

// Network is an operator with its authentication centre.
type Network struct {
	Operator Operator
	Centre   AuthenticationCentre
}

// operatorTimeout bounds one call of an operator.
const operatorTimeout = 30 * time.Second
