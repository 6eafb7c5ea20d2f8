package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// BankList is a list for the bank as it was enciphered to it.
type BankList struct {
	Seq     int64
	Records int
	Totals  json.RawMessage
	Content []byte
}

// AppendBankList is AppendBankFile for a list that is kept, so that the same can be
// written again.
func (s *Store) AppendBankList(ctx context.Context, kind string, f BankFile, content []byte, a Actor) error {
	word, err := s.bankWord(ctx, "noting a list for the bank", "SELECT append_bank_list($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		kind, f.Seq, f.Day.Format(time.DateOnly), f.Digest, f.Previous, f.Records, f.Totals, content, a.ID, a.Through)
	if err != nil {
		return err
	}
	return bankError(word)
}

// BankListOf is the newest list of a day; [ErrNotFound].
func (s *Store) BankListOf(ctx context.Context, kind string, day time.Time) (BankList, error) {
	return one(ctx, s.bank, "reading a list for the bank", pgx.RowToStructByPos[BankList],
		"SELECT seq, records, totals, content FROM bank_list($1, $2)", kind, day.Format(time.DateOnly))
}

// BankContent is a file that is kept, by its number; [ErrNotFound].
func (s *Store) BankContent(ctx context.Context, kind string, seq int64) (BankList, error) {
	return one(ctx, s.bank, "reading a file for the bank", pgx.RowToStructByPos[BankList], "SELECT seq, records, totals, content FROM bank_content($1, $2)", kind, seq)
}

// BankOutcome is what became of one account and its PAN: a line of one issuing result.
type BankOutcome struct {
	ID            int64
	Status        string // issued, replaced, spoiled, voided, withdrawn
	Token         []byte // nil: it had no PAN yet
	Sequence      int16
	Last4         string
	AccountSealed []byte // additional data: table account_assignment, row Assignment
	Assignment    uuid.UUID
	PersonID      uuid.UUID
	Epoch         string
	Wrapped       []byte
	Expires       *time.Time // nil: no card's data was made
	At            time.Time
	Scheme        string // empty: no card's data was made
	Product       string
}

const outcomeSQL = `SELECT id, status, token, sequence, last4, iban_sealed, assignment, person_id, epoch, wrapped, expires_on, at, scheme, product
	FROM bank_outcomes($1, $2, $3)`

// BankOutcomes lists what is in no file yet and became true before a moment, in order.
func (s *Store) BankOutcomes(ctx context.Context, before time.Time, limit int) ([]BankOutcome, error) {
	return list(ctx, s.bank, "reading outcomes", pgx.RowToStructByPos[BankOutcome], outcomeSQL, nil, before, limit)
}

// BankOutcomesOf lists what is in an issuing result, in its order.
func (s *Store) BankOutcomesOf(ctx context.Context, seq int64) ([]BankOutcome, error) {
	return list(ctx, s.bank, "reading outcomes", pgx.RowToStructByPos[BankOutcome], outcomeSQL, seq, nil, nil)
}

// AppendIssuingFile is AppendBankFile for an issuing result: its outcomes are in no
// other.
func (s *Store) AppendIssuingFile(ctx context.Context, f BankFile, outcomes []int64, a Actor) error {
	word, err := s.bankWord(ctx, "noting an issuing result", "SELECT append_issuing_file($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		f.Seq, f.Day.Format(time.DateOnly), f.Digest, f.Previous, f.Records, f.Totals, outcomes, a.ID, a.Through)
	if err != nil {
		return err
	}
	return bankError(word)
}

// BankPAN is the sealed PAN of one card.
type BankPAN struct {
	Token    []byte
	Sequence int16
	PANID    uuid.UUID // additional data: table pan, row PANID
	Sealed   []byte
	PersonID uuid.UUID
	Epoch    string
	Wrapped  []byte
	Expires  time.Time
	Scheme   string
}

// BankPANs lists the sealed PANs of the cards that were issued from one moment until
// before another.
func (s *Store) BankPANs(ctx context.Context, from, to time.Time) ([]BankPAN, error) {
	return list(ctx, s.bank, "reading PANs", pgx.RowToStructByPos[BankPAN],
		"SELECT token, sequence, pan_id, pan_sealed, person_id, epoch, wrapped, expires_on, scheme FROM bank_pans($1, $2)", from, to)
}
