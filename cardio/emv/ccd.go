package emv

// CCDData is the issuer application data of a card that keeps to the Common Core
// Definitions (Book 3, section C7): 32 bytes.
type CCDData struct {
	CCI      byte // common core identifier: A5 3DES, A6 AES
	DKI      byte // derivation key index
	CVR      CVR
	Counters [8]byte
	Issuer   [15]byte // issuer-discretionary
}

// ParseCCDData reads issuer application data; formats other than A are refused.
func ParseCCDData(b []byte) (CCDData, error) {
	var d CCDData
	if len(b) != 32 || b[0] != 0x0F || b[16] != 0x0F {
		return d, format("the issuer application data are not of the Common Core Definitions")
	}
	if b[1]>>4 != 0x0A {
		return d, format("the common core identifier is %02X", b[1])
	}
	d.CCI, d.DKI = b[1], b[2]
	copy(d.CVR[:], b[3:8])
	copy(d.Counters[:], b[8:16])
	copy(d.Issuer[:], b[17:])
	return d, nil
}

// Bytes encodes the data.
func (d CCDData) Bytes() []byte {
	out := append([]byte{0x0F, d.CCI, d.DKI}, d.CVR[:]...)
	out = append(append(out, d.Counters[:]...), 0x0F)
	return append(out, d.Issuer[:]...)
}

// CVR are card verification results of the Common Core Definitions (Book 3, table
// CCD 9).
type CVR [5]byte

// Second is the kind of the second cryptogram; asked is false when there was
// none.
func (c CVR) Second() (kind byte, asked bool) { return c[0] & 0xC0, c[0]&0xC0 != 0x80 }

// First is the kind of the first cryptogram.
func (c CVR) First() byte { return c[0] << 2 & 0xC0 }

// CDA reports that the card signed a cryptogram.
func (c CVR) CDA() bool { return c[0]&0x08 != 0 }

// DDA reports that the card answered INTERNAL AUTHENTICATE.
func (c CVR) DDA() bool { return c[0]&0x04 != 0 }

// IssuerAuthenticated reports that the issuer's answer was there and right.
func (c CVR) IssuerAuthenticated() bool { return c[0]&0x03 == 0 }

// IssuerAuthFailed reports that the issuer's answer was wrong.
func (c CVR) IssuerAuthFailed() bool { return c[0]&0x01 != 0 }

// PINTries is the PIN try counter, its lower four bits.
func (c CVR) PINTries() int { return int(c[1] >> 4) }

// PINVerified reports that an offline PIN was verified in this transaction; ok,
// that it was right.
func (c CVR) PINVerified() (done, ok bool) { return c[1]&0x08 != 0, c[1]&0x0C == 0x08 }

// PINTriesExceeded reports that the PIN is blocked.
func (c CVR) PINTriesExceeded() bool { return c[1]&0x02 != 0 }

// LastNotCompleted reports that the last online transaction did not end.
func (c CVR) LastNotCompleted() bool { return c[1]&0x01 != 0 }

// Scripts is the number of script commands that the card took.
func (c CVR) Scripts() int { return int(c[3] >> 4) }

// ScriptFailed reports that one of them failed.
func (c CVR) ScriptFailed() bool { return c[3]&0x08 != 0 }

// CSU is a card status update, with which the issuer answers a CCD card (Book 3,
// table CCD 10).
type CSU [4]byte

// Bits of the second byte of a card status update.
const (
	CSUApproves     byte = 0x80
	CSUBlockCard    byte = 0x40
	CSUBlock        byte = 0x20 // the application
	CSUPINTries     byte = 0x10 // take the PIN try counter of the first byte's lower half
	CSUGoOnline     byte = 0x08 // next time
	CSUByProxy      byte = 0x04
	CSUKeepCounters byte = 0x00
	CSUUpperLimits  byte = 0x01 // counters to their upper limits
	CSUResetCounter byte = 0x02 // counters to zero
	CSUAddCounter   byte = 0x03 // this transaction to them
)
