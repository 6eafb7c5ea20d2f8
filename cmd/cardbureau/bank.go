package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"

	"cardbureau/personalization/bank"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/payment"
	"cardbureau/personalization/store"
)

type bankCommand struct {
	Awaiting  bankAwaiting  `cmd:"" help:"List orders that wait for an account."`
	Assign    bankAssign    `cmd:"" help:"Take the bank's message with accounts in, from a file."`
	Withdraw  bankWithdraw  `cmd:"" help:"Take an account back before its card is begun."`
	Ranges    bankRanges    `cmd:"" help:"Ranges of PANs that the bank has delegated."`
	Pool      bankPool      `cmd:"" help:"RSA keys of cards, made ahead."`
	Mailers   bankMailers   `cmd:"" help:"PIN mailers: apart from the cards by batch, person and time."`
	Files     bankFiles     `cmd:"" help:"Files for the bank, and its answers."`
	Reconcile bankReconcile `cmd:"" help:"Write the day's reconciliation."`
	Events    bankEvents    `cmd:"" help:"List what the bank is told, in order."`
	Bindings  bankBindings  `cmd:"" help:"Write bindings of issued cards to files."`
	Card      bankCard      `cmd:"" help:"Say how a card's account stands, with as much of the PAN as you may see."`
	Issuer    bankIssuer    `cmd:"" help:"Take in what a scheme's authority has made of the issuer's key: its certificate."`
	Verify    bankVerify    `cmd:"" help:"Verify bindings offline, with public keys alone."`
}

// openBank opens the bureau and the service that answers the bank.
func openBank(ctx context.Context, g *globals, operator string) (*bureau.Bureau, *bank.Service, store.Actor, error) {
	return openService(ctx, g, operator, "cli", (*bureau.Bureau).Bank)
}

type bankAwaiting struct{}

func (bankAwaiting) Example() string { return "cardbureau bank awaiting --data /srv/bureau" }

func (bankAwaiting) Run(ctx context.Context, g *globals) error {
	b, s, _, err := openBank(ctx, g, "bank")
	if err != nil {
		return err
	}
	defer b.Close()
	after := ""
	for {
		list, err := s.Awaiting(ctx, after, 1000)
		if err != nil {
			return err
		}
		for _, w := range list {
			if g.JSON {
				if err := printJSON(w); err != nil {
					return err
				}
			} else {
				fmt.Printf("order %s of record %s waits since %s: %s\n", w.OrderID, w.RecordID, w.Since.Format(time.RFC3339), w.Reason)
			}
			after = w.OrderID
		}
		if len(list) < 1000 {
			return nil
		}
	}
}

type bankAssign struct {
	File     string `arg:"" help:"The bank's message: a compact JWE around a JWS." type:"existingfile"`
	Operator string `help:"Who takes it in, for the audit." default:"${user}"`
}

func (bankAssign) Example() string { return "cardbureau bank assign accounts.jwe --data /srv/bureau" }

func (c bankAssign) Run(ctx context.Context, g *globals) error {
	text, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	b, s, actor, err := openBank(ctx, g, c.Operator)
	if err != nil {
		return err
	}
	defer b.Close()
	m, err := s.Open(ctx, string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	answers, err := s.Assign(ctx, m.Assignments, "file", actor)
	if err == nil {
		var more []bank.Answer
		more, err = s.Withdraw(ctx, m.Withdrawals, actor)
		answers = append(answers, more...)
	}
	return errors.Join(printAnswers(g, answers), err)
}

func printAnswers(g *globals, answers []bank.Answer) error {
	refused := 0
	for _, a := range answers {
		if a.Status == bank.Refused {
			refused++
		}
		if g.JSON {
			if err := printJSON(a); err != nil {
				return err
			}
			continue
		}
		line := a.Reference + ": " + a.Status
		if a.Code != "" {
			line += " (" + a.Code + "): " + a.Detail
		}
		fmt.Println(line)
	}
	if refused > 0 {
		return &exitError{exitRefused, fmt.Sprintf("%d of %d items were refused", refused, len(answers))}
	}
	return nil
}

type bankWithdraw struct {
	Reference string `arg:"" help:"The bank's reference of the account."`
	Reason    string `help:"Code of the reason." required:""`
	Operator  string `help:"Who withdraws, for the audit." default:"${user}"`
}

func (bankWithdraw) Example() string {
	return "cardbureau bank withdraw SEP-2026-000042 --reason closed --data /srv/bureau"
}

func (c bankWithdraw) Run(ctx context.Context, g *globals) error {
	b, s, actor, err := openBank(ctx, g, c.Operator)
	if err != nil {
		return err
	}
	defer b.Close()
	answers, err := s.Withdraw(ctx, []bank.Withdrawal{{Reference: c.Reference, Reason: c.Reason}}, actor)
	return errors.Join(printAnswers(g, answers), err)
}

type bankRanges struct {
	List bankRangesList `cmd:"" help:"List ranges, and how far they are used."`
	Add  bankRangesAdd  `cmd:"" help:"Add a range that the bank has delegated."`
}

type bankRangesList struct{}

func (bankRangesList) Example() string { return "cardbureau bank ranges list --data /srv/bureau" }

func (bankRangesList) Run(ctx context.Context, g *globals) error {
	b, err := openForDesk(ctx, g)
	if err != nil {
		return err
	}
	defer b.Close()
	ranges, err := b.Store.Ranges(ctx)
	if err != nil {
		return err
	}
	for _, r := range ranges {
		if g.JSON {
			if err := printJSON(r); err != nil {
				return err
			}
			continue
		}
		fmt.Printf("%-16s %s, %d digits: %d of %d used\n", r.Name, r.Prefix, r.Length, r.Used, r.Size)
	}
	return nil
}

type bankRangesAdd struct {
	Name     string `arg:"" help:"Name, as the payment scheme calls it."`
	Prefix   string `arg:"" help:"The digits that all PANs of the range begin with."`
	Length   int    `help:"Digits of a whole PAN." default:"16"`
	Operator string `help:"Who adds it, for the audit." default:"${user}"`
}

func (bankRangesAdd) Example() string {
	return "cardbureau bank ranges add sepah 58921012 --data /srv/bureau"
}

func (c bankRangesAdd) Run(ctx context.Context, g *globals) error {
	r := payment.Range{Prefix: c.Prefix, Length: c.Length}
	if err := r.Check(); err != nil {
		return &exitError{exitUsage, err.Error()}
	}
	b, actor, err := openAs(ctx, g, c.Operator, "cli")
	if err != nil {
		return err
	}
	defer b.Close()
	if err := b.Store.AddRange(ctx, store.Range{Name: c.Name, Prefix: c.Prefix, Length: c.Length, Size: r.Size()}, actor); err != nil {
		return fmt.Errorf("range %s: %w", c.Name, err)
	}
	if g.JSON {
		return printJSON(map[string]any{"name": c.Name, "size": r.Size()})
	}
	fmt.Printf("Range %s: %d PANs that begin with %s\n", c.Name, r.Size(), c.Prefix)
	return nil
}

type bankPool struct {
	Show bankPoolShow `cmd:"" help:"Say how many keys are there."`
	Fill bankPoolFill `cmd:"" help:"Make keys until there are as many as a shift needs."`
}

type bankPoolShow struct{}

func (bankPoolShow) Example() string { return "cardbureau bank pool show --data /srv/bureau" }

func (bankPoolShow) Run(ctx context.Context, g *globals) error {
	b, err := openForDesk(ctx, g)
	if err != nil {
		return err
	}
	defer b.Close()
	counts, err := b.Store.ICCKeyCounts(ctx)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(counts)
	}
	for _, s := range b.Schemes() {
		if s.Authenticates(payment.XDA) {
			fmt.Printf("%s: keys on %s, made with the card\n", s.Name, s.ICCKey.Curve)
			continue
		}
		fmt.Printf("%s: %d keys of %d bits\n", s.Name, counts[s.ICCKey.Bits], s.ICCKey.Bits)
	}
	return nil
}

type bankPoolFill struct {
	N int `arg:"" help:"How many keys of each payment scheme there shall be."`
}

func (bankPoolFill) Example() string { return "cardbureau bank pool fill 6000 --data /srv/bureau" }

func (c bankPoolFill) Run(ctx context.Context, g *globals) error {
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger()})
	if err != nil {
		return err
	}
	defer b.Close()
	for _, s := range b.Schemes() {
		if s.Authenticates(payment.XDA) {
			continue // its keys take no time
		}
		if err := b.FillPool(ctx, s.ICCKey.Bits, s.ICCKey.Exponent, c.N, nil); err != nil {
			return err
		}
		if g.JSON {
			if err := printJSON(map[string]any{"scheme": s.Name, "bits": s.ICCKey.Bits, "keys": c.N}); err != nil {
				return err
			}
			continue
		}
		fmt.Printf("%s: %d keys of %d bits\n", s.Name, c.N, s.ICCKey.Bits)
	}
	return nil
}

type bankEvents struct {
	After int64 `help:"Where the last list ended." default:"0"`
}

func (bankEvents) Example() string { return "cardbureau bank events --after 1200 --data /srv/bureau" }

func (c bankEvents) Run(ctx context.Context, g *globals) error {
	b, s, _, err := openBank(ctx, g, "bank")
	if err != nil {
		return err
	}
	defer b.Close()
	for {
		list, err := s.Events(ctx, c.After, 1000)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, e := range list {
			if g.JSON {
				if err := printJSON(e); err != nil {
					return err
				}
			} else {
				fmt.Printf("%6d %s %-10s card %s\n", e.Seq, e.At.Format(time.RFC3339), e.Type, e.Ref)
			}
			c.After = e.Seq
		}
	}
}

func batchID(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return id, &exitError{exitUsage, fmt.Sprintf("%q is no identifier of a batch", text)}
	}
	return id, nil
}
