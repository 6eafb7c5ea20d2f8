package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// BankCard is what the bank's side knows of a card: no document number, no office,
// no name.
type BankCard struct {
	CardID      uuid.UUID
	Ref         uuid.UUID // what events and answers call it
	State       string
	StatusIndex int64
	Token       []byte
	Sequence    int16
	Last4       string
	IBANRef     []byte
	Binding     []byte
	Scheme      string
	Expires     time.Time
	PANSealed   []byte // additional data: table pan, row PANID
	PersonID    uuid.UUID
	Epoch       string
	Wrapped     []byte
	PANID       uuid.UUID
	OrderID     uuid.UUID
}

const bankCardSQL = `SELECT card_id, ref, state, status_index, token, sequence, last4, iban_ref, binding, scheme, expires_on, pan_sealed,
	person_id, epoch, wrapped, pan_id, order_id FROM bank_card($1, $2, $3)`

// CardByPANToken finds an issued card by its PAN's token and sequence number;
// [ErrNotFound].
func (s *Store) CardByPANToken(ctx context.Context, token []byte, sequence byte) (BankCard, error) {
	return one(ctx, s.bank, "reading a card", pgx.RowToStructByPos[BankCard], bankCardSQL, token, int16(sequence), nil)
}

// CardByStatusIndex finds an issued card by its status index; [ErrNotFound].
func (s *Store) CardByStatusIndex(ctx context.Context, index int64) (BankCard, error) {
	return one(ctx, s.bank, "reading a card", pgx.RowToStructByPos[BankCard], bankCardSQL, nil, nil, index)
}

// Verdict is what a cryptogram's transaction counter says.
type Verdict string

// Verdicts.
const (
	Fresh  Verdict = "fresh"
	Repeat Verdict = "repeat" // the same question again: the same answer
	Replay Verdict = "replay" // used before in another transaction, or too old
)

// RecordARQC notes the transaction counter of a right cryptogram. window is how many
// numbers below the highest one may still come; gap is how far it is above it.
func (s *Store) RecordARQC(ctx context.Context, card uuid.UUID, atc uint16, digest [32]byte, window int) (v Verdict, gap int, err error) {
	err = repeat(ctx, func() error {
		return s.bank.QueryRow(ctx, "SELECT verdict, gap FROM record_arqc($1, $2, $3, $4)", card, int(atc), digest[:], window).Scan(&v, &gap)
	})
	if err != nil {
		return "", 0, dbError("noting a transaction counter", err)
	}
	return v, gap, nil
}

// UseQuota counts a question; [*ErrQuota] when limit were asked within per.
func (s *Store) UseQuota(ctx context.Context, name string, limit int, per time.Duration) error {
	var free *time.Time
	if err := s.bank.QueryRow(ctx, "SELECT use_quota($1, $2, $3)", name, limit, int(per.Seconds())).Scan(&free); err != nil {
		return dbError("counting a question", err)
	}
	if free != nil {
		return &ErrQuota{*free}
	}
	return nil
}

// BankEvent is one event for the bank. Seq has no gap, and is the order in which
// things became true.
type BankEvent struct {
	Seq         int64     `json:"seq"`
	Type        string    `json:"type"`
	Ref         uuid.UUID `json:"ref"`
	PANToken    []byte    `json:"-"`
	Sequence    *int16    `json:"panSequence,omitempty"`
	StatusIndex *int64    `json:"statusIndex,omitempty"`
	At          time.Time `json:"at"`
}

// Outbox lists events after a number, at most 1000.
func (s *Store) Outbox(ctx context.Context, after int64, limit int) ([]BankEvent, error) {
	return list(ctx, s.bank, "reading the outbox", pgx.RowToStructByPos[BankEvent],
		"SELECT seq, type, ref, pan_token, pan_sequence, status_index, at FROM outbox($1, $2)", after, limit)
}

// BankBalance counts accounts by where they stood at a moment: waiting, in-progress,
// in-doubt, issued, spoiled, withdrawn.
func (s *Store) BankBalance(ctx context.Context, at time.Time) (map[string]uint64, error) {
	type row struct {
		Class string
		N     int64
	}
	rows, err := list(ctx, s.bank, "counting accounts", pgx.RowToStructByPos[row], "SELECT class, n FROM bank_balance($1)", at)
	out := map[string]uint64{}
	for _, r := range rows {
		out[r.Class] = uint64(r.N)
	}
	return out, err
}

// RangesAt lists the ranges of PANs as they were at a moment.
func (s *Store) RangesAt(ctx context.Context, at time.Time) ([]Range, error) {
	return list(ctx, s.bank, "listing ranges of PANs", pgx.RowToStructByPos[Range], "SELECT name, prefix, length, next, size FROM pan_ranges_at($1)", at)
}

// BankFile is one file that went to the bank, or came from it.
type BankFile struct {
	Seq      int64
	Day      time.Time
	Digest   []byte
	Previous []byte
	Records  int
	Totals   json.RawMessage
}

// AppendBankFile notes a file: sequence numbers of a kind have no gap, and each
// names the digest of the one before. [ErrStale] when another came first.
func (s *Store) AppendBankFile(ctx context.Context, kind string, f BankFile, a Actor) error {
	word, err := s.bankWord(ctx, "noting a bank file", "SELECT append_bank_file($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		kind, f.Seq, f.Day.Format(time.DateOnly), f.Digest, f.Previous, f.Records, f.Totals, a.ID, a.Through)
	if err != nil {
		return err
	}
	return bankError(word)
}

// BankFiles lists the files of a kind.
func (s *Store) BankFiles(ctx context.Context, kind string) ([]BankFile, error) {
	return list(ctx, s.bank, "listing bank files", pgx.RowToStructByPos[BankFile], "SELECT seq, day, digest, previous, records, totals FROM bank_files($1)", kind)
}

// BankAnswer is the bank's answer to one record of a file.
type BankAnswer struct {
	Seq  int64
	Line int64
	Code string // 00: accepted
}

// AnswerBankFile notes the bank's answers to a file; those that are there stay. It
// returns how many were new.
func (s *Store) AnswerBankFile(ctx context.Context, kind string, seq int64, answers []BankAnswer) (n int, err error) {
	lines, codes := make([]int64, len(answers)), make([]string, len(answers))
	for i, a := range answers {
		lines[i], codes[i] = a.Line, a.Code
	}
	if err := s.bank.QueryRow(ctx, "SELECT answer_bank_file($1, $2, $3, $4)", kind, seq, lines, codes).Scan(&n); err != nil {
		return 0, dbError("noting the bank's answers", err)
	}
	return n, nil
}

// BankAnswers lists all answers to files of a kind.
func (s *Store) BankAnswers(ctx context.Context, kind string) ([]BankAnswer, error) {
	return list(ctx, s.bank, "listing answers", pgx.RowToStructByPos[BankAnswer], "SELECT seq, line, code FROM bank_answers($1)", kind)
}

// BankRejects lists what the bank has not accepted.
func (s *Store) BankRejects(ctx context.Context, kind string) ([]BankAnswer, error) {
	return list(ctx, s.bank, "listing rejects", pgx.RowToStructByPos[BankAnswer], "SELECT seq, line, code FROM bank_rejects($1)", kind)
}

// Mailer is one PIN to be printed.
type Mailer struct {
	ID     uuid.UUID // what Sealed is bound to
	Sealed []byte
	Label  string // last four digits of the PAN
}

// OpenMailerBatch gathers the PINs of cards that were issued before a time. It
// returns how many; none makes no batch.
func (s *Store) OpenMailerBatch(ctx context.Context, batch uuid.UUID, before time.Time, limit int, a Actor) (n int, err error) {
	if err := s.desk.QueryRow(ctx, "SELECT open_mailer_batch($1, $2, $3, $4, $5)", batch, before, limit, a.ID, a.Through).Scan(&n); err != nil {
		return 0, dbError("opening a batch of PIN mailers", err)
	}
	return n, nil
}

// ReleaseMailerBatch lets a batch be printed. [ErrSamePerson] for who opened it, or
// released one of the cards' lots.
func (s *Store) ReleaseMailerBatch(ctx context.Context, batch uuid.UUID, a Actor) error {
	var word string
	if err := s.desk.QueryRow(ctx, "SELECT release_mailer_batch($1, $2, $3)", batch, a.ID, a.Through).Scan(&word); err != nil {
		return dbError("releasing a batch of PIN mailers", err)
	}
	return bankError(word)
}

// MailerBatch reads a released batch that is not printed yet.
func (s *Store) MailerBatch(ctx context.Context, batch uuid.UUID) ([]Mailer, error) {
	return list(ctx, s.desk, "reading a batch of PIN mailers", pgx.RowToStructByPos[Mailer], "SELECT id, sealed, label FROM mailer_batch($1)", batch)
}

// MailersPrinted deletes a batch's PINs.
func (s *Store) MailersPrinted(ctx context.Context, batch uuid.UUID, a Actor) error {
	return s.word(ctx, "closing a batch of PIN mailers", s.desk, "SELECT mailers_printed($1, $2, $3)", batch, a.ID, a.Through)
}
