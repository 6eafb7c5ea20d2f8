// Package desk is where cards are handed over: an office receives them, a clerk
// checks card and holder, the holder sets a PIN, the chip signs a receipt, and the
// card becomes active while the one before is revoked. Losses, blocks, replacement
// and the unblocking of a PIN are here too.
//
// A desk keeps nothing. It learns the transport PIN or the unblocking key of one card
// after the check and for one visit, and no place is kept once a card is active.
package desk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds/sod"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/record"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// Desk serves holders. Its fields are set once; visits may run side by side.
type Desk struct {
	Store    *store.Store
	Vault    *vault.Client
	Profiles *profile.Set
	Verifier *record.Verifier
	Trust    *sod.Trust
	Matcher  Matcher // nil: no fingerprints are compared
	Tries    int     // refused visits a day and card; 0: 3
	Bureau   string  // as receipts name it
	Now      func() time.Time
}

func (d *Desk) now() time.Time {
	if d.Now != nil {
		return d.Now()
	}
	return time.Now()
}

// usualTries is how many visits for a card may be refused within a day.
const usualTries = 3

// Card is a card in a reader.
type Card interface {
	apdu.Card
	// Reset resets the card; cold takes its power away.
	Reset(ctx context.Context, cold bool) error
}

// RefusedError says that a visit cannot go on, and why: a stable code, and a sentence
// for the clerk.
type RefusedError struct {
	Code, Sentence string
	Err            error // nil, or the cause
}

func (e *RefusedError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s (%s): %v", e.Sentence, e.Code, e.Err)
	}
	return fmt.Sprintf("%s (%s)", e.Sentence, e.Code)
}

// Unwrap gives the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// Codes of refusals.
const (
	CodeNotGenuine  = "not-genuine"
	CodeOtherCard   = "other-card"
	CodePhoto       = "photo"
	CodeDocument    = "document"
	CodeGuardian    = "guardian"
	CodeDecision    = "decision"
	CodeFingerprint = "fingerprint"
	CodePIN         = "pin"
	CodeSignature   = "signature"
)

var sentences = map[string]string{
	CodeNotGenuine:  "The card did not prove that it is genuine: keep it, and report it to the bureau.",
	CodeOtherCard:   "Another card is in the reader than the one that was named.",
	CodePhoto:       "The photo was not confirmed to show who is at the desk.",
	CodeDocument:    "No document of the holder was shown.",
	CodeGuardian:    "The holder is, or may be, under 18: the guardian must be there with a document.",
	CodeDecision:    "The holder is an unaccompanied minor: name the decision, and a second person who has seen it.",
	CodeFingerprint: "The fingerprint was not confirmed.",
	CodePIN:         "The card did not take the PIN.",
	CodeSignature:   "The card's signature does not hold.",
}

func refused(code string, cause error) *RefusedError {
	return &RefusedError{Code: code, Sentence: sentences[code], Err: cause}
}

// Receive notes that an office has a card. moved says that the card follows its
// holder to an office that it was not meant for.
func (d *Desk) Receive(ctx context.Context, number, office string, moved bool, a store.Actor) error {
	if office == "" {
		return errors.New("an office receives cards under its code: set [desk] office, or --office")
	}
	return d.Store.ReceiveCard(ctx, number, office, moved, a)
}

// Block blocks an active card as its holder asks.
func (d *Desk) Block(ctx context.Context, number, reason string, a store.Actor) error {
	return d.Store.BlockCard(ctx, number, reason, a)
}

// Replace blocks a card that will be replaced; one that was never handed over is
// revoked, by two people.
func (d *Desk) Replace(ctx context.Context, number, reason string, second uuid.UUID, a store.Actor) error {
	return d.Store.ReplaceCard(ctx, number, reason, second, a)
}

// Matcher compares a finger with what the registry has of a card's holder.
type Matcher interface {
	// Match reports whether they fit. An error says that nothing could be compared.
	Match(ctx context.Context, cardNumber string) (bool, error)
}
