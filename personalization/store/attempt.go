package store

import (
	"context"
	"time"

	"cardbureau/personalization/stock"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Event is what happened to a step.
type Event string

// The events of a step.
const (
	StepIntent Event = "intent" // it is about to be sent
	StepDone   Event = "done"   // the card answered as expected
	StepFailed Event = "failed" // the card answered otherwise, or not at all
)

// Step is a line of an attempt's journal. It holds no personal data: names of
// steps come from the profile.
type Step struct {
	Seq    int // counted by the line within the attempt; a number written before is not written again
	Name   string
	Event  Event
	Status int // status word, 0: none
	At     time.Time
}

// columns of steps, as the database's functions take them.
func columns(steps []Step) []any {
	seq, status := make([]int, len(steps)), make([]int, len(steps))
	name, event := make([]string, len(steps)), make([]string, len(steps))
	at := make([]time.Time, len(steps))
	for i, s := range steps {
		seq[i], name[i], event[i], status[i], at[i] = s.Seq, s.Name, string(s.Event), s.Status, s.At
	}
	return []any{seq, name, event, status, at}
}

// Journal writes steps down, in one round trip. [ErrFenced] means that the
// attempt is over: stop touching the card.
func (st *Station) Journal(ctx context.Context, attempt uuid.UUID, fence int64, steps []Step) error {
	var running bool
	err := repeat(ctx, func() error {
		return st.store.line.QueryRow(ctx, "SELECT journal_steps($1, $2, $3, $4, $5, $6, $7)",
			append([]any{attempt, fence}, columns(steps)...)...).Scan(&running)
	})
	if err != nil {
		return dbError("writing the journal", err)
	}
	if !running {
		return ErrFenced
	}
	return nil
}

// FinishRequest is how an attempt ended.
type FinishRequest struct {
	AttemptID uuid.UUID
	Fence     int64
	Outcome   Outcome
	Reason    string // stable code; "" when issued

	// NothingWritten says that the card never saw anything of the order, which
	// then goes back to the queue with the image it has. It matters for
	// quarantined and spoiled. Without it the order waits for two people when
	// the blank is quarantined, for it may yet prove to be a card; when the
	// blank is spoiled the order is prepared anew and its old image is void.
	NothingWritten bool

	Evidence  []byte   // digest of the proof; issued only
	Steps     []Step   // the rest of the journal
	Approvers [2]Actor // two operators; spoiled only
}

// Finish commits the outcome with everything that follows from it for card,
// order, blank and audit, in one round trip. Finishing again with the same
// outcome is no error. [ErrFenced]: the attempt has another outcome or is not
// the newest, and nothing was changed. [ErrTwoPeople].
func (st *Station) Finish(ctx context.Context, r FinishRequest) error {
	evidence := r.Evidence
	if evidence == nil {
		evidence = []byte{}
	}
	args := []any{r.AttemptID, r.Fence, string(r.Outcome), r.Reason, r.NothingWritten, NewID(), evidence,
		orNull(r.Approvers[0].ID), orNull(r.Approvers[1].ID)}
	args = append(args, columns(r.Steps)...)
	args = append(args, st.actor.ID, st.actor.Through)
	return repeat(ctx, func() error {
		return st.store.word(ctx, "finishing an attempt", st.store.line,
			"SELECT finish_attempt($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)", args...)
	})
}

// Doubt is an attempt in doubt that nobody has settled.
type Doubt struct {
	AttemptID uuid.UUID
	OrderID   uuid.UUID
	Serial    string // of the blank to look for
	Station   string
	Reader    string
	Reason    string // "abandoned", or what Finish was told
	StartedAt time.Time
	LastStep  string // name and event of the last step journaled, "" without any
}

// InDoubt lists the attempts in doubt, oldest first. Those of dead processes
// are found by [Store.MarkAbandoned] first.
func (s *Store) InDoubt(ctx context.Context) ([]Doubt, error) {
	if _, err := s.MarkAbandoned(ctx); err != nil {
		return nil, err
	}
	return list(ctx, s.line, "listing attempts in doubt", pgx.RowToStructByPos[Doubt],
		"SELECT attempt_id, order_id, serial, station, reader, reason, started_at, last_step FROM doubts()")
}

// Settlement is how two people settle an attempt in doubt whose blank they
// give up.
type Settlement struct {
	AttemptID uuid.UUID
	To        stock.State // spoiled (destroyed before their eyes) or quarantined
	Reason    string      // stable code
	Approvers [2]Actor    // two operators
}

// SettleInDoubt gives the blank of an attempt in doubt up. The order is
// prepared anew, its old image void, and is released again if its lot is.
// [ErrNotFound], [ErrWrongState], [ErrTwoPeople].
func (s *Store) SettleInDoubt(ctx context.Context, t Settlement) error {
	return s.word(ctx, "settling an attempt in doubt", s.desk, "SELECT settle_doubt($1, $2, $3, $4, $5, $6)",
		t.AttemptID, string(t.To), t.Reason, orNull(t.Approvers[0].ID), orNull(t.Approvers[1].ID), t.Approvers[0].Through)
}
