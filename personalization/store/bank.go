package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Errors of the bank's side.
var (
	ErrAssignmentDiffers = errors.New("the bank has sent another account under this reference")
	ErrPANTaken          = errors.New("the PAN belongs to another account")
	ErrHasAccount        = errors.New("the order has an account already")
	ErrRangeExhausted    = errors.New("the range of PANs is used up")
	ErrNoRange           = errors.New("no such range of PANs")
	ErrRangeExists       = errors.New("the range of PANs overlaps one that is there")
	ErrPoolEmpty         = errors.New("no ICC key of that length is left in the pool")
	ErrSamePerson        = errors.New("this takes another person: who released the cards or opened the batch may not have the PINs")
)

// ErrQuota: the question was asked too often.
type ErrQuota struct{ Free time.Time }

func (e *ErrQuota) Error() string {
	return "asked too often; free again at " + e.Free.UTC().Format(time.RFC3339)
}

func bankError(word string) error {
	switch word {
	case "assignment-differs":
		return ErrAssignmentDiffers
	case "pan-taken":
		return ErrPANTaken
	case "has-account":
		return ErrHasAccount
	case "exists":
		return ErrRangeExists
	case "same-person":
		return ErrSamePerson
	}
	return outcomeError(word)
}

// SealedAccount is what the bank has said of an order's account.
type SealedAccount struct {
	ID        uuid.UUID // NewID(); part of the additional data of Sealed
	Source    string    // api, file
	Reference string    // the bank's own, unique
	Digest    []byte    // SHA-256 of the assignment, 32 bytes
	IBANRef   []byte    // 32 bytes
	Sealed    []byte    // IBAN, account, name, given PAN; additional data: table account_assignment, column sealed
}

// AwaitingOrder is an order that waits for the bank.
type AwaitingOrder struct {
	OrderID  uuid.UUID
	RecordID uuid.UUID
	Since    time.Time
	Reason   string // why: a stable code
}

// AwaitingBank lists orders that wait for their account, after an order, at most
// 1000.
func (s *Store) AwaitingBank(ctx context.Context, after uuid.UUID, limit int) ([]AwaitingOrder, error) {
	return list(ctx, s.bank, "listing orders that wait for the bank", pgx.RowToStructByPos[AwaitingOrder],
		"SELECT order_id, record_id, since, reason FROM awaiting_bank($1, $2)", orNull(after), limit)
}

// BankOrder is what sealing an account for an order needs.
type BankOrder struct {
	OrderID  uuid.UUID
	PersonID uuid.UUID
	Key      DataKey
	State    OrderState
	Product  string
}

// OrderForBank finds an order by its id, or by its record's; [ErrNotFound].
func (s *Store) OrderForBank(ctx context.Context, order, record uuid.UUID) (BankOrder, error) {
	scan := func(row pgx.CollectableRow) (o BankOrder, err error) {
		err = row.Scan(&o.OrderID, &o.PersonID, &o.Key.Epoch, &o.Key.Wrapped, &o.State, &o.Product)
		return o, err
	}
	return one(ctx, s.bank, "reading an order", scan, "SELECT order_id, person_id, epoch, wrapped, state, product FROM bank_order($1, $2)",
		orNull(order), orNull(record))
}

// AssignAccount gives an order that waits for the bank its account, and has it
// prepared. already says that it was given before, by the same reference and with
// the same content. [ErrAssignmentDiffers], [ErrWrongState], [ErrNotFound].
func (s *Store) AssignAccount(ctx context.Context, order uuid.UUID, a SealedAccount, by Actor) (already bool, err error) {
	word, err := s.bankWord(ctx, "assigning an account", "SELECT assign_account($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		order, a.ID, a.Source, a.Reference, a.Digest, a.IBANRef, a.Sealed, by.ID, by.Through)
	if err != nil || word == "already" {
		return err == nil, err
	}
	return false, bankError(word)
}

// WithdrawAccount takes an account back before a card is begun, by order or by the
// bank's reference: the image is void, the PAN is never used again, and the order
// waits for the bank. [ErrWrongState] once a card is begun; [ErrNotFound].
func (s *Store) WithdrawAccount(ctx context.Context, order uuid.UUID, reference, reason string, by Actor) (already bool, err error) {
	var ref any
	if reference != "" {
		ref = reference
	}
	word, err := s.bankWord(ctx, "withdrawing an account", "SELECT withdraw_account($1, $2, $3, $4, $5)", orNull(order), ref, reason, by.ID, by.Through)
	if err != nil || word == "already" {
		return err == nil, err
	}
	return false, bankError(word)
}

func (s *Store) bankWord(ctx context.Context, doing, sql string, args ...any) (word string, err error) {
	err = repeat(ctx, func() error { return s.bank.QueryRow(ctx, sql, args...).Scan(&word) })
	if err != nil {
		return "", dbError(doing, err)
	}
	return word, nil
}

// AwaitBank notes that an order cannot be prepared before the bank has opened its
// account; reason is a stable code. [ErrStale].
func (s *Store) AwaitBank(ctx context.Context, order uuid.UUID, generation int, reason string, a Actor) error {
	return s.word(ctx, "noting that an order waits for the bank", s.line, "SELECT await_bank($1, $2, $3, $4, $5)", order, generation, reason, a.ID, a.Through)
}

// BankPart is what preparation knows of an order's account.
type BankPart struct {
	Assignment uuid.UUID // Nil: none; the record may have one
	Sealed     []byte
	IBANRef    []byte
	Withdrawn  bool // the bank has taken one back: the record's counts no more
	PAN        PAN  // ID Nil: none yet
}

// PAN is an allocated PAN.
type PAN struct {
	ID       uuid.UUID
	Token    []byte // 16 bytes
	Sequence byte
	Last4    string
	Sealed   []byte // additional data: table pan, column sealed
}

// bankPart is a row of bank_part, as it is scanned.
type bankPart struct {
	BankPart
	assignment, pan *uuid.UUID
	withdrawn       *bool
	sequence        *int16
	last4           *string
}

func (p *bankPart) columns() []any {
	return []any{&p.assignment, &p.Sealed, &p.IBANRef, &p.withdrawn, &p.pan, &p.PAN.Token, &p.sequence, &p.last4, &p.PAN.Sealed}
}

// part is what was scanned.
func (p *bankPart) part() BankPart {
	if p.assignment != nil {
		p.Assignment = *p.assignment
	}
	p.Withdrawn = p.withdrawn != nil && *p.withdrawn
	if p.pan != nil && p.sequence != nil && p.last4 != nil {
		p.PAN.ID, p.PAN.Sequence, p.PAN.Last4 = *p.pan, byte(*p.sequence), *p.last4
	}
	return p.BankPart
}

// Range is a range of PANs.
type Range struct {
	Name   string `json:"name"`
	Prefix string `json:"prefix"`
	Length int    `json:"length"`
	Used   int64  `json:"used"`
	Size   int64  `json:"size"`
}

// AddRange adds a range of PANs. Adding it again changes nothing. [ErrRangeExists].
func (s *Store) AddRange(ctx context.Context, r Range, a Actor) error {
	var word string
	err := s.desk.QueryRow(ctx, "SELECT add_pan_range($1, $2, $3, $4, $5, $6)", r.Name, r.Prefix, r.Length, r.Size, a.ID, a.Through).Scan(&word)
	if err != nil {
		return dbError("adding a range of PANs", err)
	}
	return bankError(word)
}

// Ranges lists the ranges of PANs.
func (s *Store) Ranges(ctx context.Context) ([]Range, error) {
	return list(ctx, s.desk, "listing ranges of PANs", pgx.RowToStructByPos[Range], "SELECT name, prefix, length, next, size FROM pan_ranges()")
}

// NextPAN allocates the range's next PAN for an order: numbers have no gap, and none
// is given twice. made turns the running number into the PAN's row; the number
// itself is kept nowhere. [ErrRangeExhausted], [ErrNoRange].
func (s *Store) NextPAN(ctx context.Context, order uuid.UUID, name string, made func(r Range) (PAN, error)) (p PAN, err error) {
	// One that the bank has given as its own is taken: it is passed over.
	for {
		p, err = s.nextPAN(ctx, order, name, made)
		if !errors.Is(err, ErrPANTaken) {
			return p, bankDBError("allocating a PAN", err)
		}
	}
}

// nextPAN is one number of the range, which is used up when the number is taken.
func (s *Store) nextPAN(ctx context.Context, order uuid.UUID, name string, made func(r Range) (PAN, error)) (p PAN, err error) {
	err = s.line.AcquireFunc(ctx, func(conn *pgxpool.Conn) (err error) {
		// A transaction in two round trips. The pool closes a connection that comes
		// back inside one, so nothing is left of it after an error.
		r := Range{Name: name}
		var begin, end pgx.Batch
		begin.Queue("BEGIN")
		begin.Queue("SELECT prefix, length, next, size FROM lock_range($1)", name).QueryRow(func(row pgx.Row) error {
			return row.Scan(&r.Prefix, &r.Length, &r.Used, &r.Size)
		})
		defer func() {
			if err != nil {
				_, _ = conn.Exec(ctx, "ROLLBACK")
			}
		}()
		err = conn.SendBatch(ctx, &begin).Close()
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("%w: %q (cardbureau bank ranges add)", ErrNoRange, name)
		}
		if err != nil {
			return err
		}
		if r.Used >= r.Size {
			return fmt.Errorf("%w: %q", ErrRangeExhausted, name)
		}
		if p, err = made(r); err != nil {
			return err
		}
		var put error
		end.Queue(putPANSQL, order, p.ID, p.Token, p.Last4, p.Sealed, name).QueryRow(func(row pgx.Row) error {
			put = scanPAN(row, &p)
			return nil // a number that is another's is committed too: the range has passed over it
		})
		end.Queue("COMMIT")
		if err = conn.SendBatch(ctx, &end).Close(); put != nil {
			return put
		}
		return err
	})
	return p, err
}

// PANTaken says whether a PAN is another person's than an order's.
func (s *Store) PANTaken(ctx context.Context, order uuid.UUID, token []byte) (taken bool, err error) {
	err = s.bank.QueryRow(ctx, "SELECT pan_taken($1, $2)", order, token).Scan(&taken)
	if err != nil {
		return false, dbError("looking for a PAN", err)
	}
	return taken, nil
}

// GivenPAN notes a PAN that the bank has given. A person who has it already gets
// the next sequence number. [ErrPANTaken].
func (s *Store) GivenPAN(ctx context.Context, order uuid.UUID, p PAN) (PAN, error) {
	err := scanPAN(s.line.QueryRow(ctx, putPANSQL, order, p.ID, p.Token, p.Last4, p.Sealed, nil), &p)
	return p, bankDBError("noting a PAN", err)
}

const putPANSQL = "SELECT outcome, sequence FROM put_pan($1, $2, $3, $4, $5, $6)"

func scanPAN(row pgx.Row, p *PAN) error {
	var word string
	var sequence *int16
	if err := row.Scan(&word, &sequence); err != nil {
		return err
	}
	if sequence != nil {
		p.Sequence = byte(*sequence)
	}
	return bankError(word)
}

// bankDBError leaves errors of this package as they are.
func bankDBError(doing string, err error) error {
	for _, known := range []error{nil, ErrNoRange, ErrRangeExhausted, ErrPANTaken} {
		if errors.Is(err, known) {
			return err
		}
	}
	return dbError(doing, err)
}

// ICCKey is a sealed RSA key of the pool.
type ICCKey struct {
	ID     uuid.UUID
	Sealed []byte
}

// AddICCKeys puts keys of a length into the pool.
func (s *Store) AddICCKeys(ctx context.Context, bits int, keys []ICCKey) error {
	ids, sealed := make([]uuid.UUID, len(keys)), make([][]byte, len(keys))
	for i, k := range keys {
		ids[i], sealed[i] = k.ID, k.Sealed
	}
	if _, err := s.line.Exec(ctx, "SELECT add_icc_keys($1, $2, $3)", ids, bits, sealed); err != nil {
		return dbError("filling the pool of ICC keys", err)
	}
	return nil
}

// TakeICCKey takes a key out of the pool for good: none is given twice, also when
// who took it dies. [ErrPoolEmpty].
func (s *Store) TakeICCKey(ctx context.Context, bits int) (k ICCKey, err error) {
	err = s.line.QueryRow(ctx, "SELECT id, sealed FROM take_icc_key($1)", bits).Scan(&k.ID, &k.Sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return k, ErrPoolEmpty
	}
	if err != nil {
		return k, dbError("taking an ICC key", err)
	}
	return k, nil
}

// ICCKeyCounts counts the pool's keys by length in bits.
func (s *Store) ICCKeyCounts(ctx context.Context) (map[int]int, error) {
	type row struct {
		Bits int
		N    int64
	}
	rows, err := list(ctx, s.line, "counting ICC keys", pgx.RowToStructByPos[row], "SELECT bits, keys FROM icc_key_counts()")
	out := map[int]int{}
	for _, r := range rows {
		out[r.Bits] = int(r.N)
	}
	return out, err
}

// BankImage is the bank's part of a card image.
type BankImage struct {
	Content     []byte // sealed groupings and tracks; additional data: table payment_image, column content, row the image's
	Secrets     []byte // sealed secrets; column secrets
	PAN         uuid.UUID
	StatusIndex int64
	Binding     []byte // COSE_Sign1
	Scheme      string
	Expires     time.Time

	Mailer       uuid.UUID // what MailerSealed is bound to
	MailerSealed []byte

	// Account is kept where the record itself brought it.
	Account SealedAccount
}

// SaveBankImage is [Store.SaveImage] with the bank's part, in one transaction.
// [ErrStale] also when the account was withdrawn meanwhile.
func (s *Store) SaveBankImage(ctx context.Context, order uuid.UUID, generation int, im Image, b BankImage, a Actor) error {
	return repeat(ctx, func() error {
		return s.word(ctx, "storing a card image", s.line, `SELECT save_bank_image($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
			$18, $19, $20, $21, $22, $23)`,
			order, generation, im.ID, im.Version, im.CardNumber, im.Profile, im.Content, im.Secrets, a.ID, a.Through,
			b.Content, b.Secrets, b.PAN, b.StatusIndex, b.Binding, b.Scheme, b.Expires, b.Mailer, b.MailerSealed,
			b.Account.ID, b.Account.Digest, b.Account.IBANRef, b.Account.Sealed)
	})
}

// PaymentPart is the bank's part of an image, sealed as [BankImage] says.
type PaymentPart struct{ Content, Secrets []byte }

// PaymentPart reads the bank's part of an image, as long as its card is not
// issued; [ErrNotFound].
func (s *Store) PaymentPart(ctx context.Context, image uuid.UUID) (PaymentPart, error) {
	return one(ctx, s.line, "reading a card image", pgx.RowToStructByPos[PaymentPart], "SELECT content, secrets FROM payment_part($1)", image)
}

// SetCardState moves a card from one state to another; what the bank will want to
// know goes to the outbox. [ErrNotFound], [ErrWrongState].
func (s *Store) SetCardState(ctx context.Context, number, from, to, reason string, a Actor) error {
	return s.word(ctx, "changing a card's state", s.desk, "SELECT set_card_state($1, $2, $3, $4, $5, $6)", number, from, to, reason, a.ID, a.Through)
}
