package profile

import (
	"fmt"
	"strings"
)

// Describe says in plain words what a product does to a card, a line a step.
func (s *Set) Describe(p *Product) []string {
	chip := s.Chips[p.Chip]
	out := []string{
		fmt.Sprintf("%s: %s", p.Name, p.Title),
		fmt.Sprintf("Chip %s: %s.", chip.Name, chip.Title),
		fmt.Sprintf("The photo may have %d bytes; the card is valid %d years.", p.Photo.MaxBytes, p.Validity.LifetimeYears),
	}
	for _, app := range p.Applications {
		a := s.Applets[app.Applet]
		out = append(out, fmt.Sprintf("Application %s (%s): %s.", a.Name, a.AID, a.Title))
		for i := range a.Steps {
			out = append(out, fmt.Sprintf("%3d. %-18s %s", i+1, a.Steps[i].ID, a.Steps[i].describe(chip)))
		}
	}
	return out
}

func (st *Step) describe(chip *Chip) string {
	var what string
	switch {
	case st.OpenChannel != nil:
		k := chip.Keys[st.OpenChannel.Keys]
		what = fmt.Sprintf("open a secure channel (%s, level %s) with the %s keys, version %02X from %s",
			chip.GlobalPlatform.Protocol, chip.GlobalPlatform.Level, st.OpenChannel.Keys, k.Version, k.Set)
	case st.Install != nil:
		what = "INSTALL [for personalization]: data that follows goes to the applet"
	case st.Store != nil:
		var parts []string
		for _, d := range st.Store.DGIs {
			value := d.Value
			if value == "" {
				value = "nothing"
			}
			parts = append(parts, fmt.Sprintf("%s in DGI %s", value, d.DGI))
		}
		how := "store"
		if st.Store.Enciphered {
			how = "store, enciphered under the card's DEK,"
		}
		what = how + " " + strings.Join(parts, ", ")
	case st.PutKey != nil:
		from, to := chip.Keys[st.PutKey.Replace], chip.Keys[st.PutKey.With]
		what = fmt.Sprintf("PUT KEY: replace key version %02X by %02X from %s, and check its key check values", from.Version, to.Version, to.Set)
	case st.SetStatus != nil:
		what = "set the card's life cycle state to " + st.SetStatus.Card
	case st.Refused != nil:
		what = fmt.Sprintf("try to write DGI %s: the card must refuse it with %s", st.Refused.DGI, st.Refused.Status)
	case st.Prove == "lds":
		what = "read everything back through PACE, check hashes, signature to the CSCA, chip authentication and the transport PIN; open BAC and read EF.COM"
	case st.Prove == "locked":
		what = "read EF.COM through PACE: the locked card still answers"
	}
	if st.Kind != "" {
		what += " [" + string(st.Kind) + "]"
	}
	return what
}
