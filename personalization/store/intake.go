package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Person is what intake must know of a person before it seals anything.
type Person struct {
	Found          bool
	ID             uuid.UUID
	Key            DataKey
	IdentityDigest []byte // keyed digest of name, birth date and photo as last accepted; 32 bytes
}

// PersonKeys looks persons up by reference (32 bytes each) in one round trip
// and answers in the same order.
func (s *Store) PersonKeys(ctx context.Context, refs [][]byte) ([]Person, error) {
	scan := func(row pgx.CollectableRow) (p Person, err error) {
		var (
			id    *uuid.UUID
			epoch *string
		)
		if err = row.Scan(&id, &epoch, &p.Key.Wrapped, &p.IdentityDigest); id != nil && epoch != nil {
			p.Found, p.ID, p.Key.Epoch = true, *id, *epoch
		}
		return p, err
	}
	return list(ctx, s.intake, "looking persons up", scan,
		"SELECT person_id, epoch, wrapped, identity_digest FROM person_keys($1)", refs)
}

// AcceptRequest is a verified record on its way in.
type AcceptRequest struct {
	PersonID       uuid.UUID // of PersonKeys, or NewID() for a person not found
	PersonRef      []byte    // keyed digest of the unique id, 32 bytes
	Key            DataKey   // of PersonKeys, or a new one
	IdentityDigest []byte    // keyed digest of name, birth date and photo, 32 bytes

	RecordRow uuid.UUID // NewID(); part of the additional data of Sealed
	RecordID  string    // recordId, a UUID
	Revision  int       // 1 to 65,535
	Digest    []byte    // SHA-256 of the payload
	KeyID     string    // kid of the signature
	Sealed    []byte    // the signed record; additional data: table record, column sealed, row RecordRow
	ExpiresAt time.Time

	Product string
	Office  string
	Phase   string
	Reason  string // first, renewal, replacement or correction
	// State is OrderAccepted, or OrderAwaitingDecision to let people decide first.
	// A conflict, and a first card for somebody who has one, are found here.
	State OrderState

	DailyCap int // records a day (UTC) accepted under KeyID; 0: no cap
	Actor    Actor
}

// AcceptOutcome is what became of a record that was not refused.
type AcceptOutcome string

// The outcomes of acceptance.
const (
	Accepted     AcceptOutcome = "accepted"
	AlreadyKnown AcceptOutcome = "already-known" // same recordId, revision and content
	Replaced     AcceptOutcome = "replaced"      // accepted; the order of a lower revision was superseded
	Conflict     AcceptOutcome = "conflict"      // kept; two people decide (Store.Decide)
)

// AcceptResult is the answer to one [AcceptRequest]. Err is one of the errors
// of intake, and then nothing else is set and nothing was stored.
type AcceptResult struct {
	OrderID uuid.UUID
	State   OrderState
	Outcome AcceptOutcome
	Err     error
}

const acceptSQL = `SELECT outcome, order_id, order_state FROM accept_record($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
	$12, $13, $14, $15, $16, $17, $18, $19, $20, $21)`

func (r *AcceptRequest) args() ([]any, error) {
	id, err := uuid.Parse(r.RecordID)
	if err != nil {
		return nil, errors.New("the recordId is not a UUID")
	}
	return []any{r.PersonID, r.PersonRef, r.Key.Epoch, r.Key.Wrapped, r.IdentityDigest,
		r.RecordRow, id, r.Revision, r.Digest, r.KeyID, r.Sealed, r.ExpiresAt,
		NewID(), r.Product, r.Office, r.Phase, r.Reason, string(r.State),
		r.DailyCap, r.Actor.ID, r.Actor.Through}, nil
}

func scanAccept(row pgx.Row) (AcceptResult, error) {
	var (
		word  string
		order *uuid.UUID
		state *string
	)
	if err := row.Scan(&word, &order, &state); err != nil {
		return AcceptResult{}, err
	}
	var refused error
	switch word {
	case "content-differs":
		refused = ErrRecordContentDiffers
	case "old-revision":
		refused = ErrRevisionOld
	case "too-late":
		refused = ErrRevisionTooLate
	case "open-order":
		refused = ErrPersonHasOpenOrder
	case "daily-cap":
		refused = ErrDailyCap
	case "person-key-differs":
		refused = ErrPersonKeyDiffers
	}
	if refused != nil {
		return AcceptResult{Err: refused}, nil
	}
	if order == nil || state == nil {
		return AcceptResult{}, fmt.Errorf("unexpected answer %q", word)
	}
	return AcceptResult{OrderID: *order, State: OrderState(*state), Outcome: AcceptOutcome(word)}, nil
}

// AcceptRecord takes one record in: person, record, order, audit and the
// preparation job in one transaction and one round trip. Accepting it again
// answers [AlreadyKnown]. The error is one of the errors of intake, which is
// also in the result, or the database's.
//
// [ErrPersonKeyDiffers] asks for another [Store.PersonKeys] and sealing under
// the key found: two records of a person who was not known came at once.
func (s *Store) AcceptRecord(ctx context.Context, r AcceptRequest) (AcceptResult, error) {
	args, err := r.args()
	if err != nil {
		return AcceptResult{}, err
	}
	var res AcceptResult
	err = repeat(ctx, func() error {
		res, err = scanAccept(s.intake.QueryRow(ctx, acceptSQL, args...))
		return err
	})
	if err != nil {
		return AcceptResult{}, dbError("taking a record in", err)
	}
	return res, res.Err
}

// AcceptRecords takes several records in, in one transaction and one round
// trip; a refused one does not touch the others. Fifty at a time are a good
// number: the commit's cost is spread, and nobody waits long.
func (s *Store) AcceptRecords(ctx context.Context, rs []AcceptRequest) ([]AcceptResult, error) {
	// Two batches with the same records must take their locks in the same order.
	order := make([]int, len(rs))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool {
		a, b := &rs[order[i]], &rs[order[j]]
		if c := strings.Compare(a.KeyID, b.KeyID); c != 0 {
			return c < 0
		}
		return slices.Compare(a.PersonRef, b.PersonRef) < 0
	})
	var batch pgx.Batch
	for _, i := range order {
		args, err := rs[i].args()
		if err != nil {
			return nil, err
		}
		batch.Queue(acceptSQL, args...)
	}
	out := make([]AcceptResult, len(rs))
	err := s.acceptBatch(ctx, &batch, order, out)
	if err == nil {
		return out, nil
	}
	if !again(err) && !lost(err) {
		return nil, dbError("taking records in", err)
	}
	for i, r := range rs { // nothing of the batch is there: one at a time
		res, err := s.AcceptRecord(ctx, r)
		if err != nil && res.Err == nil {
			return nil, err
		}
		out[i] = res
	}
	return out, nil
}

func (s *Store) acceptBatch(ctx context.Context, batch *pgx.Batch, order []int, out []AcceptResult) (err error) {
	results := s.intake.SendBatch(ctx, batch)
	defer func() {
		if e := results.Close(); err == nil {
			err = e
		}
	}()
	for _, i := range order {
		if out[i], err = scanAccept(results.QueryRow()); err != nil {
			return err
		}
	}
	return nil
}
