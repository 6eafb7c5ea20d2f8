package emv

import (
	"context"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// ScriptResult is what became of an issuer's script (Book 4, annex A5).
type ScriptResult struct {
	Template tlv.Tag // 71 or 72
	ID       [4]byte // 9F18, zeros where the script has none
	Done     int     // commands that were carried out
	Failed   int     // number of the command that failed, from 1; 0: none
	Status   apdu.StatusWord
	Invalid  bool // the script could not be read, and nothing was sent
}

// OK reports whether all of the script was carried out.
func (s ScriptResult) OK() bool { return !s.Invalid && s.Failed == 0 }

// Bytes is the result as tag 9F5B has it, 5 bytes a script.
func (s ScriptResult) Bytes() []byte {
	b := byte(0x20)
	if s.Invalid {
		b = 0
	} else if s.Failed > 0 {
		b = 0x10 | byte(min(s.Failed, 15))
	}
	return append([]byte{b}, s.ID[:]...)
}

// ParseScript reads a script, template 71 or 72: its identifier, if it has one, and
// its commands, at least one (Book 3, section 10.10).
func ParseScript(b []byte) (template tlv.Tag, id [4]byte, commands [][]byte, err error) {
	o, rest, err := tlv.Next(b)
	if err != nil || o.Tag != TagScript1 && o.Tag != TagScript2 || len(rest) > 0 {
		return 0, id, nil, format("an issuer script is no template 71 or 72")
	}
	list, err := tlv.Parse(o.Value)
	if err != nil {
		return o.Tag, id, nil, format("an issuer script")
	}
	for i, c := range list {
		switch {
		case c.Tag == TagScriptID && i == 0 && len(c.Value) == 4:
			id = [4]byte(c.Value)
		case c.Tag == TagScriptCommand:
			if _, err := apdu.Parse(c.Value); err != nil {
				return o.Tag, id, nil, format("command %d of an issuer script", len(commands)+1)
			}
			commands = append(commands, c.Value)
		default:
			return o.Tag, id, nil, format("an issuer script holds tag %X", uint32(c.Tag))
		}
	}
	if len(commands) == 0 {
		return o.Tag, id, nil, format("an issuer script has no command")
	}
	return o.Tag, id, commands, nil
}

// RunScript sends a script's commands as they are. Warnings (62xx, 63xx) do not
// stop it, errors do; the error is of the connection alone.
func (a *Application) RunScript(ctx context.Context, script []byte) (ScriptResult, error) {
	template, id, commands, err := ParseScript(script)
	res := ScriptResult{Template: template, ID: id}
	if err != nil {
		res.Invalid = true
		return res, nil
	}
	for i, c := range commands {
		r, err := apdu.SendRaw(ctx, a.Card, c)
		if err != nil {
			return res, fmt.Errorf("command %d of the issuer's script: %w", i+1, err)
		}
		res.Status = r.SW
		if sw1 := r.SW.SW1(); sw1 != 0x90 && sw1 != 0x62 && sw1 != 0x63 {
			res.Failed = i + 1
			return res, nil
		}
		res.Done++
	}
	return res, nil
}

// scripts runs scripts of one template. One that has the other is not run: its
// time is not now.
func (r *run) scripts(ctx context.Context, template tlv.Tag, list [][]byte, name string, bit TVRBit) error {
	for _, s := range list {
		got := ScriptResult{Template: template, Invalid: true}
		if t, id, _, err := ParseScript(s); err == nil && t != template {
			got.ID = id
		} else if got, err = r.app.RunScript(ctx, s); err != nil {
			return err
		}
		r.result.TSI.Set(DidScript)
		r.result.Scripts = append(r.result.Scripts, got)
		r.term[TagScriptResults] = append(r.term[TagScriptResults], got.Bytes()...)
		if got.OK() {
			r.result.note(name, Passed, "%d commands", got.Done)
			continue
		}
		r.result.TVR.Set(bit)
		if got.Invalid {
			r.result.note(name, Failed, "it is no script of template %X", uint32(template))
		} else {
			r.result.note(name, Failed, "command %d: %v", got.Failed, got.Status)
		}
	}
	r.sync()
	return nil
}
