package profile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/gp/cap"
)

// planned is one command of a batch with the step that it belongs to.
type planned struct {
	step   *Step
	cmd    apdu.Command
	expect []apdu.StatusWord
	// check looks at the response data; it may take something from it.
	check func(response []byte) error
}

// planner turns steps into commands. Its values come from the card image, the
// chip and what was captured.
type planner struct {
	run      *Run
	channel  Channel // nil in the clear
	protocol gp.Protocol
	level    gp.Level
	secrets  map[string][]byte // by use and name: "encipher secret.pin"
	captured map[string][]byte
	it       map[string][]byte
}

// prefetch asks for all secrets that the steps need, in a call a kind of use.
func (p *planner) prefetch(ctx context.Context, steps []*Step) error {
	wanted := map[string]map[string]bool{"": {}, "encipher": {}, "kcv": {}}
	for _, st := range steps {
		for _, v := range st.values() {
			for _, r := range v.value.references() {
				if !strings.HasPrefix(r.name, secretPrefix) {
					continue
				}
				how := r.how
				if v.enciphered {
					how = "encipher"
				}
				if how == "" && st.of.Plaintext == "" {
					return errors.New("secrets are not sent in the clear")
				}
				if p.secrets[how+" "+r.name] == nil {
					wanted[how][strings.TrimPrefix(r.name, secretPrefix)] = true
				}
			}
		}
	}
	for how, set := range wanted {
		if len(set) == 0 {
			continue
		}
		names := make([]string, 0, len(set))
		for n := range set {
			names = append(names, n)
		}
		slices.Sort(names)
		got, err := p.fetch(ctx, how, names)
		if err != nil {
			return err
		}
		for _, n := range names {
			v, ok := got[n]
			if !ok {
				return fmt.Errorf("the card image has no secret %q", n)
			}
			p.secrets[how+" "+secretPrefix+n] = v
		}
	}
	return nil
}

// forget wipes the secrets.
func (p *planner) forget() {
	for _, v := range p.secrets {
		clear(v)
	}
}

func (p *planner) fetch(ctx context.Context, how string, names []string) (map[string][]byte, error) {
	switch how {
	case "":
		if p.run.Secrets == nil {
			return nil, errors.New("secrets are not sent in the clear")
		}
		return p.run.Secrets(ctx, names)
	case "kcv":
		if p.channel == nil {
			return nil, errors.New("a key check value is made where a secure channel is open")
		}
		return p.channel.SecretKCVs(ctx, names)
	}
	if p.channel == nil {
		return nil, errors.New("secrets are enciphered where a secure channel is open")
	}
	return p.channel.EncipherSecrets(ctx, names)
}

// find is the lookup of a step's values.
func (p *planner) find(name, how string) ([]byte, error) {
	var b []byte
	ok := false
	switch {
	case strings.HasPrefix(name, loopPrefix):
		b, ok = p.it[name]
	case strings.HasPrefix(name, secretPrefix):
		b, ok = p.secrets[how+" "+name]
	case strings.HasPrefix(name, capturePrefix):
		b, ok = p.captured[name]
	case isElement(name):
		return p.run.Element(elementName(name))
	}
	if !ok {
		return nil, planMistake("nothing is known of %s here", name)
	}
	return b, nil
}

// most is how many bytes of data one command carries.
func (p *planner) most() int {
	n := p.run.Chip.Limits.CommandData
	extended := n > apdu.MaxShortData
	if p.channel != nil {
		return min(n, p.protocol.MaxPlainData(p.level, extended))
	}
	return n
}

// commands turns a step into the commands it sends.
func (p *planner) commands(ctx context.Context, st *Step) ([]planned, error) {
	switch {
	case st.Load != nil:
		return p.load(st)
	case st.InstallApplet != nil:
		return p.install(st)
	case st.MakeSelectable != nil:
		privileges, err := gp.ParsePrivileges(privilegeBytes(st.MakeSelectable.Privileges))
		if err != nil {
			return nil, err
		}
		return one(st, gp.InstallForMakeSelectable{Application: st.of.AID, Privileges: privileges}.Command)
	case st.Install != nil:
		return []planned{{step: st, cmd: gp.InstallForPersonalizationCommand(st.of.AID)}}, nil
	case st.Store != nil:
		return p.store(st)
	case st.Files != nil:
		return p.files(st)
	case st.Records != nil:
		return p.records(st)
	case st.PutData != nil:
		return p.putData(st)
	case st.PutKey != nil:
		cmd, check, err := p.channel.PutKey(ctx, p.run.Chip.Keys[st.PutKey.Replace], p.run.Chip.Keys[st.PutKey.With])
		if err != nil {
			return nil, err
		}
		return []planned{{step: st, cmd: cmd, check: check}}, nil
	case st.SetStatus != nil && len(st.SetStatus.Application) == 1:
		return []planned{{step: st, cmd: gp.SetApplicationStatusCommand(st.of.AID, st.SetStatus.Application[0])}}, nil
	case st.SetStatus != nil:
		return []planned{{step: st, cmd: gp.SetCardStatusCommand(cardStates[st.SetStatus.Card])}}, nil
	case st.Refused != nil:
		return p.refused(st)
	}
	var out []planned
	for _, c := range st.own() {
		cmds, err := p.command(st, c)
		if err != nil {
			return nil, err
		}
		out = append(out, cmds...)
	}
	return out, nil
}

func one(st *Step, build func() (apdu.Command, error)) ([]planned, error) {
	cmd, err := build()
	if err != nil {
		return nil, err
	}
	return []planned{{step: st, cmd: cmd}}, nil
}

func (p *planner) load(st *Step) ([]planned, error) {
	a := st.of
	block, hash, err := a.loadFile()
	if err != nil {
		return nil, err
	}
	out, err := one(st, gp.InstallForLoad{LoadFile: a.Package.AID, Domain: st.Load.Domain, Hash: hash}.Command)
	if err != nil {
		return nil, err
	}
	file, err := cap.LoadFile(block)
	if err != nil {
		return nil, err
	}
	blocks, err := gp.LoadCommands(file, min(p.most(), apdu.MaxShortData))
	if err != nil {
		return nil, err
	}
	for _, c := range blocks {
		out = append(out, planned{step: st, cmd: c})
	}
	return out, nil
}

func (p *planner) install(st *Step) ([]planned, error) {
	a, in := st.of, st.InstallApplet
	parameters, err := in.Parameters.eval(p.find)
	if err != nil {
		return nil, err
	}
	privileges, err := gp.ParsePrivileges(privilegeBytes(in.Privileges))
	if err != nil {
		return nil, err
	}
	return one(st, gp.InstallForInstall{
		LoadFile: a.Package.AID, Module: a.module(), Application: a.AID, Privileges: privileges,
		Parameters: gp.InstallParameters{Application: parameters}, Selectable: !in.InstalledOnly,
	}.Command)
}

// privilegeBytes are three bytes, zeros where nothing is said.
func privilegeBytes(h Hex) []byte {
	if len(h) == 0 {
		return make([]byte, 3)
	}
	return h
}

// module is the AID of the executable module that the applet is made from.
func (a *Applet) module() []byte {
	if len(a.Package.Module) > 0 {
		return a.Package.Module
	}
	return a.AID
}

func (p *planner) store(st *Step) ([]planned, error) {
	dgis := make([]gp.DGI, 0, len(st.Store.DGIs))
	for _, d := range st.Store.DGIs {
		find, enciphered := p.find, st.Store.secret(&d)
		if enciphered {
			find = func(name, _ string) ([]byte, error) { return p.find(name, "encipher") }
		}
		v, err := d.Value.eval(find)
		if err != nil {
			return nil, err
		}
		dgis = append(dgis, gp.DGI{ID: dgiNumber(d.DGI), Value: v, Enciphered: enciphered})
	}
	return p.storeData(st, dgis, st.Store.options(), nil)
}

// options are those of a sequence's commands.
func (s *Store) options() gp.StoreDataOptions {
	o := gp.StoreDataOptions{OnePerCommand: s.OnePerCommand}
	if p1 := s.P1; p1 != nil {
		o.P1 = &gp.StoreDataP1{}
		for to, h := range map[*byte]Hex{&o.P1.Plain: p1.Plain, &o.P1.Enciphered: p1.Enciphered, &o.P1.Last: p1.Last} {
			if len(h) == 1 {
				*to = h[0]
			}
		}
	}
	return o
}

func (p *planner) storeData(st *Step, dgis []gp.DGI, o gp.StoreDataOptions, expect []apdu.StatusWord) ([]planned, error) {
	o.MaxData = min(p.most(), apdu.MaxShortData)
	cmds, err := gp.StoreData(dgis, o)
	if err != nil {
		return nil, err
	}
	out := make([]planned, len(cmds))
	for i, c := range cmds {
		out[i] = planned{step: st, cmd: c, expect: expect}
	}
	return out, nil
}

func dgiNumber(b Hex) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

func (p *planner) refused(st *Step) ([]planned, error) {
	status := statusWords([]Hex{st.Refused.Status})
	if st.Refused.Command == nil {
		return p.storeData(st, []gp.DGI{{ID: dgiNumber(st.Refused.DGI)}}, gp.StoreDataOptions{}, status)
	}
	out, err := p.command(st, st.Refused.Command)
	for i := range out {
		out[i].expect = status
	}
	return out, err
}
