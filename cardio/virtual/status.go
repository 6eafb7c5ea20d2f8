package virtual

import (
	"bytes"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// statusPage is a GET STATUS whose answer did not fit one response.
type statusPage struct {
	p1   byte
	rest [][]byte // entries still to be sent
}

// swMoreData is the warning of GET STATUS that more entries follow.
const swMoreData apdu.StatusWord = 0x6310

// pageSize is how many bytes of entries one short response carries at every
// security level, so that it stays within 256 with its R-MAC and the 2 bytes
// of its status word: 239 pad to 240 and get 8, in S16 mode 223 pad to 224 and
// get 16.
func (r *registry) pageSize() int {
	if r.link().length() == 16 {
		return 223
	}
	return 239
}

// Scopes of GET STATUS: bits of P1 (GPC_SPE_034 v2.3.1 table 11-32).
const (
	scopeISD          = 0x80
	scopeApplications = 0x40
	scopeLoadFiles    = 0x20
	scopeModules      = 0x10 // load files with their modules
)

// getStatus is GET STATUS (GPC_SPE_034 v2.3.1 section 11.4): P1 any sum of the
// scopes, whose entries come in this order; tagged answers only, P2 = 02,
// continued with 03.
func (c *Chip) getStatus(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	page := c.page
	c.page = statusPage{}
	if cmd.P1&0xF0 == 0 || cmd.P1&0x0F != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	untagged := c.reg.has(QuirkUntaggedStatus)
	if untagged && cmd.P1 == scopeModules {
		return nil, apdu.SWIncorrectP1P2
	}
	switch cmd.P2 {
	case 0x02, 0x00:
		if untagged != (cmd.P2 == 0x00) {
			return nil, apdu.SWIncorrectP1P2
		}
	case 0x03, 0x01:
		if untagged != (cmd.P2 == 0x01) {
			return nil, apdu.SWIncorrectP1P2
		}
		if page.p1 != cmd.P1 || len(page.rest) == 0 {
			return nil, apdu.SWConditionsOfUseNotSatisfied
		}
		return c.sendPage(cmd.P1, page.rest)
	default:
		return nil, apdu.SWIncorrectP1P2
	}
	criteria, err := tlv.Parse(cmd.Data)
	if err != nil || len(criteria) == 0 || criteria[0].Tag != 0x4F || len(criteria[0].Value) > 16 {
		return nil, apdu.SWWrongData
	}
	var tags []byte
	for _, o := range criteria[1:] {
		if o.Tag != 0x5C {
			return nil, apdu.SWWrongData
		}
		tags = o.Value
	}
	want, ok := tagList(tags)
	if !ok {
		return nil, apdu.SWWrongData
	}
	if untagged {
		want = nil
	}
	var entries [][]byte
	for _, scope := range []byte{scopeISD, scopeApplications, scopeLoadFiles, scopeModules} {
		if cmd.P1&scope == 0 || scope == scopeLoadFiles && cmd.P1&scopeModules != 0 && !untagged {
			continue // the entries with modules say the same and more
		}
		entries = append(entries, c.entries(scope, criteria[0].Value, want)...)
	}
	if len(entries) == 0 {
		return nil, apdu.SWReferencedDataNotFound
	}
	if untagged {
		for i, e := range entries {
			entries[i] = untaggedEntry(e)
		}
	}
	return c.sendPage(cmd.P1, entries)
}

// untaggedEntry is an entry in the deprecated form: AID length, AID, life
// cycle, and the first byte of the privileges, 00 where there are none (table
// 11-35).
func untaggedEntry(tagged []byte) []byte {
	aid, _ := tlv.Path(tagged, 0xE3, 0x4F)
	state, _ := tlv.Path(tagged, 0xE3, 0x9F70)
	privileges, _ := tlv.Path(tagged, 0xE3, 0xC5)
	out := append([]byte{byte(len(aid))}, aid...)
	out = append(out, state...)
	if len(privileges) == 0 {
		return append(out, 0)
	}
	return append(out, privileges[0])
}

func (c *Chip) sendPage(p1 byte, entries [][]byte) ([]byte, apdu.StatusWord) {
	var out []byte
	for i, e := range entries {
		if len(out)+len(e) > c.reg.pageSize() && i > 0 {
			c.page = statusPage{p1: p1, rest: entries[i:]}
			return out, swMoreData
		}
		out = append(out, e...)
	}
	return out, apdu.SWSuccess
}

// tagList reads a tag list (tag 5C): tags without lengths. No list wants
// everything: nil.
func tagList(b []byte) (map[tlv.Tag]bool, bool) {
	if len(b) == 0 {
		return nil, true
	}
	want := map[tlv.Tag]bool{}
	for len(b) > 0 {
		t, n := tlv.Tag(b[0]), 1
		if b[0]&0x1F == 0x1F {
			if len(b) < 2 || b[1]&0x80 != 0 {
				return nil, false
			}
			t, n = t<<8|tlv.Tag(b[1]), 2
		}
		want[t] = true
		b = b[n:]
	}
	return want, true
}

// entries are the registry entries of a kind whose AID begins with prefix:
// E3 { 4F AID, 9F70 life cycle, C5 privileges, CE version, C4 load file, 84
// modules, CC security domain } as far as each applies (table 11-36).
func (c *Chip) entries(p1 byte, prefix []byte, want map[tlv.Tag]bool) [][]byte {
	var out [][]byte
	add := func(aid []byte, objects ...tlv.Object) {
		if !bytes.HasPrefix(aid, prefix) {
			return
		}
		var b []byte
		for _, o := range append([]tlv.Object{{Tag: 0x4F, Value: aid}}, objects...) {
			if want == nil || want[o.Tag] {
				b = tlv.Append(b, o.Tag, o.Value)
			}
		}
		out = append(out, tlv.Encode(0xE3, b))
	}
	switch p1 {
	case scopeISD:
		if !c.visible(nil) {
			break
		}
		p := c.reg.isdPrivileges()
		add(c.reg.isd, tlv.Object{Tag: 0x9F70, Value: []byte{byte(c.reg.state)}},
			tlv.Object{Tag: 0xC5, Value: privilegeBytes(p)})
	case scopeApplications:
		for _, a := range c.reg.apps {
			if !c.visible(c.reg.parent(a)) && a != c.selected {
				continue
			}
			add(a.aid, tlv.Object{Tag: 0x9F70, Value: []byte{a.state}},
				tlv.Object{Tag: 0xC5, Value: privilegeBytes(a.privileges)},
				tlv.Object{Tag: 0xC4, Value: a.loadFile},
				tlv.Object{Tag: 0xCC, Value: c.reg.aidOf(c.reg.parent(a))})
		}
	case scopeLoadFiles, scopeModules:
		for _, f := range c.reg.loadFiles {
			domain, _ := c.reg.domainByAID(f.domain)
			if !c.visible(domain) {
				continue
			}
			objects := []tlv.Object{
				{Tag: 0x9F70, Value: []byte{0x01}}, // LOADED
				{Tag: 0xCE, Value: f.Version[:]},
			}
			if p1 == scopeModules {
				for _, m := range f.Modules {
					objects = append(objects, tlv.Object{Tag: 0x84, Value: m})
				}
			}
			add(f.AID, append(objects, tlv.Object{Tag: 0xCC, Value: c.reg.aidOf(domain)})...)
		}
	}
	return out
}

// setCardState makes a transition of GPC_SPE_034 v2.3.1 figure 5-1: forward
// one step at a time to SECURED, between SECURED and CARD_LOCKED, and from
// everywhere to TERMINATED.
func (c *Chip) setCardState(to CardState) apdu.StatusWord {
	switch to {
	case OpReady, Initialized, Secured, CardLocked, Terminated:
	default:
		return apdu.SWIncorrectP1P2
	}
	from := c.reg.state
	legal := to == Terminated ||
		from == OpReady && to == Initialized ||
		from == Initialized && to == Secured ||
		from == Secured && to == CardLocked ||
		from == CardLocked && to == Secured
	if !legal {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	c.reg.putState(to)
	return apdu.SWSuccess
}
