package uicc

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"cardbureau/cardio/tlv"
)

// PLMN is a network: country code of 3 digits, network code of 2 or 3.
type PLMN struct{ MCC, MNC string }

// String is both codes.
func (p PLMN) String() string { return p.MCC + p.MNC }

// plmnSize is a network's (TS 24.008 clause 10.5.1.13).
const plmnSize = 3

// DecodePLMN reads 3 bytes; FFFFFF is no network: the zero PLMN.
func DecodePLMN(b []byte) (p PLMN, err error) {
	if len(b) != plmnSize {
		return p, fmt.Errorf("%w: a network has 3 bytes", ErrMalformed)
	}
	if filled(b) {
		return p, nil
	}
	digits := []byte{b[0] & 0x0F, b[0] >> 4, b[1] & 0x0F, b[2] & 0x0F, b[2] >> 4, b[1] >> 4}
	for i, d := range digits {
		switch {
		case d == 0x0F && i == 5:
			digits = digits[:5]
		case d > 9:
			return p, fmt.Errorf("%w: a network's digits", ErrMalformed)
		default:
			digits[i] = '0' + d
		}
	}
	return PLMN{MCC: string(digits[:3]), MNC: string(digits[3:])}, nil
}

// EncodePLMN makes 3 bytes.
func EncodePLMN(p PLMN) ([]byte, error) {
	if p == (PLMN{}) {
		return []byte{0xFF, 0xFF, 0xFF}, nil
	}
	d := []byte(p.MCC + p.MNC)
	if len(p.MCC) != 3 || len(p.MNC) < 2 || len(p.MNC) > 3 {
		return nil, fmt.Errorf("%w: a network has 3 and 2 or 3 digits", ErrValue)
	}
	for i, c := range d {
		if c < '0' || c > '9' {
			return nil, fmt.Errorf("%w: a network has digits", ErrValue)
		}
		d[i] = c - '0'
	}
	last := byte(0x0F)
	if len(d) == 6 {
		last = d[5]
	}
	return []byte{d[1]<<4 | d[0], last<<4 | d[2], d[4]<<4 | d[3]}, nil
}

// PLMNAccess is a network with the technologies by which it is used (TS 31.102 clause
// 4.2.5): bits of the access technology identifier.
type PLMNAccess struct {
	PLMN
	Access uint16
}

// Access technologies.
const (
	AccessGSM   uint16 = 0x0080
	AccessUTRAN uint16 = 0x8000
	AccessEUTRA uint16 = 0x4000
	AccessNR    uint16 = 0x0800
)

// DecodePLMNs reads EF.PLMNsel: 3 bytes a network; gaps are left out.
func DecodePLMNs(b []byte) (out []PLMN, err error) {
	if len(b)%plmnSize != 0 {
		return nil, fmt.Errorf("%w: a list of networks", ErrMalformed)
	}
	for ; len(b) > 0; b = b[plmnSize:] {
		p, err := DecodePLMN(b[:plmnSize])
		if err != nil {
			return nil, err
		}
		if p != (PLMN{}) {
			out = append(out, p)
		}
	}
	return out, nil
}

// EncodePLMNs makes EF.PLMNsel of a size in bytes.
func EncodePLMNs(list []PLMN, size int) (out []byte, err error) {
	for _, p := range list {
		b, err := EncodePLMN(p)
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
	}
	return fill(out, size)
}

// DecodePLMNAccess reads EF.PLMNwAcT, EF.OPLMNwAcT and EF.HPLMNwAcT: 5 bytes a network.
func DecodePLMNAccess(b []byte) (out []PLMNAccess, err error) {
	const size = plmnSize + 2
	if len(b)%size != 0 {
		return nil, fmt.Errorf("%w: a list of networks", ErrMalformed)
	}
	for ; len(b) > 0; b = b[size:] {
		p, err := DecodePLMN(b[:plmnSize])
		if err != nil {
			return nil, err
		}
		if p != (PLMN{}) {
			out = append(out, PLMNAccess{p, binary.BigEndian.Uint16(b[plmnSize:])})
		}
	}
	return out, nil
}

// EncodePLMNAccess makes such a file of a size in bytes; what is left of it is FFFFFF0000.
func EncodePLMNAccess(list []PLMNAccess, size int) (out []byte, err error) {
	for _, p := range list {
		b, err := EncodePLMN(p.PLMN)
		if err != nil {
			return nil, err
		}
		out = binary.BigEndian.AppendUint16(append(out, b...), p.Access)
	}
	for len(out)+5 <= size {
		out = append(out, 0xFF, 0xFF, 0xFF, 0, 0)
	}
	if len(out) != size {
		return nil, fmt.Errorf("%w: %d networks in %d bytes", ErrValue, len(list), size)
	}
	return out, nil
}

func fill(b []byte, size int) ([]byte, error) {
	if len(b) > size {
		return nil, fmt.Errorf("%w: %d bytes in %d", ErrValue, len(b), size)
	}
	return append(b, bytes.Repeat([]byte{0xFF}, size-len(b))...), nil
}

// SPN is EF.SPN (TS 31.102 clause 4.2.12).
type SPN struct {
	Name      string
	ShowPLMN  bool // the registered network's name is shown too
	HideOther bool // the name is not shown in other networks
}

const spnSize = 17

// DecodeSPN reads EF.SPN.
func DecodeSPN(b []byte) (s SPN, err error) {
	if len(b) != spnSize {
		return s, fmt.Errorf("%w: EF.SPN", ErrMalformed)
	}
	s.ShowPLMN, s.HideOther = b[0]&1 != 0, b[0]&2 != 0
	s.Name, err = DecodeAlpha(b[1:])
	return s, err
}

// EncodeSPN makes EF.SPN.
func EncodeSPN(s SPN) ([]byte, error) {
	name, err := EncodeAlpha(s.Name, spnSize-1)
	if err != nil {
		return nil, err
	}
	var flags byte
	if s.ShowPLMN {
		flags |= 1
	}
	if s.HideOther {
		flags |= 2
	}
	return append([]byte{flags}, name...), nil
}

// DecodeACC reads EF.ACC: the access control classes 0 to 9 and 11 to 15, a bit each
// (TS 31.102 clause 4.2.15). Class 10 is never there.
func DecodeACC(b []byte) (uint16, error) {
	if len(b) != 2 || b[0]&0x04 != 0 {
		return 0, fmt.Errorf("%w: EF.ACC", ErrMalformed)
	}
	return binary.BigEndian.Uint16(b), nil
}

// EncodeACC makes EF.ACC.
func EncodeACC(classes uint16) ([]byte, error) {
	if classes&0x0400 != 0 {
		return nil, fmt.Errorf("%w: there is no access control class 10", ErrValue)
	}
	return binary.BigEndian.AppendUint16(nil, classes), nil
}

// AD is EF.AD, administrative data (TS 31.102 clause 4.2.18).
type AD struct {
	Mode      byte // of UE operation: 00 normal
	Info      [2]byte
	MNCDigits int // of the network code in the IMSI: 2, 3; 0: not told
	Rest      []byte
}

// DecodeAD reads EF.AD.
func DecodeAD(b []byte) (a AD, err error) {
	if len(b) < 3 {
		return a, fmt.Errorf("%w: EF.AD", ErrMalformed)
	}
	a.Mode, a.Info = b[0], [2]byte{b[1], b[2]}
	if len(b) > 3 {
		if a.MNCDigits = int(b[3] & 0x0F); b[3] == 0xFF {
			a.MNCDigits = 0
		} else if a.MNCDigits != 2 && a.MNCDigits != 3 {
			return a, fmt.Errorf("%w: EF.AD, length of the network code", ErrMalformed)
		}
		a.Rest = b[4:]
	}
	return a, nil
}

// EncodeAD makes EF.AD.
func EncodeAD(a AD) ([]byte, error) {
	out := []byte{a.Mode, a.Info[0], a.Info[1]}
	switch a.MNCDigits {
	case 2, 3:
		return append(append(out, byte(a.MNCDigits)), a.Rest...), nil
	case 0:
		if len(a.Rest) == 0 {
			return out, nil
		}
	}
	return nil, fmt.Errorf("%w: a network code has 2 or 3 digits", ErrValue)
}

// Services is a service table: EF.UST (TS 31.102 clause 4.2.8) with a bit a service, or
// EF.SST (TS 51.011 clause 10.3.7) with two, allocated and activated.
type Services struct {
	Table []byte
	GSM   bool
}

// Has reports whether a service, from 1 on, is there and active.
func (s Services) Has(n int) bool {
	if n < 1 {
		return false
	}
	if s.GSM {
		at, shift := (n-1)/4, (n-1)%4*2
		return at < len(s.Table) && s.Table[at]>>shift&3 == 3
	}
	return (n-1)/8 < len(s.Table) && s.Table[(n-1)/8]&(1<<((n-1)%8)) != 0
}

// EncodeUST makes EF.UST of a size in bytes.
func EncodeUST(size int, services ...int) ([]byte, error) {
	out := make([]byte, size)
	for _, n := range services {
		if n < 1 || (n-1)/8 >= size {
			return nil, fmt.Errorf("%w: service %d in %d bytes", ErrValue, n, size)
		}
		out[(n-1)/8] |= 1 << ((n - 1) % 8)
	}
	return out, nil
}

// Entry is an application in EF.DIR (TS 102 221 clause 13.1).
type Entry struct {
	AID   []byte
	Label string
}

// Is reports whether the AID is of a kind of application (TS 101 220 annex E).
func (e Entry) Is(a Application) bool {
	code := map[Application]byte{USIM: 0x02, ISIM: 0x04}[a]
	return code != 0 && len(e.AID) >= 7 && bytes.Equal(e.AID[:7], []byte{0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, code})
}

// DecodeEntry reads a record of EF.DIR; one of FF is the zero Entry.
func DecodeEntry(b []byte) (e Entry, err error) {
	if filled(b) {
		return e, nil
	}
	bad := fmt.Errorf("%w: EF.DIR", ErrMalformed)
	o, rest, err := tlv.Next(b)
	if err != nil || o.Tag != 0x61 || !filled(rest) {
		return e, bad
	}
	list, err := tlv.Parse(o.Value)
	if err != nil {
		return e, bad
	}
	for _, o := range list {
		switch o.Tag {
		case 0x4F:
			e.AID = o.Value
		case 0x50:
			e.Label = string(o.Value)
		}
	}
	if len(e.AID) < 5 || len(e.AID) > 16 {
		return Entry{}, bad
	}
	return e, nil
}

// EncodeEntry makes a record of a length in bytes.
func EncodeEntry(e Entry, length int) ([]byte, error) {
	if len(e.AID) < 5 || len(e.AID) > 16 || len(e.Label) > 32 {
		return nil, fmt.Errorf("%w: an AID has 5 to 16 bytes, a label at most 32", ErrValue)
	}
	body := [][]byte{tlv.Encode(0x4F, e.AID)}
	if e.Label != "" {
		body = append(body, tlv.Encode(0x50, []byte(e.Label)))
	}
	return fill(tlv.Encode(0x61, body...), length)
}
