package profile

import (
	"crypto"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"cardbureau/cardio/gp/cap"
)

func (s *Set) checkApplet(d *document, a *Applet) Problems {
	c := appletChecker{checker: checker{doc: d}, applet: a, ids: map[string]bool{}, captured: map[string]bool{}, writing: map[[2]byte]bool{}}
	c.name("applet", a.Name)
	c.aid("$.aid", "an applet", a.AID)
	c.quirks("applet", a.Quirks)
	c.pkg()
	c.reading()
	if a.Plaintext != "" && strings.TrimSpace(a.Plaintext) == "" {
		c.bad("$.plaintext", "plaintext is a sentence that says what is exposed")
	}
	for i := range a.Steps {
		c.step(i, &a.Steps[i])
	}
	c.end()
	return c.out
}

// appletChecker goes through an applet's steps and keeps what is known at each.
type appletChecker struct {
	checker
	applet *Applet
	ids    map[string]bool

	channel, selected bool // what a command would go through
	begun             bool // INSTALL [for personalization] without its STORE DATA yet
	withISD           bool // the channel is one with the card manager
	locks             bool // a step moves a life cycle or locks
	putKeys           int
	state             byte             // of the card, as set
	writing           map[[2]byte]bool // class and instruction of commands that write
	proved            bool
	finalSeen         string
	refused           bool // a write after the last final step is refused
	provedLock        bool
	dead              string // the step after which the card answers nothing more
	captured          map[string]bool
}

func (c *appletChecker) pkg() {
	p := c.applet.Package
	if len(p.AID) > 0 {
		c.aid("$.package.aid", "a package", p.AID)
	}
	if len(p.Module) > 0 {
		c.aid("$.package.module", "a module", p.Module)
	}
	for i, h := range p.SHA256 {
		if len(h) != sha256.Size {
			c.bad(fmt.Sprintf("$.package.sha256[%d]", i), "a SHA-256 digest has 32 bytes, this one has %d", len(h))
		}
	}
	if p.CAP != "" {
		if _, _, err := c.applet.loadFile(); err != nil {
			c.bad("$.package.cap", "%v", err)
		}
	}
}

// loadFile is the load file data block of the applet's CAP file, with its
// SHA-256 digest, which must be one of those that are allowed.
func (a *Applet) loadFile() (block, hash []byte, err error) {
	f, err := cap.Read(a.capFile)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", a.Package.CAP, err)
	}
	if string(f.Package.AID) != string(a.Package.AID) {
		return nil, nil, fmt.Errorf("%s holds package %X, and package.aid is %s", a.Package.CAP, f.Package.AID, a.Package.AID)
	}
	block = f.LoadFileDataBlock(cap.BlockOptions{})
	if hash, err = cap.Hash(crypto.SHA256, block); err != nil {
		return nil, nil, err
	}
	for _, h := range a.Package.SHA256 {
		if string(h) == string(hash) {
			return block, hash, nil
		}
	}
	return nil, nil, fmt.Errorf("the load file data block of %s has the digest %X, which is not among package.sha256", a.Package.CAP, hash)
}

func (c *appletChecker) reading() {
	r := c.applet.Reading
	for i, access := range r.Access {
		if access != "pace" && access != "bac" {
			c.bad(fmt.Sprintf("$.reading.access[%d]", i), "access %q is not known%s", access, suggest(access, []string{"pace", "bac"}))
		}
	}
	proofs := []string{"chip-authentication", "active-authentication", ProofOffline, ProofNone}
	if c.applet.Partial() {
		if len(r.Access) > 0 || r.PIN || r.PINInPlain || r.Pairings != 0 {
			c.bad("$.reading", "access, pin and pairings are of identity applications: a payment application and its directory are open to every terminal")
		}
		return
	}
	if r.PINInPlain && !r.PIN {
		c.bad("$.reading.pinInPlain", "the application has no PIN")
	}
	if r.Pairings < 0 || r.Pairings > 0 && !r.PIN {
		c.bad("$.reading.pairings", "%d places for pairing records: they are behind the holder's PIN, and none or more", r.Pairings)
	}
	if len(r.Access) == 0 {
		c.bad("$.reading.access", "say how a reader opens the application: reading: { access: [pace, bac] }")
	}
	if !slices.Contains(proofs, r.ChipProof) {
		c.bad("$.reading.chipProof", "say how the chip proves that it is no copy: chip-authentication or active-authentication; a payment application: offline-data-authentication; its directory: none%s",
			suggest(r.ChipProof, proofs))
	}
}

func (c *appletChecker) step(i int, st *Step) {
	at := fmt.Sprintf("$.steps[%d]", i)
	if st.ID == "" {
		c.bad(at, "step %d has no id", i+1)
	} else if c.ids[st.ID] {
		c.bad(at+".id", "step id %q is used twice", st.ID)
	}
	c.ids[st.ID] = true
	if n := st.actions(); n != 1 {
		c.bad(at, "step %q has %d actions, it must have exactly one of %s", st.ID, n, strings.Join(actionNames, ", "))
		return
	}
	if c.dead != "" {
		c.bad(at, "step %q can never be reached: after step %q the card takes nothing more", st.ID, c.dead)
	} else if c.provedLock {
		c.bad(at, "step %q can never matter: the lock is proven already", st.ID)
	}
	c.kind(at, st)
	c.context(at, st)
	c.probe(at, st)
	c.values(at, st)
	c.action(at, st)
	for _, n := range st.captures() {
		if st.writes() {
			c.bad(at, "what step %q captures is lost when a crash comes after it: read it with a command that changes nothing", st.ID)
		}
		c.captured[n] = true
	}
}

// kind checks what the step says of itself, and its place among the final ones.
func (c *appletChecker) kind(at string, st *Step) {
	writes := st.writes()
	switch {
	case st.Kind != "" && st.Kind != Repeatable && st.Kind != Resumable && st.Kind != Final:
		c.bad(at+".kind", "kind %q is not known%s", st.Kind, suggest(string(st.Kind), []string{"repeatable", "resumable", "final"}))
	case writes && st.Kind == "":
		c.bad(at, "step %q changes the card: say its kind (repeatable, resumable or final)", st.ID)
	case st.Command != nil && !writes && st.Command.mayWrite():
		c.bad(at, "step %q looks as if it changes the card (by its instruction, or by what it sends): say its kind", st.ID)
	case !writes && st.Kind != "":
		c.bad(at+".kind", "step %q changes nothing on the card: leave its kind out", st.ID)
	case (st.SetStatus != nil || st.Lock != nil) && st.Kind != Final:
		c.bad(at+".kind", "step %q moves a life cycle, which cannot be undone: its kind is final", st.ID)
	case st.Kind == Final && st.Probe == nil:
		c.bad(at, "final step %q has no probe: after a crash nobody could tell whether it was done", st.ID)
	case st.PutKey != nil && st.Probe == nil:
		c.bad(at, "step %q has no probe: after a crash nobody could tell which keys the card has", st.ID)
	case (st.InstallApplet != nil || st.MakeSelectable != nil || st.Load != nil || st.GenerateKey != nil || st.Kind == Resumable) && st.Probe == nil:
		c.bad(at, "step %q cannot be sent twice and has no probe: after a crash nobody could tell whether it was done", st.ID)
	case st.Kind == Final && !c.proved:
		c.bad(at, "final step %q comes before the proof: an unproven card would be locked", st.ID)
	}
	if !writes {
		return
	}
	if c.finalSeen != "" && st.Kind != Final {
		c.bad(at, "step %q writes after final step %q: move it before the proof", st.ID, c.finalSeen)
	}
	// What was proven before is not what the card holds now.
	c.proved = c.proved && st.Kind == Final
	c.refused, c.provedLock = false, false
	if st.Kind == Final {
		c.finalSeen = st.ID
	}
}

// context checks that something is selected or open for the step to go to.
func (c *appletChecker) context(at string, st *Step) {
	if st.OpenChannel != nil || st.Select != nil || st.Prove != "" {
		clear(c.captured) // a resume may begin here
	}
	switch {
	case st.OpenChannel != nil:
		c.channel, c.selected, c.begun = true, false, false
		c.withISD = st.OpenChannel.With == "" || st.OpenChannel.With == "isd"
		if with := st.OpenChannel.With; with != "" && with != "isd" && with != "applet" {
			if _, err := parseAID(with); err != nil {
				c.bad(at+".open-channel.with", "with is isd, applet or an AID of 5 to 16 bytes, not %q", with)
			}
		}
		if l := st.OpenChannel.Level; len(l) > 1 {
			c.bad(at+".open-channel.level", "level must be 1 byte")
		}
	case st.Select != nil:
		c.channel, c.selected = false, true
		if len(st.Select.AID) > 0 {
			c.aid(at+".select.aid", "what is selected", st.Select.AID)
		}
	case st.Prove != "":
		c.channel, c.selected = false, false // the card is reset
	case st.needsChannel() && !c.channel:
		c.bad(at, "step %q needs a secure channel: put an open-channel step before it", st.ID)
	case c.withISD && !c.begun && (st.Store != nil || st.Refused != nil && st.Refused.Command == nil):
		c.bad(at, "STORE DATA of step %q would go to the card manager: put install-for-personalization before it, one for each sequence", st.ID)
	case !c.channel && !c.selected:
		c.bad(at, "step %q reaches nothing: put a select or open-channel step before it", st.ID)
	}
}

func (c *appletChecker) probe(at string, st *Step) {
	p := st.Probe
	if p == nil {
		return
	}
	at += ".probe"
	n := 0
	for _, has := range []bool{p.KeyVersion != "", len(p.ApplicationState) > 0, p.CardState != "", p.Installed, p.Loaded, p.Answer != nil} {
		if has {
			n++
		}
	}
	switch {
	case n != 1:
		c.bad(at, "a probe asks exactly one thing: key-version, application-state, card-state, installed, loaded or answer")
	case !st.writes():
		c.bad(at, "step %q changes nothing on the card: it needs no probe", st.ID)
	case len(p.ApplicationState) > 1:
		c.bad(at+".application-state", "a life cycle state has 1 byte")
	case p.CardState != "" && cardStates[p.CardState] == 0:
		c.bad(at+".card-state", "card state %q is not known%s", p.CardState, suggest(p.CardState, keys(cardStates)))
	case st.PutKey != nil && p.KeyVersion != st.PutKey.With:
		c.bad(at, "the probe of a put-key asks for the keys that it puts: key-version: %s", st.PutKey.With)
	case st.SetStatus != nil && st.SetStatus.Card != "" && p.CardState != st.SetStatus.Card:
		c.bad(at, "the probe asks for the state that the step sets: card-state: %s", st.SetStatus.Card)
	case st.SetStatus != nil && len(st.SetStatus.Application) == 1 && string(p.ApplicationState) != string(st.SetStatus.Application):
		c.bad(at, "the probe asks for the state that the step sets: application-state: \"%s\"", st.SetStatus.Application)
	case p.Answer != nil && c.applet.finalHeader(p.Answer.Header):
		c.bad(at+".answer.header", "the probe sends the very command of a final step: a probe changes nothing")
	case p.Loaded && len(c.applet.Package.AID) == 0:
		c.bad(at+".loaded", "the applet names no package: add package: { aid: … }")
	case p.Answer != nil:
		c.statuses(at+".answer.done", p.Answer.Done, true)
		c.statuses(at+".answer.pending", p.Answer.Pending, true)
		for _, h := range p.Answer.Done {
			if slices.ContainsFunc(p.Answer.Pending, func(o Hex) bool { return string(o) == string(h) }) {
				c.bad(at+".answer", "status %s says both done and pending", h)
			}
		}
	}
}

func (c *appletChecker) statuses(at string, list []Hex, needed bool) {
	if needed && len(list) == 0 {
		c.bad(at, "list at least one status word")
	}
	for _, h := range list {
		if len(h) != 2 {
			c.bad(at, "a status word has 2 bytes, %s has %d", h, len(h))
		}
	}
}

// values checks every name that the step uses.
func (c *appletChecker) values(at string, st *Step) {
	for _, v := range st.values() {
		for _, r := range v.value.references() {
			path := at + "." + v.path
			enciphered := v.enciphered
			switch {
			case strings.HasPrefix(r.name, loopPrefix):
				if _, number := loopNumbers[r.name]; strings.HasSuffix(v.path, ".header") && !number {
					c.bad(path, "%s in a header would stand in every trace: put it into data", r.name)
				}
				if !slices.Contains(v.loop, r.name) {
					c.bad(path, "%s means nothing here%s", r.name, suggest(r.name, slices.Clone(v.loop)))
				}
			case strings.HasPrefix(r.name, capturePrefix):
				if !c.captured[r.name] {
					c.bad(path, "no command since the last select or open-channel captures %s%s", r.name, suggest(r.name, keys(c.captured)))
				}
			case !isKnown(r.name):
				c.bad(path, "element %q is not known%s", r.name, suggest(r.name, slices.Clone(elements)))
			case strings.HasSuffix(v.path, ".header"):
				c.bad(path, "%s in a header would stand in every trace: headers are digits, numbers of a loop and what was captured; put it into data", r.name)
			case isElement(r.name) && !slices.Contains(publicFiles, r.name) && !c.channel && c.applet.Plaintext == "":
				c.bad(path, "%s would travel in the clear: send it through a secure channel, or say under plaintext what is exposed", r.name)
			case isElement(r.name) && enciphered:
				c.bad(path, "secrets are stored enciphered and files are not: %q does not fit enciphered: true", r.name)
			case strings.HasPrefix(r.name, secretPrefix) && r.how == "" && !enciphered && c.applet.Plaintext == "":
				c.bad(path, "%s would travel in the clear: secrets are stored enciphered, or as encipher(%s); an applet that takes them no other way says so under plaintext", r.name, r.name)
			case r.how == "kcv" && !slices.Contains(keySecrets, r.name):
				c.bad(path, "%s is no key, so it has no key check value", r.name)
			case (r.how != "" || enciphered) && !c.channel:
				c.bad(path, "%s is enciphered under a secure channel's keys, and none is open here", r.name)
			}
		}
		if v.value.Empty() && strings.HasSuffix(v.path, ".header") {
			c.bad(at+"."+v.path, "a command needs a header of 4 bytes: CLA INS P1 P2")
		}
		if n, known := v.value.headerSize(); known && strings.HasSuffix(v.path, ".header") && !v.value.Empty() && n != 4 {
			c.bad(at+"."+v.path, "a header has 4 bytes, CLA INS P1 P2, this one comes to %d", n)
		}
		if refs := v.value.references(); strings.HasPrefix(v.path, "probe.") && len(refs) > 0 {
			c.bad(at+"."+v.path, "a probe is made of digits alone: after a crash %s may not be known", refs[0].name)
		}
	}
}

// end checks what the steps must come to together.
func (c *appletChecker) end() {
	if c.applet.Partial() {
		c.endPartial()
		return
	}
	if !c.proved {
		c.bad("$.steps", "no step proves the card as it was written: add prove: lds before the final steps")
	}
	if c.putKeys == 0 {
		c.bad("$.steps", "no step replaces the transport keys: whoever made the blank could change the card, add put-key before the proof")
	}
	if c.finalSeen == "" || !c.locks {
		c.bad("$.steps", "no final step locks the card: add lock or set-status after the proof")
	} else if !c.provedLock {
		c.bad("$.steps", "the lock is not proven: end with a write that is refused and prove: locked")
	}
}

// endPartial checks an applet that another application of the card completes.
func (c *appletChecker) endPartial() {
	if c.putKeys > 0 || c.finalSeen != "" {
		c.bad("$.steps", "a payment application and its directory leave the card's keys and its lock to the identity application: take put-key and the final steps out")
	}
	if c.applet.Reading.ChipProof == ProofOffline && !c.proved {
		c.bad("$.steps", "no step proves the application as it was written: end with prove: emv")
	}
	for i := len(c.applet.Steps) - 1; i >= 0; i-- {
		if st := &c.applet.Steps[i]; st.writes() {
			if st.Probe == nil {
				c.bad(fmt.Sprintf("$.steps[%d]", i), "step %q is the last that writes and has no probe: after a crash nobody could tell whether the application is complete", st.ID)
			}
			return
		}
	}
}
