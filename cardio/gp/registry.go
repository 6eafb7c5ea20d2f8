package gp

import (
	"context"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// RegistryEntry is one application, security domain or load file as GET
// STATUS lists it (GPC_SPE_034 table 11-36). Fields that the card does not
// give are nil.
type RegistryEntry struct {
	AID            []byte
	LifeCycle      byte
	Privileges     []byte // 1 or 3 bytes, GPC_SPE_034 tables 11-7 to 11-9
	LoadFile       []byte // AID of the executable load file
	SecurityDomain []byte // AID of the associated security domain
	Version        []byte // of a load file
	Modules        [][]byte
	Implicit       []byte // implicit selection parameters, a byte each
}

// What GET STATUS lists (P1, GPC_SPE_034 table 11-33).
const (
	ListISD                 byte = 0x80
	ListApplications        byte = 0x40 // and supplementary security domains
	ListLoadFiles           byte = 0x20
	ListLoadFilesAndModules byte = 0x10
)

// swMoreData is GET STATUS's warning that more entries follow.
const swMoreData apdu.StatusWord = 0x6310

// maxStatusPages bounds the continuation: no card holds as many entries.
const maxStatusPages = 256

// StatusQuery is what is asked of the registry (GPC_SPE_034 11.4).
type StatusQuery struct {
	What byte   // ListISD, ListApplications, ListLoadFiles or ListLoadFilesAndModules
	AID  []byte // entries whose AID is this one or begins with it; empty: all
	// Tags are the data objects wanted (tag list, 5C); none: what the card
	// gives. 4F, the AID, is always among them.
	Tags []tlv.Tag
	// Plain asks for the older format (P2 b2 = 0), which some cards have alone:
	// AID, life cycle state and privileges, with ListLoadFilesAndModules the
	// modules also. It knows no tag list.
	Plain bool
}

// Command asks for the first entries or, with next, for those that did not fit
// into the answer before.
func (q StatusQuery) Command(next bool) apdu.Command {
	c := apdu.Command{CLA: 0x80, INS: 0xF2, P1: q.What, Data: tlv.Encode(0x4F, q.AID), Ne: apdu.MaxShortNe}
	if !q.Plain {
		c.P2 |= 0x02
	}
	if next {
		c.P2 |= 0x01
	}
	if len(q.Tags) > 0 && !q.Plain {
		list := tlv.AppendTag(nil, 0x4F)
		for _, t := range q.Tags {
			if t != 0x4F {
				list = tlv.AppendTag(list, t)
			}
		}
		c.Data = tlv.Append(c.Data, 0x5C, list)
	}
	return c
}

// Run lists the entries, as many commands as it takes. A card that has no such
// entry (6A88) gives an empty list. Answers are put together before they are
// read: a JCOP 4 cuts its list where an answer is full, also within an entry.
func (q StatusQuery) Run(ctx context.Context, send Sender) ([]RegistryEntry, error) {
	if q.Plain {
		return getStatus(ctx, send, q.Command, func(b []byte) ([]RegistryEntry, error) { return ParseStatusPlain(b, q.What) })
	}
	return getStatus(ctx, send, q.Command, ParseStatus)
}

// GetStatusPlainCommand is GetStatusCommand in the older format.
func GetStatusPlainCommand(what byte, next bool) apdu.Command {
	return StatusQuery{What: what, Plain: true}.Command(next)
}

// GetStatusCommand lists all entries in the data-object format.
func GetStatusCommand(what byte, next bool) apdu.Command {
	return StatusQuery{What: what}.Command(next)
}

// GetStatus lists all entries of a kind.
func GetStatus(ctx context.Context, send Sender, what byte) ([]RegistryEntry, error) {
	return StatusQuery{What: what}.Run(ctx, send)
}

// GetStatusPlain is GetStatus in the older format, which gives fewer fields.
func GetStatusPlain(ctx context.Context, send Sender, what byte) ([]RegistryEntry, error) {
	return StatusQuery{What: what, Plain: true}.Run(ctx, send)
}

func getStatus(ctx context.Context, send Sender, command func(next bool) apdu.Command, parse func([]byte) ([]RegistryEntry, error)) ([]RegistryEntry, error) {
	var list []byte
	for page := range maxStatusPages {
		c := command(page > 0)
		r, err := send(ctx, c)
		if err != nil {
			return nil, err
		}
		if r.SW == apdu.SWReferencedDataNotFound && page == 0 {
			return nil, nil
		}
		if !r.SW.OK() && r.SW != swMoreData {
			return nil, &apdu.StatusError{Header: [4]byte{c.CLA, c.INS, c.P1, c.P2}, SW: r.SW}
		}
		list = append(list, r.Data...)
		if r.SW.OK() {
			return parse(list)
		}
	}
	return nil, fmt.Errorf("%w: GET STATUS never ends", ErrMalformed)
}

// ParseStatus reads the response data of GET STATUS, of all its answers: a
// sequence of E3 data objects.
func ParseStatus(b []byte) ([]RegistryEntry, error) {
	objects, err := tlv.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%w: GET STATUS: %w", ErrMalformed, err)
	}
	out := make([]RegistryEntry, 0, len(objects))
	for _, o := range objects {
		if o.Tag != 0xE3 {
			return nil, fmt.Errorf("%w: GET STATUS: tag %X", ErrMalformed, uint32(o.Tag))
		}
		fields, err := tlv.Parse(o.Value)
		if err != nil {
			return nil, fmt.Errorf("%w: GET STATUS: %w", ErrMalformed, err)
		}
		var e RegistryEntry
		for _, f := range fields {
			switch f.Tag {
			case 0x4F:
				e.AID = f.Value
			case 0x9F70:
				if len(f.Value) == 0 {
					return nil, fmt.Errorf("%w: GET STATUS: empty life cycle state", ErrMalformed)
				}
				e.LifeCycle = f.Value[0]
			case 0xC5:
				e.Privileges = f.Value
			case 0xC4:
				e.LoadFile = f.Value
			case 0xCC:
				e.SecurityDomain = f.Value
			case 0xCE:
				e.Version = f.Value
			case 0xCF:
				e.Implicit = append(e.Implicit, f.Value...)
			case 0x84:
				e.Modules = append(e.Modules, f.Value)
			}
		}
		if len(e.AID) == 0 {
			return nil, fmt.Errorf("%w: GET STATUS: an entry without an AID", ErrMalformed)
		}
		out = append(out, e)
	}
	return out, nil
}

// ParseStatusPlain reads the response data of GET STATUS in the older format. what is the P1 that was sent: it says whether modules follow each
// entry.
func ParseStatusPlain(b []byte, what byte) ([]RegistryEntry, error) {
	cut := func() error { return fmt.Errorf("%w: GET STATUS: an entry is cut off", ErrMalformed) }
	var out []RegistryEntry
	for len(b) > 0 {
		var e RegistryEntry
		var ok bool
		if e.AID, b, ok = lengthValue(b); !ok || len(b) < 2 {
			return nil, cut()
		}
		if err := checkAID("entry", e.AID, false); err != nil {
			return nil, fmt.Errorf("%w: GET STATUS: %w", ErrMalformed, err)
		}
		e.LifeCycle, e.Privileges, b = b[0], b[1:2:2], b[2:]
		if what == ListLoadFilesAndModules {
			if len(b) == 0 {
				return nil, cut()
			}
			n := int(b[0])
			for b = b[1:]; n > 0; n-- {
				var m []byte
				if m, b, ok = lengthValue(b); !ok {
					return nil, cut()
				}
				e.Modules = append(e.Modules, m)
			}
		}
		out = append(out, e)
	}
	return out, nil
}
