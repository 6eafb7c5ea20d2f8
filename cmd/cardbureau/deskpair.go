package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/uicc"
	"cardbureau/personalization/desk"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/store"
)

type deskPair struct {
	visitFlags
	SIMReader string `help:"Reader with the SIM, by name, pattern or serial number." name:"sim-reader" placeholder:"NAME"`
	SIMTrace  string `help:"Write what goes to the SIM and comes back, without secrets, to this new file." name:"sim-trace" type:"path" placeholder:"FILE"`
	Network   string `help:"Operator, MCC and MNC: 43211, 43235." name:"network" required:"" placeholder:"MCCMNC"`
	ICCID     string `help:"Serial number of the SIM that belongs to the order, if it names one." name:"iccid"`
	SIMPIN    bool   `help:"The SIM asks for its PIN1: a line of standard input, after the number." name:"sim-pin"`
	Own       bool   `help:"The bureau has the SIM's keys and is its authentication centre."`

	Within time.Duration `help:"How long the session may last at most, from the PIN to the record: 2s to 120s." default:"120s" placeholder:"120s"`
}

// Validate refuses a session that is too short or too long.
func (c *deskPair) Validate() error {
	if c.Within < pairing.MinLife || c.Within > pairing.Life {
		return fmt.Errorf("--within: a session lasts %v to %v seconds", pairing.MinLife.Seconds(), pairing.Life.Seconds())
	}
	return nil
}

func (deskPair) Example() string {
	return "cardbureau desk pair 7KXW2M4BC --network 43211 --reader \"Identiv *\" --sim-reader \"ACS *\" --document passport --data /srv/bureau"
}

func (c deskPair) Run(ctx context.Context, g *globals) error {
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
	c.Number = strings.ToUpper(c.Number)
	pc, err := openReaders(g)
	if err != nil {
		return err
	}
	defer pc.Close()
	both, err := c.readers(ctx, pc)
	if err != nil {
		return err
	}
	defer both.close()
	if err := both.inPlace(ctx); err != nil {
		return err
	}
	v, err := d.Open(ctx, c.Number, store.VisitPair, actor)
	if errors.Is(err, store.ErrWrongState) {
		return explained{fmt.Sprintf("card %s: it is not active: activate it first, or lift its block (desk activate, desk unblock)", c.Number), err}
	}
	if err != nil {
		return onCard(c.Number, err)
	}
	defer v.Close(ctx)
	entry, pad, err := c.pins(ctx, b.Config.Desk.Keyboard, both.card)
	if err != nil {
		return err
	}
	if err := v.Prove(ctx, both.card); err != nil {
		return onCard(c.Number, err)
	}
	photo, err := c.compare(v)
	if err != nil {
		return err
	}
	err = v.Check(ctx, desk.HolderCheck{
		Photo: photo, Document: string(c.Document), Guardian: string(c.Guardian), Decision: string(c.Decision), Override: string(c.Override), Second: second,
	})
	if err != nil {
		return onCard(c.Number, err)
	}
	p := &pairer{deskPair: c, bureau: b, visit: v, entry: &onePIN{PINEntry: entry}, pad: pad, both: both, actor: actor}
	defer p.entry.forget()
	out, err := p.pair(ctx, pc)
	if err != nil {
		if out == nil {
			err = c.ended(err)
		}
		err = onCard(c.Number, err)
	}
	if out == nil {
		return err
	}
	// It is paired, whatever failed since: the holder gets the salt in any case.
	if paper != nil {
		r, failed := p.receipt(out)
		if failed == nil {
			failed = paper.write(r)
		}
		if failed == nil {
			out.Salt = ""
		}
		err = errors.Join(err, failed)
	}
	return errors.Join(out.print(g), err)
}

// ended says of a session that was cut off what to do now.
func (c deskPair) ended(err error) error {
	switch {
	case errors.Is(err, pairing.ErrSessionExpired), errors.Is(err, store.ErrSessionOver):
		return fmt.Errorf("%w, which was %v seconds: nothing is paired, begin again", err, c.Within.Seconds())
	case errors.Is(err, pairing.ErrRemoved):
		return fmt.Errorf("%w: nothing is paired, put both in and begin again", err)
	case errors.Is(err, apdu.ErrInDoubt):
		return fmt.Errorf("a card was taken out, or does not answer; nothing is paired: put both in and begin again: %w", err)
	}
	return err
}

// twoReaders are identity card and SIM in their readers.
type twoReaders struct {
	card, sim cardConn
	done      []func()
}

func (t *twoReaders) close() {
	for _, done := range t.done {
		done()
	}
}

// readers connects to both cards: the reader that --reader names has the identity
// card.
func (c deskPair) readers(ctx context.Context, pc *pcsc.Context) (*twoReaders, error) {
	if c.Reader == "" || c.SIMReader == "" {
		return nil, &exitError{exitUsage, "name the readers: --reader with the identity card, --sim-reader with the SIM"}
	}
	name, err := c.find(ctx, pc)
	if err != nil {
		return nil, err
	}
	second := readerFlag{Reader: c.SIMReader, Trace: c.SIMTrace}
	sim, err := second.find(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("the SIM's reader: %w", err)
	}
	if sim == name {
		return nil, &exitError{exitUsage, "identity card and SIM are in two readers: --reader and --sim-reader name the same"}
	}
	t := &twoReaders{}
	var done func()
	if t.card, done, err = c.connectTo(ctx, pc, name); err != nil {
		return nil, err
	}
	t.done = append(t.done, done)
	if t.sim, done, err = second.connectTo(ctx, pc, sim); err != nil {
		t.close()
		return nil, fmt.Errorf("the SIM: %w", err)
	}
	t.done = append(t.done, done)
	return t, nil
}

// inPlace asks whether the SIM's reader has a SIM, before the visit begins: an identity
// card in its stead leaves the SIM to be taken for a forged card, which is kept and
// counts as a refusal.
func (t *twoReaders) inPlace(ctx context.Context) error {
	if _, err := uicc.Open(ctx, t.sim); err != nil {
		return fmt.Errorf("no SIM answers in %s: identity card and SIM may be in each other's reader: --reader names the identity card's: %w", t.sim.Reader(), err)
	}
	return t.sim.Reset(ctx, true)
}

// onePIN asks the holder once and remembers, for the steps of one visit.
type onePIN struct {
	desk.PINEntry
	pin []byte
}

// Current asks the first time.
func (o *onePIN) Current(ctx context.Context) ([]byte, error) {
	if o.pin == nil {
		pin, err := o.PINEntry.Current(ctx)
		if err != nil {
			return nil, err
		}
		o.pin = pin
	}
	return bytes.Clone(o.pin), nil
}

func (o *onePIN) forget() { clear(o.pin) }
