package profile

import (
	"fmt"
	"slices"

	"cardbureau/cardio/apdu"
)

// action checks what only one action has.
func (c *appletChecker) action(at string, st *Step) {
	switch {
	case st.Prove == ProveLDS && !c.applet.Partial(), st.Prove == ProveEMV && c.applet.Reading.ChipProof == ProofOffline:
		c.proved = true
	case st.Prove == ProveLocked && !c.applet.Partial():
		c.provedLock = c.finalSeen != "" && c.refused
	case st.Prove != "":
		known := []string{ProveLDS, ProveEMV, ProveLocked}
		if slices.Contains(known, st.Prove) {
			c.bad(at+".prove", "proof %q does not fit an applet whose chipProof is %s: identity applications have lds and locked, payment applications emv", st.Prove, c.applet.Reading.ChipProof)
		} else {
			c.bad(at+".prove", "proof %q is not known%s", st.Prove, suggest(st.Prove, known))
		}
	case st.Load != nil:
		if c.applet.Package.CAP == "" || len(c.applet.Package.SHA256) == 0 {
			c.bad(at, "step %q loads the applet's package: add package: { aid: …, cap: …, sha256: [ … ] }", st.ID)
		}
	case st.InstallApplet != nil:
		if len(c.applet.Package.AID) == 0 {
			c.bad(at, "step %q installs from the applet's package: add package: { aid: … }", st.ID)
		}
		c.privileges(at+".install.privileges", st.InstallApplet.Privileges)
	case st.MakeSelectable != nil:
		c.privileges(at+".make-selectable.privileges", st.MakeSelectable.Privileges)
	case st.Install != nil:
		c.begun = true
	case st.Store != nil:
		c.begun = false
		c.writing[[2]byte{0x80, 0xE2}] = true // STORE DATA
		if len(st.Store.DGIs) == 0 {
			c.bad(at+".store", "list the data groupings: dgis: [ { dgi: \"0101\", value: file.dg1 } ]")
		}
		c.storeP1(at+".store.p1", st.Store.P1)
		for j, g := range st.Store.DGIs {
			if refs := g.Value.references(); g.Optional && (len(refs) != 1 || !isElement(refs[0].name)) {
				c.bad(fmt.Sprintf("%s.store.dgis[%d].optional", at, j), "optional leaves out what the product does not make: its value is one element, such as file.binding")
			}
			if len(g.DGI) != 2 {
				c.bad(fmt.Sprintf("%s.store.dgis[%d].dgi", at, j), "a DGI has 2 bytes, this one has %d", len(g.DGI))
			}
			if refs := g.Value.references(); st.Store.secret(&g) && !g.Value.Empty() && (len(refs) != 1 || len(g.Value.terms) != 1 || refs[0].how != "") {
				c.bad(fmt.Sprintf("%s.store.dgis[%d].value", at, j), "a value that is stored enciphered is one secret, such as secret.pin")
			}
		}
	case st.Files != nil:
		c.files(at+".files", st.Files)
	case st.Records != nil:
		for j, r := range st.Records.List {
			if r.SFI < 1 || r.SFI > 30 || r.Number < 1 || r.Number > 254 {
				c.bad(fmt.Sprintf("%s.records.list[%d]", at, j), "a short file identifier is 1 to 30, a record number 1 to 254")
			}
		}
	case st.PutData != nil:
		for j, o := range st.PutData.List {
			if n := len(o.Tag); n < 1 || n > 2 {
				c.bad(fmt.Sprintf("%s.put-data.list[%d].tag", at, j), "a tag has 1 or 2 bytes, this one has %d", n)
			}
		}
	case st.SetStatus != nil:
		c.setStatus(at, st)
	case st.Refused != nil:
		c.refusal(at, st.Refused)
	}
	if st.PutKey != nil {
		c.putKeys++
		if st.PutKey.Replace == st.PutKey.With {
			c.bad(at+".put-key", "key set %q would be replaced by itself", st.PutKey.With)
		}
	}
	c.locks = c.locks || st.Lock != nil || st.SetStatus != nil
	if st.Lock != nil && len(st.Lock.Expect) > 0 {
		c.bad(at+".lock.expect", "a lock that is not confirmed by 9000 is none: leave expect out")
	}
	for _, cmd := range st.commands() {
		if h, ok := cmd.Header.prefix(); ok && st.writes() {
			c.writing[h] = true
		}
		c.chunk(at, cmd)
		if cmd.Le < 0 || cmd.Le > apdu.MaxExtendedNe {
			c.bad(at, "le is 0 to 65536")
		}
		c.statuses(at, cmd.Expect, false)
	}
}

func (c *appletChecker) storeP1(at string, p1 *StoreP1) {
	if p1 == nil {
		return
	}
	for name, h := range map[string]Hex{"plain": p1.Plain, "enciphered": p1.Enciphered, "last": p1.Last} {
		if len(h) != 1 {
			c.bad(at, "%s is 1 byte: EMV CPS has plain: \"00\", enciphered: \"60\", last: \"80\"", name)
		}
	}
}

func (c *appletChecker) privileges(at string, h Hex) {
	if n := len(h); n != 0 && n != 1 && n != 3 {
		c.bad(at, "privileges have 1 or 3 bytes, these have %d", n)
	}
}

func (c *appletChecker) files(at string, f *Files) {
	if len(f.List) == 0 {
		c.bad(at, "list the files: list: [ { fid: \"0101\", value: file.dg1 } ]")
	}
	seen := map[string]bool{}
	for j, file := range f.List {
		if len(file.FID) != 2 {
			c.bad(fmt.Sprintf("%s.list[%d].fid", at, j), "a file identifier has 2 bytes, this one has %d", len(file.FID))
		}
		if seen[string(file.FID)] {
			c.bad(fmt.Sprintf("%s.list[%d].fid", at, j), "file %s is written twice", file.FID)
		}
		seen[string(file.FID)] = true
	}
	if f.Chunk < 0 {
		c.bad(at+".chunk", "a chunk has at least 1 byte")
	}
}

func (c *appletChecker) chunk(at string, cmd *Command) {
	if cmd.Chunk == nil {
		return
	}
	if cmd.Chunk.Size < 1 || cmd.Chunk.Max < 1 || cmd.Chunk.Max > maxUpdates {
		c.bad(at, "a chunk loop is bounded: say size, at least 1, and max, 1 to %d", maxUpdates)
	}
	if cmd.Chunk.Max > maxIndex && cmd.usesIndex() {
		c.bad(at, "it.index counts to %d: at most %d parts", maxIndex-1, maxIndex)
	}
	if len(cmd.Chunk.Last) > 1 {
		c.bad(at, "last is the bits of P1, 1 byte")
	}
}

func (c *appletChecker) setStatus(at string, st *Step) {
	s := st.SetStatus
	defer func() { c.state = max(c.state, cardStates[s.Card]) }()
	switch {
	case (s.Card != "") == (len(s.Application) > 0):
		c.bad(at+".set-status", "say either card or application")
	case s.Card != "" && cardStates[s.Card] == 0:
		c.bad(at+".set-status.card", "card state %q is not known%s", s.Card, suggest(s.Card, keys(cardStates)))
	case s.Card != "" && cardStates[s.Card] < c.state:
		c.bad(at+".set-status.card", "a card does not go back to %s (GPC_SPE_034 figure 5-1)", s.Card)
	case s.Card == "terminated" || s.Card == "card-locked":
		c.dead = st.ID
	case len(s.Application) > 1:
		c.bad(at+".set-status.application", "a life cycle state has 1 byte")
	}
}

func (c *appletChecker) refusal(at string, r *Refused) {
	c.refused = c.finalSeen != ""
	c.begun = false
	switch {
	case (r.Command != nil) == (len(r.DGI) > 0):
		c.bad(at+".refused", "say either dgi or command")
	case r.Command == nil && len(r.DGI) != 2:
		c.bad(at+".refused.dgi", "a DGI has 2 bytes, this one has %d", len(r.DGI))
	case len(r.Status) != 2:
		c.bad(at+".refused", "refused needs a status of 2 bytes")
	case r.Status[0] != 0x69 && r.Status[0] != 0x6A:
		c.bad(at+".refused.status", "status %s does not say that the card refuses to be written: that is 69xx or 6Axx", r.Status)
	}
	if r.Command == nil {
		return
	}
	if h, ok := r.Command.Header.prefix(); ok && !c.writing[h] {
		c.bad(at+".refused.command.header", "what is refused must be a write: no earlier step writes with %02X%02X", h[0], h[1])
	}
}
