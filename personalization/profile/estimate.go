package profile

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

// Estimate is what the largest card of a product takes to write, without its
// proof.
type Estimate struct {
	Commands int
	Bytes    int           // of commands and responses
	Time     time.Duration // on the chip, after its profile's timing; 0: the profile gives none
}

func (e Estimate) String() string {
	s := fmt.Sprintf("Writing the largest card takes %d commands and %d bytes", e.Commands, e.Bytes)
	if e.Time > 0 {
		s += fmt.Sprintf(", about %s on this chip", e.Time.Round(100*time.Millisecond))
	}
	return s + "; the proof reads as much again."
}

// Estimate plans the product's largest card, with a photo as large as the
// product allows, and counts what would be sent.
func (s *Set) Estimate(p *Product) Estimate {
	e, _, err := s.estimate(p)
	if err != nil {
		return Estimate{} // said by check
	}
	return e
}

// estimate also says at which step the largest card cannot be sent.
func (s *Set) estimate(p *Product) (e Estimate, step string, err error) {
	chip := s.Chips[p.Chip]
	run := &Run{
		Chip: chip, Secrets: guessedSecrets,
		Element: func(name string) ([]byte, error) {
			if name == "binding" && p.Payment == "" {
				return nil, ErrNoElement
			}
			return make([]byte, guessedSize(name, p.Photo.MaxBytes)), nil
		},
	}
	for _, app := range p.Applications {
		run.Applets = append(run.Applets, s.Applets[app.Applet])
	}
	if err := run.ready(); err != nil {
		return e, "", err
	}
	for _, ph := range run.phases() {
		if step, err := run.estimate(ph, &e); err != nil {
			return e, step, err
		}
	}
	e.Time = time.Duration(e.Commands)*chip.Timing.Command + time.Duration(e.Bytes)*chip.Timing.Byte
	return e, "", nil
}

// estimate adds one phase.
func (r *Run) estimate(ph phase, e *Estimate) (step string, err error) {
	if ph.prove != nil {
		return "", nil
	}
	ctx := context.Background()
	pl := &planner{run: r, secrets: map[string][]byte{}, captured: map[string][]byte{}, it: map[string][]byte{}}
	e.add(5+16, 20) // SELECT
	if ph.open.OpenChannel != nil {
		pl.level = r.level(ph.open)
		pl.protocol = r.Chip.ProtocolOf(ph.open.OpenChannel.Keys)
		pl.channel = guessedChannel{pl.protocol, pl.level}
		mode := int(pl.protocol.Mode())
		e.add(5+mode, 13+2*mode) // INITIALIZE UPDATE
		e.add(5+2*mode, 0)       // EXTERNAL AUTHENTICATE
	}
	if err := pl.prefetch(ctx, ph.steps); err != nil {
		return ph.open.ID, err
	}
	for _, st := range r.all() {
		for _, c := range st.own() {
			for name, f := range c.Capture {
				pl.captured[capturePrefix+name] = make([]byte, f.guessedSize())
			}
		}
	}
	for _, st := range ph.steps {
		plan, err := pl.commands(ctx, st)
		if err != nil {
			return st.ID, err
		}
		for _, c := range plan {
			raw := [][]byte{nil}
			if pl.channel != nil {
				raw, err = pl.channel.Wrap(ctx, []apdu.Command{c.cmd})
			} else {
				raw[0], err = c.cmd.Bytes()
			}
			if err != nil {
				return st.ID, err
			}
			e.add(len(raw[0]), 0)
		}
	}
	return "", nil
}

// guessedSize is the field's size where it says so.
func (f Field) guessedSize() int {
	if len(f.tags) > 0 || f.last < 0 {
		return 8
	}
	return f.last - f.first + 1
}

func (e *Estimate) add(command, response int) {
	e.Commands++
	e.Bytes += command + response + 2
}

// Sizes of what is not the photo, seen on cards of the demonstration.
func guessedSize(name string, photo int) int {
	switch name {
	case "dg2":
		return photo + 100
	case "sod":
		return 1900
	case "dg14", "dg15", "services":
		return 300
	case "binding":
		return 600
	}
	if strings.HasPrefix(name, "emv.0") || strings.HasPrefix(name, "emv.1") {
		return 254 // the largest record (EMV Book 1, 11.2)
	}
	return 120
}

func guessedSecret(name string) int {
	switch {
	case strings.HasPrefix(name, "aa-"):
		return 128
	case strings.HasPrefix(name, "mrz-"):
		return 9
	case strings.HasPrefix(name, "emv-"):
		return 128
	}
	return 32
}

func guessedSecrets(_ context.Context, names []string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, n := range names {
		out[n] = make([]byte, guessedSecret(n))
	}
	return out, nil
}

// guessedChannel only adds what protection adds.
type guessedChannel struct {
	protocol gp.Protocol
	level    gp.Level
}

func (c guessedChannel) Wrap(_ context.Context, cmds []apdu.Command) ([][]byte, error) {
	out := make([][]byte, len(cmds))
	for i, cmd := range cmds {
		n := len(cmd.Data)
		if c.level.CENC() && n > 0 {
			n = (n/16 + 1) * 16
		}
		cmd.Data = bytes.Repeat([]byte{1}, n+int(c.protocol.Mode()))
		var err error
		if out[i], err = cmd.Bytes(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c guessedChannel) Unwrap(_ context.Context, raw [][]byte) ([]apdu.Response, error) {
	out := make([]apdu.Response, len(raw))
	for i := range out {
		out[i] = apdu.Response{SW: apdu.SWSuccess}
	}
	return out, nil
}

func (c guessedChannel) Close() {}

func (c guessedChannel) EncipherSecrets(_ context.Context, names []string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, n := range names {
		out[n] = make([]byte, (guessedSecret(n)/16+1)*16)
	}
	return out, nil
}

func (c guessedChannel) SecretKCVs(_ context.Context, names []string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, n := range names {
		out[n] = make([]byte, 3)
	}
	return out, nil
}

func (c guessedChannel) PutKey(_ context.Context, _, with KeySet) (apdu.Command, func([]byte) error, error) {
	parts := make([]gp.KeyComponent, 3)
	for i := range parts {
		parts[i] = gp.KeyComponent{Type: gp.KeyTypeAES, Length: with.Bits / 8, Ciphertext: make([]byte, with.Bits/8), KCV: make([]byte, 3)}
	}
	return gp.ReplaceKeyCommand(0, with.Version, 1, parts), func([]byte) error { return nil }, nil
}
