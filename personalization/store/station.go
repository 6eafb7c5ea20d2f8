package store

import (
	"context"
	"errors"
	"time"

	"cardbureau/personalization/stock"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Station is this process at work as a line. As long as it is open, its
// attempts without outcome are running. Safe for concurrent use by all readers
// of the process.
type Station struct {
	store   *Store
	session *session
	actor   Actor
}

// OpenStation opens a station and puts the attempts of dead processes in
// doubt, this station's earlier ones with them. Several processes may open
// stations of one name.
func (s *Store) OpenStation(ctx context.Context, name string, a Actor) (*Station, error) {
	if _, err := s.MarkAbandoned(ctx); err != nil {
		return nil, err
	}
	ss, err := s.openSession(ctx, name, a)
	if err != nil {
		return nil, err
	}
	return &Station{store: s, session: ss, actor: a}, nil
}

// Close ends the station. Attempts that are still running become in doubt.
func (st *Station) Close(ctx context.Context) error {
	_, err := st.session.close(ctx)
	return err
}

// ClaimRequest presents a blank.
type ClaimRequest struct {
	Serial   string   // of the blank in the reader
	Reader   string   // name of the reader, for people
	Products []string // products that can be made on this chip
}

// Claim is a committed attempt and all that making the card needs.
type Claim struct {
	AttemptID uuid.UUID
	Fence     int64 // greater than that of every earlier attempt
	Resumed   bool  // the blank was in doubt: probe before writing
	Order     Order
	PersonID  uuid.UUID
	Key       DataKey
	Image     Image
	Payment   PaymentPart // of the image; empty: it has none
	Blank     BlankStatus
	Steps     []Step // journal of the attempt that is resumed; it only advises
}

const claimColumns = `SELECT c.outcome, c.blank_state, c.attempt, v.fence, v.resumed, v.order_id, v.record_id, v.revision, v.product,
	v.lot, v.created_at, v.changed_at, v.person_id, v.epoch, v.wrapped, v.image_id, v.version, v.card_number, v.profile,
	v.content, v.secrets, b.content, b.secrets, v.serial, v.chip, v.batch, v.failed_key_versions FROM `

const claimView = ` c LEFT JOIN LATERAL claim_view(CASE WHEN c.outcome = 'claimed' THEN c.attempt END) v ON true
	LEFT JOIN LATERAL payment_part(v.image_id) b ON true`

const claimSQL = claimColumns + "claim_order($1, $2, $3, $4, $5, $6, $7)" + claimView
const resumeSQL = claimColumns + "resume_blank($1, $2, $3, $4, $5, $6)" + claimView

// Claim takes the oldest released order that can be made on the blank and
// commits an attempt for both, in one round trip: when it returns, the first
// command that changes the card may be sent. Errors: [ErrUnlistedBlank],
// [*ErrBlankNotOnHand], [ErrNoOrder], [ErrStationClosed].
func (st *Station) Claim(ctx context.Context, r ClaimRequest) (*Claim, error) {
	return st.claim(ctx, r.Serial, claimSQL, func(attempt uuid.UUID, session int32) []any {
		return []any{attempt, session, r.Serial, r.Reader, r.Products, st.actor.ID, st.actor.Through}
	})
}

// Resume begins a new attempt, with a new fence, for the same order and image
// on a blank in doubt that lies in the reader again. The earlier attempt can
// no longer finish. Probe the card before writing. Errors: [ErrUnlistedBlank],
// [*ErrBlankNotOnHand] (it is not in doubt), [ErrStationClosed].
func (st *Station) Resume(ctx context.Context, serial, reader string) (*Claim, error) {
	c, err := st.claim(ctx, serial, resumeSQL, func(attempt uuid.UUID, session int32) []any {
		return []any{attempt, session, serial, reader, st.actor.ID, st.actor.Through}
	})
	if err != nil {
		return nil, err
	}
	c.Steps, _ = list(ctx, st.store.line, "reading a journal", pgx.RowToStructByPos[Step],
		"SELECT seq, name, event, status, at FROM attempt_steps($1)", c.AttemptID) // it only advises
	return c, nil
}

// claim sends one of the two statements. The attempt's number is made here, so
// that asking again after a lost answer gives the same attempt.
func (st *Station) claim(ctx context.Context, serial, sql string, args func(uuid.UUID, int32) []any) (*Claim, error) {
	attempt := NewID()
	var c *Claim
	for tries := 0; ; tries++ {
		session, err := st.session.current(ctx)
		if err != nil {
			return nil, err
		}
		err = repeat(ctx, func() error {
			c, err = scanClaim(serial, st.store.line.QueryRow(ctx, sql, args(attempt, session)...))
			return err
		})
		if errors.Is(err, ErrStationClosed) && tries == 0 {
			if err := st.session.renew(ctx, session); err != nil {
				return nil, err
			}
			continue
		}
		return c, err
	}
}

func scanClaim(serial string, row pgx.Row) (*Claim, error) {
	var (
		word                           string
		state                          *string
		attempt                        *uuid.UUID
		fence                          *int64
		resumed                        *bool
		order, record, person, image   *uuid.UUID
		lot                            *uuid.UUID
		revision, version              *int
		product, epoch, number         *string
		profile, blank, chip, batch    *string
		created, changed               *time.Time
		wrapped, content, secretsBytes []byte
		payment                        PaymentPart
		failed                         []int
	)
	err := row.Scan(&word, &state, &attempt, &fence, &resumed, &order, &record, &revision, &product,
		&lot, &created, &changed, &person, &epoch, &wrapped, &image, &version, &number, &profile,
		&content, &secretsBytes, &payment.Content, &payment.Secrets, &blank, &chip, &batch, &failed)
	if err != nil {
		return nil, dbError("claiming an order", err)
	}
	switch {
	case word == "not-on-hand" && state != nil:
		e := &ErrBlankNotOnHand{Serial: serial, State: stock.State(*state)}
		if attempt != nil {
			e.Attempt = *attempt
		}
		return nil, e
	case word != "claimed":
		return nil, outcomeError(word)
	case attempt == nil || fence == nil:
		return nil, errors.New("database: the claimed attempt is not there")
	}
	c := &Claim{
		AttemptID: *attempt, Fence: *fence, Resumed: *resumed,
		Order: Order{ID: *order, RecordID: record.String(), Revision: *revision, Product: *product,
			State: OrderInProgress, CreatedAt: *created, ChangedAt: *changed},
		PersonID: *person,
		Key:      DataKey{Epoch: *epoch, Wrapped: wrapped},
		Image:    Image{ID: *image, Version: *version, CardNumber: *number, Profile: *profile, Content: content, Secrets: secretsBytes},
		Payment:  payment,
		Blank: BlankStatus{Blank: stock.Blank{Serial: *blank, Chip: *chip, Batch: *batch},
			State: stock.InUse, FailedKeyVersions: failed},
	}
	if lot != nil {
		c.Order.Lot = *lot
	}
	return c, nil
}
