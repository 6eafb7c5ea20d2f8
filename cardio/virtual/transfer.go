package virtual

import (
	"slices"

	"cardbureau/cardio/apdu"
)

// receiver finds the security domain that something is to be associated with:
// one that is there (6A88) and can act (6985).
func (c *Chip) receiver(aid []byte) (*application, apdu.StatusWord) {
	d, ok := c.reg.domainByAID(aid)
	if !ok {
		return nil, apdu.SWReferencedDataNotFound
	}
	if !d.usable() {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	return d, apdu.SWSuccess
}

// extradite is INSTALL [for extradition] (GPC_SPE_034 v2.3.1 sections 9.4.1
// and 11.5.2.3.4) of an application, a security domain or a load file. The
// domain that gives it away is the one that it is associated with, or one
// above. A security domain is not extradited to itself or into its own
// hierarchy.
func (c *Chip) extradite(i installation, confirm bool) ([]byte, apdu.StatusWord) {
	_, ok := parseParameters(i.parameters, extraditionParameters)
	if !ok || !validAID(i.first) || len(i.second)+len(i.privileges) != 0 || !validAID(i.aid) {
		return nil, apdu.SWWrongData
	}
	to, sw := c.receiver(i.first)
	if !sw.OK() {
		return nil, sw
	}
	var old *application
	if f := c.reg.loadFile(i.aid); f != nil {
		old, _ = c.reg.domainByAID(f.domain)
		// The load file of security domains is no record that could change.
		if !c.manages(old) || aidKey(f.AID) == SecurityDomainLoadFileAID {
			return nil, apdu.SWConditionsOfUseNotSatisfied
		}
		f.domain = association(to)
		c.reg.putLoadFile(*f)
	} else {
		a := c.reg.application(i.aid)
		if a == nil {
			return nil, apdu.SWReferencedDataNotFound
		}
		old = c.reg.parent(a)
		if !c.manages(old) || !c.moves(a, to) {
			return nil, apdu.SWConditionsOfUseNotSatisfied
		}
		a.extra.domain = association(to)
		c.reg.putApplication(a)
	}
	return c.confirmation(confirm, c.reg.aidOf(old), i.aid, c.reg.aidOf(to))
}

// moves says whether an application can be associated with a domain.
func (c *Chip) moves(a, to *application) bool {
	return a != c.selected && !(a.isDomain() && c.reg.within(to, a))
}

// updateRegistry is INSTALL [for registry update] (sections 9.4.2 and
// 11.5.2.3.5): privileges, association and implicit selection of an
// application, or of the selected security domain when no application is
// named. What is not given stays; all of it changes or nothing.
func (c *Chip) updateRegistry(i installation, confirm bool) ([]byte, apdu.StatusWord) {
	p, ok := parseParameters(i.parameters, registryParameters)
	if !ok || len(i.second) != 0 || len(i.aid) != 0 && !validAID(i.aid) || len(i.first) != 0 && !validAID(i.first) {
		return nil, apdu.SWWrongData
	}
	a := c.selected
	if len(i.aid) != 0 && !c.isSelf(i.aid) {
		if a = c.reg.application(i.aid); a == nil {
			return nil, apdu.SWReferencedDataNotFound
		}
		if !c.manages(c.reg.parent(a)) {
			return nil, apdu.SWConditionsOfUseNotSatisfied
		}
	}
	if a == nil { // the issuer security domain stays as the blank made it
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	old, next := c.reg.parent(a), *a
	if len(i.first) != 0 {
		to, sw := c.receiver(i.first)
		if !sw.OK() {
			return nil, sw
		}
		if to != old && !c.moves(a, to) {
			return nil, apdu.SWConditionsOfUseNotSatisfied
		}
		next.extra.domain = association(to)
	}
	if len(i.privileges) != 0 {
		if next.privileges, ok = parsePrivileges(i.privileges, a.isDomain()); !ok {
			return nil, apdu.SWWrongData
		}
	}
	if len(p.implicit) > 0 {
		next.extra.implicit = slices.Clone(p.implicit)
	}
	if next.isDefault() && c.reg.defaultTaken(a) || c.cvmTaken(a, next.privileges) {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	*a = next
	c.reg.putApplication(a)
	return c.confirmation(confirm, c.reg.aidOf(old), a.aid, c.reg.aidOf(c.reg.parent(a)), i.privileges, i.parameters)
}
