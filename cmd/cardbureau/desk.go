package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"

	"cardbureau/personalization/bureau"
	"cardbureau/personalization/desk"
	"cardbureau/personalization/store"
)

type deskCommand struct {
	Receive    deskReceive    `cmd:"" help:"Note that the office has cards, by their numbers or by the one in the reader."`
	Stock      deskStock      `cmd:"" help:"List the cards that lie at the office."`
	Activate   deskActivate   `cmd:"" help:"Hand a card over: prove it, check its holder, let them set a PIN."`
	UnblockPIN deskUnblockPIN `cmd:"" name:"unblock-pin" help:"Let a holder who was checked set a new PIN on a card whose PIN is blocked."`
	Pair       deskPair       `cmd:"" help:"Pair a SIM with a card: both chips answer, the operator confirms, the bureau signs."`
	PairRecord deskPairRecord `cmd:"" name:"pair-record" help:"Write a pairing's record to its card, where that was not done when it was made."`
	Block      deskBlock      `cmd:"" help:"Block a card at its holder's request: lost, stolen, or otherwise."`
	Unblock    deskUnblock    `cmd:"" help:"Lift a block that the holder asked for; the card must be there."`
	Replace    deskReplace    `cmd:"" help:"Block a card that will be replaced. One never handed over is revoked, by two people."`
}

// openDesk opens the bureau and its desk.
func openDesk(ctx context.Context, g *globals, operator string) (*bureau.Bureau, *desk.Desk, store.Actor, error) {
	return openService(ctx, g, operator, "desk", (*bureau.Bureau).Desk)
}

// secondPerson is the actor of a second person; nil where none is named.
func secondPerson(ctx context.Context, b *bureau.Bureau, name string) (uuid.UUID, error) {
	if name == "" {
		return uuid.Nil, nil
	}
	a, err := b.Actor(ctx, "operator", name, "desk")
	return a.ID, err
}

// onCard explains an error of the desk for a card.
func onCard(number string, err error) error {
	what := map[error]string{
		store.ErrNotFound:     "no issued card has this number",
		store.ErrWrongState:   "its state does not allow this: it was not handed over yet, or is blocked, revoked, or in use already; cardbureau desk stock lists what lies at the office",
		store.ErrNotReceived:  "no office has received it: run cardbureau desk receive first",
		store.ErrOtherOffice:  "it is meant for another office: give --moved if it follows its holder here",
		store.ErrTooManyTries: "too many visits were refused today: come back tomorrow, or ask the bureau; cardbureau desk unblock-pin works if the PIN was the reason",
		store.ErrNotByHolder:  "its holder did not block it: only who suspended it lifts that",
		store.ErrTwoPeople:    "this takes a second person: name one with --second",
		store.ErrAlready:      "this was done before",
	}
	for known, sentence := range what {
		if errors.Is(err, known) {
			if err.Error() == known.Error() {
				return explained{fmt.Sprintf("card %s: %s", number, sentence), err}
			}
			return fmt.Errorf("card %s: %s: %w", number, sentence, err)
		}
	}
	return fmt.Errorf("card %s: %w", number, err)
}

// explained is an error in words that say all that its cause does.
type explained struct {
	sentence string
	cause    error
}

func (e explained) Error() string { return e.sentence }

func (e explained) Unwrap() error { return e.cause }

// deskAnswer is what a desk command says of a card.
type deskAnswer struct {
	Card    string    `json:"card"`
	Result  string    `json:"result"`
	Visit   string    `json:"visit,omitempty"`
	Receipt *receipt  `json:"receipt,omitempty"`
	At      time.Time `json:"at"`
}

// receipt is a receipt as it is printed and kept by the holder.
type receipt struct {
	Statement string `json:"statement"` // JSON, as it was signed
	Signature []byte `json:"signature"`
	Key       []byte `json:"key"`
}

func (a deskAnswer) print(g *globals) error {
	a.At = time.Now().UTC().Truncate(time.Second)
	if g.JSON {
		return printJSON(a)
	}
	fmt.Printf("Card %s: %s\n", a.Card, a.Result)
	if a.Receipt != nil {
		fmt.Printf("Receipt, signed by the chip: %s\n", a.Receipt.Statement)
	}
	return nil
}

type deskReceive struct {
	readerFlag
	Numbers  []string `arg:"" optional:"" help:"Card numbers; without any, the card in the reader is received." name:"card"`
	Office   string   `help:"Code of the office; without it, [desk] office of the configuration."`
	Moved    bool     `help:"The cards follow their holders here from the office that they were meant for."`
	Operator string   `help:"Who receives them, for the audit." default:"${user}"`
}

func (deskReceive) Example() string {
	return "cardbureau desk receive 7KXW2M4BC 9TR5HH2VN --office teh-014 --operator karimi --data /srv/bureau"
}

func (c deskReceive) Run(ctx context.Context, g *globals) error {
	serial := ""
	if len(c.Numbers) == 0 {
		var err error
		if serial, err = c.scan(ctx, g); err != nil {
			return err
		}
	}
	b, actor, err := openAs(ctx, g, c.Operator, "desk")
	if err != nil {
		return err
	}
	defer b.Close()
	if serial != "" {
		card, err := b.Store.CardBySerial(ctx, serial, "received", actor)
		if err != nil {
			return fmt.Errorf("the card in the reader, chip %s: it is no issued card: %w", serial, err)
		}
		c.Numbers = []string{card.Number}
	}
	if c.Office == "" {
		c.Office = b.Config.Desk.Office
	}
	d := &desk.Desk{Store: b.Store}
	refused := 0
	for _, number := range c.Numbers {
		a := deskAnswer{Card: number, Result: "received"}
		switch err := d.Receive(ctx, number, c.Office, c.Moved, actor); {
		case errors.Is(err, store.ErrAlready):
			a.Result = "already received"
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrWrongState), errors.Is(err, store.ErrOtherOffice):
			refused++
			fmt.Fprintln(os.Stderr, onCard(number, err))
			continue
		case err != nil:
			return onCard(number, err)
		}
		if err := a.print(g); err != nil {
			return err
		}
	}
	if refused > 0 {
		return &exitError{exitRefused, fmt.Sprintf("%d of %d cards were not received", refused, len(c.Numbers))}
	}
	return nil
}

// scan reads the serial number of the chip in the reader.
func (c deskReceive) scan(ctx context.Context, g *globals) (string, error) {
	set, err := loadProfiles(g)
	if err != nil {
		return "", err
	}
	conn, done, err := c.connect(ctx, g)
	if err != nil {
		return "", err
	}
	defer done()
	r := &cardReport{Reader: conn.Reader()}
	if err := r.manager(ctx, conn, set, conn.ATR()); err != nil {
		return "", err
	}
	if r.Serial == "" {
		return "", errors.New("the card in the reader does not tell its serial number: give the card's number")
	}
	return r.Serial, nil
}

type deskStock struct {
	Office string `help:"Code of the office; without it, [desk] office of the configuration."`
}

func (deskStock) Example() string { return "cardbureau desk stock --office teh-014 --data /srv/bureau" }

func (c deskStock) Run(ctx context.Context, g *globals) error {
	b, err := openForDesk(ctx, g)
	if err != nil {
		return err
	}
	defer b.Close()
	if c.Office == "" {
		c.Office = b.Config.Desk.Office
	}
	cards, err := b.Store.OfficeStock(ctx, c.Office)
	if err != nil {
		return err
	}
	for _, card := range cards {
		if g.JSON {
			err = printJSON(map[string]any{"card": card.Number, "receivedAt": card.ReceivedAt.UTC()})
		} else {
			_, err = fmt.Printf("%s  received %s\n", card.Number, card.ReceivedAt.UTC().Format(time.RFC3339))
		}
		if err != nil {
			return err
		}
	}
	if len(cards) == 0 && !g.JSON {
		fmt.Println("No card lies here.")
	}
	return nil
}

type deskBlock struct {
	Number   string     `arg:"" help:"Card number." name:"card"`
	Reason   reasonWord `help:"Why, in one word: lost, stolen, holder-request, …" default:"holder-request"`
	Operator string     `help:"Who blocks it, for the audit." default:"${user}"`
}

func (deskBlock) Example() string {
	return "cardbureau desk block 7KXW2M4BC --reason lost --operator karimi --data /srv/bureau"
}

func (c deskBlock) Run(ctx context.Context, g *globals) error {
	return withoutCard(ctx, g, c.Number, c.Operator, "blocked", func(d *desk.Desk, _ *bureau.Bureau, a store.Actor) error {
		return d.Block(ctx, c.Number, string(c.Reason), a)
	})
}

type deskReplace struct {
	Number   string     `arg:"" help:"Card number." name:"card"`
	Reason   reasonWord `help:"Why, in one word: lost, stolen, damaged, …" required:""`
	Operator string     `help:"Who takes the request in, for the audit." default:"${user}"`
	Second   string     `help:"A second person, for a card that was never handed over."`
}

func (deskReplace) Example() string {
	return "cardbureau desk replace 7KXW2M4BC --reason damaged --operator karimi --data /srv/bureau"
}

func (c deskReplace) Run(ctx context.Context, g *globals) error {
	err := withoutCard(ctx, g, c.Number, c.Operator, "to be replaced", func(d *desk.Desk, b *bureau.Bureau, a store.Actor) error {
		second, err := secondPerson(ctx, b, c.Second)
		if err != nil {
			return err
		}
		return d.Replace(ctx, c.Number, string(c.Reason), second, a)
	})
	if err == nil && !g.JSON {
		fmt.Printf("Ask the registry for a record with reason replacement that replaces %s.\n", c.Number)
	}
	return err
}

// withoutCard does something about a card that need not be there.
func withoutCard(ctx context.Context, g *globals, number, operator, result string, do func(*desk.Desk, *bureau.Bureau, store.Actor) error) error {
	b, actor, err := openAs(ctx, g, operator, "desk")
	if err != nil {
		return err
	}
	defer b.Close()
	if err := do(&desk.Desk{Store: b.Store}, b, actor); errors.Is(err, store.ErrAlready) {
		result = "already " + result
	} else if err != nil {
		return onCard(number, err)
	}
	return deskAnswer{Card: number, Result: result}.print(g)
}
