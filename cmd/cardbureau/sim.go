package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"cardbureau/cardio/uicc"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/opfile"
	"cardbureau/personalization/store"
)

type simCommand struct {
	Read    simRead    `cmd:"" help:"Say what a SIM is: serial number, application, how many tries its PINs have. Nothing of its subscriber."`
	Program simProgram `cmd:"" help:"Program a delegated blank: compare the ICCID, write, read back. May be repeated after the card was pulled. IMSI and administrative key (16 hexadecimal or 4 to 8 decimal digits) are lines of standard input."`
	Import  simImport  `cmd:"" help:"Take a vendor's output file (.out) in: the keys of SIMs, under a transport key."`
	Check   simCheck   `cmd:"" help:"Check an input or output file to its end."`
	Plan    simPlan    `cmd:"" help:"Take in the plan of operators: prefixes and keys, signed by two custodians."`
	List    simList    `cmd:"" help:"List a card's pairings."`
	Verify  simVerify  `cmd:"" help:"Verify the pairing records that were read from a card, with public keys alone."`
	Suspend simSuspend `cmd:"" help:"Take a paired SIM out of service, or back into it, at its holder's request."`
	End     simEnd     `cmd:"" help:"End a pairing."`
	Finish  simFinish  `cmd:"" help:"Ask the operator again about a pairing that waits."`
}

type simRead struct{ readerFlag }

func (simRead) Example() string { return `cardbureau sim read --reader "ACS *"` }

// simReport is what anyone may know of a SIM in a reader.
type simReport struct {
	Reader      string         `json:"reader"`
	ICCID       string         `json:"iccid"`
	CheckDigit  bool           `json:"checkDigit"`
	Application string         `json:"application"`
	AIDs        []string       `json:"aids,omitempty"`
	Tries       map[string]int `json:"tries"` // -1: not told
	Kinds       []string       `json:"kinds"` // profiles whose answer to reset fits
}

func (c simRead) Run(ctx context.Context, g *globals) error {
	set, err := loadProfiles(g)
	if err != nil {
		return err
	}
	conn, done, err := c.connect(ctx, g)
	if err != nil {
		return err
	}
	defer done()
	card, err := uicc.Open(ctx, conn)
	if err != nil {
		return err
	}
	r := simReport{Reader: conn.Reader(), Application: card.Application().String(), Tries: map[string]int{}}
	if r.ICCID, err = card.ICCID(ctx); err != nil {
		return err
	}
	r.CheckDigit = uicc.Luhn(r.ICCID)
	if card.Application() != uicc.SIM {
		list, err := card.Directory(ctx)
		if err != nil {
			return err
		}
		for _, e := range list {
			r.AIDs = append(r.AIDs, fmt.Sprintf("%X", e.AID))
		}
	}
	for name, reference := range map[string]byte{"pin1": uicc.PIN1, "pin2": uicc.PIN2, "adm1": uicc.ADM1} {
		switch n, err := card.Tries(ctx, reference); {
		case err == nil:
			r.Tries[name] = n
		case errors.Is(err, uicc.ErrPINBlocked):
			r.Tries[name] = 0
		case !errors.Is(err, uicc.ErrNoPIN) && !errors.Is(err, uicc.ErrPINDisabled):
			if answered(err) != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set.SIMs)) {
		if set.SIMs[name].Fits(conn.ATR()) {
			r.Kinds = append(r.Kinds, name)
		}
	}
	if g.JSON {
		return printJSON(r)
	}
	fmt.Println(r.said())
	return nil
}

// said is the report on one line.
func (r simReport) said() string {
	parts := []string{fmt.Sprintf("%s: %s %s", r.Reader, r.Application, r.ICCID)}
	if !r.CheckDigit {
		parts[0] += " (check digit differs)"
	}
	for _, name := range []string{"pin1", "pin2", "adm1"} {
		n, told := r.Tries[name]
		switch {
		case !told:
		case n < 0:
			parts = append(parts, strings.ToUpper(name)+" does not tell its tries")
		case n == 0:
			parts = append(parts, strings.ToUpper(name)+" blocked")
		case n == 1:
			parts = append(parts, strings.ToUpper(name)+" 1 try left")
		default:
			parts = append(parts, fmt.Sprintf("%s %d tries left", strings.ToUpper(name), n))
		}
	}
	kinds := "no kind of the profiles has this answer to reset"
	if len(r.Kinds) > 0 {
		kinds = "answer to reset of " + strings.Join(r.Kinds, " or ")
	}
	return strings.Join(append(parts, kinds), "; ")
}

type simImport struct {
	File     string `arg:"" help:"The vendor's output file." type:"existingfile"`
	Operator string `help:"Who takes it in, for the audit." default:"${user}"`
}

func (simImport) Example() string { return "cardbureau sim import 00042.out --data /srv/bureau" }

func (c simImport) Run(ctx context.Context, g *globals) error {
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger()})
	if err != nil {
		return err
	}
	defer b.Close()
	actor, err := b.Actor(ctx, "operator", c.Operator, "cli")
	if err != nil {
		return err
	}
	s, already, err := b.SIMCentre().Import(ctx, f, actor)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if g.JSON {
		return printJSON(map[string]any{"batch": s.Header.Batch, "sims": s.Header.Quantity, "already": already})
	}
	word := "taken in"
	if already {
		word = "known already"
	}
	fmt.Printf("Batch %s: %d SIMs, %s\n", s.Header.Batch, s.Header.Quantity, word)
	return nil
}

type simCheck struct {
	File string `arg:"" help:"An .inp or .out file." type:"existingfile"`
	Kind string `help:"in or out; without it, by the file's name." enum:"auto,in,out" default:"auto"`
}

func (simCheck) Example() string { return "cardbureau sim check 00042.out" }

func (c simCheck) Run(_ context.Context, g *globals) error {
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	kind := opfile.Output
	if c.Kind == "in" || c.Kind == "auto" && strings.HasSuffix(strings.ToLower(c.File), ".inp") {
		kind = opfile.Input
	}
	s, err := opfile.Check(f, kind)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if g.JSON {
		return printJSON(map[string]any{"batch": s.Header.Batch, "sims": s.Header.Quantity})
	}
	fmt.Printf("%s: batch %s, %d SIMs, no mistake\n", c.File, s.Header.Batch, s.Header.Quantity)
	return nil
}

type simPlan struct {
	File     string `arg:"" help:"The plan: JSON in development, signed by two custodians otherwise." type:"existingfile"`
	Operator string `help:"Who takes it in, for the audit." default:"${user}"`
}

func (simPlan) Example() string { return "cardbureau sim plan operators.json --data /srv/bureau" }

func (c simPlan) Run(ctx context.Context, g *globals) error {
	text, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	return withPairing(ctx, g, c.Operator, func(_ *bureau.Bureau, s *pairing.Service, a store.Actor) error {
		p, err := s.TakePlan(ctx, text, a)
		if err != nil {
			return onPlan(c.File, err)
		}
		if g.JSON {
			return printJSON(map[string]any{"serial": p.Serial, "notBefore": p.NotBefore.UTC(), "notAfter": p.NotAfter.UTC(), "operators": slices.Sorted(maps.Keys(p.Operators))})
		}
		fmt.Printf("Plan %d is in force from %s to %s, %d operators\n", p.Serial, p.NotBefore.Format(time.DateOnly), p.NotAfter.Format(time.DateOnly), len(p.Operators))
		return nil
	})
}

// onPlan explains why a plan was not taken in.
func onPlan(file string, err error) error {
	if errors.Is(err, store.ErrStale) {
		return fmt.Errorf("%s: a plan of this serial or a later one was taken in already: give the new one a higher serial", file)
	}
	return fmt.Errorf("%s: %w", file, err)
}

// withPairing opens the bureau and its pairing.
func withPairing(ctx context.Context, g *globals, operator string, do func(*bureau.Bureau, *pairing.Service, store.Actor) error) error {
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger()})
	if err != nil {
		return err
	}
	defer b.Close()
	networks, err := b.Networks()
	if err != nil {
		return err
	}
	s, err := b.Pairing(networks)
	if err != nil {
		return err
	}
	actor, err := b.Actor(ctx, "operator", operator, "desk")
	if err != nil {
		return err
	}
	return do(b, s, actor)
}

type simList struct {
	Card     string `arg:"" help:"Card number."`
	Operator string `help:"Who asks, for the audit." default:"${user}"`
}

func (simList) Example() string { return "cardbureau sim list 7KXW2M4BC --data /srv/bureau" }

func (c simList) Run(ctx context.Context, g *globals) error {
	b, err := openForDesk(ctx, g)
	if err != nil {
		return err
	}
	defer b.Close()
	actor, err := b.Actor(ctx, "operator", c.Operator, "desk")
	if err != nil {
		return err
	}
	card, err := b.Store.CardByNumber(ctx, strings.ToUpper(c.Card), "pairings", actor)
	if err != nil {
		return onCard(c.Card, err)
	}
	list, err := b.Store.PairingsOfCard(ctx, card.ID)
	if err != nil {
		return err
	}
	for _, p := range list {
		if g.JSON {
			err = printJSON(map[string]any{"pairing": p.ID, "network": p.Operator, "state": p.State, "reason": p.Reason, "changedAt": p.ChangedAt.UTC()})
		} else {
			_, err = fmt.Printf("%s  %s  %-16s %s since %s\n", p.ID, p.Operator, p.State, p.Reason, p.ChangedAt.UTC().Format(time.RFC3339))
		}
		if err != nil {
			return err
		}
	}
	if len(list) == 0 && !g.JSON {
		fmt.Println("No SIM was paired with this card.")
	}
	return nil
}
