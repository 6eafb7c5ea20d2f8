package virtual

import (
	"bytes"
	"slices"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// delete is DELETE (GPC_SPE_034 v2.3.1 sections 9.5 and 11.2): of an
// application or security domain, a load file, a load file with all that was
// made of it (P2 = 80), or keys. What lies in ROM stays: 6985.
func (c *Chip) delete(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if cmd.P1 != 0 || cmd.P2&0x7F != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	objects, err := tlv.Parse(cmd.Data)
	if err != nil || len(objects) == 0 {
		return nil, apdu.SWWrongData
	}
	if objects[0].Tag == 0xD0 || objects[0].Tag == 0xD2 {
		return c.deleteKeys(objects)
	}
	aid, token, signed, ok := deletion(cmd.Data, objects)
	if !ok {
		return nil, apdu.SWWrongData
	}
	confirm := false
	if len(token) != 0 || c.reg.privilegesOf(c.selected)&PrivilegeGlobalDelete == 0 {
		var sw apdu.StatusWord
		if confirm, sw = c.authorized(cmd.P1, cmd.P2, signed, token); !sw.OK() {
			return nil, sw
		}
	}
	if bytes.Equal(aid, c.reg.isd) {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	sw := apdu.SWReferencedDataNotFound
	if f := c.reg.loadFile(aid); f != nil {
		sw = c.deleteLoadFile(*f, cmd.P2 == 0x80)
	} else if a := c.reg.application(aid); a != nil {
		sw = c.deleteApplication(a)
	}
	if !sw.OK() {
		return nil, sw
	}
	return c.confirmation(confirm, aid)
}

// deletion reads 4F AID, [B6 control reference template,] [9E token].
func deletion(data []byte, objects []tlv.Object) (aid, token, signed []byte, ok bool) {
	if objects[0].Tag != 0x4F || !validAID(objects[0].Value) {
		return nil, nil, nil, false
	}
	aid, signed, objects = objects[0].Value, data, objects[1:]
	if len(objects) > 0 && objects[0].Tag == 0xB6 {
		if _, ok := strictObjects(objects[0].Value, tokenReference); !ok {
			return nil, nil, nil, false
		}
		objects = objects[1:]
	}
	if len(objects) > 0 && objects[0].Tag == 0x9E {
		token = objects[0].Value
		signed = data[:len(data)-len(tlv.Encode(0x9E, token))]
		objects = objects[1:]
	}
	return aid, token, signed, len(objects) == 0
}

// deletable says whether the selected security domain may delete what is
// associated with a domain.
func (c *Chip) deletable(domain *application) bool {
	return c.manages(domain) || c.reg.privilegesOf(c.selected)&PrivilegeGlobalDelete != 0
}

// deleteApplication deletes an application with what it stored. A security
// domain must have nothing associated with it (section 9.5.1), and not be the
// selected one, on no logical channel.
func (c *Chip) deleteApplication(a *application) apdu.StatusWord {
	if sw := c.removable(a, nil); !sw.OK() {
		return sw
	}
	c.remove(a)
	return apdu.SWSuccess
}

// removable is deleteApplication's conditions; what goes with it does not
// count as associated.
func (c *Chip) removable(a *application, with []*application) apdu.StatusWord {
	if a == c.selected || c.selectedElsewhere(a) || !c.deletable(c.reg.parent(a)) {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	if !a.isDomain() {
		return apdu.SWSuccess
	}
	for _, o := range c.reg.apps {
		if c.reg.parent(o) == a && !slices.Contains(with, o) {
			return apdu.SWConditionsOfUseNotSatisfied
		}
	}
	for _, f := range c.reg.loadFiles {
		if bytes.Equal(f.domain, a.aid) {
			return apdu.SWConditionsOfUseNotSatisfied
		}
	}
	return apdu.SWSuccess
}

// remove deletes an application and what was begun for it on any logical
// channel.
func (c *Chip) remove(a *application) {
	c.wipe(a)
	c.reg.deleteApplication(a)
	for _, l := range c.channels {
		if l != nil && l.personal.app == a {
			l.personal = personalization{}
		}
		if l != nil && l.loading != nil && l.loading.domain == a {
			l.loading = nil
		}
	}
}

// deleteLoadFile deletes a load file that was loaded. It stays while
// applications were made of it, unless they go with it, and while another load
// file imports it (sections 9.5.2 and 9.5.3).
func (c *Chip) deleteLoadFile(f LoadFile, related bool) apdu.StatusWord {
	domain, _ := c.reg.domainByAID(f.domain)
	if !f.loaded || !c.deletable(domain) {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	for _, o := range c.reg.loadFiles {
		if slices.ContainsFunc(o.imports, func(i []byte) bool { return bytes.Equal(i, f.AID) }) {
			return apdu.SWConditionsOfUseNotSatisfied
		}
	}
	var apps []*application
	for _, a := range c.reg.apps {
		if bytes.Equal(a.loadFile, f.AID) {
			apps = append(apps, a)
		}
	}
	if len(apps) > 0 && !related {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	for _, a := range apps {
		if sw := c.removable(a, apps); !sw.OK() {
			return sw
		}
	}
	for _, a := range apps {
		c.remove(a)
	}
	c.reg.space.Delete("elf/" + aidKey(f.AID))
	c.reg.space.Delete("elfx/" + aidKey(f.AID))
	c.reg.loadFiles = slices.DeleteFunc(c.reg.loadFiles, func(o LoadFile) bool { return bytes.Equal(o.AID, f.AID) })
	return apdu.SWSuccess
}

// deleteKeys deletes keys of the selected security domain by version (D2), by
// identifier (D0) or both. A key set goes whole, by its version alone. The
// last set of a domain and the session's own stay.
func (c *Chip) deleteKeys(objects []tlv.Object) ([]byte, apdu.StatusWord) {
	var id, version byte
	for i, o := range objects {
		switch {
		case len(o.Value) != 1 || o.Value[0] == 0 || i > 1:
			return nil, apdu.SWWrongData
		case o.Tag == 0xD0 && i == 0:
			id = o.Value[0]
		case o.Tag == 0xD2 && version == 0:
			version = o.Value[0]
		default:
			return nil, apdu.SWWrongData
		}
	}
	ring := c.ownKeys()
	var singles []singleKey
	for _, k := range ring.singles {
		if (version == 0 || k.version == version) && (id == 0 || k.id == id) {
			singles = append(singles, k)
		}
	}
	if len(singles) > 0 {
		for _, k := range singles {
			ring.deleteSingle(k)
		}
		return c.confirmation(false)
	}
	if id != 0 {
		return nil, apdu.SWWrongData
	}
	k := ring.keySet(version)
	if k == nil {
		return nil, apdu.SWReferencedDataNotFound
	}
	if len(ring.keys) == 1 || k == c.session.keys {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	ring.deleteKeySet(k)
	return c.confirmation(false)
}
