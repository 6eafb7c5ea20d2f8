package profile

import "fmt"

// Ways in which an application's chip is proven, beside the two of identity
// applications.
const (
	ProofOffline = "offline-data-authentication" // of a payment application
	ProofNone    = "none"                        // a directory, which the application that it leads to is proven with
)

// Partial reports whether the applet is one that another application of the
// product completes: it is personalized as a whole, but replaces no keys and
// locks no card.
func (a *Applet) Partial() bool {
	return a.Reading.ChipProof == ProofOffline || a.Reading.ChipProof == ProofNone
}

// together checks the applets of a product against each other. They are written
// one after another as one sequence of steps, so the one that gives the card its
// own keys and locks it is the last, and nothing before it needs what it brings.
func (c *checker) together(p *Product, applets []*Applet) {
	last := len(applets) - 1
	aids, names := map[string]string{}, map[string]bool{}
	for i, a := range applets {
		at := fmt.Sprintf("$.applications[%d].applet", i)
		if names[a.Name] {
			c.bad(at, "applet %s is listed twice", a.Name)
			continue
		}
		if other := aids[string(a.AID)]; other != "" {
			c.bad(at, "applets %s and %s have the same AID %s: a card has one application of an AID", other, a.Name, a.AID)
		}
		aids[string(a.AID)], names[a.Name] = a.Name, true
		switch {
		case i < last && !a.Partial():
			c.bad(at, "applet %s gives the card its own keys and locks it: list it last, what comes after it could not be written", a.Name)
		case i == last && a.Partial():
			c.bad(at, "applet %s neither replaces the transport keys nor locks the card: the last application of a product does", a.Name)
		}
		if a.Reading.ChipProof == ProofNone && !provenAfter(applets[i+1:]) {
			c.bad(at, "applet %s is not proven by itself: list the payment applet that it leads to after it", a.Name)
		}
	}
	c.keysInTime(applets)
}

func provenAfter(applets []*Applet) bool {
	for _, a := range applets {
		if a.Reading.ChipProof == ProofOffline {
			return true
		}
	}
	return false
}

// keysInTime checks that no channel is opened with keys that a later step puts,
// or with such as an earlier one replaced.
func (c *checker) keysInTime(applets []*Applet) {
	put := map[string]string{} // key set -> the step that puts it
	for _, a := range applets {
		for i := range a.Steps {
			if pk := a.Steps[i].PutKey; pk != nil {
				put[pk.With] = a.Name + "/" + a.Steps[i].ID
			}
		}
	}
	have, gone := map[string]bool{}, map[string]string{}
	for n, a := range applets {
		at := fmt.Sprintf("$.applications[%d].applet", n)
		for i := range a.Steps {
			st := &a.Steps[i]
			if o := st.OpenChannel; o != nil {
				if by := put[o.Keys]; by != "" && !have[o.Keys] {
					c.bad(at, "step %q of applet %s opens a channel with key set %q before step %s puts it on the card", st.ID, a.Name, o.Keys, by)
				}
				if by := gone[o.Keys]; by != "" {
					c.bad(at, "step %q of applet %s opens a channel with key set %q, which step %s has replaced", st.ID, a.Name, o.Keys, by)
				}
			}
			if pk := st.PutKey; pk != nil {
				have[pk.With], gone[pk.Replace] = true, a.Name+"/"+st.ID
			}
		}
	}
}
