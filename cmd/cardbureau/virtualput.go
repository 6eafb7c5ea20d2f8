package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/cardio/virtual/rack"
)

type virtualPut struct {
	Card string `arg:"" optional:"" help:"Card number, serial number of a chip, or ICCID of a software SIM; none: take out what is in the reader."`
	Slot int    `help:"Reader of cardbureau virtual run, from 1." default:"1"`
}

func (virtualPut) Example() string {
	return "cardbureau virtual put 8998110000000000012 --slot 2 --data /tmp/rehearsal"
}

func (c virtualPut) Run(ctx context.Context, g *globals) error {
	r, err := pcscd.ReadReaders(filepath.Join(g.Data, "run"))
	if err != nil || len(r.Readers) == 0 {
		return errors.New("no virtual readers run for this data folder: start them with cardbureau virtual run")
	}
	if c.Slot < 1 || c.Slot > len(r.Readers) {
		return &exitError{exitUsage, fmt.Sprintf("there are %d virtual readers", len(r.Readers))}
	}
	reader := r.Readers[c.Slot-1]
	control := rack.Client{Socket: reader.Control}
	name := c.Card
	in, err := slotOf(ctx, control, name)
	if err != nil {
		return err
	}
	if name != "" && in == 0 && !inRack(g.Data, name) {
		if _, name, err = (virtualInsert{Card: c.Card}).find(ctx, g); err != nil {
			return err
		}
		if in, err = slotOf(ctx, control, name); err != nil {
			return err
		}
	}
	if in != 0 && in != c.Slot {
		return fmt.Errorf("%s is in reader %d: take it out first, with cardbureau virtual put --slot %[2]d", c.Card, in)
	}
	if err := pcsc.UseSocket(r.Socket); err != nil {
		return err
	}
	pc, err := pcsc.Open()
	if err != nil {
		return err
	}
	defer pc.Close()
	_, _ = control.Do(ctx, rack.Request{Op: "remove", Slot: c.Slot - 1})
	if err := pc.WaitRemoved(ctx, reader.Name); err != nil || name == "" {
		return err
	}
	if _, err := control.Do(ctx, rack.Request{Op: "insert", Slot: c.Slot - 1, Card: name}); err != nil {
		return err
	}
	if _, err := pc.WaitCard(ctx, reader.Name); err != nil {
		return err
	}
	if g.JSON {
		return printJSON(map[string]string{"reader": reader.Name, "PCSCLITE_CSOCK_NAME": r.Socket})
	}
	fmt.Printf("%s is in %s\n", c.Card, reader.Name)
	return nil
}

// slotOf is the reader, counted from 1, that has a card; 0: none.
func slotOf(ctx context.Context, control rack.Client, name string) (int, error) {
	a, err := control.Do(ctx, rack.Request{Op: "status"})
	if err != nil {
		return 0, err
	}
	for _, s := range a.Slots {
		if name != "" && s.Card == name {
			return s.Slot + 1, nil
		}
	}
	return 0, nil
}

// inRack reports whether a bin has a software card of a name.
func inRack(dir, name string) bool {
	for _, bin := range rack.Bins {
		if names, err := rack.Cards(virtualFolder(dir), bin); err == nil && slices.Contains(names, name) {
			return true
		}
	}
	return false
}
