package virtual

import (
	"bytes"
	"encoding/binary"
	"slices"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// personalization is what INSTALL [for personalization] began.
type personalization struct {
	app  *application // nil: STORE DATA is for the security domain itself
	next int          // block number expected
}

// INSTALL's P1 (GPC_SPE_034 v2.3.1 table 11-41).
const (
	installForInstall       = 0x04
	installMakeSelectable   = 0x08
	installBoth             = 0x0C
	installPersonalization  = 0x20
	installLoad             = 0x02
	installRegistryUpdate   = 0x40
	installExtradition      = 0x10
	maxPrivilegeBytes       = 3
	noDelegatedConfirmation = 0x00 // the answer of INSTALL and DELETE without a receipt
)

// install is INSTALL (GPC_SPE_034 v2.3.1 section 11.5). Nothing is loaded on
// this card, extradited or updated in the registry: 6A86 for those.
func (c *Chip) install(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if cmd.P2 != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	f := fields{b: cmd.Data}
	first, second, aid, privileges, parameters, token := f.next(), f.next(), f.next(), f.next(), f.next(), f.next()
	if !f.end() {
		return nil, apdu.SWWrongData
	}
	switch cmd.P1 {
	case installPersonalization:
		if len(first)+len(second)+len(privileges)+len(parameters)+len(token) != 0 {
			return nil, apdu.SWWrongData
		}
		return c.installForPersonalization(aid)
	case installForInstall, installBoth:
		if len(token) != 0 {
			return nil, apdu.SWConditionsOfUseNotSatisfied // no delegated management
		}
		return c.installApplication(cmd.P1, first, second, aid, privileges)
	case installMakeSelectable:
		if len(token) != 0 {
			return nil, apdu.SWConditionsOfUseNotSatisfied
		}
		a := c.reg.application(aid)
		if a == nil {
			return nil, apdu.SWReferencedDataNotFound
		}
		if a.state != AppInstalled {
			return nil, apdu.SWConditionsOfUseNotSatisfied
		}
		a.state = AppSelectable
		c.reg.putApplication(a)
		return []byte{noDelegatedConfirmation}, apdu.SWSuccess
	}
	return nil, apdu.SWIncorrectP1P2
}

// installForPersonalization directs the STORE DATA commands that follow to an
// application (section 7.3.3), until the last block, an error, another
// INSTALL or the end of the session.
func (c *Chip) installForPersonalization(aid []byte) ([]byte, apdu.StatusWord) {
	c.personal = personalization{}
	a := c.reg.application(aid)
	if a == nil {
		return nil, apdu.SWReferencedDataNotFound
	}
	if a.locked() {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	c.personal.app = a
	return []byte{noDelegatedConfirmation}, apdu.SWSuccess
}

func (c *Chip) installApplication(p1 byte, file, module, aid, privileges []byte) ([]byte, apdu.StatusWord) {
	if len(aid) == 0 {
		aid = module
	}
	if len(aid) < 5 || len(aid) > 16 || len(privileges) != 1 && len(privileges) != maxPrivilegeBytes {
		return nil, apdu.SWWrongData
	}
	var p uint32
	for i, b := range privileges {
		p |= uint32(b) << (16 - 8*i)
	}
	if p&^PrivilegeCardReset != 0 {
		return nil, apdu.SWWrongData // what this card does not give
	}
	i := slices.IndexFunc(c.reg.loadFiles, func(f LoadFile) bool { return bytes.Equal(f.AID, file) })
	if i < 0 || !slices.ContainsFunc(c.reg.loadFiles[i].Modules, func(m []byte) bool { return bytes.Equal(m, module) }) ||
		c.factory(file, module) == nil {
		return nil, apdu.SWReferencedDataNotFound
	}
	if bytes.Equal(aid, c.reg.isd) || c.reg.application(aid) != nil {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	if p&PrivilegeCardReset != 0 && slices.ContainsFunc(c.reg.apps, func(a *application) bool {
		return a.privileges&PrivilegeCardReset != 0
	}) {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	if len(c.reg.apps) >= 64 {
		return nil, apdu.SWNotEnoughMemory
	}
	a := &application{
		aid: slices.Clone(aid), module: slices.Clone(module), loadFile: slices.Clone(file),
		privileges: p, state: AppInstalled,
	}
	if p1 == installBoth {
		a.state = AppSelectable
	}
	c.reg.putApplication(a)
	return []byte{noDelegatedConfirmation}, apdu.SWSuccess
}

// delete is DELETE (GPC_SPE_034 v2.3.1 section 11.2) of an application, with
// what it stored, or of a key set. Load files are in the chip's ROM and stay.
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
	if objects[0].Tag != 0x4F || len(objects) != 1 {
		return nil, apdu.SWWrongData
	}
	aid := objects[0].Value
	if bytes.Equal(aid, c.reg.isd) || slices.ContainsFunc(c.reg.loadFiles, func(f LoadFile) bool { return bytes.Equal(f.AID, aid) }) {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	a := c.reg.application(aid)
	if a == nil {
		return nil, apdu.SWReferencedDataNotFound
	}
	if c.selectedElsewhere(a) {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	space := c.mem.Space(appSpace + aidKey(a.aid))
	for _, k := range space.Keys("") {
		space.Delete(k)
	}
	c.reg.deleteApplication(a)
	if c.personal.app == a {
		c.personal = personalization{}
	}
	return []byte{noDelegatedConfirmation}, apdu.SWSuccess
}

// deleteKeys deletes the key set of a version (tag D2) whole; single keys
// (tag D0) stay with their set. The last set and the session's own stay.
func (c *Chip) deleteKeys(objects []tlv.Object) ([]byte, apdu.StatusWord) {
	if len(objects) != 1 || objects[0].Tag != 0xD2 || len(objects[0].Value) != 1 {
		return nil, apdu.SWWrongData
	}
	version := objects[0].Value[0]
	if version == 0 {
		return nil, apdu.SWWrongData
	}
	k := c.reg.keySet(version)
	if k == nil {
		return nil, apdu.SWReferencedDataNotFound
	}
	if len(c.reg.keys) == 1 || k == c.session.keys {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	c.reg.deleteKeySet(k)
	return []byte{noDelegatedConfirmation}, apdu.SWSuccess
}

// storeData is STORE DATA (GPC_SPE_034 v2.3.1 section 11.11): forwarded to
// the application under personalization, or the security domain's own. Block
// numbers run from 00 without a gap; a wrong one, and an error of the
// application, end the sequence.
func (c *Chip) storeData(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	structure, cipher := cmd.P1&0x18, cmd.P1&0x60
	if cmd.P1&0x06 != 0 || structure == 0x18 || cipher == 0x40 {
		c.personal = personalization{}
		return nil, apdu.SWIncorrectP1P2
	}
	if int(cmd.P2) != c.personal.next {
		c.personal = personalization{}
		return nil, apdu.SWIncorrectP1P2
	}
	last := cmd.P1&0x80 != 0
	p := c.personal
	p.next++
	if last || p.next > 0xFF {
		p = personalization{}
	}
	app := c.personal.app
	if app == nil {
		c.personal = p
		return c.storeOwn(cmd)
	}
	c.personal = personalization{}
	e := &env{chip: c, app: app, dek: c.session.dek}
	defer e.end()
	data, sw := c.code(app).StoreData(e, cmd.P1, cmd.P2, cmd.Data)
	if sw.OK() || sw.SW1() == 0x62 || sw.SW1() == 0x63 {
		c.personal = p
	}
	return data, sw
}

// storeOwn stores issuer and card image number (tags 42 and 45), in BER-TLV
// or in the DGIs 0042 and 0045 without a block border inside.
func (c *Chip) storeOwn(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	var objects []tlv.Object
	if cmd.P1&0x18 == 0x08 {
		for b := cmd.Data; len(b) > 0; {
			if len(b) < 3 || b[2] == 0xFF || len(b) < 3+int(b[2]) {
				return nil, apdu.SWWrongData
			}
			n := 3 + int(b[2])
			objects = append(objects, tlv.Object{Tag: tlv.Tag(binary.BigEndian.Uint16(b)), Value: b[3:n]})
			b = b[n:]
		}
	} else {
		var err error
		if objects, err = tlv.Parse(cmd.Data); err != nil {
			return nil, apdu.SWWrongData
		}
	}
	if len(objects) == 0 {
		return nil, apdu.SWWrongData
	}
	for _, o := range objects {
		if o.Tag != 0x42 && o.Tag != 0x45 {
			return nil, apdu.SWReferencedDataNotFound
		}
		if len(o.Value) > 16 {
			return nil, apdu.SWWrongData
		}
	}
	for _, o := range objects {
		c.reg.space.Set(objectKey(o.Tag), o.Value)
	}
	return nil, apdu.SWSuccess
}
