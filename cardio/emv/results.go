package emv

import (
	"fmt"
	"strings"
)

// TVR are terminal verification results, tag 95 (Book 3, annex C5; the bits of XDA
// came with EMV 4.4).
type TVR [5]byte

// TVRBit is one bit: the byte's number from 0 above, the mask below.
type TVRBit uint16

// Bits of the TVR.
const (
	NoDataAuthentication TVRBit = 0x080
	SDAFailed            TVRBit = 0x040
	DataMissing          TVRBit = 0x020
	OnExceptionFile      TVRBit = 0x010
	DDAFailed            TVRBit = 0x008
	CDAFailed            TVRBit = 0x004
	SDASelected          TVRBit = 0x002
	XDASelected          TVRBit = 0x001

	VersionsDiffer    TVRBit = 0x180
	Expired           TVRBit = 0x140
	NotYetEffective   TVRBit = 0x120
	ServiceNotAllowed TVRBit = 0x110
	NewCard           TVRBit = 0x108

	VerificationFailed TVRBit = 0x280
	UnrecognizedCVM    TVRBit = 0x240
	PINTriesExceeded   TVRBit = 0x220
	PINPadMissing      TVRBit = 0x210
	PINNotEntered      TVRBit = 0x208
	OnlinePINEntered   TVRBit = 0x204

	OverFloorLimit     TVRBit = 0x380
	OverLowerOffline   TVRBit = 0x340
	OverUpperOffline   TVRBit = 0x320
	SelectedAtRandom   TVRBit = 0x310
	ForcedByTheTrader  TVRBit = 0x308
	XDAFailed          TVRBit = 0x301 // the signature's verification
	DefaultTDOLUsed    TVRBit = 0x480
	IssuerAuthFailed   TVRBit = 0x440
	ScriptFailedBefore TVRBit = 0x420 // before the last GENERATE AC
	ScriptFailedAfter  TVRBit = 0x410
	ECCKeyMissing      TVRBit = 0x404 // the certification authority's
	ECCRecoveryFailed  TVRBit = 0x402 // of the issuer's or the card's key
)

var tvrNames = []struct {
	bit  TVRBit
	name string
}{
	{NoDataAuthentication, "no offline data authentication"}, {SDAFailed, "SDA failed"}, {DataMissing, "card data missing"},
	{OnExceptionFile, "card on the exception file"}, {DDAFailed, "DDA failed"}, {CDAFailed, "CDA failed"}, {SDASelected, "SDA selected"},
	{XDASelected, "XDA selected"},
	{VersionsDiffer, "application versions differ"}, {Expired, "expired"}, {NotYetEffective, "not yet effective"},
	{ServiceNotAllowed, "service not allowed"}, {NewCard, "new card"},
	{VerificationFailed, "cardholder verification failed"}, {UnrecognizedCVM, "unrecognized CVM"}, {PINTriesExceeded, "PIN tries exceeded"},
	{PINPadMissing, "no PIN pad"}, {PINNotEntered, "PIN not entered"}, {OnlinePINEntered, "online PIN entered"},
	{OverFloorLimit, "over the floor limit"}, {OverLowerOffline, "over the lower offline limit"},
	{OverUpperOffline, "over the upper offline limit"}, {SelectedAtRandom, "selected at random"}, {ForcedByTheTrader, "forced online"}, {XDAFailed, "XDA signature verification failed"},
	{DefaultTDOLUsed, "default TDOL used"}, {IssuerAuthFailed, "issuer authentication failed"},
	{ScriptFailedBefore, "script failed before the last GENERATE AC"}, {ScriptFailedAfter, "script failed after it"},
	{ECCKeyMissing, "CA ECC key missing"}, {ECCRecoveryFailed, "ECC key recovery failed"},
}

// Set sets a bit.
func (t *TVR) Set(b TVRBit) { t[b>>8] |= byte(b) }

// Clear clears a bit.
func (t *TVR) Clear(b TVRBit) { t[b>>8] &^= byte(b) }

// Has reports whether a bit is set.
func (t TVR) Has(b TVRBit) bool { return t[b>>8]&byte(b) != 0 }

// Meets reports whether one of an action code's bits is set.
func (t TVR) Meets(code [5]byte) bool {
	for i := range t {
		if t[i]&code[i] != 0 {
			return true
		}
	}
	return false
}

// String is the hexadecimal value and what it says.
func (t TVR) String() string {
	var names []string
	for _, n := range tvrNames {
		if t.Has(n.bit) {
			names = append(names, n.name)
		}
	}
	if names == nil {
		return fmt.Sprintf("%X", t[:])
	}
	return fmt.Sprintf("%X (%s)", t[:], strings.Join(names, ", "))
}

// TSI is transaction status information, tag 9B (Book 3, annex C6).
type TSI [2]byte

// Bits of its first byte.
const (
	DidDataAuthentication byte = 0x80
	DidVerification       byte = 0x40
	DidCardRisk           byte = 0x20
	DidIssuerAuth         byte = 0x10
	DidTerminalRisk       byte = 0x08
	DidScript             byte = 0x04
)

// Set sets a bit of the first byte.
func (t *TSI) Set(bit byte) { t[0] |= bit }

// Has reports whether a bit of the first byte is set.
func (t TSI) Has(bit byte) bool { return t[0]&bit != 0 }

// String is the hexadecimal value.
func (t TSI) String() string { return fmt.Sprintf("%X", t[:]) }
