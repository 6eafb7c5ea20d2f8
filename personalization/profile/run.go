package profile

import (
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

// ChannelOpener turns a named key set into a secure channel. The keys
// themselves stay where they are.
type ChannelOpener interface {
	// HostChallenge returns fresh random bytes for INITIALIZE UPDATE, 8 or 16
	// as the mode says.
	HostChallenge(ctx context.Context, mode gp.Mode) ([]byte, error)
	// Open checks the card's answer to INITIALIZE UPDATE and returns the
	// channel with the EXTERNAL AUTHENTICATE command to send first. It fails
	// with gp.ErrCardCryptogram, before anything is sent, when the card does
	// not hold the keys of the set.
	Open(ctx context.Context, req OpenRequest) (Channel, []byte, error)
}

// OpenRequest is what a ChannelOpener needs to know.
type OpenRequest struct {
	Keys             KeySet
	Level            gp.Level
	ISD              []byte
	HostChallenge    []byte // as sent
	InitializeUpdate []byte // the response data
}

// Channel is an open secure channel whose keys can also encipher card secrets.
type Channel interface {
	gp.Channel
	// EncipherSecrets returns each named secret of the card image padded and
	// enciphered under the channel's data encryption key.
	EncipherSecrets(ctx context.Context, names []string) (map[string][]byte, error)
	// PutKey builds PUT KEY for the card's keys of another set. check
	// verifies the response data: the new version and its key check values.
	PutKey(ctx context.Context, replace, with KeySet) (cmd apdu.Command, check func(response []byte) error, err error)
}

// Event is what a journal records of a step.
type Event string

// The events of a step.
const (
	Intent Event = "intent" // about to be sent
	Done   Event = "done"   // the card confirmed it
	Failed Event = "failed" // the card refused it, or its answer is missing
)

// Run personalizes one application on one card.
type Run struct {
	Chip   *Chip
	Applet *Applet
	Card   apdu.Card
	Keys   ChannelOpener
	// Element returns the bytes of a file element of the card image.
	Element func(name string) ([]byte, error)
	// Prove checks the card as a reader would; stage is lds or locked.
	Prove func(ctx context.Context, stage string) error
	// Journal records what is about to be sent and what became of it. writes
	// says that commands that change the card come next: what is recorded must
	// then be safe before Journal returns. An error stops the run before
	// anything more is sent.
	Journal func(ctx context.Context, event Event, steps []string, writes bool) error
}

// StepError says which step of a run failed.
type StepError struct {
	Step string
	// Written reports whether a command that changes the card's contents may
	// have reached it: false means that the card is as it was.
	Written bool
	Err     error
}

func (e *StepError) Error() string { return fmt.Sprintf("step %s: %v", e.Step, e.Err) }

// Unwrap gives the cause.
func (e *StepError) Unwrap() error { return e.Err }

// phase is a run of steps that share one secure channel, or one proof.
type phase struct {
	open  *Step // nil for a proof
	steps []*Step
	prove *Step
}

func (a *Applet) phases() (out []phase) {
	for i := range a.Steps {
		st := &a.Steps[i]
		switch {
		case st.Prove != "":
			out = append(out, phase{prove: st})
		case st.OpenChannel != nil:
			out = append(out, phase{open: st})
		default:
			p := &out[len(out)-1]
			p.steps = append(p.steps, st)
		}
	}
	return out
}

// Execute runs all steps on a fresh card.
func (r *Run) Execute(ctx context.Context) error { return r.from(ctx, "", false) }

// from runs the steps that come after the step named last ("" is the
// beginning). written says whether the card was already changed.
func (r *Run) from(ctx context.Context, last string, written bool) error {
	skipping := last != ""
	for _, p := range r.Applet.phases() {
		if p.prove != nil {
			if skipping {
				continue
			}
			if err := r.prove(ctx, p.prove); err != nil {
				return &StepError{Step: p.prove.ID, Written: written, Err: err}
			}
			continue
		}
		todo := p.steps
		if skipping {
			todo = nil
			for i, st := range p.steps {
				if !skipping {
					todo = append(todo, st)
				} else if st.ID == last {
					skipping = false
					// What begins a sequence is needed again.
					if i+1 < len(p.steps) && p.steps[i+1].Install == nil {
						todo = append(todo, &Step{ID: "begin-again", Install: &Install{}})
					}
				}
			}
		}
		if len(todo) == 0 {
			continue
		}
		changed, err := r.channel(ctx, p.open, todo)
		written = written || changed
		if err != nil {
			var se *StepError
			if errors.As(err, &se) {
				se.Written = written
				return se
			}
			return &StepError{Step: p.open.ID, Written: written, Err: err}
		}
	}
	return nil
}

func (r *Run) prove(ctx context.Context, st *Step) error {
	if err := r.journal(ctx, Intent, st); err != nil {
		return err
	}
	if err := r.Prove(ctx, st.Prove); err != nil {
		return errors.Join(err, r.journal(ctx, Failed, st))
	}
	return r.journal(ctx, Done, st)
}

func (r *Run) journal(ctx context.Context, e Event, steps ...*Step) error {
	if r.Journal == nil {
		return nil
	}
	ids := make([]string, len(steps))
	writes := false
	for i, st := range steps {
		ids[i] = st.ID
		writes = writes || e == Intent && st.writes()
	}
	if err := r.Journal(ctx, e, ids, writes); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// mode is what the chip's i says: the length of challenges and MACs.
func (c *Chip) mode() gp.Mode { return gp.ModeOf(c.GlobalPlatform.I[0]) }

// open selects the issuer security domain and begins a secure channel. It
// returns EXTERNAL AUTHENTICATE, still to be sent.
func (r *Run) open(ctx context.Context, keys KeySet) (Channel, []byte, error) {
	challenge, err := r.Keys.HostChallenge(ctx, r.Chip.mode())
	if err != nil {
		return nil, nil, err
	}
	sel, err := gp.SelectCommand(r.Chip.GlobalPlatform.ISD).Bytes()
	if err != nil {
		return nil, nil, err
	}
	iu, err := gp.InitializeUpdateCommand(keys.Version, challenge).Bytes()
	if err != nil {
		return nil, nil, err
	}
	answers, err := apdu.Exchange(ctx, r.Card, []apdu.Item{{Command: sel}, {Command: iu}})
	if err != nil {
		if errors.Is(err, apdu.SWReferencedDataNotFound) {
			return nil, nil, fmt.Errorf("the card has no keys of version %02X: %w", keys.Version, err)
		}
		return nil, nil, err
	}
	return r.Keys.Open(ctx, OpenRequest{
		Keys: keys, Level: gp.Level(r.Chip.GlobalPlatform.Level[0]), ISD: r.Chip.GlobalPlatform.ISD,
		HostChallenge: challenge, InitializeUpdate: answers[1].Data,
	})
}

// planned is one command of a batch with the step that it belongs to.
type planned struct {
	step   *Step
	cmd    apdu.Command
	expect apdu.StatusWord
	check  func(response []byte) error
}

// channel opens one secure channel and sends all commands of its steps as one
// batch: C-MAC and C-ENC never depend on a response. changed reports whether a
// command of a writing step may have reached the card.
func (r *Run) channel(ctx context.Context, open *Step, steps []*Step) (changed bool, err error) {
	ch, authenticate, err := r.open(ctx, r.Chip.Keys[open.OpenChannel.Keys])
	if err != nil {
		return false, err
	}
	defer ch.Close()
	var plan []planned
	for _, st := range steps {
		cmds, err := r.commands(ctx, ch, st)
		if err != nil {
			return false, &StepError{Step: st.ID, Err: err}
		}
		plan = append(plan, cmds...)
	}
	cmds := make([]apdu.Command, len(plan))
	for i, p := range plan {
		cmds[i] = p.cmd
	}
	wrapped, err := ch.Wrap(ctx, cmds)
	if err != nil {
		return false, err
	}
	batch := make([]apdu.Item, 1, 1+len(plan))
	batch[0] = apdu.Item{Command: authenticate}
	for i, w := range wrapped {
		batch = append(batch, apdu.Item{Command: w, Expect: []apdu.StatusWord{plan[i].expect}})
	}
	if err := r.journal(ctx, Intent, append([]*Step{open}, steps...)...); err != nil {
		return false, err
	}
	raw, err := apdu.Exchange(ctx, r.Card, batch)
	if err == nil {
		err = r.confirm(ctx, ch, plan, raw[1:])
	} else {
		err = r.locate(open, plan, err)
	}
	if err != nil {
		failed := open
		var se *StepError
		if errors.As(err, &se) {
			for _, st := range steps {
				if st.ID == se.Step {
					failed = st
				}
			}
		}
		return reached(plan, len(raw)), errors.Join(err, r.journal(context.WithoutCancel(ctx), Failed, failed))
	}
	return reached(plan, len(raw)), r.journal(ctx, Done, append([]*Step{open}, steps...)...)
}

// reached reports whether a writing command is among those that may have
// reached the card when n answers came back: the one without an answer, too.
func reached(plan []planned, n int) bool {
	for i, p := range plan {
		if i+1 > n { // answer 0 is that of EXTERNAL AUTHENTICATE
			break
		}
		if p.step.writes() {
			return true
		}
	}
	return false
}

func (st *Step) writes() bool { return st.Store != nil || st.PutKey != nil || st.SetStatus != nil }

// locate names the step at which a batch stopped.
func (r *Run) locate(open *Step, plan []planned, err error) error {
	var ee *apdu.ExchangeError
	if !errors.As(err, &ee) || ee.Index == 0 {
		return &StepError{Step: open.ID, Err: err}
	}
	return &StepError{Step: plan[ee.Index-1].step.ID, Err: ee.Err}
}

// confirm checks the secured responses.
func (r *Run) confirm(ctx context.Context, ch Channel, plan []planned, answers []apdu.Response) error {
	raw := make([][]byte, len(answers))
	for i, a := range answers {
		raw[i] = a.Bytes()
	}
	opened, err := ch.Unwrap(ctx, raw)
	if err != nil {
		step := plan[len(plan)-1].step.ID
		if len(opened) < len(plan) {
			step = plan[len(opened)].step.ID
		}
		return &StepError{Step: step, Err: err}
	}
	for i, p := range plan {
		if p.check == nil {
			continue
		}
		if err := p.check(opened[i].Data); err != nil {
			return &StepError{Step: p.step.ID, Err: err}
		}
	}
	return nil
}
