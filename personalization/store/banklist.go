package store

import (
	"context"
	"encoding/json"
	"time"

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
