package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/google/uuid"

	"cardbureau/personalization/bureau"
	"cardbureau/personalization/stock"
	"cardbureau/personalization/store"
)

type stockCommand struct {
	Import  stockImport  `cmd:"" help:"Import a delivery list of blanks."`
	Count   stockCount   `cmd:"" help:"Count every blank; list what is in doubt. Exit status 4 when something is."`
	Sheet   stockSheet   `cmd:"" help:"Print the shift summary as PDF."`
	Move    stockMove    `cmd:"" help:"Account for a blank outside the line: quarantined, spoiled, test, returned."`
	Resolve stockResolve `cmd:"" help:"Give up a blank in doubt: two people say so, the order gets another blank."`
}

type stockImport struct {
	File     string `arg:"" help:"Delivery list: CSV with the columns serial, chip, batch, or JSON lines of the same." type:"existingfile"`
	Operator string `help:"Who imports, for the audit." default:"${user}"`
}

func (stockImport) Example() string {
	return "cardbureau stock import delivery.csv --data /srv/bureau"
}

func (c stockImport) Run(ctx context.Context, g *globals) error {
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger(), NoVault: true})
	if err != nil {
		return err
	}
	defer b.Close()
	blanks, err := stock.ReadList(f, func(chip string) bool { return b.Profiles.Chips[chip] != nil })
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	actor, err := b.Actor(ctx, "operator", c.Operator, "cli")
	if err != nil {
		return err
	}
	res, err := b.Store.ImportBlanks(ctx, blanks, actor)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(map[string]int{"added": res.Added, "known": res.Known})
	}
	fmt.Printf("%s added to the stock, listed before: %d\n", counted(res.Added, "blank"), res.Known)
	return nil
}

type stockCount struct{}

func (stockCount) Example() string { return "cardbureau stock count --data /srv/bureau" }

func (stockCount) Run(ctx context.Context, g *globals) error {
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger(), NoVault: true})
	if err != nil {
		return err
	}
	defer b.Close()
	n, err := b.Store.Counts(ctx)
	if err != nil {
		return err
	}
	doubts, err := b.Store.InDoubt(ctx)
	if err != nil {
		return err
	}
	balance := n.Balance()
	if g.JSON {
		rows := make([]map[string]string, 0, len(doubts))
		for _, d := range doubts {
			rows = append(rows, map[string]string{
				"attempt": d.AttemptID.String(), "order": d.OrderID.String(), "blank": d.Serial,
				"reader": d.Reader, "reason": d.Reason, "lastStep": d.LastStep,
			})
		}
		err = printJSON(map[string]any{"counts": n, "balanced": balance == nil, "inDoubt": rows})
	} else {
		fmt.Printf("In   %5d received  %5d carried in\n", n.Received, n.CarriedIn)
		fmt.Printf("Out  %5d issued    %5d on hand    %5d in use   %5d in doubt\n", n.Issued, n.OnHand, n.InUse, n.InDoubt)
		fmt.Printf("     %5d spoiled   %5d quarantined %4d test     %5d returned\n", n.Spoiled, n.Quarantined, n.Test, n.Returned)
		for _, d := range doubts {
			last := "nothing sent yet"
			if d.LastStep != "" {
				last = "last step " + d.LastStep
			}
			fmt.Printf("In doubt: blank %s, attempt %s on %s (%s, %s)\n", d.Serial, d.AttemptID, d.Reader, d.Reason, last)
		}
		if len(doubts) > 0 {
			fmt.Println("Put such a card into a reader and run: cardbureau card resume. Or give it up: cardbureau stock resolve.")
		}
	}
	switch {
	case err != nil:
		return err
	case balance != nil:
		return balance
	case len(doubts) > 0 || n.Quarantined > 0:
		return &exitError{status: exitInDoubt}
	}
	return nil
}

type stockResolve struct {
	Attempt string     `arg:"" help:"Attempt in doubt, as stock count shows it."`
	To      string     `help:"What becomes of the blank: spoiled (destroyed) or quarantined (kept apart)." enum:"spoiled,quarantined" default:"spoiled"`
	Reason  reasonWord `help:"Why, in one word: torn, damaged, unreadable, …" required:""`
	First   string     `help:"First person." required:""`
	Second  string     `help:"Second person." required:""`
}

func (stockResolve) Example() string {
	return "cardbureau stock resolve 0198c0de-… --reason torn --first amini --second rahmani --data /srv/bureau"
}

func (c stockResolve) Run(ctx context.Context, g *globals) error {
	id, err := uuid.Parse(c.Attempt)
	if err != nil {
		return &exitError{exitUsage, fmt.Sprintf("%q is no attempt: take it from cardbureau stock count", c.Attempt)}
	}
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger(), NoVault: true})
	if err != nil {
		return err
	}
	defer b.Close()
	first, err1 := b.Actor(ctx, "operator", c.First, "cli")
	second, err2 := b.Actor(ctx, "operator", c.Second, "cli")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	err = b.Store.SettleInDoubt(ctx, store.Settlement{
		AttemptID: id, To: stock.State(c.To), Reason: string(c.Reason), Approvers: [2]store.Actor{first, second},
	})
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(map[string]string{"attempt": id.String(), "blank": c.To})
	}
	fmt.Printf("The blank of attempt %s is %s; its order gets a new card image and another blank\n", id, c.To)
	return nil
}

type stockMove struct {
	Serial   string     `arg:"" help:"Serial number of the blank's chip."`
	To       string     `help:"What becomes of it." enum:"quarantined,spoiled,test,returned" required:""`
	Reason   reasonWord `help:"Why, in one word." required:""`
	Operator string     `help:"Who says so." default:"${user}"`
	Second   string     `help:"Second person: needed for spoiled and for whatever was quarantined."`
}

func (stockMove) Example() string {
	return "cardbureau stock move CBCB0001000100000007 --to spoiled --reason bent --operator amini --second rahmani --data /srv/bureau"
}

func (c stockMove) Run(ctx context.Context, g *globals) error {
	b, err := openForDesk(ctx, g)
	if err != nil {
		return err
	}
	defer b.Close()
	m := store.BlankMove{Serial: c.Serial, To: stock.State(c.To), Reason: string(c.Reason)}
	if m.Approvers[0], err = b.Actor(ctx, "operator", c.Operator, "cli"); err != nil {
		return err
	}
	if c.Second != "" {
		if m.Approvers[1], err = b.Actor(ctx, "operator", c.Second, "cli"); err != nil {
			return err
		}
	}
	if err := b.Store.MoveBlank(ctx, m); err != nil {
		if errors.Is(err, store.ErrWrongState) {
			if blank, berr := b.Store.BlankBySerial(ctx, c.Serial); berr == nil {
				err = fmt.Errorf("it is %s, and %s: nothing was changed", blank.State, notMoved(blank.State, m.To))
			}
		}
		return fmt.Errorf("blank %s: %w", c.Serial, err)
	}
	if g.JSON {
		return printJSON(map[string]string{"blank": c.Serial, "state": c.To})
	}
	fmt.Printf("Blank %s is %s\n", c.Serial, c.To)
	return nil
}

// notMoved says why a blank in a state is not moved to another, and what to do.
func notMoved(from, to stock.State) string {
	switch from {
	case to:
		return "needs no move"
	case stock.InDoubt:
		return "is settled by cardbureau card resume or cardbureau stock resolve"
	case stock.InUse:
		return "a reader works on it; wait until it is done"
	case stock.Issued, stock.Spoiled, stock.Test, stock.Returned:
		return "that is final"
	}
	return "cannot become " + string(to)
}
