package virtual

import "bytes"

// Radio tells an applet by which interface a command came, as
// javacard.framework.APDU.getProtocol does on Java Cards. The Env of Select and of
// Process implements it.
type Radio interface {
	// Contactless reports whether it was the contactless interface (ISO/IEC 14443).
	Contactless() bool
}

func (e *env) Contactless() bool {
	e.live()
	return e.chip.radio
}

// ResetContactless brings the card into a contactless reader's field, as Reset does
// into contacts: commands come by ISO/IEC 14443-4 until the next reset, never as
// TPDUs of T=0. It returns what a reader makes of the answer to select.
func (c *Chip) ResetContactless() []byte { return c.reset(true) }

// answer is what a reset answers with.
func (c *Chip) answer() []byte {
	if c.radio {
		return contactlessATR()
	}
	return bytes.Clone(c.reg.atr)
}

// contactlessHistory are the historical bytes of the answer to select: those of
// DefaultATR.
var contactlessHistory = DefaultATR[3 : len(DefaultATR)-1]

// contactlessATR is the answer to reset that a PC/SC reader makes of an answer to
// select (PC/SC part 3, 3.1.3.2.3.1): 3B 8n 80 01, historical bytes, check byte.
func contactlessATR() []byte {
	atr := append([]byte{0x3B, 0x80 | byte(len(contactlessHistory)), 0x80, 0x01}, contactlessHistory...)
	check := byte(0)
	for _, b := range atr[1:] {
		check ^= b
	}
	return append(atr, check)
}
