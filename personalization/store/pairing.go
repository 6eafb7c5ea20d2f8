package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cardbureau/personalization/pairing/lifecycle"
)

// Errors of pairing.
var (
	ErrSIMPaired      = errors.New("the SIM is paired, or another desk is pairing it at this moment")
	ErrNumberPaired   = errors.New("the telephone number is paired with a SIM already")
	ErrSIMLimit       = errors.New("the person has as many SIMs as are allowed")
	ErrSessionOver    = errors.New("the pairing session is over")
	ErrSessionTwice   = errors.New("a pairing session serves once")
	ErrCallbackDiffer = errors.New("the operator has sent another notice under this identifier")
	ErrUnsigned       = errors.New("the pairing's record must be signed first")
)

func pairingError(word string) error {
	switch word {
	case "sim-taken":
		return ErrSIMPaired
	case "msisdn-taken":
		return ErrNumberPaired
	case "sim-limit":
		return ErrSIMLimit
	case "session-over":
		return ErrSessionOver
	case "session-used":
		return ErrSessionTwice
	}
	return outcomeError(word)
}

func (s *Store) pairingWord(ctx context.Context, doing, sql string, args ...any) error {
	var word string
	err := repeat(ctx, func() error { return s.desk.QueryRow(ctx, sql, args...).Scan(&word) })
	if err != nil {
		return dbError(doing, err)
	}
	return pairingError(word)
}

// NewPairing is a SIM and a number that are set aside for a session.
type NewPairing struct {
	ID        uuid.UUID // NewID()
	CardID    uuid.UUID // of an active card
	Operator  string    // MCC and MNC
	ICCIDRef  []byte    // 32 bytes
	MSISDNRef []byte    // 32 bytes
	Sealed    []byte    // ICCID and number; additional data: table pairing, column sealed
	IMSI      []byte    // sealed; column imsi_sealed
	Session   uuid.UUID
	Ends      time.Time // of the session
	Until     time.Time // last day of validity
	Limit     int       // how many live SIMs the person may have, this one counted
}

// ReservePairing sets a SIM and a number aside. What a dead session or a revoked card
// of the person had set aside is free again; freed are the pairings that ended so,
// also when this one is refused. [ErrSIMPaired], [ErrNumberPaired], [ErrSIMLimit],
// [ErrSessionTwice], [ErrWrongState] when the card is not active, [ErrNotFound].
func (s *Store) ReservePairing(ctx context.Context, p NewPairing, a Actor) (freed []uuid.UUID, err error) {
	var word string
	err = repeat(ctx, func() error {
		return s.desk.QueryRow(ctx, "SELECT outcome, freed FROM reserve_pairing($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
			p.ID, p.CardID, p.Operator, p.ICCIDRef, p.MSISDNRef, p.Sealed, p.IMSI, p.Session, p.Ends, p.Until, p.Limit, a.ID, a.Through).Scan(&word, &freed)
	})
	if err != nil {
		return nil, dbError("reserving a pairing", err)
	}
	return freed, pairingError(word)
}

// EndedPairing is one that ended by time.
type EndedPairing struct {
	ID       uuid.UUID
	Operator string
}

// ExpirePairings ends at most limit pairings whose session died before they were
// proven and the operator was asked, or whose last day is over.
func (s *Store) ExpirePairings(ctx context.Context, limit int, a Actor) ([]EndedPairing, error) {
	return list(ctx, s.desk, "ending pairings", pgx.RowToStructByPos[EndedPairing], "SELECT id, operator FROM expire_pairings($1, $2, $3)", limit, a.ID, a.Through)
}

// ReplacedPairings lists at most limit live pairings whose card was revoked, and whose
// operator was not told yet.
func (s *Store) ReplacedPairings(ctx context.Context, limit int) ([]EndedPairing, error) {
	return list(ctx, s.desk, "listing pairings of replaced cards", pgx.RowToStructByPos[EndedPairing], "SELECT id, operator FROM replaced_pairings($1)", limit)
}

// PairingTold notes that the operator was told that a pairing's card was replaced.
func (s *Store) PairingTold(ctx context.Context, pairing uuid.UUID, a Actor) error {
	return s.pairingWord(ctx, "noting what an operator was told", "SELECT pairing_told($1, $2, $3)", pairing, a.ID, a.Through)
}

// PersonalizePairing notes that the SIM holds the subscription. [ErrSessionOver],
// [ErrWrongState].
func (s *Store) PersonalizePairing(ctx context.Context, pairing, session uuid.UUID, a Actor) error {
	return s.pairingWord(ctx, "noting a SIM", "SELECT personalize_pairing($1, $2, $3, $4)", pairing, session, a.ID, a.Through)
}

// ProvePairing notes that both chips have answered. claims is what will be signed,
// evidence the transcript, sealed (column evidence). [ErrSessionOver],
// [ErrWrongState].
func (s *Store) ProvePairing(ctx context.Context, pairing, session uuid.UUID, claims, evidence []byte, a Actor) error {
	return s.pairingWord(ctx, "noting the proof of a pairing", "SELECT prove_pairing($1, $2, $3, $4, $5, $6)", pairing, session, claims, evidence, a.ID, a.Through)
}

// AskOperator notes that the operator is about to be asked, or asked again.
// [ErrWrongState].
func (s *Store) AskOperator(ctx context.Context, pairing uuid.UUID, a Actor) error {
	return s.pairingWord(ctx, "noting that the operator is asked", "SELECT ask_operator($1, $2, $3)", pairing, a.ID, a.Through)
}

// ActivatePairing stores the signed record of a pairing that the operator has
// confirmed; its IMSI is gone with the same commit. A pairing that is active already
// keeps the record that it has. [ErrWrongState].
func (s *Store) ActivatePairing(ctx context.Context, pairing uuid.UUID, record []byte, index int64, a Actor) error {
	return s.pairingWord(ctx, "activating a pairing", "SELECT activate_pairing($1, $2, $3, $4, $5)", pairing, record, index, a.ID, a.Through)
}

// MovePairing suspends, resumes, revokes or expires a pairing, or marks a swap;
// reason is a stable code. One that is there already stays. [ErrWrongState],
// [ErrNotFound].
func (s *Store) MovePairing(ctx context.Context, pairing uuid.UUID, to lifecycle.State, reason string, a Actor) error {
	return s.pairingWord(ctx, "changing a pairing", "SELECT move_pairing($1, $2, $3, $4, $5)", pairing, to, reason, a.ID, a.Through)
}

// OperatorNotice is an operator's signed notice, already verified.
type OperatorNotice struct {
	Operator string
	JTI      string
	Digest   []byte // SHA-256 of the whole notice
	Pairing  uuid.UUID
	Sequence int64             // rises for each pairing
	From     []lifecycle.State // out of which it may lead
	To       lifecycle.State
	Reason   string
	Record   []byte // signed, where the notice activates; nil at first
	Index    int64
}

// TakeNotice takes an operator's notice once and changes the pairing with the same
// commit. The same notice again gets the answer of the first time: done, not-found,
// out-of-order or wrong-state. [ErrCallbackDiffer]; [ErrUnsigned] when a record must be
// signed, and then nothing was noted.
func (s *Store) TakeNotice(ctx context.Context, n OperatorNotice, a Actor) (answer string, again bool, err error) {
	var outcome string
	var said *string
	err = repeat(ctx, func() error {
		return s.desk.QueryRow(ctx, "SELECT outcome, answer FROM take_callback($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
			n.Operator, n.JTI, n.Digest, n.Pairing, n.Sequence, n.From, n.To, n.Reason, n.Record, n.Index, a.ID, a.Through).Scan(&outcome, &said)
	})
	switch {
	case err != nil:
		return "", false, dbError("taking an operator's notice", err)
	case outcome == "altered":
		return "", false, ErrCallbackDiffer
	case outcome == "sign":
		return "", false, ErrUnsigned
	case said != nil && (outcome == "done" || outcome == "again"):
		return *said, outcome == "again", nil
	}
	return "", false, outcomeError(outcome)
}

// Pairing is what is kept of a pairing.
type Pairing struct {
	ID          uuid.UUID
	PersonID    uuid.UUID
	Key         DataKey
	CardID      uuid.UUID
	CardState   CardState
	Operator    string
	State       lifecycle.State
	Reason      string
	ICCIDRef    []byte
	Sealed      []byte // ICCID and number
	IMSI        []byte // sealed; nil once active
	Claims      []byte // nil until proven
	Evidence    []byte // sealed transcript; nil until proven
	Record      []byte // COSE_Sign1; nil until active
	StatusIndex *int64
	Until       time.Time
	CreatedAt   time.Time
	ChangedAt   time.Time
}

// PairingByID reads one pairing; [ErrNotFound].
func (s *Store) PairingByID(ctx context.Context, id uuid.UUID) (Pairing, error) {
	return s.pairing(ctx, id, nil)
}

// PairingByStatusIndex reads the pairing that a record names; [ErrNotFound].
func (s *Store) PairingByStatusIndex(ctx context.Context, index int64) (Pairing, error) {
	return s.pairing(ctx, nil, index)
}

func (s *Store) pairing(ctx context.Context, id, index any) (Pairing, error) {
	scan := func(row pgx.CollectableRow) (p Pairing, err error) {
		err = row.Scan(&p.ID, &p.PersonID, &p.Key.Epoch, &p.Key.Wrapped, &p.CardID, &p.CardState, &p.Operator, &p.State, &p.Reason, &p.ICCIDRef,
			&p.Sealed, &p.IMSI, &p.Claims, &p.Evidence, &p.Record, &p.StatusIndex, &p.Until, &p.CreatedAt, &p.ChangedAt)
		return p, err
	}
	return one(ctx, s.desk, "reading a pairing", scan, `SELECT id, person_id, epoch, wrapped, card_id, card_state, operator, state, reason, iccid_ref,
		sealed, imsi_sealed, claims, evidence, record, status_index, until, created_at, changed_at FROM pairing_view($1, $2)`, id, index)
}

// CardPairing is one of a card's pairings.
type CardPairing struct {
	ID        uuid.UUID
	Operator  string
	State     lifecycle.State
	Reason    string
	ChangedAt time.Time
}

// PairingsOfCard lists the pairings of one card, oldest first.
func (s *Store) PairingsOfCard(ctx context.Context, card uuid.UUID) ([]CardPairing, error) {
	return list(ctx, s.desk, "listing a card's pairings", pgx.RowToStructByPos[CardPairing], "SELECT id, operator, state, reason, changed_at FROM card_pairings($1)", card)
}

// PairingEvent is one step of a pairing.
type PairingEvent struct {
	From   lifecycle.State // empty for the first
	To     lifecycle.State
	Reason string
	At     time.Time
}

// PairingEvents lists a pairing's steps, oldest first.
func (s *Store) PairingEvents(ctx context.Context, id uuid.UUID) ([]PairingEvent, error) {
	return list(ctx, s.desk, "listing a pairing's steps", pgx.RowToStructByPos[PairingEvent], "SELECT was, state, reason, at FROM pairing_events($1)", id)
}

// AddNumberPlan stores a signed document of numbers that are set aside. The newest
// one again changes nothing; [ErrStale] for one that is not newer.
func (s *Store) AddNumberPlan(ctx context.Context, serial int64, digest, document []byte, a Actor) error {
	return s.pairingWord(ctx, "storing a number plan", "SELECT add_number_plan($1, $2, $3, $4, $5)", serial, digest, document, a.ID, a.Through)
}

// NumberPlan is the newest document of numbers that are set aside, as it was signed;
// [ErrNotFound].
func (s *Store) NumberPlan(ctx context.Context) ([]byte, error) {
	b, err := one(ctx, s.desk, "reading the number plan", pgx.RowTo[[]byte], "SELECT current_number_plan()")
	if err == nil && b == nil {
		err = ErrNotFound
	}
	return b, err
}
