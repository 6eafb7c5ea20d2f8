package profile

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
	Protocol         gp.Protocol
	Level            gp.Level
	AID              []byte // of what INITIALIZE UPDATE went to
	HostChallenge    []byte // as sent
	InitializeUpdate []byte // the response data
	CountDataOnly    bool   // quirk: see gp.CountDataOnly
}

// Channel is an open secure channel whose keys can also encipher card secrets.
type Channel interface {
	gp.Channel
	// EncipherSecrets returns each named secret of the card image padded and
	// enciphered under the channel's data encryption key.
	EncipherSecrets(ctx context.Context, names []string) (map[string][]byte, error)
	// SecretKCVs returns the key check value of each named secret that is a key.
	SecretKCVs(ctx context.Context, names []string) (map[string][]byte, error)
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

// Run personalizes the applications of one card, one after another, as one
// sequence of steps: whatever was written for one of them has changed the card
// for all, and what the card shows as done is looked for from the end of the
// whole sequence back.
type Run struct {
	Chip    *Chip
	Applets []*Applet // in the order in which they are written
	Card    apdu.Card
	Keys    ChannelOpener
	// Element returns the bytes of an element of the card image that is no secret: a
	// file by its name alone ("dg1"), a data grouping by its whole name
	// ("emv.0101"). ErrNoElement says that the product does not make it.
	Element func(name string) ([]byte, error)
	// Secrets returns secrets of the card image in the clear, for an applet that
	// takes them no other way; nil: there is none such. They are overwritten after
	// use.
	Secrets func(ctx context.Context, names []string) (map[string][]byte, error)
	// Prove checks an application as a reader or terminal would; stage is lds, emv,
	// directory or locked, or resumed for what was proven before a crash.
	Prove func(ctx context.Context, applet *Applet, stage string) error
	// Journal records what is about to be sent and what became of it. writes
	// says that commands that change the card come next: what is recorded must
	// then be safe before Journal returns. An error stops the run before
	// anything more is sent.
	Journal func(ctx context.Context, event Event, steps []string, writes bool) error
	// Live sends each command as an exchange of its own, so that each can be
	// watched. The card gets the same bytes.
	Live bool

	// captured is what steps took from responses, by name.
	captured map[string][]byte
	steps    []*Step // of all applets, once they are asked for
}

// ErrNoElement says that a card image has no such element.
var ErrNoElement = errors.New("the card image has no such element")

// all lists the steps of all applets. Where there are several, a step is named
// after its applet too, and the proofs of those that another one completes come
// together with that one's, after everything is written.
func (r *Run) all() []*Step {
	if r.steps != nil {
		return r.steps
	}
	var proofs []*Step
	for _, a := range r.Applets {
		for i := range a.Steps {
			st := a.Steps[i]
			st.of = a
			if len(r.Applets) > 1 {
				st.ID = a.Name + "/" + st.ID
			}
			switch {
			case st.Prove != "" && a.Partial():
				proofs = append(proofs, &st)
				continue
			case st.Prove != "":
				r.steps, proofs = append(r.steps, proofs...), nil
			}
			r.steps = append(r.steps, &st)
		}
	}
	r.steps = append(r.steps, proofs...)
	return r.steps
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

// phase is a run of steps that share one secure channel or one selection, or
// one proof.
type phase struct {
	open  *Step // open-channel or select; nil for a proof
	steps []*Step
	prove *Step
}

func (r *Run) phases() (out []phase) {
	for _, st := range r.all() {
		switch {
		case st.Prove != "":
			out = append(out, phase{prove: st})
		case st.OpenChannel != nil && len(out) > 0 && r.sameChannel(out[len(out)-1].open, st):
			// It is open already.
		case st.OpenChannel != nil || st.Select != nil:
			out = append(out, phase{open: st})
		default:
			p := &out[len(out)-1]
			p.steps = append(p.steps, st)
		}
	}
	return out
}

// sameChannel reports whether a step would open the channel that an earlier one
// has opened.
func (r *Run) sameChannel(open, st *Step) bool {
	return open != nil && open.OpenChannel != nil && open.OpenChannel.Keys == st.OpenChannel.Keys &&
		string(r.target(open)) == string(r.target(st)) && r.level(open) == r.level(st)
}

// Execute runs all steps on a fresh card.
func (r *Run) Execute(ctx context.Context) error {
	if err := r.ready(); err != nil {
		return err
	}
	return r.from(ctx, "", false)
}

// ready finds out before the first command whether the card image has every file
// that the steps write.
func (r *Run) ready() error {
	for _, st := range r.all() {
		if st.Store != nil {
			kept, err := r.present(st.Store)
			if err != nil {
				return &StepError{Step: st.ID, Err: fmt.Errorf("%w: %w", ErrUnusable, err)}
			}
			st.Store = kept
		}
		for _, v := range st.values() {
			for _, ref := range v.value.references() {
				if isElement(ref.name) {
					if _, err := r.Element(elementName(ref.name)); err != nil {
						return &StepError{Step: st.ID, Err: fmt.Errorf("%w: %w", ErrUnusable, err)}
					}
				}
			}
		}
	}
	return nil
}

// present is a STORE DATA sequence without the optional groupings that this card
// image does not have.
func (r *Run) present(s *Store) (*Store, error) {
	kept := *s
	kept.DGIs = nil
	for _, d := range s.DGIs {
		has := true
		for _, ref := range d.Value.references() {
			if !d.Optional || !isElement(ref.name) {
				continue
			}
			switch _, err := r.Element(elementName(ref.name)); {
			case errors.Is(err, ErrNoElement):
				has = false
			case err != nil:
				return nil, err
			}
		}
		if has {
			kept.DGIs = append(kept.DGIs, d)
		}
	}
	return &kept, nil
}

// elementPrefixes begin the names of elements that are no secrets.
var elementPrefixes = []string{filePrefix, emvPrefix, psePrefix, ppsePrefix}

// Stages of a proof, as steps name them, and ProveResumed for one that was made
// before a crash.
const (
	ProveLDS     = "lds"     // an identity application, as a border reader reads it
	ProveEMV     = "emv"     // a payment application and its directory, as a terminal does
	ProveLocked  = "locked"  // the locked card still answers
	ProveResumed = "resumed" // again, of what is done already
)

// isElement reports whether a name is that of an element that is no secret.
func isElement(name string) bool {
	for _, prefix := range elementPrefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// elementName is what the card image calls an element.
func elementName(name string) string { return strings.TrimPrefix(name, filePrefix) }

// from runs the steps that come after the step named last ("" is the
// beginning). written says whether the card was already changed.
func (r *Run) from(ctx context.Context, last string, written bool) error {
	skipping := last != ""
	for _, p := range r.phases() {
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
			todo, skipping = remaining(p.steps, last)
		}
		if len(todo) == 0 {
			continue
		}
		changed, err := r.phase(ctx, p.open, todo)
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

// remaining is what is left of a phase after the step named last. What only
// reads or sets the scene is done again: commands that change nothing, with what
// they capture, and the INSTALL [for personalization] that a sequence of STORE
// DATA had begun with.
func remaining(steps []*Step, last string) (todo []*Step, skipping bool) {
	at := -1
	for i, st := range steps {
		if st.ID == last {
			at = i
		}
	}
	if at < 0 {
		return nil, true
	}
	rest := steps[at+1:]
	if len(rest) == 0 {
		return nil, false
	}
	begun := false
	for _, st := range steps[:at+1] {
		if st.Command != nil && !st.writes() {
			todo = append(todo, st)
		}
		begun = begun || st.Install != nil
	}
	for _, st := range rest {
		if st.Install != nil {
			break
		}
		if begun && (st.Store != nil || st.Refused != nil && st.Refused.Command == nil) {
			todo = append(todo, &Step{ID: "begin-again", Install: &Install{}, of: st.of})
			break
		}
	}
	return append(todo, rest...), false
}

func (r *Run) prove(ctx context.Context, st *Step) error {
	if err := r.journal(ctx, Intent, st); err != nil {
		return err
	}
	if err := r.Prove(ctx, st.of, st.Prove); err != nil {
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
