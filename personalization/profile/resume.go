package profile

import (
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
	var (
		reading  = &probing{run: r}
		complete = true
	)
	// From the last step on: a card that is locked may answer nothing that an
	// earlier probe asks.
	steps := r.all()
	for i := len(steps) - 1; i >= 0; i-- {
		st := steps[i]
		if st.Probe == nil {
			continue
		}
		done, err := reading.done(ctx, st)
		if err != nil {
			return Progress{}, fmt.Errorf("probe of step %s: %w", st.ID, err)
		}
		if done {
			return Progress{Done: st.ID, Complete: complete}, nil
		}
		complete = false
	}
	return Progress{}, nil
}

// probing keeps what was read from the card, so that each thing is read once.
type probing struct {
	run    *Run
	keys   []gp.KeyInformation
	status *status
}

func (p *probing) done(ctx context.Context, st *Step) (bool, error) {
	probe := st.Probe
	if probe.Answer != nil {
		return p.answer(ctx, st.of, probe.Answer)
	}
	if p.keys == nil {
		var err error
		if p.keys, err = p.run.keyVersions(ctx); err != nil {
			return false, err
		}
	}
	if probe.KeyVersion != "" {
		return gp.HasKeyVersion(p.keys, p.run.Chip.Keys[probe.KeyVersion].Version), nil
	}
	if p.status == nil {
		var err error
		if p.status, err = p.run.readStatus(ctx, p.keys); err != nil {
			return false, err
		}
	}
	return p.status.shows(st.of, probe), nil
}

// keyVersions reads which keys the card has. A card that does not tell is asked
// for its default keys by INITIALIZE UPDATE, which authenticates nobody.
func (r *Run) keyVersions(ctx context.Context) ([]gp.KeyInformation, error) {
	if _, err := apdu.Must(ctx, r.Card, gp.SelectCommand(r.Chip.GlobalPlatform.ISD)); err != nil {
		return nil, err
	}
	keys, err := gp.ReadKeyInformation(ctx, gp.Plain(r.Card))
	var sw apdu.StatusWord
	if err == nil && len(keys) > 0 || err != nil && !errors.As(err, &sw) {
		return keys, err
	}
	challenge, err := r.Keys.HostChallenge(ctx, r.Chip.Protocol().Mode())
	if err != nil {
		return nil, err
	}
	answer, err := apdu.Must(ctx, r.Card, gp.InitializeUpdateCommand(0, challenge))
	if err != nil {
		return nil, fmt.Errorf("key information: %w", err)
	}
	iu, err := gp.ParseInitializeUpdate(answer)
	if err != nil {
		return nil, err
	}
	out := make([]gp.KeyInformation, 3)
	for i := range out {
		out[i] = gp.KeyInformation{ID: byte(i + 1), Version: iu.KeyVersion}
	}
	return out, nil
}

// answer asks the application itself.
func (p *probing) answer(ctx context.Context, applet *Applet, probe *ProbeCommand) (bool, error) {
	sel, err := apdu.Send(ctx, p.run.Card, gp.SelectCommand(applet.AID))
	if err != nil {
		return false, err
	}
	p.keys = nil // the card manager is to be selected again
	if sel.SW == apdu.SWFileNotFound {
		return false, nil // not even installed
	}
	if !sel.SW.OK() {
		return false, fmt.Errorf("SELECT: %w", sel.SW)
	}
	pl := &planner{run: p.run, it: map[string][]byte{}}
	cmd, err := pl.single(nil, &Command{Header: probe.Header, Data: probe.Data, Le: probe.Le})
	if err != nil {
		return false, err
	}
	got, err := apdu.Send(ctx, p.run.Card, cmd.cmd)
	if err != nil {
		return false, err
	}
	switch {
	case slices.Contains(statusWords(probe.Done), got.SW):
		return true, nil
	case slices.Contains(statusWords(probe.Pending), got.SW):
		return false, nil
	}
	return false, fmt.Errorf("the answer says neither done nor pending: %w", got.SW)
}

// status is what GET STATUS says.
type status struct {
	card         byte
	applications map[string]byte // life cycle by AID
	loadFiles    map[string]bool // by AID
}

func (s *status) shows(a *Applet, p *Probe) bool {
	state, installed := s.applications[string(a.AID)]
	switch {
	case p.Installed:
		return installed
	case p.Loaded:
		return s.loadFiles[string(a.Package.AID)]
	case len(p.ApplicationState) == 1:
		return installed && state == p.ApplicationState[0]
	}
	// Card states are ordered (GPC_SPE_034 figure 5-1): a later one includes it.
	return s.card >= cardStates[p.CardState]
}

// present names a key set that the card has: one whose version it lists, or else
// one that stands for the card's default keys.
func (r *Run) keySet(card []gp.KeyInformation) string {
	fallback := ""
	for _, name := range keys(r.Chip.Keys) {
		switch version := r.Chip.Keys[name].Version; {
		case version != 0 && gp.HasKeyVersion(card, version):
			return name
		case version == 0 && fallback == "":
			fallback = name
		}
	}
	return fallback
}

// readStatus opens a channel with the key set that the card has and asks for
// the life cycles.
func (r *Run) readStatus(ctx context.Context, keys []gp.KeyInformation) (*status, error) {
	name := r.keySet(keys)
	if name == "" {
		return nil, errors.New("the card has none of the profile's key versions")
	}
	ch, authenticate, err := r.open(ctx, r.Chip.GlobalPlatform.ISD, name, r.Chip.LevelOf(name))
	if err != nil {
		return nil, err
	}
	defer ch.Close()
	answer, err := apdu.SendRaw(ctx, r.Card, authenticate)
	if err != nil {
		return nil, err
	}
	if !answer.SW.OK() {
		return nil, authenticationError(answer.SW)
	}
	send, list := gp.Secure(ch, r.Card), gp.GetStatus
	if r.Chip.Has(QuirkUntaggedStatus) {
		list = gp.GetStatusPlain
	}
	isd, err := list(ctx, send, gp.ListISD)
	if err != nil {
		return nil, err
	}
	if len(isd) != 1 {
		return nil, errors.New("the card does not list its card manager")
	}
	out := &status{card: isd[0].LifeCycle, applications: map[string]byte{}, loadFiles: map[string]bool{}}
	apps, err := list(ctx, send, gp.ListApplications)
	if err != nil {
		return nil, err
	}
	for _, e := range apps {
		out.applications[string(e.AID)] = e.LifeCycle
	}
	if !slices.ContainsFunc(r.Applets, func(a *Applet) bool { return len(a.Package.AID) > 0 }) {
		return out, nil
	}
	files, err := list(ctx, send, gp.ListLoadFiles)
	if err != nil {
		return nil, err
	}
	for _, e := range files {
		out.loadFiles[string(e.AID)] = true
	}
	return out, nil
}

// Resume continues an interrupted run on the same card with the same card
// image: what the card shows as done is not sent again, the rest is, and the
// proof is made in any case.
func (r *Run) Resume(ctx context.Context) error {
	p, err := r.Probe(ctx)
	if err != nil {
		return &StepError{Step: "probe", Written: true, Err: err}
	}
	if err := r.ready(); err != nil {
		return err
	}
	// A proof that came before what is done is made again, since its outcome may
	// never have been written down. That of the lock is the last step and comes in
	// any case.
	for _, st := range r.before(p.Done) {
		if st.Prove == "" || st.Prove == ProveLocked {
			continue
		}
		if err := r.prove(ctx, &Step{ID: st.ID, Prove: ProveResumed, of: st.of}); err != nil {
			return &StepError{Step: st.ID, Written: true, Err: err}
		}
	}
	return r.from(ctx, p.Done, true)
}

// before lists the steps before the one of this name; none for "".
func (r *Run) before(id string) []*Step {
	steps := r.all()
	return steps[:max(0, slices.IndexFunc(steps, func(st *Step) bool { return st.ID == id }))]
}
