package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/google/uuid"

	"cardbureau/personalization/bureau"
	"cardbureau/personalization/document"
	"cardbureau/personalization/stock"
	"cardbureau/personalization/store"
)

type stockSheet struct {
	Out      string `help:"PDF to write; - for standard output; without it shift-N.pdf in this folder." placeholder:"FILE"`
	Close    bool   `help:"Close the shift: the sheet is then final." xor:"which"`
	Shift    int64  `help:"Print the sheet of this closed shift again; without it that of the open shift, or of the last one." xor:"which" placeholder:"N"`
	Operator string `help:"Who closes the shift, for the audit." default:"${user}"`
}

func (stockSheet) Example() string {
	return "cardbureau stock sheet --close --out shift.pdf --data /srv/bureau"
}

func (c stockSheet) Run(ctx context.Context, g *globals) error {
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger(), NoVault: true})
	if err != nil {
		return err
	}
	defer b.Close()
	sh, err := c.shift(ctx, b)
	if err != nil {
		return err
	}
	sheet, err := shiftSheet(ctx, b, sh, c.Close || sh.ClosedAt.IsZero())
	if err != nil {
		return err
	}
	name, err := c.write(sheet)
	if err != nil {
		return c.lost(sh, err)
	}
	balance := sh.Counts.Balance()
	if name != "" {
		if err := tellSheet(g, sh, name, balance == nil); err != nil {
			return err
		}
	}
	switch {
	case sh.Counts.InDoubt > 0 || sh.Counts.Quarantined > 0:
		status := &exitError{status: exitInDoubt}
		if balance != nil {
			status.message = balance.Error()
		}
		return status
	default:
		return balance
	}
}

// shift is the one whose sheet is wanted.
func (c stockSheet) shift(ctx context.Context, b *bureau.Bureau) (sh stock.Shift, err error) {
	switch {
	case c.Close:
		actor, err := b.Actor(ctx, "operator", c.Operator, "cli")
		if err != nil {
			return sh, err
		}
		sh, err = b.Store.CloseShift(ctx, actor)
		if errors.Is(err, store.ErrWrongState) {
			err = errors.New("no shift is open: the line opens one when it works")
		}
		return sh, err
	case c.Shift > 0:
		sh, err = b.Store.ClosedShift(ctx, c.Shift)
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("there is no closed shift %d", c.Shift)
		}
		return sh, err
	case c.Shift < 0:
		return sh, &exitError{exitUsage, "--shift takes the number of a shift, from 1"}
	}
	sh, err = b.Store.CurrentShift(ctx)
	if errors.Is(err, store.ErrNotFound) {
		sh, err = b.Store.ClosedShift(ctx, 0)
	}
	if errors.Is(err, store.ErrNotFound) {
		err = errors.New("there was no shift yet: the line opens one when it works")
	}
	return sh, err
}

// shiftSheet fills the sheet in. Orders are counted as they stand now, which
// says nothing on the sheet of an earlier shift.
func shiftSheet(ctx context.Context, b *bureau.Bureau, sh stock.Shift, orders bool) (document.ShiftSheet, error) {
	n := sh.Counts
	s := document.ShiftSheet{
		Bureau: b.Config.Audience, Shift: fmt.Sprint(sh.Number), Opened: sh.OpenedAt, Closed: sh.ClosedAt, Drawn: time.Now().UTC(),
		Development: b.Config.Development(),
		Stock: document.Balance{
			Received: n.Received, CarriedIn: n.CarriedIn, Issued: n.Issued, Spoiled: n.Spoiled, Quarantined: n.Quarantined,
			Test: n.Test, Returned: n.Returned, OnHand: n.OnHand, InUse: n.InUse, InDoubt: n.InDoubt,
		},
	}
	work, err := b.Store.ShiftWork(ctx, sh)
	if err != nil {
		return s, err
	}
	for _, r := range work.Readers {
		s.Readers = append(s.Readers, document.ReaderCount(r))
	}
	for _, d := range work.InDoubt {
		s.InDoubt = append(s.InDoubt, document.Doubt{Attempt: d.AttemptID.String(), Card: d.Card, Blank: d.Serial, Reader: d.Reader, Since: d.StartedAt})
	}
	if !orders {
		return s, nil
	}
	states, err := b.Store.OrderCounts(ctx, uuid.Nil)
	if err != nil {
		return s, err
	}
	for state, n := range states {
		if n > 0 {
			s.Orders = append(s.Orders, document.Count{State: string(state), Count: n})
		}
	}
	sort.Slice(s.Orders, func(i, j int) bool { return s.Orders[i].State < s.Orders[j].State })
	return s, nil
}

// write writes the PDF and returns its name, "" for standard output.
func (c stockSheet) write(s document.ShiftSheet) (string, error) {
	if c.Out == "-" {
		return "", s.WritePDF(os.Stdout)
	}
	name := c.Out
	if name == "" {
		name = "shift-" + s.Shift + ".pdf"
	}
	// The name is only taken by a whole sheet.
	f, err := os.CreateTemp(filepath.Dir(name), ".shift-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	err = errors.Join(s.WritePDF(f), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	return name, err
}

// lost adds to an error how to get a sheet whose shift is closed already.
func (c stockSheet) lost(sh stock.Shift, err error) error {
	if c.Close {
		return fmt.Errorf("shift %d is closed, but its sheet could not be written: %w; print it with cardbureau stock sheet --shift %d", sh.Number, err, sh.Number)
	}
	return fmt.Errorf("the sheet could not be written: %w", err)
}

func tellSheet(g *globals, sh stock.Shift, name string, balanced bool) error {
	if g.JSON {
		return printJSON(map[string]any{
			"shift": sh.Number, "closed": !sh.ClosedAt.IsZero(), "file": name, "counts": sh.Counts, "balanced": balanced,
		})
	}
	state := "open, the sheet is provisional"
	if !sh.ClosedAt.IsZero() {
		state = "closed"
	}
	fmt.Printf("Shift %d (%s): %d cards issued; sheet %s\n", sh.Number, state, sh.Counts.Issued, name)
	return nil
}
