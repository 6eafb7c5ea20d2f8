package trace

import (
	"bytes"
	"slices"

	"cardbureau/cardio/apdu"
)

// span is a run of bytes that is shown or not.
type span struct {
	n    int
	show bool
}

// rule says which bytes of a command's data or of an answer may be shown.
// Without one, none is.
type rule func(data []byte) []span

var hidden rule

func all(data []byte) []span { return []span{{len(data), true}} }

// upTo shows data of one of the lengths, and nothing of any other.
func upTo(lengths ...int) rule {
	return func(data []byte) []span {
		for _, n := range lengths {
			if len(data) == n {
				return all(data)
			}
		}
		return nil
	}
}

// whole makes spans cover n bytes exactly, shown neighbours joined. What
// does not come to n bytes shows nothing.
func whole(spans []span, n int) []span {
	var out []span
	sum := 0
	for _, s := range spans {
		sum += s.n
		switch last := len(out) - 1; {
		case s.n == 0:
		case last >= 0 && s.show && out[last].show:
			out[last].n += s.n
		default:
			out = append(out, s)
		}
	}
	if sum != n {
		return []span{{n, false}}
	}
	return out
}

// rules are those of a command and of its answer.
type rules struct {
	command, response rule
	authenticate      bool // a command that EXTERNAL AUTHENTICATE may follow
}

// policy is what of earlier commands decides what may be shown of the next.
type policy struct {
	pending rule // of the answer that GET RESPONSE is to fetch whole
	begun   bool // INITIALIZE UPDATE was answered
	channel int  // of either
	// domain are the logical channels on which a security domain is known to be
	// selected: any other application may mean what it likes by a command.
	domain [channels]bool
}

// channels is how many logical channels class bytes can name (ISO/IEC 7816-4:2020
// clause 5.4.1).
const channels = 20

// domains are AIDs of issuer security domains: GlobalPlatform's, and those that
// Visa and Gemalto gave theirs.
var domains = [][]byte{
	{0xA0, 0x00, 0x00, 0x01, 0x51, 0x00, 0x00, 0x00}, {0xA0, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00}, {0xA0, 0x00, 0x00, 0x00, 0x18, 0x43, 0x4D, 0x00},
}

// selects reports whether a command selects an application, and whether that is
// a security domain.
func selects(raw []byte) (application, domain bool) {
	c, err := apdu.Parse(raw)
	if err != nil || proprietary(c.CLA) || c.INS != insSelect || c.P1 != 0x04 {
		return false, false
	}
	return true, len(c.Data) == 0 && c.P2&0x03 == 0 || slices.ContainsFunc(domains, func(aid []byte) bool { return bytes.Equal(aid, c.Data) })
}

// rules are those of a command as it goes to the card.
func (p *policy) rules(c apdu.Command) rules {
	ours := channel(c.CLA) == p.channel
	switch {
	case c.INS == insGetResponse && !proprietary(c.CLA) && !secured(c.CLA) && ours:
		return rules{response: p.pending}
	case p.begun && ours && externalAuthenticate(c):
		return rules{command: upTo(16, 32)}
	case secured(c.CLA):
		return rules{} // data is ciphertext, or plain beside a MAC
	}
	return p.allow(c)
}

// externalAuthenticate is GlobalPlatform's (GPC_SPE_014 7.1.2, GPC_SPE_034
// E.5.2): host cryptogram and C-MAC. That of BAC has another class and length.
func externalAuthenticate(c apdu.Command) bool {
	return proprietary(c.CLA) && secured(c.CLA) && !chained(c.CLA) && c.INS == insExternalAuthenticate && c.P2 == 0
}

// inside are the rules of a command that a secure channel protects.
func (p *policy) inside(c apdu.Command) rules {
	if secured(c.CLA) {
		return rules{}
	}
	return p.allow(c)
}

// after remembers what the next command depends on.
func (p *policy) after(raw []byte, r apdu.Response, answered bool, sent rules) {
	if len(raw) < 4 || !answered {
		*p = policy{}
		return
	}
	fetching := raw[1] == insGetResponse
	more := r.SW.SW1() == 0x61 && len(r.Data) == 0
	next := policy{channel: channel(raw[0]), domain: p.domain}
	if application, domain := selects(raw); application && (r.SW.OK() || slices.Contains([]byte{0x61, 0x62, 0x63}, r.SW.SW1())) {
		next.domain[next.channel] = domain
	} else if raw[1] == insManageChannel {
		next.domain = [channels]bool{} // what is selected on a new channel is not known
	}
	next.begun = sent.authenticate && (r.SW.OK() || more) || fetching && p.begun
	if more && !fetching || fetching && r.SW.SW1() == 0x6C {
		next.pending = sent.response
	}
	*p = next
}

// allow is the allow-list: what may be shown of commands in the clear, by
// exact form. A form that is not here shows nothing.
func (p *policy) allow(c apdu.Command) rules {
	switch {
	case chained(c.CLA) || c.CLA == 0xFF:
		return rules{}
	case c.INS != insSelect && c.INS != insManageChannel && !p.domain[channel(c.CLA)]:
		return rules{}
	case proprietary(c.CLA):
		return allowGlobalPlatform(c)
	case c.INS == insSelect:
		return allowSelect(c)
	case c.INS == insGetData:
		return rules{response: objects[tag(c)]}
	case c.INS == insManageChannel && len(c.Data) == 0:
		return rules{response: upTo(1)}
	}
	return rules{}
}

func tag(c apdu.Command) uint16 { return uint16(c.P1)<<8 | uint16(c.P2) }

// allowSelect shows names of applications and identifiers of files (ISO/IEC
// 7816-4:2020 clause 11.2.2), and of the answer what a security domain says of
// itself.
func allowSelect(c apdu.Command) rules {
	switch c.P1 {
	case 0x04:
		return rules{command: aid, response: tree(fci)}
	case 0x00, 0x01, 0x02, 0x03:
		return rules{command: upTo(2)}
	case 0x08, 0x09:
		return rules{command: upTo(2, 4, 6, 8)}
	}
	return rules{}
}

func aid(data []byte) []span {
	if isAID(data) {
		return all(data)
	}
	return nil
}

func isAID(b []byte) bool { return len(b) >= 5 && len(b) <= 16 }

func allowGlobalPlatform(c apdu.Command) rules {
	switch c.INS {
	case insGetData:
		return rules{response: objects[tag(c)]}
	case insInitializeUpdate:
		if c.P2 == 0 && (len(c.Data) == 8 || len(c.Data) == 16) {
			return rules{command: all, response: initializeUpdate, authenticate: true}
		}
	case insGetStatus:
		if c.P2&0x02 != 0 {
			return rules{command: tree(statusQuery), response: tree(status)}
		}
		return rules{command: tree(statusQuery), response: plainStatus(c.P1)}
	case insInstall:
		return rules{command: install(c.P1)}
	case insDelete:
		return rules{command: tree(deletion)}
	case insSetStatus:
		if c.P1 == 0x40 || c.P1 == 0x60 || c.P1 == 0x80 {
			return rules{command: aid}
		}
	}
	return rules{}
}

// initializeUpdate hides the key diversification data, 10 bytes, which name
// the chip; challenges and cryptograms are shown (GPC_SPE_034 E.5.1.6,
// GPC_SPE_014 table 7-3).
func initializeUpdate(data []byte) []span {
	const diversification = 10
	switch len(data) {
	case 28, 29, 32, 45, 48:
		return []span{{diversification, false}, {len(data) - diversification, true}}
	}
	return nil
}
