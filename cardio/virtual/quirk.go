package virtual

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"cardbureau/cardio/virtual/nvm"
)

// Quirk is a way in which real chips differ from the standard, or from what
// most of them do, by its name in firmware profiles.
type Quirk string

// Quirks.
const (
	// QuirkCountDataOnly: the encryption counter of SCP03 advances at
	// commands with data alone, not at every command (GPC_SPE_014 section
	// 6.2.6). Reported of field products in GlobalPlatformPro pull requests
	// 226 and 227.
	QuirkCountDataOnly Quirk = "count-data-only"
	// QuirkUntaggedStatus: GET STATUS answers in the deprecated form of P2 =
	// 00 alone (AID length, AID, life cycle, one byte of privileges); P2 = 02
	// and load files with their modules (P1 = 10) are refused with 6A86, as
	// in the trace of an older chip in GlobalPlatformPro issue 80.
	QuirkUntaggedStatus Quirk = "untagged-status"
	// QuirkFactoryVersion: the key set of the maker has the version FF, which
	// PUT KEY cannot name: the first set that is added (P1 = 00) takes its
	// place. INITIALIZE UPDATE answers that report FF are in GlobalPlatformPro
	// issue 192.
	QuirkFactoryVersion Quirk = "factory-version-ff"
	// QuirkNoCPLC: GET DATA 9F7F is answered 6A88, so that INITIALIZE UPDATE,
	// CIN and key diversification data are what identifies the chip: in the
	// trace of a UICC in GlobalPlatformPro issue 253.
	QuirkNoCPLC Quirk = "no-cplc"
	// QuirkWarningFirst: over T=0 a warning (6310 of GET STATUS) comes in
	// place of 61xx, and GET RESPONSE then gives the data with 9000: in a
	// trace in GlobalPlatformPro issue 124; ETSI TS 102 221 clause 7.3.1.1.4
	// has both ways.
	QuirkWarningFirst Quirk = "warning-first"
)

// Quirks are all of them.
var Quirks = []Quirk{QuirkCountDataOnly, QuirkUntaggedStatus, QuirkFactoryVersion, QuirkNoCPLC, QuirkWarningFirst}

// factoryVersion is the key version of QuirkFactoryVersion.
const factoryVersion = 0xFF

// Timing is how slow a chip is. Every command is answered this much later
// than it was executed: PerCommand, and PerByte for every byte of the command
// and of the answer, the status word included.
type Timing struct {
	PerCommand, PerByte time.Duration
}

func (t Timing) of(bytes int) time.Duration { return t.PerCommand + time.Duration(bytes)*t.PerByte }

// options is what a blank chose beside keys and applications.
type options struct {
	protocol byte // 2 or 3, of the secure channel
	t0       bool
	quirks   []Quirk
	timing   Timing
}

func (o *options) has(q Quirk) bool { return slices.Contains(o.quirks, q) }

// keyTypeOf is the type of keys that a protocol takes.
func keyTypeOf(protocol byte) KeyType {
	if protocol == 2 {
		return TripleDES
	}
	return AES
}

func (o *options) check() error {
	if o.protocol != 2 && o.protocol != 3 {
		return fmt.Errorf("virtual: there is no secure channel protocol %02X here, only 02 and 03", o.protocol)
	}
	for i, q := range o.quirks {
		if !slices.Contains(Quirks, q) {
			return fmt.Errorf("virtual: there is no quirk %q", q)
		}
		if slices.Contains(o.quirks[:i], q) {
			return fmt.Errorf("virtual: the quirk %q is there twice", q)
		}
	}
	if o.has(QuirkCountDataOnly) && o.protocol != 3 {
		return fmt.Errorf("virtual: %s is a quirk of SCP03", QuirkCountDataOnly)
	}
	if o.has(QuirkWarningFirst) && !o.t0 {
		return fmt.Errorf("virtual: %s is a quirk of T=0", QuirkWarningFirst)
	}
	if o.timing.PerCommand < 0 || o.timing.PerByte < 0 {
		return fmt.Errorf("virtual: a chip cannot be faster than it is")
	}
	return nil
}

// store writes what is not the default; a card of before an option existed
// has the default too.
func (o *options) store(s nvm.Space) {
	if o.protocol != 3 {
		s.Set("protocol", []byte{o.protocol})
	}
	if o.t0 {
		s.Set("t0", []byte{1})
	}
	if len(o.quirks) > 0 {
		names := make([]string, len(o.quirks))
		for i, q := range o.quirks {
			names[i] = string(q)
		}
		s.Set("quirks", []byte(strings.Join(names, " ")))
	}
	if o.timing != (Timing{}) {
		b := binary.BigEndian.AppendUint64(nil, uint64(o.timing.PerCommand))
		s.Set("timing", binary.BigEndian.AppendUint64(b, uint64(o.timing.PerByte)))
	}
}

func loadOptions(s nvm.Space) (options, error) {
	o := options{protocol: 3, t0: len(s.Get("t0")) > 0}
	if v := s.Get("protocol"); len(v) == 1 {
		o.protocol = v[0]
	}
	for _, name := range strings.Fields(string(s.Get("quirks"))) {
		o.quirks = append(o.quirks, Quirk(name))
	}
	if v := s.Get("timing"); len(v) == 16 {
		o.timing.PerCommand = time.Duration(binary.BigEndian.Uint64(v))
		o.timing.PerByte = time.Duration(binary.BigEndian.Uint64(v[8:]))
	}
	if o.check() != nil {
		return o, ErrNoCard
	}
	return o, nil
}
