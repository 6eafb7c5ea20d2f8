package virtual

import (
	"bytes"
	"slices"

	"cardbureau/cardio/apdu"
)

// INSTALL's P1 (GPC_SPE_034 v2.3.1 table 11-41).
const (
	installLoad            = 0x02
	installForInstall      = 0x04
	installMakeSelectable  = 0x08
	installBoth            = 0x0C
	installExtradition     = 0x10
	installPersonalization = 0x20
	installRegistryUpdate  = 0x40
)

// maxApplications and maxLoadFiles bound what the registry holds.
const (
	maxApplications = 64
	maxLoadFiles    = 64
)

// installation is the data field of an INSTALL command. signed is all of it
// before the token.
type installation struct {
	p1, p2                                                  byte
	first, second, aid, privileges, parameters, token, hash []byte
	signed                                                  []byte
}

// parseInstall reads the data field (tables 11-43 to 11-48): six fields, for
// load five.
func parseInstall(cmd apdu.Command) (installation, bool) {
	i := installation{p1: cmd.P1, p2: cmd.P2}
	f := fields{b: cmd.Data}
	i.first, i.second = f.next(), f.next()
	if cmd.P1 == installLoad {
		i.hash = f.next()
	} else {
		i.aid, i.privileges = f.next(), f.next()
	}
	i.parameters = f.long()
	i.signed = cmd.Data[:len(cmd.Data)-len(f.b)]
	i.token = f.long()
	return i, f.end()
}

// long reads a field whose length has one to three bytes (BER).
func (f *fields) long() []byte {
	n, size := 0, 1
	if len(f.b) > 0 && f.b[0] >= 0x80 {
		size = 1 + int(f.b[0]&0x7F)
		if size < 2 || size > 3 || len(f.b) < size {
			f.bad = true
			return nil
		}
		for _, b := range f.b[1:size] {
			n = n<<8 | int(b)
		}
	} else if len(f.b) > 0 {
		n = int(f.b[0])
	}
	if len(f.b) < size+n {
		f.bad = true
		return nil
	}
	v := f.b[size : size+n]
	f.b = f.b[size+n:]
	return v
}

// install is INSTALL (GPC_SPE_034 v2.3.1 section 11.5). The combined process
// of load, install and make selectable (P2 other than 00) and a sequence of
// INSTALL commands (P1 b8) are not offered: 6A86.
func (c *Chip) install(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if cmd.P2 != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	switch cmd.P1 {
	case installLoad, installForInstall, installMakeSelectable, installBoth, installExtradition, installPersonalization, installRegistryUpdate:
	default:
		return nil, apdu.SWIncorrectP1P2
	}
	i, ok := parseInstall(cmd)
	if !ok {
		return nil, apdu.SWWrongData
	}
	if cmd.P1 == installPersonalization {
		if len(i.first)+len(i.second)+len(i.privileges)+len(i.parameters)+len(i.token) != 0 {
			return nil, apdu.SWWrongData
		}
		return c.installForPersonalization(i.aid)
	}
	confirm, sw := c.authorized(i.p1, i.p2, i.signed, i.token)
	if !sw.OK() {
		return nil, sw
	}
	switch cmd.P1 {
	case installLoad:
		return c.installForLoad(i, confirm)
	case installMakeSelectable:
		return c.makeSelectable(i, confirm)
	case installExtradition:
		return c.extradite(i, confirm)
	case installRegistryUpdate:
		return c.updateRegistry(i, confirm)
	}
	return c.installApplication(i, confirm)
}

// installApplication is INSTALL [for install], with [for make selectable] or
// without (sections 9.3.6 and 11.5.2.3.2). The application is associated with
// the security domain that installs it; its load file is of that domain's own
// hierarchy, or of one above. Parameters may be empty, as many hosts leave
// them.
func (c *Chip) installApplication(i installation, confirm bool) ([]byte, apdu.StatusWord) {
	aid := i.aid
	if len(aid) == 0 {
		aid = i.second
	}
	p, ok := parseParameters(i.parameters, installParameters)
	if !ok || !validAID(i.first) || !validAID(i.second) || !validAID(aid) {
		return nil, apdu.SWWrongData
	}
	privileges, ok := parsePrivileges(i.privileges, bytes.Equal(i.second, mustHex(SecurityDomainModuleAID)))
	if !ok || p.nonVolatile != 0 && p.nonVolatile < p.reserved || p.volatile != 0 && p.volatile < p.reservedVolatile {
		return nil, apdu.SWWrongData
	}
	a := &application{
		aid: slices.Clone(aid), module: slices.Clone(i.second), loadFile: slices.Clone(i.first),
		privileges: privileges, state: AppInstalled,
		extra: extra{
			domain: association(c.selected), quota: p.nonVolatile, reserved: p.reserved,
			reservedVolatile: p.reservedVolatile, implicit: slices.Clone(p.implicit),
		},
	}
	if sw := c.installable(a); !sw.OK() {
		return nil, sw
	}
	if sw := c.installCode(a, p.application); !sw.OK() {
		return nil, sw
	}
	if i.p1 == installBoth {
		a.state = AppSelectable
	}
	c.reg.putApplication(a)
	return c.confirmation(confirm, a.loadFile, a.aid)
}

// installable checks what a new application needs of the registry and of the
// memory.
func (c *Chip) installable(a *application) apdu.StatusWord {
	f := c.reg.loadFile(a.loadFile)
	if f == nil || !slices.ContainsFunc(f.Modules, func(m []byte) bool { return bytes.Equal(m, a.module) }) || !c.hasCode(a) {
		return apdu.SWReferencedDataNotFound
	}
	domain, _ := c.reg.domainByAID(f.domain)
	if !c.manages(domain) && !c.reg.within(c.selected, domain) {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	if c.reg.taken(a.aid) || a.isDefault() && c.reg.defaultTaken(a) || c.cvmTaken(a, a.privileges) {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	nonVolatile, volatile := c.reg.free()
	if len(c.reg.apps) >= maxApplications || a.extra.reserved > nonVolatile || a.extra.reservedVolatile > volatile {
		return apdu.SWNotEnoughMemory
	}
	return apdu.SWSuccess
}

// cvmTaken: one application at most offers cardholder verification, and with
// these privileges a would be the second.
func (c *Chip) cvmTaken(a *application, privileges uint32) bool {
	return privileges&PrivilegeCVM != 0 && slices.ContainsFunc(c.reg.apps, func(o *application) bool {
		return o != a && o.privileges&PrivilegeCVM != 0
	})
}

// makeSelectable is INSTALL [for make selectable] (sections 9.3.7 and
// 11.5.2.3.3). Of the privileges it can only add Card Reset.
func (c *Chip) makeSelectable(i installation, confirm bool) ([]byte, apdu.StatusWord) {
	p, ok := parseParameters(i.parameters, selectableParameters)
	if !ok || len(i.first)+len(i.second) != 0 || !validAID(i.aid) || len(i.privileges) > 3 || len(i.privileges) == 2 {
		return nil, apdu.SWWrongData
	}
	a := c.reg.application(i.aid)
	if a == nil {
		return nil, apdu.SWReferencedDataNotFound
	}
	next := *a
	if len(i.privileges) > 0 && uint32(i.privileges[0])<<16&PrivilegeCardReset != 0 {
		next.privileges |= PrivilegeCardReset
	}
	if len(p.implicit) > 0 {
		next.extra.implicit = slices.Clone(p.implicit)
	}
	if a.state != AppInstalled || !c.manages(c.reg.parent(a)) || next.isDefault() && c.reg.defaultTaken(a) {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	a.privileges, a.extra.implicit, a.state = next.privileges, next.extra.implicit, AppSelectable
	c.reg.putApplication(a)
	return c.confirmation(confirm, a.loadFile, a.aid)
}
