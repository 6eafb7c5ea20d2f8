package profile

// The channel of a run, and what goes through it.

import (
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

// target is the AID that an open-channel or select step goes to.
func (r *Run) target(st *Step) []byte {
	if st.Select != nil {
		if len(st.Select.AID) > 0 {
			return st.Select.AID
		}
		return st.of.AID
	}
	switch with := st.OpenChannel.With; with {
	case "", "isd":
		return r.Chip.GlobalPlatform.ISD
	case "applet":
		return st.of.AID
	default:
		aid, _ := parseAID(with)
		return aid
	}
}

// level is that of an open-channel step.
func (r *Run) level(st *Step) gp.Level {
	if len(st.OpenChannel.Level) == 1 {
		return gp.Level(st.OpenChannel.Level[0])
	}
	return r.Chip.LevelOf(st.OpenChannel.Keys)
}

// open selects a security domain and begins a secure channel. It returns
// EXTERNAL AUTHENTICATE, still to be sent.
func (r *Run) open(ctx context.Context, aid []byte, name string, level gp.Level) (Channel, []byte, error) {
	keys, protocol := r.Chip.Keys[name], r.Chip.ProtocolOf(name)
	challenge, err := r.Keys.HostChallenge(ctx, protocol.Mode())
	if err != nil {
		return nil, nil, err
	}
	sel, err := gp.SelectCommand(aid).Bytes()
	if err != nil {
		return nil, nil, err
	}
	iu, err := gp.InitializeUpdateCommand(keys.Asked(), challenge).Bytes()
	if err != nil {
		return nil, nil, err
	}
	answers, err := r.exchange(ctx, []apdu.Item{{Command: sel}, {Command: iu}})
	if err != nil {
		if errors.Is(err, apdu.SWReferencedDataNotFound) {
			return nil, nil, fmt.Errorf("the card has no keys of version %02X: %w", keys.Version, err)
		}
		return nil, nil, err
	}
	// A card that answers with other keys would seem to hold wrong ones.
	if b := answers[1].Data; keys.Version != 0 && len(b) > 10 && b[10] != keys.Version {
		return nil, nil, fmt.Errorf("the card answers with keys of version %02X, not %02X: %w", b[10], keys.Version, apdu.SWReferencedDataNotFound)
	}
	return r.Keys.Open(ctx, OpenRequest{
		Keys: keys, Protocol: protocol, Level: level, AID: aid,
		HostChallenge: challenge, InitializeUpdate: answers[1].Data, CountDataOnly: r.Chip.Has(QuirkCountDataOnly),
	})
}

// exchange is the one way to the card: a batch, or its commands one by one.
func (r *Run) exchange(ctx context.Context, batch []apdu.Item) ([]apdu.Response, error) {
	if !r.Live {
		return apdu.Exchange(ctx, r.Card, batch)
	}
	var out []apdu.Response
	for i, it := range batch {
		one, err := apdu.Exchange(ctx, r.Card, []apdu.Item{it})
		out = append(out, one...)
		var at *apdu.ExchangeError
		if errors.As(err, &at) {
			at.Index = i
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// phase opens a secure channel or selects an application, and sends the
// commands of its steps in as few batches as can be: C-MAC and C-ENC never
// depend on a response, so only a step that uses what an earlier one captured
// has to wait. changed reports whether a command of a writing step may have
// reached the card.
func (r *Run) phase(ctx context.Context, open *Step, steps []*Step) (changed bool, err error) {
	r.captured = map[string][]byte{} // what is captured lives under one selection
	p := &planner{run: r, secrets: map[string][]byte{}, captured: r.captured, it: map[string][]byte{}}
	defer p.forget()
	b := batcher{run: r, planner: p, open: open}
	if open.Select != nil {
		b.first = []planned{{step: open, cmd: gp.SelectCommand(r.target(open))}}
	} else {
		p.level = r.level(open)
		p.protocol = r.Chip.ProtocolOf(open.OpenChannel.Keys)
		if p.channel, b.authenticate, err = r.open(ctx, r.target(open), open.OpenChannel.Keys, p.level); err != nil {
			return false, err
		}
		defer p.channel.Close()
	}
	if err := p.prefetch(ctx, steps); err != nil {
		return false, err
	}
	for len(steps) > 0 {
		n := independent(steps)
		reached, err := b.send(ctx, steps[:n])
		changed = changed || reached
		if err != nil {
			return changed, err
		}
		steps = steps[n:]
	}
	return changed, nil
}

// independent is how many steps can go into one batch: up to one that uses
// what another of them captures.
func independent(steps []*Step) int {
	captured := map[string]bool{}
	for i, st := range steps {
		if i > 0 && st.uses(captured) {
			return i
		}
		for _, n := range st.captures() {
			captured[n] = true
		}
	}
	return len(steps)
}
