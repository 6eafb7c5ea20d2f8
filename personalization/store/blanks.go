package store

import (
	"context"
	"errors"
	"slices"

	"cardbureau/personalization/stock"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// ImportResult says what an import did.
type ImportResult struct {
	Added int // new blanks, on hand
	Known int // serials already in the stock, left as they are, or twice in the list
}

// importChunk bounds the memory and the time of one statement.
const importChunk = 10_000

// ImportBlanks adds blanks to the stock. Importing a list again adds nothing.
func (s *Store) ImportBlanks(ctx context.Context, blanks []stock.Blank, a Actor) (ImportResult, error) {
	var res ImportResult
	for chunk := range slices.Chunk(blanks, importChunk) {
		serials, chips, batches := make([]string, len(chunk)), make([]string, len(chunk)), make([]string, len(chunk))
		for i, b := range chunk {
			serials[i], chips[i], batches[i] = b.Serial, b.Chip, b.Batch
		}
		var added int
		err := s.desk.QueryRow(ctx, "SELECT import_blanks($1, $2, $3, $4, $5)", serials, chips, batches, a.ID, a.Through).Scan(&added)
		if err != nil {
			return res, dbError("importing blanks", err)
		}
		res.Added += added
		res.Known += len(chunk) - added
	}
	return res, nil
}

// BlankStatus is what is known of a blank.
type BlankStatus struct {
	stock.Blank
	State             stock.State
	FailedKeyVersions []int // key versions under which an authentication failed once: never try again
}

// BlankBySerial finds a blank; [ErrUnlistedBlank].
func (s *Store) BlankBySerial(ctx context.Context, serial string) (BlankStatus, error) {
	scan := func(row pgx.CollectableRow) (b BlankStatus, err error) {
		err = row.Scan(&b.Serial, &b.Chip, &b.Batch, &b.State, &b.FailedKeyVersions)
		return b, err
	}
	b, err := one(ctx, s.line, "finding a blank", scan, "SELECT serial, chip, batch, state, failed_key_versions FROM blank_view($1)", serial)
	if errors.Is(err, ErrNotFound) {
		err = ErrUnlistedBlank
	}
	return b, err
}

// NoteAuthenticationFailure remembers that an authentication between chip and
// host failed under a key version: chips lock after ten. [ErrUnlistedBlank].
func (s *Store) NoteAuthenticationFailure(ctx context.Context, serial string, keyVersion int) error {
	listed, err := one(ctx, s.line, "noting a failed authentication", pgx.RowTo[bool], "SELECT note_failed_key($1, $2)", serial, keyVersion)
	if err == nil && !listed {
		err = ErrUnlistedBlank
	}
	return err
}

// BlankMove is a change of a blank's state outside the line.
type BlankMove struct {
	Serial    string
	To        stock.State // test, returned, quarantined (from on hand) or spoiled
	Reason    string      // stable code
	Approvers [2]Actor    // the second is needed when the blank is quarantined or becomes spoiled
}

// MoveBlank changes the state of a blank that is on hand or quarantined;
// [ErrUnlistedBlank], [ErrWrongState], [ErrTwoPeople].
func (s *Store) MoveBlank(ctx context.Context, m BlankMove) error {
	var word string
	err := s.desk.QueryRow(ctx, "SELECT outcome FROM move_blank($1, $2, $3, $4, $5, $6)",
		m.Serial, string(m.To), m.Reason, m.Approvers[0].ID, orNull(m.Approvers[1].ID), m.Approvers[0].Through).Scan(&word)
	if err != nil {
		return dbError("moving a blank", err)
	}
	return outcomeError(word)
}

// Counts counts all blanks ever received and where they are. Attempts of dead
// processes are put in doubt first, so that nothing looks in use that is not.
func (s *Store) Counts(ctx context.Context) (stock.Counts, error) {
	if _, err := s.MarkAbandoned(ctx); err != nil {
		return stock.Counts{}, err
	}
	return s.counts(ctx, "SELECT what, n FROM blank_counts()")
}

func (s *Store) counts(ctx context.Context, sql string, args ...any) (stock.Counts, error) {
	type count struct {
		What string
		N    int
	}
	var c stock.Counts
	rows, err := list(ctx, s.desk, "counting the stock", pgx.RowToStructByPos[count], sql, args...)
	for _, r := range rows {
		switch r.What {
		case "received":
			c.Received = r.N
		case "carried-in":
			c.CarriedIn = r.N
		default:
			c.Set(stock.State(r.What), r.N)
		}
	}
	return c, err
}

// OpenShift begins a shift of the bureau: what is present now is carried in.
// [ErrWrongState] when one is open.
func (s *Store) OpenShift(ctx context.Context, a Actor) (stock.Shift, error) {
	if _, err := s.MarkAbandoned(ctx); err != nil {
		return stock.Shift{}, err
	}
	var (
		word string
		id   *int64
		sh   stock.Shift
		open pgtype.Timestamptz
	)
	err := s.desk.QueryRow(ctx, "SELECT outcome, shift_id, opened FROM open_shift($1, $2)", a.ID, a.Through).Scan(&word, &id, &open)
	if err != nil {
		return sh, dbError("opening a shift", err)
	}
	if err := outcomeError(word); err != nil {
		return sh, err
	}
	sh.Number, sh.OpenedAt = *id, open.Time
	sh.Counts, err = s.counts(ctx, "SELECT what, n FROM shift_counts($1)", *id)
	return sh, err
}

// CloseShift ends the open shift and returns its sheet; [ErrWrongState] when
// none is open. Whether the sheet balances is for [stock.Counts.Balance] to
// say: a shift that does not is closed all the same, and people look.
func (s *Store) CloseShift(ctx context.Context, a Actor) (stock.Shift, error) {
	if _, err := s.MarkAbandoned(ctx); err != nil {
		return stock.Shift{}, err
	}
	var (
		word         string
		id           *int64
		sh           stock.Shift
		open, closed pgtype.Timestamptz
	)
	err := s.desk.QueryRow(ctx, "SELECT outcome, shift_id, opened, closed FROM close_shift($1, $2)", a.ID, a.Through).
		Scan(&word, &id, &open, &closed)
	if err != nil {
		return sh, dbError("closing a shift", err)
	}
	if err := outcomeError(word); err != nil {
		return sh, err
	}
	sh.Number, sh.OpenedAt, sh.ClosedAt = *id, open.Time, closed.Time
	sh.Counts, err = s.counts(ctx, "SELECT what, n::bigint FROM shift, jsonb_each_text(closing) AS c (what, n) WHERE id = $1", *id)
	return sh, err
}

// CurrentShift is the open shift with its counts of this moment; [ErrNotFound]
// when none is open.
func (s *Store) CurrentShift(ctx context.Context) (stock.Shift, error) {
	if _, err := s.MarkAbandoned(ctx); err != nil {
		return stock.Shift{}, err
	}
	scan := func(row pgx.CollectableRow) (sh stock.Shift, err error) {
		err = row.Scan(&sh.Number, &sh.OpenedAt)
		return sh, err
	}
	sh, err := one(ctx, s.desk, "finding the open shift", scan, "SELECT id, opened_at FROM shift WHERE closed_at IS NULL")
	if err != nil {
		return sh, err
	}
	sh.Counts, err = s.counts(ctx, "SELECT what, n FROM shift_counts($1)", sh.Number)
	return sh, err
}
