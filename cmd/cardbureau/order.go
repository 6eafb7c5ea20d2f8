package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"cardbureau/personalization/bureau"
	"cardbureau/personalization/store"
)

type orderCommand struct {
	Show     orderShow     `cmd:"" help:"Show where an order stands."`
	Queue    orderQueue    `cmd:"" help:"List orders that wait for people: conflicts and decisions."`
	Decide   orderDecide   `cmd:"" help:"Decide about an order in conflict or awaiting a decision: two people."`
	Withdraw orderWithdraw `cmd:"" help:"Take back an order that no line has begun."`
}

// openForDesk opens the bureau without keys, for what only the database knows.
func openForDesk(ctx context.Context, g *globals) (*bureau.Bureau, error) {
	return bureau.Open(ctx, g.Data, bureau.Options{Log: logger(), NoVault: true})
}

// openAs opens the bureau without its keys for somebody: the operator of that
// name, through the command line ("cli") or at a desk ("desk").
func openAs(ctx context.Context, g *globals, operator, through string) (*bureau.Bureau, store.Actor, error) {
	b, err := openForDesk(ctx, g)
	if err != nil {
		return nil, store.Actor{}, err
	}
	actor, err := b.Actor(ctx, "operator", operator, through)
	if err != nil {
		b.Close()
		return nil, store.Actor{}, err
	}
	return b, actor, nil
}

// openService opens the bureau with its keys, one of its services, and somebody
// who asks it.
func openService[T any](ctx context.Context, g *globals, operator, through string, service func(*bureau.Bureau) (T, error)) (*bureau.Bureau, T, store.Actor, error) {
	var none T
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger()})
	if err != nil {
		return nil, none, store.Actor{}, err
	}
	s, err := service(b)
	if err == nil {
		var actor store.Actor
		if actor, err = b.Actor(ctx, "operator", operator, through); err == nil {
			return b, s, actor, nil
		}
	}
	b.Close()
	return nil, none, store.Actor{}, err
}

func orderID(s string) (uuid.UUID, error) {
	id, err := uuid.Parse(s)
	if err != nil {
		return id, &exitError{exitUsage, fmt.Sprintf("%q is no order: take it from the answer to its record or from cardbureau order queue", s)}
	}
	return id, nil
}

// orderView is what anyone may see of an order: nothing of the person.
type orderView struct {
	Order    string `json:"order"`
	Record   string `json:"record"`
	Revision int    `json:"revision"`
	Product  string `json:"product"`
	State    string `json:"state"`
	Reason   string `json:"reason,omitempty"`
	Card     string `json:"card,omitempty"`
	Since    string `json:"since"`
}

func view(o store.Order) orderView {
	return orderView{
		Order: o.ID.String(), Record: o.RecordID, Revision: o.Revision, Product: o.Product, State: string(o.State),
		Reason: o.Reason, Card: o.CardNumber, Since: o.ChangedAt.UTC().Format(time.RFC3339),
	}
}

func (v orderView) String() string {
	s := fmt.Sprintf("%s  %-18s since %s  %s, record %s revision %d", v.Order, v.State, v.Since, v.Product, v.Record, v.Revision)
	if v.Reason != "" {
		s += ", reason " + v.Reason
	}
	if v.Card != "" {
		s += ", card " + v.Card
	}
	return s
}

type orderShow struct {
	ID string `arg:"" help:"Order, as its record's answer named it." name:"order"`
}

func (orderShow) Example() string {
	return "cardbureau order show 0198c0de-7a11-7000-8000-000000000001 --data /srv/bureau"
}

func (c orderShow) Run(ctx context.Context, g *globals) error {
	return onOrder(ctx, g, c.ID, func(*bureau.Bureau, uuid.UUID) error { return nil })
}

// waitingStates are the states in which an order waits for people.
var waitingStates = []store.OrderState{store.OrderConflict, store.OrderAwaitingDecision, store.OrderInDoubt}

type orderQueue struct {
	Limit  int  `help:"At most so many of each kind." default:"100"`
	Failed bool `help:"List the orders that failed instead: each needs a new record."`
}

func (orderQueue) Example() string { return "cardbureau order queue --data /srv/bureau" }

func (c orderQueue) Run(ctx context.Context, g *globals) error {
	b, err := openForDesk(ctx, g)
	if err != nil {
		return err
	}
	defer b.Close()
	n := 0
	states, none := waitingStates, "No order waits for people."
	if c.Failed {
		states, none = []store.OrderState{store.OrderFailed}, "No order failed."
	}
	for _, state := range states {
		orders, err := b.Store.OrdersIn(ctx, state, c.Limit)
		if err != nil {
			return err
		}
		for _, o := range orders {
			n++
			if g.JSON {
				err = printJSON(view(o))
			} else {
				fmt.Println(view(o))
			}
			if err != nil {
				return err
			}
		}
	}
	if n == 0 && !g.JSON {
		fmt.Println(none)
	}
	return nil
}

type orderDecide struct {
	ID       string     `arg:"" help:"Order, as cardbureau order queue lists it." name:"order"`
	Proceed  bool       `help:"Make the card: a new image is prepared." xor:"what" required:""`
	Withdraw bool       `help:"Make no card." xor:"what" required:""`
	Reason   reasonWord `help:"Why, in one word: identity-confirmed, guardian-appointed, duplicate, …" required:""`
	First    string     `help:"First person." required:""`
	Second   string     `help:"Second person." required:""`
}

func (orderDecide) Example() string {
	return "cardbureau order decide 0198c0de-… --proceed --reason identity-confirmed --first amini --second rahmani --data /srv/bureau"
}

func (c orderDecide) Run(ctx context.Context, g *globals) error {
	return onOrder(ctx, g, c.ID, func(b *bureau.Bureau, id uuid.UUID) error {
		first, err1 := b.Actor(ctx, "operator", c.First, "cli")
		second, err2 := b.Actor(ctx, "operator", c.Second, "cli")
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		return b.Store.Decide(ctx, store.Decision{OrderID: id, Proceed: c.Proceed, Reason: string(c.Reason), Approvers: [2]store.Actor{first, second}})
	})
}

type orderWithdraw struct {
	ID       string     `arg:"" help:"Order." name:"order"`
	Reason   reasonWord `help:"Why, in one word." required:""`
	Operator string     `help:"Who withdraws, for the audit." default:"${user}"`
}

func (orderWithdraw) Example() string {
	return "cardbureau order withdraw 0198c0de-… --reason registry-asked --data /srv/bureau"
}

func (c orderWithdraw) Run(ctx context.Context, g *globals) error {
	return onOrder(ctx, g, c.ID, func(b *bureau.Bureau, id uuid.UUID) error {
		actor, err := b.Actor(ctx, "operator", c.Operator, "cli")
		if err != nil {
			return err
		}
		return b.Store.Withdraw(ctx, id, string(c.Reason), actor)
	})
}

// onOrder does something with an order and prints where it stands then.
func onOrder(ctx context.Context, g *globals, order string, do func(*bureau.Bureau, uuid.UUID) error) error {
	id, err := orderID(order)
	if err != nil {
		return err
	}
	b, err := openForDesk(ctx, g)
	if err != nil {
		return err
	}
	defer b.Close()
	if err := do(b, id); err != nil {
		return fmt.Errorf("order %s: %w; cardbureau order show says where it stands", id, err)
	}
	return shown(ctx, g, b, id)
}

// shown prints where an order stands now.
func shown(ctx context.Context, g *globals, b *bureau.Bureau, id uuid.UUID) error {
	o, err := b.Store.Order(ctx, id)
	if err != nil {
		return fmt.Errorf("order %s: %w", id, err)
	}
	if g.JSON {
		return printJSON(view(o))
	}
	fmt.Println(view(o))
	if o.Lot == uuid.Nil && slices.Contains([]store.OrderState{store.OrderAccepted, store.OrderPrepared}, o.State) {
		fmt.Println("Its card is made when its lot is released: see cardbureau lot release.")
	}
	return nil
}
