package profile

// What a step uses and does: values, commands, captures.

import (
	"fmt"
	"slices"
	"strings"

	"cardbureau/cardio/apdu"
)

// writes reports whether the step changes the card's contents.
func (st *Step) writes() bool {
	return st.Load != nil || st.InstallApplet != nil || st.MakeSelectable != nil || st.Store != nil || st.Files != nil ||
		st.Records != nil || st.PutData != nil || st.PutKey != nil || st.GenerateKey != nil || st.SetStatus != nil ||
		st.Lock != nil || st.Command != nil && st.Kind != ""
}

// needsChannel reports whether the step can only be sent through a secure
// channel with a security domain.
func (st *Step) needsChannel() bool {
	return st.Load != nil || st.InstallApplet != nil || st.MakeSelectable != nil || st.Install != nil || st.Store != nil ||
		st.PutKey != nil || st.SetStatus != nil || st.Refused != nil && st.Refused.Command == nil
}

// actionNames are the actions of a step as they are written.
var actionNames = []string{
	"select", "open-channel", "load", "install", "make-selectable", "install-for-personalization", "store", "files",
	"records", "put-data", "put-key", "generate-key", "command", "set-status", "lock", "refused", "prove",
}

func (st *Step) actions() (n int) {
	for _, has := range []bool{
		st.Select != nil, st.OpenChannel != nil, st.Load != nil, st.InstallApplet != nil, st.MakeSelectable != nil, st.Install != nil,
		st.Store != nil, st.Files != nil, st.Records != nil, st.PutData != nil, st.PutKey != nil, st.GenerateKey != nil,
		st.Command != nil, st.SetStatus != nil, st.Lock != nil, st.Refused != nil, st.Prove != "",
	} {
		if has {
			n++
		}
	}
	return n
}

// placed is a value of a step with its path below the step, and the loop names
// that it may use.
type placed struct {
	path  string
	value *Value
	loop  []string
	// enciphered: it is stored enciphered under the DEK.
	enciphered bool
}

// values lists every value of a step.
func (st *Step) values() (out []placed) {
	command := func(path string, c *Command, loop ...string) {
		if c == nil {
			return
		}
		if c.Chunk != nil {
			out = append(out, placed{path: path + ".chunk.of", value: &c.Chunk.Of, loop: loop})
			loop = append(append([]string{}, loop...), "it.chunk", "it.offset", "it.index")
		}
		out = append(out, placed{path: path + ".header", value: &c.Header, loop: loop}, placed{path: path + ".data", value: &c.Data, loop: loop})
	}
	if st.InstallApplet != nil {
		out = append(out, placed{path: "install.parameters", value: &st.InstallApplet.Parameters})
	}
	if st.Store != nil {
		for i := range st.Store.DGIs {
			d := &st.Store.DGIs[i]
			out = append(out, placed{path: fmt.Sprintf("store.dgis[%d].value", i), value: &d.Value, enciphered: st.Store.secret(d)})
		}
	}
	if f := st.Files; f != nil {
		command("files.create", f.Create, "it.fid", "it.value")
		command("files.select", f.Select, "it.fid", "it.value")
		command("files.update", f.Update, "it.fid", "it.value", "it.chunk", "it.offset", "it.index")
		for i := range f.List {
			out = append(out, placed{path: fmt.Sprintf("files.list[%d].value", i), value: &f.List[i].Value})
		}
	}
	if r := st.Records; r != nil {
		command("records.update", r.Update, "it.record", "it.reference", "it.sfi", "it.value")
		for i := range r.List {
			out = append(out, placed{path: fmt.Sprintf("records.list[%d].value", i), value: &r.List[i].Value})
		}
	}
	if d := st.PutData; d != nil {
		command("put-data.update", d.Update, "it.tag", "it.value")
		for i := range d.List {
			out = append(out, placed{path: fmt.Sprintf("put-data.list[%d].value", i), value: &d.List[i].Value})
		}
	}
	command("generate-key", st.GenerateKey)
	command("command", st.Command)
	command("lock", st.Lock)
	if st.Refused != nil {
		command("refused.command", st.Refused.Command)
	}
	if st.Probe != nil && st.Probe.Answer != nil {
		out = append(out, placed{path: "probe.answer.header", value: &st.Probe.Answer.Header}, placed{path: "probe.answer.data", value: &st.Probe.Answer.Data})
	}
	return out
}

// own lists the commands that the step itself is.
func (st *Step) own() []*Command {
	var out []*Command
	for _, c := range []*Command{st.GenerateKey, st.Command, st.Lock} {
		if c != nil {
			out = append(out, c)
		}
	}
	return out
}

// commands lists every command that the profile gives for a step, in loops too.
func (st *Step) commands() (out []*Command) {
	out = st.own()
	add := func(c *Command) {
		if c != nil {
			out = append(out, c)
		}
	}
	if st.Files != nil {
		add(st.Files.Create)
		add(st.Files.Select)
		add(or(st.Files.Update, updateBinary))
	}
	if st.Records != nil {
		add(or(st.Records.Update, updateRecord))
	}
	if st.PutData != nil {
		add(or(st.PutData.Update, putData))
	}
	return out
}

// writingInstructions change a card in ISO/IEC 7816-4, -8, -9 and GlobalPlatform:
// of these classes, a command with one of them is no reading.
var writingInstructions = []byte{
	0x04, 0x0C, 0x0E, 0x0F, 0x10, 0x24, 0x2C, 0x44, 0x46, 0xD0, 0xD1, 0xD2, 0xD6, 0xD7, 0xD8, 0xDA, 0xDB, 0xDC, 0xDD,
	0xE0, 0xE2, 0xE4, 0xE6, 0xE8, 0xF0,
}

// mayWrite reports whether a command that is said to change nothing looks
// otherwise.
func (c *Command) mayWrite() bool {
	for _, r := range c.Data.references() {
		if isElement(r.name) || strings.HasPrefix(r.name, secretPrefix) {
			return true
		}
	}
	h, ok := c.Header.prefix()
	standard := h[0]&0xF0 == 0x00 || h[0]&0xF0 == 0x80
	return ok && standard && slices.Contains(writingInstructions, h[1])
}

// finalHeader reports whether a header is that of a final step.
func (a *Applet) finalHeader(header Value) bool {
	b, ok := header.constant()
	for i := range a.Steps {
		for _, c := range a.Steps[i].own() {
			if h, constant := c.Header.constant(); ok && constant && a.Steps[i].Kind == Final && string(h) == string(b) {
				return true
			}
		}
	}
	return false
}

// captures lists the names of what the step takes from responses.
func (st *Step) captures() (names []string) {
	for _, c := range st.own() {
		for n := range c.Capture {
			names = append(names, capturePrefix+n)
		}
	}
	return names
}

// uses reports whether the step needs one of the captured names.
func (st *Step) uses(captured map[string]bool) bool {
	for _, p := range st.values() {
		for _, r := range p.value.references() {
			if captured[r.name] {
				return true
			}
		}
	}
	return false
}

func statusWords(list []Hex) []apdu.StatusWord {
	if len(list) == 0 {
		return []apdu.StatusWord{apdu.SWSuccess}
	}
	out := make([]apdu.StatusWord, 0, len(list))
	for _, h := range list {
		if len(h) == 2 {
			out = append(out, apdu.StatusWord(h[0])<<8|apdu.StatusWord(h[1]))
		}
	}
	return out
}
