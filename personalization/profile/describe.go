package profile

import (
	"cmp"
	"fmt"
	"strings"
)

// Describe says in plain words what a product does to a card, a line a step.
func (s *Set) Describe(p *Product) []string {
	chip := s.Chips[p.Chip]
	out := []string{
		fmt.Sprintf("%s: %s", p.Name, p.Title),
		fmt.Sprintf("Chip %s: %s.", chip.Name, chip.Title),
	}
	if chip.Untried != "" {
		out = append(out, "NOT TRIED: "+chip.Untried)
	}
	for _, q := range chip.Quirks {
		out = append(out, "Quirk of the chip: "+quirksOf["chip"][q]+".")
	}
	out = append(out, fmt.Sprintf("The photo may have %d bytes; the card is valid %d years; data groups %s.",
		p.Photo.MaxBytes, p.Validity.LifetimeYears, joinedNumbers(p.DataGroups)))
	for _, app := range p.Applications {
		a := s.Applets[app.Applet]
		out = append(out, fmt.Sprintf("Application %s (%s): %s. %s", a.Name, a.AID, a.Title, a.Reading.describe()))
		if a.Plaintext != "" {
			out = append(out, "IN THE CLEAR: "+a.Plaintext)
		}
		for _, q := range a.Quirks {
			out = append(out, "Quirk of the applet: "+quirksOf["applet"][q]+".")
		}
		clear := false
		for i := range a.Steps {
			st := &a.Steps[i]
			if st.OpenChannel != nil || st.Prove != "" {
				clear = false
			}
			line := fmt.Sprintf("%3d. %-18s %s", i+1, st.ID, st.describe(chip, a))
			if clear && st.sends() {
				line += " (IN THE CLEAR)"
			}
			clear = clear || st.Select != nil
			out = append(out, line)
		}
	}
	if e := s.Estimate(p); e.Commands > 0 {
		out = append(out, e.String())
	}
	return out
}

func joinedNumbers(ns []int) string {
	names := make([]string, len(ns))
	for i, n := range ns {
		names[i] = fmt.Sprint(n)
	}
	return strings.Join(names, ", ")
}

func (st *Step) describe(chip *Chip, a *Applet) string {
	what := st.what(chip, a)
	if st.Kind != "" {
		what += " [" + string(st.Kind) + "]"
	}
	if st.Probe != nil {
		what += "; done when " + st.Probe.describe(chip)
	}
	return what
}

func (st *Step) what(chip *Chip, a *Applet) string {
	switch {
	case st.Select != nil:
		aid := st.Select.AID
		if len(aid) == 0 {
			aid = a.AID
		}
		return fmt.Sprintf("select application %s: what follows travels in the clear", aid)
	case st.OpenChannel != nil:
		return st.OpenChannel.describe(chip)
	case st.Load != nil:
		return fmt.Sprintf("load package %s from %s, whose digest is among those that are allowed", a.Package.AID, a.Package.CAP)
	case st.InstallApplet != nil:
		what := fmt.Sprintf("install application %s from package %s", a.AID, a.Package.AID)
		if len(st.InstallApplet.Privileges) > 0 {
			what += fmt.Sprintf(" with privileges %s", st.InstallApplet.Privileges)
		}
		if !st.InstallApplet.Parameters.Empty() {
			what += " with parameters " + st.InstallApplet.Parameters.String()
		}
		if !st.InstallApplet.InstalledOnly {
			what += " and make it selectable"
		}
		return what
	case st.MakeSelectable != nil:
		return "make the application selectable"
	case st.Install != nil:
		return "INSTALL [for personalization]: data that follows goes to the applet"
	case st.Store != nil:
		return st.Store.describe()
	case st.Files != nil:
		return st.Files.describe()
	case st.Records != nil:
		parts := make([]string, len(st.Records.List))
		for i, r := range st.Records.List {
			parts[i] = fmt.Sprintf("%s to record %d of file %d", orNothing(r.Value), r.Number, r.SFI)
		}
		return "write " + strings.Join(parts, ", ") + by(st.Records.Update, "UPDATE RECORD")
	case st.PutData != nil:
		parts := make([]string, len(st.PutData.List))
		for i, o := range st.PutData.List {
			parts[i] = fmt.Sprintf("%s under tag %s", orNothing(o.Value), o.Tag)
		}
		return "put " + strings.Join(parts, ", ") + by(st.PutData.Update, "PUT DATA")
	case st.PutKey != nil:
		from, to := chip.Keys[st.PutKey.Replace], chip.Keys[st.PutKey.With]
		return fmt.Sprintf("PUT KEY: replace key version %02X by %02X from %s, and check its key check values", from.Version, to.Version, to.Set)
	case st.GenerateKey != nil:
		return "have the card make a key: " + st.GenerateKey.describe()
	case st.Command != nil:
		return "send " + st.Command.describe()
	case st.SetStatus != nil && st.SetStatus.Card != "":
		return "set the card's life cycle state to " + st.SetStatus.Card
	case st.SetStatus != nil:
		return fmt.Sprintf("set the application's life cycle state to %s", st.SetStatus.Application)
	case st.Lock != nil:
		return "lock: " + st.Lock.describe()
	case st.Refused != nil && st.Refused.Command != nil:
		return fmt.Sprintf("try %s: the card must refuse it with %s", st.Refused.Command.describe(), st.Refused.Status)
	case st.Refused != nil:
		return fmt.Sprintf("try to write DGI %s: the card must refuse it with %s", st.Refused.DGI, st.Refused.Status)
	case st.Prove == ProveLDS:
		return a.proofInWords()
	case st.Prove == ProveEMV:
		return "read everything back as a terminal does, check offline data authentication, PIN try counter, one ARQC and its answer, and a script's MAC"
	case st.Prove == ProveLocked:
		return "read EF.COM from a reset on: the locked card still answers"
	}
	return ""
}

func (a *Applet) proofInWords() string {
	how := "PACE"
	if !a.Opens("pace") {
		how = "BAC"
	}
	what := fmt.Sprintf("read everything back through %s, check hashes, signature to the CSCA and %s", how, strings.ReplaceAll(a.Reading.ChipProof, "-", " "))
	if a.Reading.PIN {
		what += ", and the transport PIN"
	}
	if how == "PACE" && a.Opens("bac") {
		what += "; open BAC and read EF.COM"
	}
	return what
}

func (o *OpenChannel) describe(chip *Chip) string {
	k := chip.Keys[o.Keys]
	with := ""
	switch o.With {
	case "", "isd":
	case "applet":
		with = " with the applet"
	default:
		with = " with " + o.With
	}
	level := fmt.Sprintf("%02X", byte(chip.LevelOf(o.Keys)))
	if len(o.Level) == 1 {
		level = o.Level.String()
	}
	return fmt.Sprintf("open a secure channel%s (%s, level %s) with the %s keys, version %02X from %s",
		with, cmp.Or(k.Protocol, chip.GlobalPlatform.Protocol), level, o.Keys, k.Version, k.Set)
}

func (s *Store) describe() string {
	var parts []string
	for _, d := range s.DGIs {
		what := fmt.Sprintf("%s in DGI %s", orNothing(d.Value), d.DGI)
		if d.Enciphered && !s.Enciphered {
			what += ", enciphered"
		}
		if d.Optional {
			what += ", where the product makes it"
		}
		parts = append(parts, what)
	}
	how := "store"
	if s.Enciphered {
		how = "store, enciphered under the card's DEK,"
	}
	return how + " " + strings.Join(parts, ", ")
}

func (f *Files) describe() string {
	how := "write"
	if f.Create != nil {
		how = "create and write"
	}
	parts := make([]string, len(f.List))
	for i, file := range f.List {
		parts[i] = fmt.Sprintf("%s to file %s", orNothing(file.Value), file.FID)
	}
	what := how + " " + strings.Join(parts, ", ")
	if f.Create != nil {
		what += "; create: " + f.Create.describe()
	}
	if f.Select != nil {
		what += "; select: " + f.Select.describe()
	}
	return what + by(f.Update, "UPDATE BINARY")
}

// by says which command writes.
func by(c *Command, usual string) string {
	if c == nil {
		return " by " + usual
	}
	return "; each by " + c.describe()
}

func (c *Command) describe() string {
	what := "command " + c.Header.String()
	if !c.Data.Empty() {
		what += " with " + c.Data.String()
	}
	if c.Chunk != nil {
		what += fmt.Sprintf(", once for each %d bytes of %s, at most %d times", c.Chunk.Size, c.Chunk.Of, c.Chunk.Max)
	}
	if len(c.Expect) > 0 {
		words := make([]string, len(c.Expect))
		for i, h := range c.Expect {
			words[i] = h.String()
		}
		what += ", which may be answered with " + strings.Join(words, " or ")
	}
	for _, name := range keys(c.Capture) {
		what += fmt.Sprintf(", and keep %s of the answer as %s", c.Capture[name].text, name)
	}
	return what
}

func orNothing(v Value) string {
	if v.Empty() {
		return "nothing"
	}
	return v.String()
}

func (p *Probe) describe(chip *Chip) string {
	switch {
	case p.KeyVersion != "":
		return fmt.Sprintf("the card lists key version %02X", chip.Keys[p.KeyVersion].Version)
	case len(p.ApplicationState) > 0:
		return fmt.Sprintf("the application's state is %s", p.ApplicationState)
	case p.CardState != "":
		return "the card's state is " + p.CardState
	case p.Installed:
		return "the card lists the application"
	case p.Loaded:
		return "the card lists the package"
	}
	words := make([]string, len(p.Answer.Done))
	for i, h := range p.Answer.Done {
		words[i] = h.String()
	}
	return fmt.Sprintf("command %s is answered with %s", p.Answer.Header, strings.Join(words, " or "))
}

func (r *Reading) describe() string {
	switch r.ChipProof {
	case ProofNone:
		return "A directory: it is proven with what it leads to."
	case ProofOffline:
		return "Open to every terminal; the chip is proven by offline data authentication."
	}
	return fmt.Sprintf("Opened with %s; the chip is proven by %s.", strings.Join(r.Access, " or "), r.ChipProof)
}
