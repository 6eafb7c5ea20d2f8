package store

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Preparation is all that making an image needs.
type Preparation struct {
	OrderID    uuid.UUID
	Product    string
	RecordID   string
	Generation int // give it back to SaveImage
	PersonID   uuid.UUID
	Key        DataKey
	RecordRow  uuid.UUID
	Sealed     []byte // the signed record
	Digest     []byte // SHA-256 of its payload
	KeyID      string
	Version    int // of the image to be made
	Bank       BankPart
}

// OrderForPreparation reads what an order's image is made from, in one round
// trip; [ErrWrongState] when the order needs no image (any more), which ends
// the job.
func (s *Store) OrderForPreparation(ctx context.Context, id uuid.UUID) (Preparation, error) {
	scan := func(row pgx.CollectableRow) (Preparation, error) {
		p := Preparation{OrderID: id}
		var record uuid.UUID
		var bank bankPart
		err := row.Scan(append([]any{&p.Product, &record, &p.Generation, &p.PersonID, &p.Key.Epoch, &p.Key.Wrapped,
			&p.RecordRow, &p.Sealed, &p.Digest, &p.KeyID, &p.Version}, bank.columns()...)...)
		p.RecordID, p.Bank = record.String(), bank.part()
		return p, err
	}
	p, err := one(ctx, s.line, "reading an order", scan, `SELECT v.product, v.record_id, p.generation, p.person_id, p.epoch,
		p.wrapped, p.record_row, p.sealed, p.digest, p.key_id, p.version,
		b.assignment, b.sealed, b.iban_ref, b.withdrawn, b.pan_id, b.pan_token, b.pan_sequence, b.pan_last4, b.pan_sealed
		FROM order_view($1) v, preparation($1) p LEFT JOIN bank_part($1) b ON true`, id)
	if errors.Is(err, ErrNotFound) {
		err = ErrWrongState
	}
	return p, err
}

// SaveImage stores an image, voids the one before it, and moves the order on:
// to prepared, or to released when its lot is. [ErrStale] when the order needs
// no image of this generation or version any more; [ErrCardNumberTaken] when
// another number must be drawn.
func (s *Store) SaveImage(ctx context.Context, orderID uuid.UUID, generation int, im Image, a Actor) error {
	return repeat(ctx, func() error {
		return s.word(ctx, "storing a card image", s.line, "SELECT save_image($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
			orderID, generation, im.ID, im.Version, im.CardNumber, im.Profile, im.Content, im.Secrets, a.ID, a.Through)
	})
}

// FailPreparation ends an order whose image can never be made; reason is a
// stable code. [ErrStale].
func (s *Store) FailPreparation(ctx context.Context, orderID uuid.UUID, generation int, reason string, a Actor) error {
	return s.word(ctx, "failing an order", s.line, "SELECT fail_preparation($1, $2, $3, $4, $5)",
		orderID, generation, reason, a.ID, a.Through)
}
