package virtual

import (
	"bytes"
	"encoding/binary"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual/nvm"
)

// appPersonalized is the life cycle state PERSONALIZED of a security domain
// (GPC_SPE_034 v2.3.1 table 11-5): it has keys of its own.
const appPersonalized byte = 0x0F

// Supplementary security domains. A pointer to an application stands for a
// security domain throughout: nil is the issuer security domain.
//
// A security domain that has no key set yet uses the key sets of the domain
// that it is associated with, as Java Cards in the field do, so that its first
// keys can be put through a channel of its own. Its own single keys are never
// taken from another.

func (a *application) isDomain() bool { return a.privileges&PrivilegeSecurityDomain != 0 }

// usable says whether a security domain can act for others.
func (a *application) usable() bool { return a == nil || a.selectable() }

func (r *registry) domainSpace(a *application) nvm.Space {
	return r.mem.Space("sd:" + aidKey(a.aid))
}

// domainByAID finds a security domain; an empty AID is the issuer's.
func (r *registry) domainByAID(aid []byte) (*application, bool) {
	if len(aid) == 0 || bytes.Equal(aid, r.isd) {
		return nil, true
	}
	a := r.application(aid)
	return a, a != nil && a.isDomain()
}

// parent is the security domain that an application is associated with.
func (r *registry) parent(a *application) *application {
	d, _ := r.domainByAID(a.extra.domain)
	return d
}

// aidOf is the AID of a security domain.
func (r *registry) aidOf(d *application) []byte {
	if d == nil {
		return r.isd
	}
	return d.aid
}

// association is what a record says of a security domain: nothing for the
// issuer's.
func association(d *application) []byte {
	if d == nil {
		return nil
	}
	return d.aid
}

// within says whether something that is associated with domain inner belongs
// to outer directly or through others.
func (r *registry) within(inner, outer *application) bool {
	for d := inner; d != outer; d = r.parent(d) {
		if d == nil {
			return false
		}
	}
	return true
}

// invoker is the AID of the selected application.
func (c *Chip) invoker() []byte { return c.reg.aidOf(c.selected) }

// actingDomain is the security domain whose channel the selected application
// uses: itself, when it is one.
func (c *Chip) actingDomain() *application {
	if a := c.selected; a != nil && !a.isDomain() {
		return c.reg.parent(a)
	}
	return c.selected
}

// channelKeys are the key sets that open a channel with the selected
// application.
func (c *Chip) channelKeys() *keyring {
	for d := c.actingDomain(); d != nil; d = c.reg.parent(d) {
		if len(d.ring.keys) > 0 {
			return d.ring
		}
	}
	return &c.reg.keyring
}

// ownKeys are the keys of the selected security domain, inherited ones aside.
func (c *Chip) ownKeys() *keyring {
	if d := c.actingDomain(); d != nil {
		return d.ring
	}
	return &c.reg.keyring
}

// ringOf is the keys of a security domain, inherited ones aside.
func (r *registry) ringOf(d *application) *keyring {
	if d == nil {
		return &r.keyring
	}
	return d.ring
}

// isdPrivileges are those of the issuer security domain.
func (r *registry) isdPrivileges() uint32 {
	p := isdPrivileges | r.extraPrivileges
	if r.cardReset() == nil {
		p |= PrivilegeCardReset
	}
	return p
}

// privilegesOf are those of a security domain.
func (r *registry) privilegesOf(d *application) uint32 {
	if d == nil {
		return r.isdPrivileges()
	}
	return d.privileges
}

// visible says whether the selected security domain may see what is associated
// with a domain (GPC_SPE_034 v2.3.1 section 11.4.1): its own hierarchy, or all
// with the Global Registry privilege.
func (c *Chip) visible(domain *application) bool {
	return c.reg.privilegesOf(c.selected)&PrivilegeGlobalRegistry != 0 || c.reg.within(domain, c.selected)
}

// personalized notes that a security domain has got keys of its own.
func (c *Chip) personalized() {
	if d := c.selected; d != nil && d.state == AppSelectable {
		d.state = appPersonalized
		c.reg.putApplication(d)
	}
}

// resources is GET DATA FF21, extended card resources (GPC_SPE_034 v2.3.1
// section 11.3.3.1 with ETSI TS 102 226 clause 8.2.1.7): FF21 { 81 number of
// applications, 82 free non-volatile memory, 83 free volatile memory }.
func (c *Chip) resources() ([]byte, apdu.StatusWord) {
	nonVolatile, volatile := c.reg.free()
	return tlv.Encode(0xFF21,
		tlv.Encode(0x81, []byte{byte(len(c.reg.apps) >> 8), byte(len(c.reg.apps))}),
		tlv.Encode(0x82, binary.BigEndian.AppendUint32(nil, nonVolatile)),
		tlv.Encode(0x83, binary.BigEndian.AppendUint32(nil, volatile))), apdu.SWSuccess
}
