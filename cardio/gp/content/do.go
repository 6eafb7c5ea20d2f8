package content

import (
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

// Failure says where a plan ended that did not reach its end.
type Failure struct {
	Step    string // its text
	Command int    // of the plan, from 1; 0: before the first one
	Of      int
	// Doubt: a command that changes the card may have been executed or not, as
	// its answer is missing or not the card's.
	Doubt bool
	// Undone: the card is as it was before the plan. With Doubt it is so once it
	// has lost the channel: it drops a load that was not finished.
	Undone bool
	Err    error
}

func (f *Failure) Error() string {
	where := f.Step
	if f.Command > 0 {
		where = fmt.Sprintf("%s: command %d of %d", f.Step, f.Command, f.Of)
	}
	switch {
	case f.Doubt && f.Undone:
		return fmt.Sprintf("%s: %v: a card drops a load that was not finished; look with card content list", where, f.Err)
	case f.Doubt:
		return fmt.Sprintf("%s: %v: the card may have done it or not; look with card content list", where, f.Err)
	}
	return fmt.Sprintf("%s: %v: nothing on the card was changed", where, f.Err)
}

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Err }

// refused reports whether the card said that it did nothing. A warning says that
// it did, 64xx and 65xx that something went wrong on the way (ISO/IEC 7816-4:2020
// table 6).
func refused(err error) bool {
	var sw apdu.StatusWord
	return errors.As(err, &sw) && (sw.SW1() < 0x62 || sw.SW1() > 0x65)
}

// Do sends the plan through an open secure channel, as one batch: no command
// depends on an answer. It returns the receipt of the last one that gave one,
// or nil. Its error is a *Failure.
func (p *Plan) Do(ctx context.Context, channel gp.Channel, card apdu.Card) (*gp.Receipt, error) {
	var commands []apdu.Command
	var steps []*Step
	for i := range p.Steps {
		for range p.Steps[i].Commands {
			steps = append(steps, &p.Steps[i])
		}
		commands = append(commands, p.Steps[i].Commands...)
	}
	// sent is how many commands may have reached the card.
	fail := func(at, sent int, doubt bool, err error) error {
		var ee *apdu.ExchangeError
		if errors.As(err, &ee) {
			err = ee.Err
		}
		// What a card refuses it has not done, and a load that was not finished
		// is dropped. Any other command may have been executed when its answer is
		// missing, and so may the last LOAD.
		f := &Failure{Step: "protect the commands", Of: len(commands), Doubt: doubt, Err: err,
			Undone: !doubt || p.Action == Load && sent < len(commands)}
		if at < len(commands) {
			f.Step, f.Command = steps[at].Text, at+1
		}
		return f
	}
	wrapped, err := channel.Wrap(ctx, commands)
	if err != nil {
		return nil, fail(len(commands), 0, false, err)
	}
	batch := make([]apdu.Item, len(wrapped))
	for i, w := range wrapped {
		batch[i] = apdu.Item{Command: w}
	}
	answers, err := apdu.Exchange(ctx, card, batch)
	if err != nil {
		at := len(answers)
		var ee *apdu.ExchangeError
		if errors.As(err, &ee) {
			at = ee.Index
		}
		return nil, fail(at, at+1, !refused(err), err)
	}
	raw := make([][]byte, len(answers))
	for i, a := range answers {
		raw[i] = a.Bytes()
	}
	opened, err := channel.Unwrap(ctx, raw)
	if err != nil {
		// Every command was sent and answered, but not as the card answers.
		return nil, fail(min(len(opened), len(commands)-1), len(commands), true, err)
	}
	var receipt *gp.Receipt
	for _, a := range opened {
		if r, err := gp.ParseReceipt(a.Data); err == nil && r != nil {
			receipt = r
		}
	}
	return receipt, nil
}
