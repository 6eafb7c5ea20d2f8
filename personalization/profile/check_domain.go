package profile

import (
	"fmt"

	"cardbureau/cardio/gp"
)

// kmcIDSize is the length of a KMC_ID, the first part of KEYDATA (EMV CPS 1.1).
const kmcIDSize = 6

// domains checks the security domains that a software card comes with.
func (c *checker) domains(chip *Chip) {
	if chip.Virtual == nil {
		return
	}
	seen := map[string]bool{string(chip.GlobalPlatform.ISD): true}
	once := func(path, what string, aid Hex) {
		if c.aid(path, what, aid); seen[string(aid)] {
			c.bad(path, "AID %s is there twice: a card has one application of an AID", aid)
		}
		seen[string(aid)] = true
	}
	for i, d := range chip.Virtual.Domains {
		at := fmt.Sprintf("$.virtual.domains[%d]", i)
		once(at+".aid", "a security domain", d.AID)
		set, ok := chip.Keys[d.Keys]
		switch {
		case !ok:
			c.bad(at+".keys", "security domain %s has key set %q, which chip %s does not have%s", d.AID, d.Keys, chip.Name, suggest(d.Keys, keys(chip.Keys)))
		case set.template.Cipher == gp.DiversifyNone:
			c.bad(at+".keys", "key set %q is the same on every card: a security domain has diversified keys", d.Keys)
		case set.Data == DataCPLC && len(d.KMCID) > 0:
			c.bad(at+".kmcId", "key set %q is diversified over the CPLC, so there is no KEYDATA for a kmcId to stand in", d.Keys)
		}
		if n := len(d.KMCID); n != 0 && n != kmcIDSize {
			c.bad(at+".kmcId", "a KMC_ID has %d bytes, this one has %d: the issuer identification number, filled up with F on the left, and a version", kmcIDSize, n)
		}
		for j, in := range d.Instances {
			once(fmt.Sprintf("%s.instances[%d].aid", at, j), "an instance", in.AID)
		}
	}
}

// domainOf is the security domain of a software card that an AID belongs to: its
// own, or that of an application which the maker has installed in it; nil: the
// card manager.
func (chip *Chip) domainOf(aid []byte) *VirtualDomain {
	if chip.Virtual == nil {
		return nil
	}
	for i, d := range chip.Virtual.Domains {
		if string(d.AID) == string(aid) {
			return &chip.Virtual.Domains[i]
		}
		for _, in := range d.Instances {
			if string(in.AID) == string(aid) {
				return &chip.Virtual.Domains[i]
			}
		}
	}
	return nil
}

// ownKeys checks that a channel is opened with keys that whatever it is opened
// with has. Of a chip that is no software card nobody says which domains it has.
func (c *checker) ownKeys(at string, chip *Chip, a *Applet, st *Step) {
	if chip.Virtual == nil {
		return
	}
	o := st.OpenChannel
	aid := chip.GlobalPlatform.ISD
	switch o.With {
	case "", "isd":
	case "applet":
		aid = a.AID
	default:
		b, err := parseAID(o.With)
		if err != nil {
			return // said of the applet
		}
		aid = b
	}
	if d := chip.domainOf(aid); d != nil {
		if o.Keys != d.Keys {
			c.bad(at, "step %q of applet %s opens a channel with %s and key set %q, and the security domain of that has key set %q on chip %s", st.ID, a.Name, aid, o.Keys, d.Keys, chip.Name)
		}
		return
	}
	for _, d := range chip.Virtual.Domains {
		if o.Keys == d.Keys {
			c.bad(at, "step %q of applet %s opens a channel with %s and key set %q, which on chip %s is of security domain %s: its applications are listed under virtual: domains: instances", st.ID, a.Name, aid, o.Keys, chip.Name, d.AID)
		}
	}
}
