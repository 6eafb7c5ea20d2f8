package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"

	"cardbureau/cardio/lds"
	"cardbureau/cardio/pinpad"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/desk"
	"cardbureau/personalization/store"
)

// visitFlags are those of commands for which holder and card are at the desk.
type visitFlags struct {
	readerFlag
	Number   string     `arg:"" help:"Card number, as printed." name:"card"`
	Photo    bool       `help:"You have compared the photo on the chip with who is before you. Without it, you are asked."`
	Document reasonWord `help:"Kind of the document that the holder has shown: passport, amayesh, hoviat, …"`
	Guardian reasonWord `help:"Of a minor: kind of the document that the guardian has shown."`
	Decision reasonWord `help:"Of an unaccompanied minor: the decision, in one word; needs --second."`
	Override reasonWord `help:"Why the card is handed over although document or fingerprint do not hold, in one word; needs --second."`
	Second   string     `help:"The second person, who answers for --override or --decision."`
	Operator string     `help:"The clerk, for the audit." default:"${user}"`
	PIN      string     `help:"Where PINs come from: pad (the reader), keyboard, - (lines of standard input); auto takes the pad where there is one." enum:"auto,pad,keyboard,-" default:"auto"`
	Receipt  string     `help:"Draw the holder's receipt here, as PDF in Persian; a file that is there is refused." placeholder:"FILE.pdf"`
}

// visited is one visit at work.
type visited struct {
	bureau *bureau.Bureau
	visit  *desk.Visit
	actor  store.Actor
	entry  desk.PINEntry
	pad    desk.PINPad // nil: the keyboard
}

// run goes through a visit: prove, check, do, sign, finish.
func (c visitFlags) run(ctx context.Context, g *globals, kind store.VisitKind, result string, do func(*visited) error) error {
	paper, err := takePaper(c.Receipt)
	if err != nil {
		return err
	}
	defer paper.close()
	b, d, actor, err := openDesk(ctx, g, c.Operator)
	if err != nil {
		return err
	}
	defer b.Close()
	second, err := secondPerson(ctx, b, c.Second)
	if err != nil {
		return err
	}
	conn, done, err := c.connect(ctx, g)
	if err != nil {
		return err
	}
	defer done()
	c.Number = strings.ToUpper(c.Number)
	v, err := d.Open(ctx, c.Number, kind, actor)
	if err != nil {
		return onCard(c.Number, err)
	}
	defer v.Close(ctx)
	at := &visited{bureau: b, visit: v, actor: actor}
	if at.entry, at.pad, err = c.pins(ctx, b.Config.Desk.Keyboard, conn); err != nil {
		return err
	}
	if err := v.Prove(ctx, conn); err != nil {
		return onCard(c.Number, err)
	}
	photo, err := c.compare(v)
	if err != nil {
		return err
	}
	err = v.Check(ctx, desk.HolderCheck{
		Photo: photo, Document: string(c.Document), Guardian: string(c.Guardian), Decision: string(c.Decision),
		Override: string(c.Override), Second: second,
	})
	if err != nil {
		return onCard(c.Number, err)
	}
	if err := do(at); err != nil {
		return onCard(c.Number, err)
	}
	signed, err := v.Sign(ctx)
	if err != nil {
		return onCard(c.Number, err)
	}
	if err := v.Finish(ctx, signed); err != nil {
		return onCard(c.Number, err)
	}
	if kind == store.VisitActivate {
		tellReplaced(ctx, b, actor)
	}
	a := deskAnswer{Card: c.Number, Result: result, Visit: v.ID().String()}
	if signed != nil {
		a.Receipt = &receipt{Statement: string(signed.Content), Signature: signed.Signature, Key: signed.Key.Point}
	}
	err = paper.write(receiptOf(b, c.Number, kind, signed))
	return errors.Join(a.print(g), err)
}

// tellReplaced tells operators of SIMs that were paired with the card before. The card
// is active whatever becomes of it: who cannot be told now is told later.
func tellReplaced(ctx context.Context, b *bureau.Bureau, actor store.Actor) {
	s, err := operatorsOf(b)
	if err == nil {
		err = s.TellReplaced(ctx, actor)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cardbureau: an operator is told later:", err)
	}
}

// compare shows the clerk whom the chip names, where the flags have not confirmed it.
func (c visitFlags) compare(v *desk.Visit) (bool, error) {
	if c.Photo {
		return true, nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return false, &exitError{exitUsage, "compare the photo on the chip with who is before you, and give --photo (on a terminal you are asked)"}
	}
	h, err := v.Holder()
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "cb-photo-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "photo.jpg")
	if err := os.WriteFile(name, h.Photo, 0o600); err != nil {
		return false, err
	}
	fmt.Fprintf(os.Stderr, "The chip names %s (%s), born %s. Photo, until you answer: %s\nIs this who is before you? [y/N] ", h.Name, h.Latin, h.BirthDate, name)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return false, err
	}
	return strings.EqualFold(strings.TrimSpace(answer), "y"), nil
}

// pins finds how the holder gives a PIN: at the reader where it can, otherwise at the
// keyboard where the configuration allows that.
func (c visitFlags) pins(ctx context.Context, keyboard bool, conn cardConn) (desk.PINEntry, desk.PINPad, error) {
	if c.PIN == "-" {
		return &linePINs{in: bufio.NewReader(os.Stdin)}, nil, nil
	}
	if c.PIN != "keyboard" {
		pad, err := openPad(ctx, conn)
		switch {
		case err == nil:
			return nil, pad, nil
		case c.PIN == "pad":
			return nil, nil, err
		}
	}
	if !keyboard {
		return nil, nil, errors.New("the reader has no pin-pad, and [desk] keyboard does not allow PINs to be typed here")
	}
	return &typedPINs{}, nil, nil
}

// padPatience is how long a reader may wait for its keys.
const padPatience = 90 * time.Second

func openPad(ctx context.Context, conn cardConn) (*pinpad.Pad, error) {
	controls, ok := conn.(interface {
		Control(ctx context.Context, code uint32, in []byte, within time.Duration) ([]byte, error)
	})
	if !ok {
		return nil, pinpad.ErrNone
	}
	return pinpad.Open(ctx, func(ctx context.Context, code uint32, in []byte) ([]byte, error) {
		return controls.Control(ctx, code, in, padPatience)
	}, lds.HolderPIN)
}

// pinStep does a step with a pin-pad or with the keyboard.
func (v *visited) pinStep(ctx context.Context, typed func(context.Context, desk.PINEntry) error) error {
	if v.pad != nil {
		return v.visit.OnPad(ctx, v.pad)
	}
	return typed(ctx, v.entry)
}

type deskActivate struct{ visitFlags }

func (deskActivate) Example() string {
	return "cardbureau desk activate 7KXW2M4BC --document passport --operator karimi --data /srv/bureau"
}

func (c deskActivate) Run(ctx context.Context, g *globals) error {
	return c.run(ctx, g, store.VisitActivate, "active", func(v *visited) error {
		if !v.visit.HasPIN() {
			return nil
		}
		return v.pinStep(ctx, v.visit.SetPIN)
	})
}

type deskUnblockPIN struct{ visitFlags }

func (deskUnblockPIN) Example() string {
	return "cardbureau desk unblock-pin 7KXW2M4BC --document passport --operator karimi --data /srv/bureau"
}

func (c deskUnblockPIN) Run(ctx context.Context, g *globals) error {
	return c.run(ctx, g, store.VisitUnblockPIN, "has a new PIN", func(v *visited) error {
		err := v.pinStep(ctx, v.visit.UnblockPIN)
		if err == nil {
			v.keepPairings(ctx)
		}
		return err
	})
}

type deskUnblock struct{ visitFlags }

func (deskUnblock) Example() string {
	return "cardbureau desk unblock 7KXW2M4BC --document passport --operator karimi --data /srv/bureau"
}

func (c deskUnblock) Run(ctx context.Context, g *globals) error {
	return c.run(ctx, g, store.VisitUnblock, "active again", func(v *visited) error {
		if !v.visit.HasPIN() {
			return nil
		}
		err := v.pinStep(ctx, v.visit.VerifyPIN)
		if err == nil {
			v.keepPairings(ctx)
		}
		return err
	})
}
