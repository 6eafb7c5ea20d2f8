package profile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

// Progress is what probes have read from a card whose run was interrupted.
type Progress struct {
	// Done is the last step that the card itself shows as done; empty when it
	// shows none.
	Done string
	// Complete reports that every step with a probe is done: only the proof of
	// the lock is left.
	Complete bool
}

// Probe reads from the card which steps are done. It changes nothing on the
// card but the counter of secure channels, and never sends an EXTERNAL
// AUTHENTICATE to a card whose cryptogram is wrong.
func (r *Run) Probe(ctx context.Context) (Progress, error) {
	if _, err := apdu.Must(ctx, r.Card, gp.SelectCommand(r.Chip.GlobalPlatform.ISD)); err != nil {
		return Progress{}, err
	}
	keys, err := gp.ReadKeyInformation(ctx, gp.Plain(r.Card))
	if err != nil {
		return Progress{}, fmt.Errorf("key information: %w", err)
	}
	var (
		p       Progress
		status  *status
		pending bool
	)
	for i := range r.Applet.Steps {
		st := &r.Applet.Steps[i]
		if st.Probe == nil {
			continue
		}
		var done bool
		switch {
		case st.Probe.KeyVersion != "":
			done = gp.HasKeyVersion(keys, r.Chip.Keys[st.Probe.KeyVersion].Version)
		default:
			if status == nil {
				if status, err = r.readStatus(ctx, keys); err != nil {
					return Progress{}, err
				}
			}
			done = status.shows(st.Probe)
		}
		if !done {
			pending = true
			continue
		}
		p.Done = st.ID
	}
	p.Complete = p.Done != "" && !pending
	return p, nil
}

// status is the life cycle of card and application.
type status struct {
	card, application byte
}

func (s *status) shows(p *Probe) bool {
	if len(p.ApplicationState) == 1 {
		return s.application == p.ApplicationState[0]
	}
	// Card states are ordered (GPC 2.3.1 figure 5-1): a later one includes it.
	return s.card >= cardStates[p.CardState]
}

// readStatus opens a channel with the key set that the card has and asks for
// the life cycles.
func (r *Run) readStatus(ctx context.Context, keys []gp.KeyInformation) (*status, error) {
	name := ""
	for n, k := range r.Chip.Keys {
		if gp.HasKeyVersion(keys, k.Version) && (name == "" || n < name) {
			name = n
		}
	}
	if name == "" {
		return nil, errors.New("the card has none of the profile's key versions")
	}
	ch, authenticate, err := r.open(ctx, r.Chip.Keys[name])
	if err != nil {
		return nil, err
	}
	defer ch.Close()
	answer, err := apdu.SendRaw(ctx, r.Card, authenticate)
	if err != nil {
		return nil, err
	}
	if !answer.SW.OK() {
		return nil, fmt.Errorf("EXTERNAL AUTHENTICATE: %w", answer.SW)
	}
	send := gp.Secure(ch, r.Card)
	isd, err := gp.GetStatus(ctx, send, gp.ListISD)
	if err != nil {
		return nil, err
	}
	apps, err := gp.GetStatus(ctx, send, gp.ListApplications)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(apps, func(e gp.RegistryEntry) bool { return bytes.Equal(e.AID, r.Applet.AID) })
	if len(isd) != 1 || i < 0 {
		return nil, fmt.Errorf("the card does not list its card manager and application %s", r.Applet.AID)
	}
	return &status{card: isd[0].LifeCycle, application: apps[i].LifeCycle}, nil
}

// Resume continues an interrupted run on the same card with the same card
// image: what the card shows as done is not sent again, the rest is, and the
// proof is made in any case.
func (r *Run) Resume(ctx context.Context) error {
	p, err := r.Probe(ctx)
	if err != nil {
		return &StepError{Step: "probe", Written: true, Err: err}
	}
	if p.Done != "" && r.beyondProof(p.Done) {
		// The proof came before the first final step; it is made again, since
		// its outcome may never have been written down.
		for i := range r.Applet.Steps {
			if st := &r.Applet.Steps[i]; st.Prove == "lds" {
				if err := r.prove(ctx, &Step{ID: st.ID, Prove: "resumed"}); err != nil {
					return &StepError{Step: st.ID, Written: true, Err: err}
				}
			}
		}
	}
	return r.from(ctx, p.Done, true)
}

func (r *Run) beyondProof(id string) bool {
	proof := slices.IndexFunc(r.Applet.Steps, func(st Step) bool { return st.Prove == "lds" })
	step := slices.IndexFunc(r.Applet.Steps, func(st Step) bool { return st.ID == id })
	return step > proof
}
