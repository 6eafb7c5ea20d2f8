package profile

import (
	"context"
	"errors"

	"cardbureau/cardio/apdu"
)

// batcher sends the batches of one phase.
type batcher struct {
	run          *Run
	planner      *planner
	open         *Step
	authenticate []byte    // EXTERNAL AUTHENTICATE, until it is sent
	first        []planned // SELECT in the clear, until it is sent
}

func (b *batcher) send(ctx context.Context, steps []*Step) (changed bool, err error) {
	plan := b.first
	for _, st := range steps {
		cmds, err := b.planner.commands(ctx, st)
		if err != nil {
			return false, &StepError{Step: st.ID, Err: unusable(err)}
		}
		plan = append(plan, cmds...)
	}
	batch, err := b.batch(ctx, plan)
	if err != nil {
		return false, err
	}
	named := steps
	if b.authenticate != nil || b.first != nil {
		named = append([]*Step{b.open}, steps...)
	}
	skip := len(batch) - len(plan) // EXTERNAL AUTHENTICATE belongs to no planned command
	b.authenticate, b.first = nil, nil
	if err := b.run.journal(ctx, Intent, named...); err != nil {
		return false, err
	}
	raw, err := b.run.exchange(ctx, batch)
	b.forget(plan, batch)
	changed = reached(plan, skip, err)
	if err == nil {
		err = b.confirm(ctx, plan, raw[skip:])
	} else {
		err = b.locate(plan, skip, err)
	}
	if err == nil {
		return changed, b.run.journal(ctx, Done, named...)
	}
	failed := b.open
	var se *StepError
	if errors.As(err, &se) {
		for _, st := range steps {
			if st.ID == se.Step {
				failed = st
			}
		}
	}
	return changed, errors.Join(err, b.run.journal(context.WithoutCancel(ctx), Failed, failed))
}

// forget wipes what was sent in the clear.
func (b *batcher) forget(plan []planned, batch []apdu.Item) {
	if b.planner.channel != nil || b.open.of.Plaintext == "" {
		return
	}
	for _, p := range plan {
		if p.step != b.open { // whose data is the profile's AID
			clear(p.cmd.Data)
		}
	}
	for _, it := range batch {
		clear(it.Command)
	}
}

// batch protects the plan where a channel is open.
func (b *batcher) batch(ctx context.Context, plan []planned) ([]apdu.Item, error) {
	batch := make([]apdu.Item, 0, 1+len(plan))
	if b.authenticate != nil {
		batch = append(batch, apdu.Item{Command: b.authenticate})
	}
	cmds := make([]apdu.Command, len(plan))
	for i, p := range plan {
		cmds[i] = p.cmd
	}
	var wrapped [][]byte
	var err error
	if b.planner.channel != nil {
		wrapped, err = b.planner.channel.Wrap(ctx, cmds)
	} else {
		wrapped, err = encode(cmds)
	}
	if err != nil {
		return nil, err
	}
	for i, w := range wrapped {
		batch = append(batch, apdu.Item{Command: w, Expect: plan[i].expect})
	}
	return batch, nil
}

func encode(cmds []apdu.Command) ([][]byte, error) {
	out := make([][]byte, len(cmds))
	for i, c := range cmds {
		b, err := c.Bytes()
		if err != nil {
			return nil, err
		}
		out[i] = b
	}
	return out, nil
}

// reached reports whether a writing command is among those that may have
// reached the card: all of a batch that went through, otherwise those up to the
// one at which it stopped, refused or without an answer.
func reached(plan []planned, skip int, err error) bool {
	sent := len(plan)
	var at *apdu.ExchangeError
	if errors.As(err, &at) {
		sent = at.Index - skip + 1
	}
	for _, p := range plan[:max(sent, 0)] {
		if p.step.writes() {
			return true
		}
	}
	return false
}

// locate names the step at which a batch stopped.
func (b *batcher) locate(plan []planned, skip int, err error) error {
	var ee *apdu.ExchangeError
	if !errors.As(err, &ee) || ee.Index < skip {
		return &StepError{Step: b.open.ID, Err: authenticationError(err)}
	}
	return &StepError{Step: plan[ee.Index-skip].step.ID, Err: ee.Err}
}

// confirm checks the responses, in a channel those that it secured.
func (b *batcher) confirm(ctx context.Context, plan []planned, answers []apdu.Response) error {
	if b.planner.channel != nil {
		raw := make([][]byte, len(answers))
		for i, a := range answers {
			raw[i] = a.Bytes()
		}
		opened, err := b.planner.channel.Unwrap(ctx, raw)
		if err != nil {
			step := plan[len(plan)-1].step.ID
			if len(opened) < len(plan) {
				step = plan[len(opened)].step.ID
			}
			return &StepError{Step: step, Err: err}
		}
		answers = opened
	}
	for i, p := range plan {
		if p.check == nil {
			continue
		}
		if err := p.check(answers[i].Data); err != nil {
			return &StepError{Step: p.step.ID, Err: err}
		}
	}
	return nil
}
