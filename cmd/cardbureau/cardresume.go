package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"cardbureau/cardio/feeder"
	"cardbureau/cardio/pcsc"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/line"
	"cardbureau/personalization/store"
)

type cardResume struct {
	readerFlag
	Operator string `help:"Who presents the blank, for the audit." default:"${user}"`
}

func (cardResume) Example() string {
	return `cardbureau card resume --reader "ACS *" --data /srv/bureau`
}

func (c cardResume) Run(ctx context.Context, g *globals) error {
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger()})
	if err != nil {
		return err
	}
	defer b.Close()
	pc, err := openReaders(g)
	if err != nil {
		return err
	}
	name, err := c.find(ctx, pc)
	pc.Close()
	if err != nil {
		return err
	}
	actor, err := b.Actor(ctx, "operator", c.Operator, "cli")
	if err != nil {
		return err
	}
	e, err := c.resume(ctx, b, actor, name, g)
	if e.Kind != line.Finished {
		return err
	}
	if g.JSON {
		err = errors.Join(err, printJSON(e))
	} else {
		fmt.Println(e.Reader + ": " + describe(e))
	}
	if e.Outcome != store.OutcomeIssued {
		if err != nil {
			fmt.Fprintln(os.Stderr, "cardbureau:", err)
		}
		return &exitError{status: exitInDoubt}
	}
	return err
}

// resume finishes the blank in a reader and puts the card where it belongs. An
// error with an event that is Finished came after the outcome was committed.
func (c cardResume) resume(ctx context.Context, b *bureau.Bureau, actor store.Actor, name string, g *globals) (e line.Event, err error) {
	reader, closeReader, err := b.OpenReader(ctx, name)
	if err != nil {
		return e, err
	}
	defer closeReader()
	session, err := reader.Present(ctx)
	if err != nil {
		return e, err
	}
	if c.Trace != "" {
		t, err := createTrace(c.Trace, name)
		if err != nil {
			return e, errors.Join(err, session.Close())
		}
		defer t.end()
		session = line.TracedSession(session, t.Writer)
	}
	tell := func(e line.Event) {
		if e.Kind == line.Claimed && !g.JSON {
			fmt.Fprintf(os.Stderr, "%s: blank %s is to become card %s\n", e.Reader, e.Serial, e.Card)
		}
	}
	l, closeLine, err := b.Line(ctx, actor, tell)
	if err != nil {
		return e, errors.Join(err, session.Close())
	}
	e, err = l.Resume(ctx, name, session)
	err = errors.Join(err, session.Close(), closeLine())
	if e.Kind != line.Finished {
		return e, err
	}
	return e, errors.Join(err, putAway(context.WithoutCancel(ctx), b.Dir, name, e.Outcome, reader.Context(), g))
}

// putAway puts a virtual card into its bin, and tells a person where a real
// one goes.
func putAway(ctx context.Context, dir, reader string, outcome store.Outcome, presence *pcsc.Context, g *globals) error {
	bin := feeder.Rejected
	switch outcome {
	case store.OutcomeIssued:
		bin = feeder.Issued
	case store.OutcomeInDoubt:
		bin = feeder.Doubt
	}
	virtual, control, err := bureau.UseReaders(dir)
	if err != nil {
		return err
	}
	if slot, ok := virtual[reader]; ok && control != "" {
		v := &feeder.Virtual{Control: control, Slot: slot, Presence: presence, Reader: reader}
		return v.Out(ctx, bin)
	}
	if !g.JSON {
		fmt.Fprintf(os.Stderr, "%s: take the card out, to the bin %s\n", reader, bin)
	}
	return nil
}
