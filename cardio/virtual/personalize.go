package virtual

import (
	"encoding/binary"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// personalization is what INSTALL [for personalization] began.
type personalization struct {
	app  *application // nil: STORE DATA is for the security domain itself
	next int          // block number expected
}

// installForPersonalization directs the STORE DATA commands that follow to an
// application of the selected security domain (GPC_SPE_034 v2.3.1 section
// 7.3.3), until the last block, an error, another INSTALL or the end of the
// session.
func (c *Chip) installForPersonalization(aid []byte) ([]byte, apdu.StatusWord) {
	c.personal = personalization{}
	a := c.reg.application(aid)
	if a == nil {
		return nil, apdu.SWReferencedDataNotFound
	}
	if a.locked() || c.reg.parent(a) != c.selected {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	c.personal.app = a
	return c.confirmation(false)
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
		return c.storeOwn(c.selected, cmd)
	}
	if app.isDomain() {
		data, sw := c.storeOwn(app, cmd)
		if c.personal = p; !sw.OK() {
			c.personal = personalization{}
		}
		return data, sw
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

// storeOwn stores the identification and image number of a security domain
// (tags 42 and 45; the issuer's are those of the card), in BER-TLV
// or in the DGIs 0042 and 0045 without a block border inside.
func (c *Chip) storeOwn(domain *application, cmd apdu.Command) ([]byte, apdu.StatusWord) {
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
		c.reg.ringOf(domain).space.Set(objectKey(o.Tag), o.Value)
	}
	return nil, apdu.SWSuccess
}
