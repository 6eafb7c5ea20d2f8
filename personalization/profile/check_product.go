package profile

import (
	"fmt"
	"slices"
	"strings"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/lds"
)

func (s *Set) checkProduct(d *document, p *Product) Problems {
	c := checker{doc: d}
	c.name("product", p.Name)
	chip := s.Chips[p.Chip]
	if chip == nil && !s.broken[p.Chip] {
		c.bad("$.chip", "chip %q has no profile%s", p.Chip, suggest(p.Chip, keys(s.Chips)))
	}
	if len(p.Applications) == 0 {
		c.bad("$.applications", "a product has at least one application")
	}
	var applets []*Applet
	for i, app := range p.Applications {
		at := fmt.Sprintf("$.applications[%d].applet", i)
		applet := s.Applets[app.Applet]
		if applet == nil {
			if !s.broken[app.Applet] {
				c.bad(at, "applet %q has no profile%s", app.Applet, suggest(app.Applet, keys(s.Applets)))
			}
			continue
		}
		applets = append(applets, applet)
		if chip != nil {
			c.onChip(at, chip, applet)
			if n := applet.Reading.Pairings * lds.PlaceSize; n > chip.Limits.FileSize {
				c.bad(at, "the file of pairing records has %d bytes, and the chip's files have %d at most", n, chip.Limits.FileSize)
			}
		}
	}
	if chip != nil && p.Photo.MaxBytes+256 > chip.Limits.FileSize {
		c.bad("$.photo.maxBytes", "a photo of %d bytes and its headers do not fit a file of %d bytes: the chip takes photos up to %d bytes",
			p.Photo.MaxBytes, chip.Limits.FileSize, chip.Limits.FileSize-256)
	}
	if p.Photo.MaxBytes <= 0 {
		c.bad("$.photo.maxBytes", "photo.maxBytes must say how large a photo the chip takes")
	}
	if y := p.Validity.LifetimeYears; y < 1 || y > 10 {
		c.bad("$.validity.lifetimeYears", "a card lives 1 to 10 years, not %d", y)
	}
	if len(applets) == len(p.Applications) {
		c.dataGroups(p, applets)
		c.together(p, applets)
		c.payment(s, p, applets)
		sound := chip != nil && len(c.out) == 0 && !s.unsound[chip.Name] && !s.unsound["payment "+p.Payment]
		for _, a := range applets {
			sound = sound && !s.unsound[a.Name]
		}
		if sound {
			c.largest(s, p)
		}
	}
	return c.out
}

// onChip checks an applet's steps against the limits and keys of a chip.
func (c *checker) onChip(at string, chip *Chip, a *Applet) {
	known := "" // the key set of the open channel where everybody knows it
	for i := range a.Steps {
		st := &a.Steps[i]
		switch {
		case st.OpenChannel != nil && chip.Keys[st.OpenChannel.Keys].template.Cipher == gp.DiversifyNone:
			known = st.OpenChannel.Keys
		case st.OpenChannel != nil || st.Select != nil || st.Prove != "":
			known = ""
		case known != "" && a.Plaintext == "" && st.sends():
			c.bad(at, "step %q of applet %s sends personal data under key set %q, which every card of chip %s shares: put the issuer's keys first", st.ID, a.Name, known, chip.Name)
		}
		if st.OpenChannel != nil {
			c.ownKeys(at, chip, a, st)
		}
		for _, name := range st.keySets() {
			if _, ok := chip.Keys[name]; !ok {
				c.bad(at, "step %q of applet %s uses key set %q, which chip %s does not have%s", st.ID, a.Name, name, chip.Name, suggest(name, keys(chip.Keys)))
			}
		}
		if st.InstallApplet != nil && chip.domainOf(a.AID) != nil {
			c.bad(at, "step %q of applet %s installs what the maker of chip %s has installed (virtual: domains: instances): leave the step out", st.ID, a.Name, chip.Name)
		}
		if pk := st.PutKey; pk != nil && chip.Keys[pk.With].Version == 0 {
			c.bad(at, "step %q of applet %s puts key set %q, which has no version of its own on chip %s", st.ID, a.Name, pk.With, chip.Name)
		}
		if pk := st.PutKey; pk != nil && chip.Keys[pk.With].template.Cipher == "none" {
			c.bad(at, "step %q of applet %s puts key set %q, which every card of chip %s would share: a card gets diversified keys", st.ID, a.Name, pk.With, chip.Name)
		}
		if st.OpenChannel != nil && len(st.OpenChannel.Level) == 1 && len(chip.GlobalPlatform.I) == 1 {
			c.level(at, chip.ProtocolOf(st.OpenChannel.Keys), st.OpenChannel.Level[0])
		}
		if n, most := st.block(), min(chip.Limits.CommandData, apdu.MaxExtendedData); n > most {
			c.bad(at, "step %q of applet %s sends blocks of %d bytes, and a command of chip %s carries %d", st.ID, a.Name, n, chip.Name, most)
		}
	}
	if block, _, err := a.loadFile(); len(a.capFile) > 0 && err == nil {
		c.loadFile(at, chip, a, len(block))
	}
}

// loadFile checks the size of a load file data block against the chip's room and
// the 256 blocks that LOAD can number.
func (c *checker) loadFile(at string, chip *Chip, a *Applet, size int) {
	if most := chip.Limits.LoadFile; most > 0 && size > most {
		c.bad(at, "the load file of applet %s has %d bytes, and chip %s has room for %d", a.Name, size, chip.Name, most)
	}
	if len(chip.GlobalPlatform.Level) != 1 {
		return
	}
	level := gp.Level(chip.GlobalPlatform.Level[0])
	block := min(chip.Limits.CommandData, chip.Protocol().MaxPlainData(level, chip.Limits.CommandData > apdu.MaxShortData))
	if most := maxIndex*block - 4; size > most {
		c.bad(at, "the load file of applet %s has %d bytes, and LOAD carries %d in 256 blocks at level %s", a.Name, size, most, level)
	}
}

// largest plans the largest card and says what could not be sent.
func (c *checker) largest(s *Set, p *Product) {
	_, step, err := s.estimate(p)
	if err != nil {
		c.bad("$.applications", "step %q of product %s could not be sent for the largest card: %v", step, p.Name, err)
	}
}

// made are the data groups that are made.
var made = []int{1, 2, 11, 13, 14, 15}

// block is the size of the blocks that the step names itself.
func (st *Step) block() (n int) {
	if st.Files != nil {
		n = st.Files.Chunk
	}
	for _, c := range st.own() {
		if c.Chunk != nil {
			n = max(n, c.Chunk.Size)
		}
	}
	return n
}

// written lists the elements that an applet's steps write.
func (a *Applet) written() map[string]bool {
	out := map[string]bool{}
	for i := range a.Steps {
		if !a.Steps[i].writes() {
			continue
		}
		for _, v := range a.Steps[i].values() {
			for _, r := range v.value.references() {
				if isElement(r.name) || strings.HasPrefix(r.name, secretPrefix) {
					out[r.name] = true
				}
			}
		}
	}
	return out
}

// dataGroups compares the data groups that are made and signed with those
// that are written: the proof of every card would find the difference, and the
// blank would be lost.
func (c *checker) dataGroups(p *Product, applets []*Applet) {
	bad := func(format string, args ...any) { c.bad("$.dataGroups", format, args...) }
	stored := map[string]bool{}
	proof, pin, pace := map[string]bool{}, false, false
	for _, a := range applets {
		for name := range a.written() {
			stored[name] = true
		}
		proof[a.Reading.ChipProof] = true
		pin = pin || a.Reading.PIN
		pace = pace || a.Opens("pace")
	}
	seen := map[int]bool{}
	for _, n := range p.DataGroups {
		if seen[n] {
			bad("data group %d is listed twice", n)
		}
		seen[n] = true
		if !slices.Contains(made, n) {
			bad("data group %d is not made: %s can be had", n, joinedNumbers(made))
		} else if name := fmt.Sprintf("file.dg%d", n); !stored[name] {
			bad("data group %d is signed, and no step writes %s", n, name)
		}
	}
	for n := 1; n <= 16; n++ {
		if name := fmt.Sprintf("file.dg%d", n); stored[name] && !p.Has(n) {
			bad("a step writes %s, and data group %d is not among those that are made", name, n)
		}
	}
	if !p.Has(1) || !p.Has(2) {
		bad("data groups 1 and 2 are mandatory (ICAO 9303-10)")
	}
	if proof["chip-authentication"] && !p.Has(14) {
		bad("data group 14 is missing: without it no card could prove that its chip is genuine")
	}
	if proof["active-authentication"] && !p.Has(15) {
		bad("data group 15 is missing: without it no card could prove that its chip is genuine")
	}
	if stored["file.services"] && !p.Has(13) {
		bad("data group 13 is missing: nothing would vouch for the services file behind the PIN")
	}
	if stored["file.binding"] && !p.Has(13) {
		bad("data group 13 is missing: nothing would vouch for the bank's binding behind the PIN")
	}
	if stored["file.services"] && !pin {
		bad("a step writes file.services, and no applet has a holder PIN to keep it behind")
	}
	if pace != stored["file.card-access"] {
		bad("a step writes file.card-access where, and only where, an applet is opened with PACE (reading: access)")
	}
	for _, name := range []string{"file.sod", "file.com"} {
		if !stored[name] {
			bad("no step writes %s, without which no reader knows the card", name)
		}
	}
}

// sends reports whether the step sends secrets or files.
func (st *Step) sends() bool {
	for _, v := range st.values() {
		for _, r := range v.value.references() {
			if strings.HasPrefix(r.name, secretPrefix) || isElement(r.name) && !slices.Contains(publicFiles, r.name) {
				return true
			}
		}
	}
	return false
}

func (st *Step) keySets() (names []string) {
	if st.OpenChannel != nil {
		names = append(names, st.OpenChannel.Keys)
	}
	if st.PutKey != nil {
		names = append(names, st.PutKey.Replace, st.PutKey.With)
	}
	if st.Probe != nil && st.Probe.KeyVersion != "" {
		names = append(names, st.Probe.KeyVersion)
	}
	return names
}
