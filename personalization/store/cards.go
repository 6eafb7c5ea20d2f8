package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// CardState is where a card is in its life.
type CardState string

// The states of a card. A person has at most one that is active or suspended.
const (
	CardMade      CardState = "made"      // proven on the line, not yet handed over
	CardActive    CardState = "active"    // in its holder's hand
	CardSuspended CardState = "suspended" // for a time not to be trusted
	CardRevoked   CardState = "revoked"   // for good not to be trusted
)

// Card is a card that was made, and its image.
type Card struct {
	ID       uuid.UUID
	Number   string
	State    CardState
	Serial   string // of the blank it was made from
	Chip     string
	OrderID  uuid.UUID
	PersonID uuid.UUID
	Key      DataKey
	Image    Image
	MadeAt   time.Time
}

// CardByNumber finds one card by its exact number, without its secrets; reason is a stable code,
// which is audited whether a card is found or not. [ErrNotFound].
func (s *Store) CardByNumber(ctx context.Context, number, reason string, a Actor) (Card, error) {
	return s.card(ctx, number, nil, reason, a)
}

// CardBySerial finds the card that a blank became, as [Store.CardByNumber].
func (s *Store) CardBySerial(ctx context.Context, serial, reason string, a Actor) (Card, error) {
	return s.card(ctx, nil, serial, reason, a)
}

func (s *Store) card(ctx context.Context, number, serial any, reason string, a Actor) (Card, error) {
	scan := func(row pgx.CollectableRow) (c Card, err error) {
		err = row.Scan(&c.ID, &c.Number, &c.State, &c.Serial, &c.Chip, &c.OrderID, &c.PersonID, &c.Key.Epoch, &c.Key.Wrapped,
			&c.Image.ID, &c.Image.Version, &c.Image.Profile, &c.Image.Content, &c.Image.Secrets, &c.MadeAt)
		c.Image.CardNumber = c.Number
		return c, err
	}
	return one(ctx, s.desk, "finding a card", scan, `SELECT id, number, state, serial, chip, order_id, person_id, epoch, wrapped,
		image_id, version, profile, content, secrets, made_at FROM find_card($1, $2, $3, $4, $5)`,
		number, serial, reason, a.ID, a.Through)
}
