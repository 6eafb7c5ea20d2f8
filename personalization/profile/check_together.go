package profile

import (
	"fmt"
	"slices"
	"strings"

	"cardbureau/personalization/payment"
)

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

// payment checks the product's payment scheme against its applets: every data
// grouping that the scheme makes is written, no other is, and the application has
// the scheme's AID.
func (c *checker) payment(s *Set, p *Product, applets []*Applet) {
	var app *Applet
	written := map[string]bool{}
	for _, a := range applets {
		if a.Reading.ChipProof == ProofOffline {
			app = a
		}
		for name := range a.written() {
			written[name] = true
		}
	}
	if p.Payment == "" {
		if p.Contactless {
			c.bad("$.contactless", "contactless is the bank application's: say payment, or leave it out")
		}
		if app != nil {
			c.bad("$.applications", "applet %s is a payment application: say which scheme it is of, payment: %s", app.Name, joined(keys(s.Payments)))
		}
		return
	}
	scheme := s.Payment(p)
	switch {
	case scheme == nil && s.broken[p.Payment]:
		return
	case scheme == nil:
		c.bad("$.payment", "payment scheme %q is not known%s", p.Payment, suggest(p.Payment, keys(s.Payments)))
		return
	case app == nil:
		c.bad("$.payment", "none of the applications is a payment application (reading: chipProof: %s)", ProofOffline)
		return
	case string(app.AID) != string(scheme.AID):
		c.bad("$.payment", "scheme %s has the AID %s, and applet %s the AID %s: terminals would look for another application", scheme.Name, scheme.AID, app.Name, app.AID)
	}
	if p.Contactless && scheme.Authenticates(payment.XDA) {
		// The certificate is over the PDOL, which only the contactless application has.
		c.bad("$.contactless", "scheme %s authenticates by xda, and its certificate would not hold for the contactless application", scheme.Name)
	}
	made := map[string]bool{}
	for _, name := range payment.ElementNames(scheme) {
		made[name] = true
		switch {
		case written[name]:
		case slices.Contains(payment.ContactlessNames(), name):
			c.bad("$.contactless", "a contactless product has %s, and no step writes it: take a payment applet that does, and list one of PPSE before it", name)
		default:
			c.bad("$.payment", "scheme %s makes %s, and no step writes it", scheme.Name, name)
		}
	}
	for _, name := range keys(written) {
		switch {
		case !grouping.MatchString(name) || made[name] || c.optional(applets, name):
		case slices.Contains(payment.ContactlessNames(), name):
			c.bad("$.contactless", "a step writes %s, and the product is not contactless: say contactless: true, or leave the applet out", name)
		default:
			c.bad("$.payment", "a step writes %s, which scheme %s does not make", name, scheme.Name)
		}
	}
	for _, name := range payment.SecretNames(scheme) {
		if !written["secret."+name] {
			c.bad("$.payment", "scheme %s needs secret.%s on the card, and no step writes it", scheme.Name, name)
		}
	}
	has := payment.SecretNames(scheme)
	if scheme.Authenticates(payment.DDA) {
		has = append(has, "emv-exponent", "emv-modulus") // the other form of an RSA key
	}
	for _, name := range keys(written) {
		if secret, ok := strings.CutPrefix(name, "secret."); ok && strings.HasPrefix(secret, "emv-") && !slices.Contains(has, secret) {
			c.bad("$.payment", "a step writes %s%s which cards of scheme %s (%s) do not have", name, ofKey(secret), scheme.Name, strings.Join(scheme.Authentication, ", "))
		}
	}
	if !written["file.binding"] {
		c.bad("$.payment", "no step writes file.binding, which ties the card to its account")
	}
}

// ofKey says which private key of a card a secret is of, for a sentence about it.
func ofKey(secret string) string {
	switch {
	case secret == payment.SecretScalar:
		return ", the private key of an elliptic curve,"
	case slices.Contains(payment.RSASecrets(), secret):
		return ", a part of an RSA key,"
	}
	return ","
}

// optional reports whether an element is written only where the product makes it.
func (c *checker) optional(applets []*Applet, name string) bool {
	for _, a := range applets {
		for i := range a.Steps {
			if a.Steps[i].Store == nil {
				continue
			}
			for _, d := range a.Steps[i].Store.DGIs {
				if d.Optional && strings.TrimSpace(d.Value.String()) == name {
					return true
				}
			}
		}
	}
	return false
}
