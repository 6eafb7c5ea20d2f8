package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"cardbureau/cardio/gp"
	"cardbureau/cardio/gp/cap"
	"cardbureau/cardio/gp/content"
	"cardbureau/cardio/pcsc"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/manage"
)

type cardContent struct {
	List    contentList    `cmd:"" help:"List security domains, applications, packages and keys."`
	Load    contentLoad    `cmd:"" help:"Load a package from a CAP file."`
	Install contentInstall `cmd:"" help:"Make an application of a loaded package."`
	Delete  contentDelete  `cmd:"" help:"Delete an application, a security domain or a package."`
	Lock    contentLock    `cmd:"" help:"Lock an application, a security domain with all in it, or the card."`
	Unlock  contentUnlock  `cmd:"" help:"Unlock what was locked."`
}

// aidFlag is an AID on the command line, 5 to 16 bytes.
type aidFlag []byte

// UnmarshalText reads hexadecimal digits; spaces and colons are allowed.
func (a *aidFlag) UnmarshalText(text []byte) error {
	b, err := hexBytes(string(text))
	if err != nil || len(b) < 5 || len(b) > 16 {
		return fmt.Errorf("%q is no AID: 10 to 32 hexadecimal digits", text)
	}
	*a = b
	return nil
}

// hexFlag is bytes on the command line.
type hexFlag []byte

// UnmarshalText reads hexadecimal digits; spaces and colons are allowed.
func (h *hexFlag) UnmarshalText(text []byte) error {
	b, err := hexBytes(string(text))
	if err != nil {
		return fmt.Errorf("%q is not an even number of hexadecimal digits", text)
	}
	*h = b
	return nil
}

func hexBytes(s string) ([]byte, error) {
	return hex.DecodeString(strings.NewReplacer(" ", "", ":", "").Replace(s))
}

// contentCard is what all commands on a card's contents have.
type contentCard struct {
	readerFlag
	Keys     string `help:"Key set of the chip's profile that opens the card; without it the one whose version it has." placeholder:"NAME"`
	Operator string `help:"Who does it, for the audit." default:"${user}"`
}

// open opens the card in the reader. Call done in the end.
func (c contentCard) open(ctx context.Context, g *globals, change bool) (card *manage.Card, done func(), err error) {
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger()})
	if err != nil {
		return nil, nil, err
	}
	actor, err := b.Actor(ctx, "operator", c.Operator, "cli")
	if err != nil {
		b.Close()
		return nil, nil, err
	}
	conn, disconnect, err := c.connect(ctx, g)
	if err != nil {
		b.Close()
		return nil, nil, err
	}
	desk := &manage.Desk{Store: b.Store, Vault: b.Vault, Profiles: b.Profiles, Development: b.Config.Development(), Actor: actor}
	card, err = desk.Open(ctx, conn, c.Keys, change)
	if err != nil {
		disconnect()
		b.Close()
		return nil, nil, err
	}
	return card, func() {
		card.Close()
		disconnect()
		b.Close()
	}, nil
}

// contentChange is what commands have that change a card.
type contentChange struct {
	contentCard
	DryRun bool `help:"Open the card, look, and say what would be sent; send nothing that changes it."`
}

// contentReport is what a change prints.
type contentReport struct {
	Card    string          `json:"card"` // serial number of the blank
	Action  string          `json:"action"`
	Object  string          `json:"object"` // AID
	DryRun  bool            `json:"dryRun,omitempty"`
	Final   bool            `json:"final,omitempty"` // nothing undoes it
	Steps   []contentStep   `json:"steps"`
	Result  string          `json:"result"` // done, nothing-sent
	Receipt *contentReceipt `json:"receipt,omitempty"`
}

type contentStep struct {
	Text     string   `json:"text"`
	Commands []string `json:"commands"` // header and lengths
}

// contentReceipt is a receipt that the card gave, not verified: its key is not
// here.
type contentReceipt struct {
	Receipt string `json:"receipt"`
	Counter int    `json:"counter"`
}

// change opens the card, makes the plan and carries it out.
func (c contentChange) change(ctx context.Context, g *globals, plan func(*manage.Card, *content.Inventory) (*content.Plan, error)) error {
	card, done, err := c.open(ctx, g, true)
	if err != nil {
		return err
	}
	defer done()
	inv, err := card.Inventory(ctx)
	if err != nil {
		return fmt.Errorf("card %s: %w", card.Serial, err)
	}
	p, err := plan(card, inv)
	if err != nil {
		var usage *exitError
		if errors.As(err, &usage) {
			return err
		}
		return fmt.Errorf("card %s: %w", card.Serial, err)
	}
	r := contentReport{Card: card.Serial, Action: string(p.Action), Object: content.AID(p.Object), DryRun: c.DryRun, Final: p.Final, Result: "nothing-sent"}
	for _, s := range p.Steps {
		step := contentStep{Text: s.Text}
		for _, cmd := range s.Commands {
			step.Commands = append(step.Commands, cmd.String())
		}
		r.Steps = append(r.Steps, step)
	}
	if !c.DryRun {
		receipt, err := card.Do(ctx, p)
		if err != nil {
			return contentFailed(card.Serial, err)
		}
		r.Result = "done"
		if receipt != nil {
			r.Receipt = &contentReceipt{Receipt: fmt.Sprintf("%X", receipt.Receipt), Counter: int(receipt.Counter)}
		}
	}
	if g.JSON {
		return printJSON(r)
	}
	r.print()
	return nil
}

// contentFailed tells a card that refused from one that is in doubt.
func contentFailed(serial string, err error) error {
	err = fmt.Errorf("card %s: %w", serial, err)
	var f *content.Failure
	if errors.As(err, &f) && f.Doubt {
		if errors.Is(err, pcsc.ErrRemoved) {
			err = fmt.Errorf("%w (put the card in again)", err)
		}
		return &exitError{exitInDoubt, err.Error()}
	}
	return err
}

func (r contentReport) print() {
	for _, s := range r.Steps {
		fmt.Printf("%s: %s\n", s.Text, counted(len(s.Commands), "command"))
		if r.DryRun {
			for _, cmd := range abridged(s.Commands) {
				fmt.Println("  " + cmd)
			}
		}
	}
	if r.Receipt != nil {
		fmt.Printf("receipt %d: %s\n", r.Receipt.Counter, r.Receipt.Receipt)
	}
	if r.Final {
		fmt.Println("nothing undoes this")
	}
	if r.DryRun {
		fmt.Printf("card %s: nothing was sent that changes it\n", r.Card)
		return
	}
	fmt.Printf("card %s: done\n", r.Card)
}

// abridged leaves out the middle of many commands.
func abridged(commands []string) []string {
	const ends = 3
	if len(commands) <= 2*ends+1 {
		return commands
	}
	out := append([]string{}, commands[:ends]...)
	out = append(out, fmt.Sprintf("… %d more …", len(commands)-2*ends))
	return append(out, commands[len(commands)-ends:]...)
}

type contentDelete struct {
	AID     aidFlag `arg:"" name:"aid" help:"What is deleted."`
	Related bool    `help:"With a package, delete its applications too."`
	Token   hexFlag `help:"Delete token, where the card wants one." placeholder:"HEX"`
	contentChange
}

func (contentDelete) Example() string {
	return `cardbureau card content delete A0000002471001 --dry-run --data /srv/bureau`
}

func (c contentDelete) Run(ctx context.Context, g *globals) error {
	return c.change(ctx, g, func(card *manage.Card, inv *content.Inventory) (*content.Plan, error) {
		return inv.PlanDelete(c.AID, c.Related, c.Token, card.MaxData)
	})
}

type contentInstall struct {
	Package        aidFlag  `required:"" help:"AID of the loaded package."`
	Applet         aidFlag  `required:"" help:"AID of the applet in it (its module)."`
	Instance       aidFlag  `help:"AID of the application; without it the applet's." placeholder:"AID"`
	Privilege      []string `help:"A privilege by its name, as card-reset; may be repeated." placeholder:"NAME"`
	Params         hexFlag  `help:"Application specific parameters, tag C9." placeholder:"HEX"`
	Implicit       hexFlag  `help:"Implicit selection parameters, tag CF, a byte each." placeholder:"HEX"`
	MakeSelectable bool     `help:"Also make it selectable."`
	Token          hexFlag  `help:"Install token, where the card wants one." placeholder:"HEX"`
	contentChange
}

func (contentInstall) Example() string {
	return `cardbureau card content install --package A00000024710 --applet A0000002471001 --make-selectable --data /srv/bureau`
}

func (c contentInstall) Run(ctx context.Context, g *globals) error {
	var privileges gp.Privileges
	for _, name := range c.Privilege {
		p, ok := gp.PrivilegeNamed(name)
		if !ok {
			return &exitError{exitUsage, fmt.Sprintf("no privilege is called %q: there are %s", name, strings.ToLower(strings.Join(gp.Privileges(0xFFFFF0).Names(), ", ")))}
		}
		privileges |= p
	}
	return c.change(ctx, g, func(card *manage.Card, inv *content.Inventory) (*content.Plan, error) {
		return inv.PlanInstall(content.InstallOptions{
			MaxData: card.MaxData, LoadFile: c.Package, Module: c.Applet, Instance: c.Instance, Privileges: privileges,
			Parameters: gp.InstallParameters{Application: c.Params, Implicit: c.Implicit}, Token: c.Token, Selectable: c.MakeSelectable,
		})
	})
}

type contentLock struct {
	AID       aidFlag `arg:"" optional:"" name:"aid" help:"Application or security domain."`
	Card      bool    `help:"Lock the card: no application answers until it is unlocked. Asks for --yes."`
	Terminate bool    `help:"With --card: end the card for good. Asks for --yes and --for-good."`
	Yes       bool    `help:"You mean the whole card."`
	ForGood   bool    `help:"You mean it for good."`
	contentChange
}

func (contentLock) Example() string {
	return `cardbureau card content lock A0000002471001 --data /srv/bureau`
}

func (c contentLock) Run(ctx context.Context, g *globals) error {
	switch {
	case c.Card == (len(c.AID) > 0):
		return &exitError{exitUsage, "name an AID, or the whole card with --card"}
	case !c.Card && (c.Terminate || c.Yes || c.ForGood):
		return &exitError{exitUsage, "--terminate, --yes and --for-good go with --card"}
	case c.Card && !c.Yes && !c.DryRun:
		return &exitError{exitUsage, "locking the whole card silences every application on it: add --yes if you mean it"}
	case c.Terminate && !c.ForGood && !c.DryRun:
		return &exitError{exitUsage, "a terminated card is waste, for good: add --for-good as well if you mean it"}
	case c.ForGood && !c.Terminate:
		return &exitError{exitUsage, "--for-good goes with --terminate"}
	}
	return c.change(ctx, g, func(_ *manage.Card, inv *content.Inventory) (*content.Plan, error) {
		switch {
		case c.Terminate:
			return inv.PlanCard(gp.CardTerminated)
		case c.Card:
			return inv.PlanCard(gp.CardLocked)
		}
		return inv.PlanLock(c.AID)
	})
}

type contentUnlock struct {
	AID  aidFlag `arg:"" optional:"" name:"aid" help:"Application or security domain."`
	Card bool    `help:"Unlock the card."`
	contentChange
}

func (contentUnlock) Example() string {
	return `cardbureau card content unlock A0000002471001 --data /srv/bureau`
}

func (c contentUnlock) Run(ctx context.Context, g *globals) error {
	if c.Card == (len(c.AID) > 0) {
		return &exitError{exitUsage, "name an AID, or the whole card with --card"}
	}
	return c.change(ctx, g, func(_ *manage.Card, inv *content.Inventory) (*content.Plan, error) {
		if c.Card {
			if inv.ISD.LifeCycle != gp.CardLocked {
				return nil, fmt.Errorf("%w: the card is %s, not locked", content.ErrState, gp.CardStateName(inv.ISD.LifeCycle))
			}
			return inv.PlanCard(gp.CardSecured)
		}
		return inv.PlanUnlock(c.AID)
	})
}

// readCAP reads a CAP file for a person who named it.
func readCAP(name string) (*cap.File, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f, err := cap.Read(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}
