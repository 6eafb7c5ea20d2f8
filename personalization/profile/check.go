package profile

import (
	"fmt"
	"sort"
	"strings"

	"cardbureau/cardio/gp"
)

// check looks at everything that the YAML structure alone cannot say.
func (s *Set) check(docs map[string]*document) Problems {
	var out Problems
	for _, c := range s.Chips {
		if d := docs[c.file]; d != nil {
			out = append(out, s.checkChip(d, c)...)
		}
	}
	for _, a := range s.Applets {
		if d := docs[a.file]; d != nil {
			out = append(out, s.checkApplet(d, a)...)
		}
	}
	for _, p := range s.Products {
		if d := docs[p.file]; d != nil {
			out = append(out, s.checkProduct(d, p)...)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].File != out[j].File {
			return out[i].File < out[j].File
		}
		return out[i].Line < out[j].Line
	})
	return out
}

func (s *Set) checkChip(d *document, c *Chip) (out Problems) {
	bad := func(p, format string, args ...any) { out = append(out, d.problem(p, format, args...)) }
	if c.Name == "" {
		bad("$.name", "a chip needs a name")
	}
	if !c.ATR.valid() {
		bad("$.atr", "atr must be pairs of hexadecimal digits or dots")
	}
	if n := len(c.GlobalPlatform.ISD); n < 5 || n > 16 {
		bad("$.globalplatform.isd", "an AID has 5 to 16 bytes, this one has %d", n)
	}
	if c.GlobalPlatform.Protocol != "scp03" {
		bad("$.globalplatform.protocol", "protocol %q is not known: use scp03", c.GlobalPlatform.Protocol)
	}
	if len(c.GlobalPlatform.I) != 1 {
		bad("$.globalplatform.i", "i must be 1 byte: its bit 01 says how long the challenge is that opens a channel")
	}
	if len(c.GlobalPlatform.Level) != 1 || (c.GlobalPlatform.Level[0] != 0x03 && c.GlobalPlatform.Level[0] != 0x33) {
		bad("$.globalplatform.level", "level must be 03 or 33: card data never travels in clear")
	} else if i := c.GlobalPlatform.I; len(i) == 1 && !(gp.InitializeUpdate{I: i[0]}).Offers(gp.Level(c.GlobalPlatform.Level[0])) {
		bad("$.globalplatform.level", "a chip with i %02X does not offer level %02X", i[0], c.GlobalPlatform.Level[0])
	}
	for name, k := range c.Keys {
		at := "$.keys." + name
		if k.Bits != 128 && k.Bits != 192 && k.Bits != 256 {
			bad(at+".bits", "key set %s: bits must be 128, 192 or 256", name)
		}
		if k.Version == 0 || k.Version > 0x7F {
			bad(at+".version", "key set %s: a key version is 01 to 7F", name)
		}
		if k.Diversification != "kdf3" && k.Diversification != "none" {
			bad(at+".diversification", "key set %s: diversification %q is not known: use kdf3 or none", name, k.Diversification)
		}
		if k.Set == "" {
			bad(at+".set", "key set %s names no master key (role/version, as cmk.issuer/1)", name)
		}
	}
	if c.Limits.CommandData < 32 || c.Limits.CommandData > 65535 {
		bad("$.limits.commandData", "commandData must be 32 to 65535 bytes")
	}
	if c.Limits.ResponseData < 0 || c.Limits.ResponseData > 65000 {
		bad("$.limits.responseData", "responseData must be 0 to 65000 bytes")
	}
	if c.Limits.FileSize < 256 {
		bad("$.limits.fileSize", "fileSize must be at least 256 bytes")
	}
	return out
}

// known element names; the card image supplies them.
var elements = map[string]bool{
	"file.card-access": true, "file.com": true, "file.sod": true, "file.services": true,
	"secret.bac": true, "secret.pace-mrz": true, "secret.pace-can": true,
	"secret.chip-authentication": true, "secret.pin": true, "secret.puk": true,
}

func init() {
	for n := 1; n <= 16; n++ {
		elements[fmt.Sprintf("file.dg%d", n)] = true
	}
}

func (s *Set) checkApplet(d *document, a *Applet) (out Problems) {
	bad := func(p, format string, args ...any) { out = append(out, d.problem(p, format, args...)) }
	if a.Name == "" {
		bad("$.name", "an applet needs a name")
	}
	if n := len(a.AID); n < 5 || n > 16 {
		bad("$.aid", "an AID has 5 to 16 bytes, this one has %d", n)
	}
	var (
		ids             = map[string]bool{}
		channel, proved bool
		finalSeen       string
		refused         bool // a write after the last final step is refused
		provedLock      bool
	)
	for i := range a.Steps {
		st := &a.Steps[i]
		at := fmt.Sprintf("$.steps[%d]", i)
		if st.ID == "" {
			bad(at, "step %d has no id", i+1)
		} else if ids[st.ID] {
			bad(at+".id", "step id %q is used twice", st.ID)
		}
		ids[st.ID] = true
		if n := st.actions(); n != 1 {
			bad(at, "step %q has %d actions, it must have exactly one of open-channel, install-for-personalization, store, put-key, set-status, refused, prove", st.ID, n)
			continue
		}
		writes := st.Store != nil || st.PutKey != nil || st.SetStatus != nil
		switch {
		case writes && st.Kind == "":
			bad(at, "step %q changes the card: say its kind (repeatable, resumable or final)", st.ID)
		case st.Kind != "" && st.Kind != Repeatable && st.Kind != Resumable && st.Kind != Final:
			bad(at+".kind", "kind %q is not known: use repeatable, resumable or final", st.Kind)
		case st.SetStatus != nil && st.Kind != Final:
			bad(at+".kind", "step %q moves the card's life cycle, which cannot be undone: its kind is final", st.ID)
		case st.Kind == Final && st.Probe == nil:
			bad(at, "final step %q has no probe: after a crash nobody could tell whether it was done", st.ID)
		case st.PutKey != nil && st.Probe == nil:
			bad(at, "step %q has no probe: after a crash nobody could tell which keys the card has", st.ID)
		case st.Kind == Final && !proved:
			bad(at, "final step %q comes before the proof: an unproven card would be locked", st.ID)
		}
		if writes && finalSeen != "" && st.Kind != Final {
			bad(at, "step %q writes after final step %q", st.ID, finalSeen)
		}
		if writes {
			// What was proven before is not what the card holds now.
			proved = proved && st.Kind == Final
			refused, provedLock = false, false
		}
		if st.Kind == Final {
			finalSeen = st.ID
		}
		if (writes || st.Install != nil || st.Refused != nil) && !channel {
			bad(at, "step %q needs a secure channel: put an open-channel step before it", st.ID)
		}
		switch {
		case st.OpenChannel != nil:
			channel = true
		case st.Prove != "":
			channel = false // selecting the application ends the secure channel
			switch st.Prove {
			case "lds":
				proved = true
			case "locked":
				provedLock = finalSeen != "" && refused
			default:
				bad(at+".prove", "proof %q is not known: use lds or locked", st.Prove)
			}
		case st.Store != nil:
			for j, g := range st.Store.DGIs {
				p := fmt.Sprintf("%s.store.dgis[%d]", at, j)
				if len(g.DGI) != 2 {
					bad(p+".dgi", "a DGI has 2 bytes, this one has %d", len(g.DGI))
				}
				if g.Value == "" {
					continue
				}
				if !elements[g.Value] {
					bad(p+".value", "element %q is not known%s", g.Value, suggest(g.Value))
				}
				if secret := strings.HasPrefix(g.Value, "secret."); secret != st.Store.Enciphered {
					bad(p+".value", "secrets are stored enciphered and files are not: %q does not fit enciphered: %v", g.Value, st.Store.Enciphered)
				}
			}
		case st.SetStatus != nil:
			if _, ok := cardStates[st.SetStatus.Card]; !ok {
				bad(at+".set-status.card", "card state %q is not known", st.SetStatus.Card)
			}
		case st.Refused != nil:
			refused = finalSeen != ""
			if len(st.Refused.DGI) != 2 || len(st.Refused.Status) != 2 {
				bad(at+".refused", "refused needs a dgi and a status of 2 bytes each")
			} else if st.Refused.Status[0] == 0x90 {
				bad(at+".refused.status", "status %s is no refusal", st.Refused.Status)
			}
		}
	}
	if !proved {
		bad("$.steps", "no step proves the card as it was written: add prove: lds before the final steps")
	}
	if finalSeen == "" {
		bad("$.steps", "no final step locks the card")
	} else if !provedLock {
		bad("$.steps", "the lock is not proven: end with a write that is refused and prove: locked")
	}
	return out
}

func (st *Step) actions() (n int) {
	for _, has := range []bool{st.OpenChannel != nil, st.Install != nil, st.Store != nil, st.PutKey != nil, st.SetStatus != nil, st.Refused != nil, st.Prove != ""} {
		if has {
			n++
		}
	}
	return n
}

func suggest(name string) string {
	best, bestDistance := "", 4
	for e := range elements {
		if d := distance(name, e); d < bestDistance || (d == bestDistance && e < best) {
			best, bestDistance = e, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", best)
}

// distance is the Levenshtein distance of two short names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

func (s *Set) checkProduct(d *document, p *Product) (out Problems) {
	bad := func(at, format string, args ...any) { out = append(out, d.problem(at, format, args...)) }
	if p.Name == "" {
		bad("$.name", "a product needs a name")
	}
	chip := s.Chips[p.Chip]
	if chip == nil {
		bad("$.chip", "chip %q has no profile", p.Chip)
	}
	if len(p.Applications) == 0 {
		bad("$.applications", "a product has at least one application")
	}
	for i, app := range p.Applications {
		at := fmt.Sprintf("$.applications[%d].applet", i)
		applet := s.Applets[app.Applet]
		if applet == nil {
			bad(at, "applet %q has no profile", app.Applet)
			continue
		}
		if chip == nil {
			continue
		}
		for _, st := range applet.Steps {
			for _, name := range st.keySets() {
				if _, ok := chip.Keys[name]; !ok {
					bad(at, "step %q of applet %s uses key set %q, which chip %s does not have", st.ID, applet.Name, name, chip.Name)
				}
			}
		}
	}
	if chip != nil && p.Photo.MaxBytes+256 > chip.Limits.FileSize {
		bad("$.photo.maxBytes", "a photo of %d bytes and its headers do not fit a file of %d bytes", p.Photo.MaxBytes, chip.Limits.FileSize)
	}
	if p.Photo.MaxBytes <= 0 {
		bad("$.photo.maxBytes", "photo.maxBytes must say how large a photo the chip takes")
	}
	if y := p.Validity.LifetimeYears; y < 1 || y > 10 {
		bad("$.validity.lifetimeYears", "a card lives 1 to 10 years, not %d", y)
	}
	return append(out, s.checkDataGroups(d, p)...)
}

// checkDataGroups compares the data groups that are made and signed with those
// that are written: the proof of every card would find the difference, and the
// blank would be lost.
func (s *Set) checkDataGroups(d *document, p *Product) (out Problems) {
	bad := func(format string, args ...any) { out = append(out, d.problem("$.dataGroups", format, args...)) }
	stored := map[string]bool{}
	for _, app := range p.Applications {
		applet := s.Applets[app.Applet]
		if applet == nil {
			return nil // said already
		}
		for i := range applet.Steps {
			if st := applet.Steps[i].Store; st != nil {
				for _, g := range st.DGIs {
					stored[g.Value] = true
				}
			}
		}
	}
	have := map[int]bool{}
	for _, n := range p.DataGroups {
		have[n] = true
		if name := fmt.Sprintf("file.dg%d", n); !stored[name] {
			bad("data group %d is signed, and no step writes %s", n, name)
		}
	}
	for n := 1; n <= 16; n++ {
		if name := fmt.Sprintf("file.dg%d", n); stored[name] && !have[n] {
			bad("a step writes %s, and data group %d is not among those that are made", name, n)
		}
	}
	if !have[1] || !have[2] {
		bad("data groups 1 and 2 are mandatory (ICAO 9303-10)")
	}
	if !have[14] {
		bad("data group 14 is missing: without it no card could prove that its chip is genuine")
	}
	if stored["file.services"] && !have[13] {
		bad("data group 13 is missing: nothing would vouch for the services file behind the PIN")
	}
	return out
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
