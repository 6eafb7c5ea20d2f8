package store

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const orderColumns = "id, record_id, revision, product, state, reason, lot, card_number, created_at, changed_at"

func scanOrder(row pgx.CollectableRow) (Order, error) {
	var (
		o      Order
		lot    *uuid.UUID
		number *string
		record uuid.UUID
	)
	err := row.Scan(&o.ID, &record, &o.Revision, &o.Product, &o.State, &o.Reason, &lot, &number, &o.CreatedAt, &o.ChangedAt)
	if err != nil {
		return Order{}, err
	}
	o.RecordID = record.String()
	if lot != nil {
		o.Lot = *lot
	}
	if number != nil {
		o.CardNumber = *number
	}
	return o, nil
}

// Order finds an order by its identifier; [ErrNotFound].
func (s *Store) Order(ctx context.Context, id uuid.UUID) (Order, error) {
	return one(ctx, s.intake, "finding an order", scanOrder, "SELECT "+orderColumns+" FROM order_view($1)", id)
}

// OrderCounts counts orders by state: those of a lot, or all with uuid.Nil.
func (s *Store) OrderCounts(ctx context.Context, lot uuid.UUID) (map[OrderState]int, error) {
	type count struct {
		State OrderState
		N     int
	}
	rows, err := list(ctx, s.line, "counting orders", pgx.RowToStructByPos[count], "SELECT state, n FROM order_counts($1)", orNull(lot))
	counts := map[OrderState]int{}
	for _, r := range rows {
		counts[r.State] = r.N
	}
	return counts, err
}

// OrdersIn lists at most limit orders in a state, oldest first: the queues that
// people work off (conflict, awaiting-decision, in-doubt).
func (s *Store) OrdersIn(ctx context.Context, state OrderState, limit int) ([]Order, error) {
	return list(ctx, s.desk, "listing orders", scanOrder, "SELECT "+orderColumns+" FROM orders_in($1, $2)", string(state), limit)
}

// Withdraw takes an open order back that no line works on; [ErrNotFound],
// [ErrWrongState]. Its image is void. One whose blank was written and put aside
// may have a card already: that takes [Store.Decide], and here [ErrTwoPeople].
func (s *Store) Withdraw(ctx context.Context, id uuid.UUID, reason string, a Actor) error {
	return s.word(ctx, "withdrawing an order", s.desk, "SELECT withdraw_order($1, $2, $3, $4)", id, reason, a.ID, a.Through)
}

// Decision is what two people decided about an order in conflict or awaiting a
// decision.
type Decision struct {
	OrderID   uuid.UUID
	Proceed   bool     // true: prepared anew, and the person's identity is the record's from now on; false: withdrawn
	Reason    string   // stable code
	Approvers [2]Actor // two operators
}

// Decide carries a decision out; [ErrNotFound], [ErrWrongState], [ErrTwoPeople].
func (s *Store) Decide(ctx context.Context, d Decision) error {
	return s.word(ctx, "deciding about an order", s.desk, "SELECT decide_order($1, $2, $3, $4, $5, $6)",
		d.OrderID, d.Proceed, d.Reason, d.Approvers[0].ID, d.Approvers[1].ID, d.Approvers[0].Through)
}

// LotRequest names orders to be released together: exactly those of Orders, or
// when that is nil all that match the other fields.
type LotRequest struct {
	Name     string
	Orders   []uuid.UUID
	Office   string // "" matches all
	Phase    string // "" matches all
	Products []string
	Actor    Actor
}

// Lot is a released lot.
type Lot struct {
	ID     uuid.UUID
	Name   string
	Orders int // put into the lot
	Ready  int // of these, claimable at once; the others are as soon as they have an image
}

// ReleaseLot releases orders that are in no lot yet: prepared ones at once,
// accepted ones with their image. Where nothing matches it makes no lot and
// answers one with no orders.
func (s *Store) ReleaseLot(ctx context.Context, r LotRequest) (Lot, error) {
	lot := Lot{ID: NewID(), Name: r.Name}
	err := s.desk.QueryRow(ctx, "SELECT orders, ready FROM release_lot($1, $2, $3, $4, $5, $6, $7, $8)",
		lot.ID, r.Name, r.Orders, r.Office, r.Phase, r.Products, r.Actor.ID, r.Actor.Through).Scan(&lot.Orders, &lot.Ready)
	if err != nil {
		return Lot{}, dbError("releasing a lot", err)
	}
	return lot, nil
}

// word runs a function of the database that answers with one word.
func (s *Store) word(ctx context.Context, doing string, on interface {
	QueryRow(context.Context, string, ...any) pgx.Row
}, sql string, args ...any) error {
	var word string
	if err := on.QueryRow(ctx, sql, args...).Scan(&word); err != nil {
		return dbError(doing, err)
	}
	return outcomeError(word)
}

// orNull makes SQL's null of the nil identifier.
func orNull(id uuid.UUID) any {
	if id == uuid.Nil {
		return nil
	}
	return id
}
