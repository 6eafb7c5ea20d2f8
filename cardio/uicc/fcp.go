package uicc

import (
	"encoding/binary"
	"fmt"
	"slices"

	"cardbureau/cardio/tlv"
)

// FileType is the kind of a file.
type FileType int

// Kinds of files.
const (
	MF FileType = iota + 1
	DF
	ADF
	Transparent
	LinearFixed
	Cyclic
)

func (t FileType) String() string {
	return [...]string{"?", "MF", "DF", "ADF", "transparent EF", "linear fixed EF", "cyclic EF"}[t]
}

// FCP are the control parameters of a file (TS 102 221 clause 11.1.1.3), or what a
// class A0 card says in their place (TS 51.011 clause 9.2.1).
type FCP struct {
	Type         FileType
	FID          uint16
	AID          []byte // of an ADF
	Size         int    // of an EF's content, bytes
	RecordLength int
	Records      int
	SFI          byte // 0: none
	LifeCycle    byte // as the card has it: 05 activated, 04 deactivated; 0: not told
	// Access is the reference of the access rules: EF.ARR and record; zero where they
	// stand in the template itself (compact or expanded) or are not told.
	AccessFile   uint16
	AccessRecord byte
	Access       []byte // the security attributes as they stand, 8B, 8C or AB
	PINs         []PINStatus
}

// PINStatus is a PIN that a directory knows.
type PINStatus struct {
	Reference byte
	Enabled   bool
	// Universal: it is the universal PIN, and its usage qualifier (tag 95) says that it is
	// given in place of the application's (TS 102 221 clause 9.5.1, table 9.3).
	Universal bool
	Tries     int // left; -1: not told
	// UnblockTries are those of the unblock key; -1: not told.
	UnblockTries int
}

// ParseFCP reads a template 62. Errors match ErrMalformed.
func ParseFCP(b []byte) (*FCP, error) {
	o, rest, err := tlv.Next(b)
	if err != nil || o.Tag != 0x62 || len(rest) != 0 {
		return nil, fmt.Errorf("%w: no FCP template", ErrMalformed)
	}
	list, err := tlv.Parse(o.Value)
	if err != nil {
		return nil, fmt.Errorf("%w: FCP: %w", ErrMalformed, err)
	}
	f := &FCP{}
	for _, o := range list {
		if err := f.set(o.Tag, o.Value); err != nil {
			return nil, err
		}
	}
	if f.Type == DF && f.FID == 0x3F00 {
		f.Type = MF
	}
	if f.Type == DF && len(f.AID) > 0 {
		f.Type = ADF
	}
	if f.Type == 0 {
		return nil, fmt.Errorf("%w: FCP without a file descriptor", ErrMalformed)
	}
	return f, nil
}

func (f *FCP) set(tag tlv.Tag, v []byte) error {
	bad := fmt.Errorf("%w: FCP, object %X", ErrMalformed, uint32(tag))
	switch tag {
	case 0x82:
		if len(v) < 2 {
			return bad
		}
		switch v[0] & 0x3F { // without the shareable bit
		case 0x38:
			f.Type = DF
		case 0x01:
			f.Type = Transparent
		case 0x02, 0x06:
			f.Type = LinearFixed
			if v[0]&0x07 == 0x06 {
				f.Type = Cyclic
			}
			if len(v) < 5 {
				return bad
			}
			f.RecordLength, f.Records = int(binary.BigEndian.Uint16(v[2:])), int(v[4])
		default:
			return bad
		}
	case 0x83:
		if len(v) != 2 {
			return bad
		}
		f.FID = binary.BigEndian.Uint16(v)
	case 0x84:
		if len(v) > 16 {
			return bad
		}
		f.AID = v
	case 0x80:
		if len(v) < 1 || len(v) > 4 {
			return bad
		}
		f.Size = 0
		for _, b := range v {
			f.Size = f.Size<<8 | int(b)
		}
	case 0x88:
		if len(v) > 1 {
			return bad
		}
		if len(v) == 1 {
			f.SFI = v[0] >> 3
		}
	case 0x8A:
		if len(v) != 1 {
			return bad
		}
		f.LifeCycle = v[0]
	case 0x8B, 0x8C, 0xAB:
		f.Access = v
		if tag == 0x8B && len(v) == 3 {
			f.AccessFile, f.AccessRecord = binary.BigEndian.Uint16(v), v[2]
		}
	case 0xC6:
		return f.setPINs(v)
	}
	return nil
}

// setPINs reads a PIN status template (TS 102 221 clause 11.1.1.4.10): 90 has a bit for
// each key reference that follows, the first the highest.
func (f *FCP) setPINs(v []byte) error {
	list, err := tlv.Parse(v)
	if err != nil {
		return fmt.Errorf("%w: PIN status template: %w", ErrMalformed, err)
	}
	var bits []byte
	usage := byte(0)
	for _, o := range list {
		switch o.Tag {
		case 0x90:
			bits = o.Value
		case 0x95: // of the key reference that follows
			if len(o.Value) != 1 {
				return fmt.Errorf("%w: PIN status template", ErrMalformed)
			}
			usage = o.Value[0]
		case 0x83:
			if len(o.Value) != 1 {
				return fmt.Errorf("%w: PIN status template", ErrMalformed)
			}
			n := len(f.PINs)
			enabled := n/8 >= len(bits) || bits[n/8]&(0x80>>(n%8)) != 0 // a card that does not say asks for it
			f.PINs = append(f.PINs, PINStatus{Reference: o.Value[0], Enabled: enabled, Universal: o.Value[0] == universalPIN && usage&usageVerify != 0, Tries: -1, UnblockTries: -1})
			usage = 0
		}
	}
	return nil
}

// Key references (TS 102 221 table 9.3), and the bit of a usage qualifier that says
// that a PIN is verified (ISO/IEC 7816-4:2020, usage qualifier byte: user
// authentication).
const (
	lastApplicationPIN = 0x08 // PIN of application 1 to 8
	universalPIN       = 0x11
	usageVerify        = 0x08
)

// pin1 is the reference that the application has its PIN1 under: the first application
// PIN, or the universal PIN where that is disabled and this takes its place. PIN1, 01,
// where the card does not say.
func (f *FCP) pin1() byte {
	found := PIN1
	for i := len(f.PINs) - 1; i >= 0; i-- { // the first one wins
		if r := f.PINs[i].Reference; r >= PIN1 && r <= lastApplicationPIN {
			found = r
		}
	}
	for _, p := range f.PINs {
		if p.Reference == found && p.Enabled {
			return found
		}
	}
	for _, p := range f.PINs {
		if p.Universal && p.Enabled {
			return p.Reference
		}
	}
	return found
}

// disabled reports whether the card says that a PIN is disabled.
func (f *FCP) disabled(reference byte) bool {
	return slices.ContainsFunc(f.PINs, func(p PINStatus) bool { return p.Reference == reference && !p.Enabled })
}

// Structure and type bytes of class A0 (TS 51.011 clause 9.3).
const (
	gsmMF = 0x01
	gsmDF = 0x02
	gsmEF = 0x04
)

// ParseGSM reads the answer to SELECT of class A0. Errors match ErrMalformed.
func ParseGSM(b []byte) (*FCP, error) {
	bad := fmt.Errorf("%w: answer to SELECT", ErrMalformed)
	if len(b) < 14 {
		return nil, bad
	}
	f := &FCP{FID: binary.BigEndian.Uint16(b[4:])}
	switch b[6] {
	case gsmEF:
		f.Size = int(binary.BigEndian.Uint16(b[2:]))
		f.LifeCycle = 0x04 | b[11]&0x01
		kinds := map[byte]FileType{0x00: Transparent, 0x01: LinearFixed, 0x03: Cyclic}
		if f.Type = kinds[b[13]]; f.Type == 0 {
			return nil, bad
		}
		if f.Type != Transparent {
			if len(b) < 15 || b[14] == 0 || f.Size%int(b[14]) != 0 {
				return nil, bad
			}
			f.RecordLength = int(b[14])
			f.Records = f.Size / f.RecordLength
		}
		return f, nil
	case gsmMF, gsmDF:
		f.Type = map[byte]FileType{gsmMF: MF, gsmDF: DF}[b[6]]
		if len(b) < 20 {
			return f, nil
		}
		// Byte 14: b8 is set where CHV1 is disabled; bytes 19 to 22 are the status of
		// CHV1, its unblock key, CHV2 and its: b8 initialized, b4 to b1 tries left.
		tries := func(at int) int {
			if at >= len(b) || b[at]&0x80 == 0 {
				return -1
			}
			return int(b[at] & 0x0F)
		}
		f.PINs = append(f.PINs, PINStatus{Reference: PIN1, Enabled: b[13]&0x80 == 0, Tries: int(b[18] & 0x0F), UnblockTries: tries(19)})
		if n := tries(20); n >= 0 {
			f.PINs = append(f.PINs, PINStatus{Reference: PIN2, Enabled: true, Tries: n, UnblockTries: tries(21)})
		}
		return f, nil
	}
	return nil, bad
}
