package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Errors of the desk.
var (
	ErrAlready      = errors.New("this was done before")
	ErrOtherOffice  = errors.New("the card is meant for another office")
	ErrNotReceived  = errors.New("the card was not received by an office")
	ErrTooManyTries = errors.New("too many visits for this card were refused today")
	ErrNotByHolder  = errors.New("the card was not blocked by its holder")
)

func deskError(word string) error {
	switch word {
	case "already":
		return ErrAlready
	case "other-office":
		return ErrOtherOffice
	case "not-received":
		return ErrNotReceived
	case "too-many-tries":
		return ErrTooManyTries
	case "not-by-holder":
		return ErrNotByHolder
	}
	return outcomeError(word)
}

func (s *Store) deskWord(ctx context.Context, doing, sql string, args ...any) error {
	var word string
	if err := s.desk.QueryRow(ctx, sql, args...).Scan(&word); err != nil {
		return dbError(doing, err)
	}
	return deskError(word)
}

// ReceiveCard notes that an office has a card. moved: it is meant for another office
// and follows its holder; otherwise that is [ErrOtherOffice]. [ErrAlready] when it
// was received before, [ErrWrongState] when it was handed over, [ErrNotFound].
func (s *Store) ReceiveCard(ctx context.Context, number, office string, moved bool, a Actor) error {
	return s.deskWord(ctx, "receiving a card", "SELECT receive_card($1, $2, $3, $4, $5)", number, office, moved, a.ID, a.Through)
}

// OfficeCard is a card that lies at an office.
type OfficeCard struct {
	Number     string
	ReceivedAt time.Time
}

// OfficeStock lists the cards that lie at an office, not yet handed over.
func (s *Store) OfficeStock(ctx context.Context, office string) ([]OfficeCard, error) {
	return list(ctx, s.desk, "listing an office's cards", pgx.RowToStructByPos[OfficeCard], "SELECT number, received_at FROM office_stock($1)", office)
}

// VisitKind is what a holder comes for.
type VisitKind string

// Kinds of visits.
const (
	VisitActivate   VisitKind = "activate"
	VisitUnblockPIN VisitKind = "unblock-pin"
	VisitUnblock    VisitKind = "unblock"
	VisitPair       VisitKind = "pair"
)

// Visit is one attended visit.
type Visit struct {
	ID   uuid.UUID
	Kind VisitKind
	// ReleasedBefore says that a visit of this kind was cut off after the card's
	// secret was released: it may have been used.
	ReleasedBefore bool
	// The signed record, sealed; nil once the card was activated.
	Sealed    []byte
	RecordRow uuid.UUID
	Digest    []byte
	Product   string
}

// OpenVisit begins a visit for a card. One that is open is abandoned.
// [ErrNotFound], [ErrWrongState], [ErrNotReceived], [ErrNotByHolder], and
// [ErrTooManyTries] after limit refused visits within a day.
func (s *Store) OpenVisit(ctx context.Context, id uuid.UUID, number string, kind VisitKind, limit int, a Actor) (Visit, error) {
	v := Visit{ID: id, Kind: kind}
	var word string
	var before *bool
	var row *uuid.UUID
	var product *string
	err := s.desk.QueryRow(ctx, "SELECT outcome, released_before, sealed, record_row, digest, product FROM open_visit($1, $2, $3, $4, $5, $6)",
		id, number, string(kind), limit, a.ID, a.Through).Scan(&word, &before, &v.Sealed, &row, &v.Digest, &product)
	if err != nil {
		return v, dbError("opening a visit", err)
	}
	if err := deskError(word); err != nil {
		return v, err
	}
	if before != nil && row != nil && product != nil {
		v.ReleasedBefore, v.RecordRow, v.Product = *before, *row, *product
	}
	return v, nil
}

// CheckVisit notes what was checked, as codes. override: something did not hold and
// second, who is another person, answers for it: [ErrTwoPeople] otherwise.
func (s *Store) CheckVisit(ctx context.Context, visit uuid.UUID, checks map[string]string, override bool, second uuid.UUID, a Actor) error {
	codes, err := json.Marshal(checks)
	if err != nil {
		return err
	}
	return s.deskWord(ctx, "noting a check", "SELECT check_visit($1, $2, $3, $4, $5, $6)", visit, codes, override, orNull(second), a.ID, a.Through)
}

// ReleaseSecrets gives the card's sealed secrets, after the check, once and within
// a quarter of an hour; [ErrWrongState] otherwise.
func (s *Store) ReleaseSecrets(ctx context.Context, visit uuid.UUID, a Actor) ([]byte, error) {
	var word string
	var sealed []byte
	if err := s.desk.QueryRow(ctx, "SELECT outcome, secrets FROM release_secrets($1, $2, $3)", visit, a.ID, a.Through).Scan(&word, &sealed); err != nil {
		return nil, dbError("releasing a card's secret", err)
	}
	return sealed, deskError(word)
}

// RefuseVisit ends a visit in which card or holder did not hold; it counts.
func (s *Store) RefuseVisit(ctx context.Context, visit uuid.UUID, reason string, a Actor) error {
	return s.deskWord(ctx, "refusing a visit", "SELECT end_visit($1, 'refused', $2, $3, $4)", visit, reason, a.ID, a.Through)
}

// AbandonVisit ends a visit that nobody is to blame for.
func (s *Store) AbandonVisit(ctx context.Context, visit uuid.UUID, reason string, a Actor) error {
	return s.deskWord(ctx, "abandoning a visit", "SELECT end_visit($1, 'abandoned', $2, $3, $4)", visit, reason, a.ID, a.Through)
}

// HolderReceipt is what the holder's chip has signed.
type HolderReceipt struct {
	Content   []byte
	Signature []byte // r ‖ s, 64 bytes; nil: the chip cannot sign
	Key       []byte // uncompressed point, 65 bytes
}

// FinishVisit ends a visit that did what it was for. Activation revokes the person's
// card before, makes this one active and forgets the office and the signed record, in
// one transaction. Done twice it is done once.
func (s *Store) FinishVisit(ctx context.Context, visit uuid.UUID, r HolderReceipt, a Actor) error {
	return repeat(ctx, func() error {
		return s.deskWord(ctx, "ending a visit", "SELECT finish_visit($1, $2, $3, $4, $5, $6)", visit, r.Content, r.Signature, r.Key, a.ID, a.Through)
	})
}

// BlockCard blocks an active card as its holder asks; [ErrAlready], [ErrWrongState].
func (s *Store) BlockCard(ctx context.Context, number, reason string, a Actor) error {
	return s.deskWord(ctx, "blocking a card", "SELECT block_card($1, $2, $3, $4)", number, reason, a.ID, a.Through)
}

// ReplaceCard blocks a card that will be replaced. One that was never handed over is
// revoked, which takes a second person: [ErrTwoPeople].
func (s *Store) ReplaceCard(ctx context.Context, number, reason string, second uuid.UUID, a Actor) error {
	return s.deskWord(ctx, "replacing a card", "SELECT replace_card($1, $2, $3, $4, $5)", number, reason, orNull(second), a.ID, a.Through)
}
