package emv

// AIP is an application interchange profile, tag 82 (Book 3, annex C1).
type AIP [2]byte

// Bits of its first byte. In the second the standard leaves no contact bits.
const (
	AIPXDA          byte = 0x80 // EMV 4.4; RFU before
	AIPSDA          byte = 0x40
	AIPDDA          byte = 0x20
	AIPVerification byte = 0x10 // cardholder verification
	AIPRisk         byte = 0x08 // terminal risk management is to be performed
	AIPIssuerAuth   byte = 0x04 // by EXTERNAL AUTHENTICATE
	AIPCDA          byte = 0x01
)

// Has reports whether a bit of the first byte is set.
func (a AIP) Has(bit byte) bool { return a[0]&bit != 0 }

// Entry is one entry of the application file locator: records First to Last of a
// file, of which the first Signed are part of the static data to be
// authenticated.
type Entry struct {
	SFI    byte // 1 to 30
	First  byte // 1 or more
	Last   byte
	Signed byte
}

// AFL is an application file locator, tag 94 (Book 3, section 10.2).
type AFL []Entry

// ParseAFL reads an application file locator; it is refused where the standard
// has the terminal end the transaction.
func ParseAFL(b []byte) (AFL, error) {
	if len(b) == 0 || len(b)%4 != 0 {
		return nil, format("the application file locator has %d bytes", len(b))
	}
	var out AFL
	for ; len(b) > 0; b = b[4:] {
		e := Entry{b[0] >> 3, b[1], b[2], b[3]}
		switch {
		case b[0]&7 != 0 || e.SFI < 1 || e.SFI > 30:
			return nil, format("the application file locator names a file that cannot be")
		case e.First == 0 || e.Last < e.First || int(e.Signed) > int(e.Last)-int(e.First)+1:
			return nil, format("the application file locator's records of file %d cannot be", e.SFI)
		}
		out = append(out, e)
	}
	return out, nil
}

// Bytes encodes the locator.
func (a AFL) Bytes() (out []byte) {
	for _, e := range a {
		out = append(out, e.SFI<<3, e.First, e.Last, e.Signed)
	}
	return out
}

// Rule is a cardholder verification rule.
type Rule struct {
	Code      byte // method, and in bit 40: apply the next rule if this one fails
	Condition byte
}

// Methods of cardholder verification, bits 6 to 1 of a rule's first byte (Book 3,
// annex C3).
const (
	CVMFail                      byte = 0x00
	CVMPlaintextPIN              byte = 0x01
	CVMOnlinePIN                 byte = 0x02
	CVMPlaintextPINSignature     byte = 0x03
	CVMEncipheredPIN             byte = 0x04
	CVMEncipheredPINAndSignature byte = 0x05
	CVMSignature                 byte = 0x1E
	CVMNone                      byte = 0x1F

	// CVMNext is the bit that lets the next rule apply after a failure.
	CVMNext byte = 0x40
)

// Conditions of rules, their second byte.
const (
	IfAlways         byte = 0x00
	IfUnattendedCash byte = 0x01
	IfNotCash        byte = 0x02 // neither unattended nor manual cash nor cashback
	IfSupported      byte = 0x03
	IfManualCash     byte = 0x04
	IfCashback       byte = 0x05
	IfUnderX         byte = 0x06 // and in the application's currency, as the next three
	IfOverX          byte = 0x07
	IfUnderY         byte = 0x08
	IfOverY          byte = 0x09
)

// Method is the rule's method.
func (r Rule) Method() byte { return r.Code & 0x3F }

// Next reports whether the next rule applies when this one fails.
func (r Rule) Next() bool { return r.Code&CVMNext != 0 }

// CVMList is tag 8E (Book 3, section 10.5).
type CVMList struct {
	X, Y  uint32 // amounts in the application's currency
	Rules []Rule
}

// ParseCVMList reads a list; one without rules is allowed.
func ParseCVMList(b []byte) (CVMList, error) {
	var l CVMList
	if len(b) < 8 || len(b)%2 != 0 {
		return l, format("the CVM list has %d bytes", len(b))
	}
	l.X, l.Y = be32(b), be32(b[4:])
	for b = b[8:]; len(b) > 0; b = b[2:] {
		l.Rules = append(l.Rules, Rule{b[0], b[1]})
	}
	return l, nil
}

// Bytes encodes the list.
func (l CVMList) Bytes() []byte {
	out := append(put32(l.X), put32(l.Y)...)
	for _, r := range l.Rules {
		out = append(out, r.Code, r.Condition)
	}
	return out
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func put32(n uint32) []byte { return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)} }
