package store

import (
	"context"
	"time"

	"cardbureau/personalization/stock"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Work is what was done in a shift, as it stood when the shift closed, or now
// while it is open.
type Work struct {
	Readers []ReaderCount
	InDoubt []ShiftDoubt // whichever shift they began in
}

// ReaderCount is what one reader did in a shift: the attempts that began in
// it, by how they ended. An attempt that was resumed counts as the one that
// resumed it; one that two people gave up counts as what they made of it.
type ReaderCount struct {
	Reader      string
	Station     string
	Attempts    int // the sum of the others
	Issued      int
	Clean       int
	Spoiled     int
	Quarantined int
	InDoubt     int
	Running     int
}

// ShiftDoubt is an attempt of which nobody knew how it ended.
type ShiftDoubt struct {
	AttemptID uuid.UUID
	Card      string // number of the card that it was to make
	Serial    string // of the blank
	Reader    string
	StartedAt time.Time
}

// ShiftWork says what was done in a shift. Both parts are of one moment.
func (s *Store) ShiftWork(ctx context.Context, sh stock.Shift) (Work, error) {
	end := pgtype.Timestamptz{Time: sh.ClosedAt, Valid: !sh.ClosedAt.IsZero()}
	var w Work
	read := pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: pgx.RepeatableRead}
	err := pgx.BeginTxFunc(ctx, s.desk, read, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT reader, station, attempts, issued, clean, spoiled, quarantined, in_doubt, running
			FROM shift_readers($1, $2)`, sh.OpenedAt, end)
		if err != nil {
			return err
		}
		if w.Readers, err = pgx.CollectRows(rows, pgx.RowToStructByPos[ReaderCount]); err != nil {
			return err
		}
		rows, err = tx.Query(ctx, "SELECT attempt_id, card_number, serial, reader, started_at FROM shift_doubts($1)", end)
		if err != nil {
			return err
		}
		w.InDoubt, err = pgx.CollectRows(rows, pgx.RowToStructByPos[ShiftDoubt])
		return err
	})
	if err != nil {
		return Work{}, dbError("counting a shift's work", err)
	}
	return w, nil
}

// ClosedShift is the sheet of a closed shift as it was signed; number 0 is the
// last one. [ErrNotFound].
func (s *Store) ClosedShift(ctx context.Context, number int64) (stock.Shift, error) {
	var sh stock.Shift
	err := s.desk.QueryRow(ctx, `SELECT id, opened_at, closed_at FROM shift
		WHERE closed_at IS NOT NULL AND ($1 = 0 OR id = $1) ORDER BY id DESC LIMIT 1`, number).
		Scan(&sh.Number, &sh.OpenedAt, &sh.ClosedAt)
	if err != nil {
		return stock.Shift{}, dbError("finding a closed shift", err)
	}
	sh.Counts, err = s.counts(ctx, "SELECT what, n::bigint FROM shift, jsonb_each_text(closing) AS c (what, n) WHERE id = $1", sh.Number)
	return sh, err
}
