package profile

import (
	"slices"

	"cardbureau/cardio/gp"
)

// Quirks are the named departures from the standards that a chip or an applet
// may have. Each has a test that shows what it changes.
const (
	// QuirkCountDataOnly: SCP03's encryption counter stands still at commands
	// without data, as in Amendment D 1.0.
	QuirkCountDataOnly = "count-data-only"
	// QuirkUntaggedStatus: GET STATUS answers in its older form alone, P2 = 00,
	// without tags.
	QuirkUntaggedStatus = "untagged-status"
	// QuirkWarningFirst: over T=0 a warning comes in place of 61xx, and GET
	// RESPONSE then gives the data with 9000. Every host takes it so; software
	// cards play it.
	QuirkWarningFirst = "warning-first"
	// QuirkLeZero: READ BINARY with Le=00 reads nothing, so 255 bytes are the
	// most that is asked for.
	QuirkLeZero = "le-zero-reads-nothing"
)

// quirksOf say what each quirk is and where it may stand.
var quirksOf = map[string]map[string]string{
	"chip": {
		QuirkCountDataOnly:  "the encryption counter of SCP03 stands still at commands without data",
		QuirkUntaggedStatus: "GET STATUS answers in its older form, without tags",
		QuirkWarningFirst:   "over T=0 a warning comes before the data that belongs to it",
	},
	"applet": {
		QuirkLeZero: "READ BINARY with Le=00 reads nothing: at most 255 bytes are asked for",
	},
}

// ChipQuirks are the names of the quirks that a chip may have, sorted.
func ChipQuirks() []string { return keys(quirksOf["chip"]) }

// Protocols of secure channels by their name.
var protocols = map[string]byte{"scp02": 2, "scp03": 3}

// Protocol is the secure channel protocol with its options.
func (c *Chip) Protocol() gp.Protocol {
	p := gp.Protocol{SCP: protocols[c.GlobalPlatform.Protocol]}
	if len(c.GlobalPlatform.I) == 1 {
		p.I = c.GlobalPlatform.I[0]
	}
	return p
}

// ProtocolOf is the protocol of channels with a named key set.
func (c *Chip) ProtocolOf(keys string) gp.Protocol {
	k := c.Keys[keys]
	p := c.Protocol()
	if k.Protocol != "" {
		p = gp.Protocol{SCP: protocols[k.Protocol]}
	}
	if len(k.I) == 1 {
		p.I = k.I[0]
	}
	return p
}

// LevelOf is the security level of channels with a named key set.
func (c *Chip) LevelOf(keys string) gp.Level {
	if l := c.Keys[keys].Level; len(l) == 1 {
		return gp.Level(l[0])
	}
	if l := c.GlobalPlatform.Level; len(l) == 1 {
		return gp.Level(l[0])
	}
	return 0
}

// Has reports whether the chip has a quirk.
func (c *Chip) Has(quirk string) bool { return slices.Contains(c.Quirks, quirk) }

// Has reports whether the applet has a quirk.
func (a *Applet) Has(quirk string) bool { return slices.Contains(a.Quirks, quirk) }

// Opens reports whether readers can open the application with an access control:
// pace or bac.
func (a *Applet) Opens(access string) bool { return slices.Contains(a.Reading.Access, access) }

// IsVirtual reports whether it is a software card.
func (c *Chip) IsVirtual() bool { return c.Virtual != nil }
