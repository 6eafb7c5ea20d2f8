package store

import (
	"context"
	"time"

	"cardbureau/personalization/stock"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

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

const readerCountsSQL = `
	SELECT a.reader, s.station, count(*),
		count(*) FILTER (WHERE a.end = 'issued'), count(*) FILTER (WHERE a.end = 'clean'),
		count(*) FILTER (WHERE a.end = 'spoiled'), count(*) FILTER (WHERE a.end = 'quarantined'),
		count(*) FILTER (WHERE a.end = 'in-doubt'), count(*) FILTER (WHERE a.end IS NULL)
	FROM (SELECT reader, session_id, coalesce(settled, outcome) AS "end" FROM attempt
		WHERE started_at >= $1 AND ($2::timestamptz IS NULL OR started_at < $2) AND settled IS DISTINCT FROM 'resumed') a
	JOIN station_session s ON s.id = a.session_id
	GROUP BY a.reader, s.station ORDER BY s.station, a.reader`

// ReaderCounts counts a shift's attempts by reader.
//
// No role but the owner may read attempts, and no function that the others may
// call tells readers: the one query is made as owner, in a transaction that
// cannot write.
func (s *Store) ReaderCounts(ctx context.Context, sh stock.Shift) ([]ReaderCount, error) {
	owner, err := s.pool(ctx, roleOwner, 1)
	if err != nil {
		return nil, err
	}
	defer owner.Close()
	end := pgtype.Timestamptz{Time: sh.ClosedAt, Valid: !sh.ClosedAt.IsZero()}
	var out []ReaderCount
	err = pgx.BeginTxFunc(ctx, owner, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, readerCountsSQL, sh.OpenedAt, end)
		if err == nil {
			out, err = pgx.CollectRows(rows, pgx.RowToStructByPos[ReaderCount])
		}
		return err
	})
	if err != nil {
		return nil, dbError("counting the readers' work", err)
	}
	return out, nil
}

// AttemptCard is the number of the card that an attempt makes or made, without
// looking at its holder; [ErrNotFound].
func (s *Store) AttemptCard(ctx context.Context, attempt uuid.UUID) (string, error) {
	var number string
	if err := s.line.QueryRow(ctx, "SELECT card_number FROM claim_view($1)", attempt).Scan(&number); err != nil {
		return "", dbError("finding an attempt's card", err)
	}
	return number, nil
}

// ClosedShift is the sheet of a closed shift as it was signed; number 0 is the
// last one. [ErrNotFound].
func (s *Store) ClosedShift(ctx context.Context, number int64) (stock.Shift, error) {
	var (
		sh             stock.Shift
		opened, closed time.Time
	)
	err := s.desk.QueryRow(ctx, `SELECT id, opened_at, closed_at FROM shift
		WHERE closed_at IS NOT NULL AND ($1 = 0 OR id = $1) ORDER BY id DESC LIMIT 1`, number).Scan(&sh.Number, &opened, &closed)
	if err != nil {
		return stock.Shift{}, dbError("finding a closed shift", err)
	}
	sh.OpenedAt, sh.ClosedAt = opened, closed
	sh.Counts, err = s.counts(ctx, "SELECT what, n::bigint FROM shift, jsonb_each_text(closing) AS c (what, n) WHERE id = $1", sh.Number)
	return sh, err
}
