// Package content is what a person does with the contents of a card: look at
// them, load a package, install an application, delete, lock.
//
// It reads a card's registry into an Inventory, makes of a wish a Plan of
// commands, refusing what the card would refuse or what nobody can have meant,
// and sends a plan through an open secure channel (GlobalPlatform Card
// Specification 2.3.1, GPC_SPE_034, chapters 9 and 11). It opens no channel and
// knows no keys: package gp has them. Nothing that Read and the plans do changes
// a card; Plan.Do does.
package content

import (
	"errors"
	"fmt"
)

// Why something is not done. Nothing has been sent then that changes the card.
var (
	// ErrNotThere: the card has no object of that AID.
	ErrNotThere = errors.New("the card has no such object")
	// ErrThere: the card has an object of that AID already.
	ErrThere = errors.New("the card has it already")
	// ErrHash: the load file data block is none of those allowed.
	ErrHash = errors.New("the file's hash is not an allowed one")
	// ErrImport: the package needs another one that the card cannot have.
	ErrImport = errors.New("the card lacks a package that this one needs")
	// ErrExtended: a CAP file in the extended format.
	ErrExtended = errors.New("the file has the extended CAP format, which few cards load")
	// ErrFull: the card says that it has less memory left than is needed.
	ErrFull = errors.New("the card has too little memory left")
	// ErrInUse: something else on the card depends on it.
	ErrInUse = errors.New("other objects on the card depend on it")
	// ErrState: the object's life cycle state does not allow it.
	ErrState = errors.New("the life cycle state does not allow it")
	// ErrIssuer: it is the issuer security domain.
	ErrIssuer = errors.New("it is the issuer security domain, which stays")
)

// Refusal is one of the errors above with the object and the details.
type Refusal struct {
	Reason error
	Detail string
}

func (r *Refusal) Error() string { return fmt.Sprintf("%v: %s", r.Reason, r.Detail) }

// Unwrap gives the reason.
func (r *Refusal) Unwrap() error { return r.Reason }

func refuse(reason error, format string, args ...any) error {
	return &Refusal{reason, fmt.Sprintf(format, args...)}
}
