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

// What has happened up to $2, which is null for now.
const (
	readerCountsSQL = `
	WITH seen AS (
		SELECT reader, session_id,
			CASE WHEN settled_at <= coalesce($2::timestamptz, 'infinity') THEN settled END AS settled,
			CASE WHEN finished_at <= coalesce($2::timestamptz, 'infinity') THEN outcome END AS outcome
		FROM attempt WHERE started_at >= $1 AND started_at <= coalesce($2::timestamptz, 'infinity')
	), ended AS (
		SELECT reader, session_id, coalesce(settled, outcome) AS how FROM seen WHERE settled IS DISTINCT FROM 'resumed'
	)
	SELECT e.reader, s.station, count(*),
		count(*) FILTER (WHERE how = 'issued'), count(*) FILTER (WHERE how = 'clean'), count(*) FILTER (WHERE how = 'spoiled'),
		count(*) FILTER (WHERE how = 'quarantined'), count(*) FILTER (WHERE how = 'in-doubt'), count(*) FILTER (WHERE how IS NULL)
	FROM ended e JOIN station_session s ON s.id = e.session_id
	GROUP BY e.reader, s.station ORDER BY s.station, e.reader`

	shiftDoubtsSQL = `
	SELECT a.id, i.card_number, b.serial, a.reader, a.started_at
	FROM attempt a JOIN image i ON i.id = a.image_id JOIN blank b ON b.id = a.blank_id
	WHERE a.outcome = 'in-doubt' AND a.finished_at <= coalesce($1::timestamptz, 'infinity')
		AND (a.settled_at IS NULL OR a.settled_at > $1)
	ORDER BY a.started_at`
)

// ShiftWork says what was done in a shift.
//
// No role but the owner may read attempts, and no function that the others may
// call tells their readers: the two queries are made as owner, in a transaction
// that cannot write.
func (s *Store) ShiftWork(ctx context.Context, sh stock.Shift) (Work, error) {
	owner, err := s.pool(ctx, roleOwner, 1)
	if err != nil {
		return Work{}, err
	}
	defer owner.Close()
	end := pgtype.Timestamptz{Time: sh.ClosedAt, Valid: !sh.ClosedAt.IsZero()}
	var w Work
	read := pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: pgx.RepeatableRead}
	err = pgx.BeginTxFunc(ctx, owner, read, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, readerCountsSQL, sh.OpenedAt, end)
		if err != nil {
			return err
		}
		if w.Readers, err = pgx.CollectRows(rows, pgx.RowToStructByPos[ReaderCount]); err != nil {
			return err
		}
		if rows, err = tx.Query(ctx, shiftDoubtsSQL, end); err != nil {
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
