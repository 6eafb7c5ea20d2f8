package usim

import "cardbureau/cardio/apdu"

// Status words of a UICC beyond those of package apdu.
const (
	swBytesWaiting  = apdu.StatusWord(0x6100)
	swWrongLe       = apdu.StatusWord(0x6C00)
	swTries         = apdu.StatusWord(0x63C0)
	swProactive     = apdu.StatusWord(0x9100)
	swIncompatible  = apdu.StatusWord(0x6981) // command incompatible with file structure
	swMaximumValue  = apdu.StatusWord(0x9850) // INCREASE cannot be performed
	swIncorrectMAC  = apdu.StatusWord(0x9862) // authentication error, incorrect MAC
	swNoContext     = apdu.StatusWord(0x9864) // security context not supported
	swDeactivated   = apdu.StatusWord(0x6985) // the file is, in class 00
	sw2GBytes       = apdu.StatusWord(0x9F00)
	sw2GWrongLength = apdu.StatusWord(0x6700)
)

// Instructions.
const (
	insDeactivate       = 0x04
	insTerminalProfile  = 0x10
	insFetch            = 0x12
	insTerminalResponse = 0x14
	insVerify           = 0x20
	insChangePIN        = 0x24
	insDisablePIN       = 0x26
	insEnablePIN        = 0x28
	insUnblock          = 0x2C
	insIncrease         = 0x32
	insActivate         = 0x44
	insChallenge        = 0x84
	insAuthenticate     = 0x88
	insSearch           = 0xA2
	insSelect           = 0xA4
	insCapability       = 0xAA
	insReadBinary       = 0xB0
	insReadRecord       = 0xB2
	insGetResponse      = 0xC0
	insEnvelope         = 0xC2
	insUpdateBinary     = 0xD6
	insUpdateRecord     = 0xDC
	insStatus           = 0xF2
	insSleep            = 0xFA
)

const (
	classISO = 0x00
	classETS = 0x80
	classGSM = 0xA0

	tpduHeader = 5
	longest    = 256
)

// outgoing is an answer that the terminal has not got yet.
type outgoing struct {
	header [4]byte // that asks for it once more
	fetch  bool    // by GET RESPONSE; otherwise by the header
	gsm    bool    // of class A0
	data   []byte
	sw     apdu.StatusWord
}

// tpdu executes one TPDU (ISO/IEC 7816-3:2006 clause 12.2, TS 102 221 clause
// 7.3.1): a header of five bytes, whose last is P3, and data one way.
func (c *Chip) tpdu(b []byte) ([]byte, apdu.StatusWord) {
	waiting := c.pending
	c.pending = nil
	if len(b) < tpduHeader {
		return nil, apdu.SWWrongLength
	}
	if b[1]&0xF0 == 0x60 || b[1]&0xF0 == 0x90 {
		return nil, apdu.SWInstructionNotSupported // would be a procedure byte
	}
	p3, data := int(b[4]), b[tpduHeader:]
	if len(data) > 0 && len(data) != p3 {
		return nil, apdu.SWWrongLength
	}
	cmd := apdu.Command{CLA: b[0], INS: b[1], P1: b[2], P2: b[3], Data: data, Ne: longest}
	if sw := class(cmd.CLA); sw != apdu.SWSuccess {
		return nil, sw
	}
	header, gsm := [4]byte(b), cmd.CLA == classGSM
	if len(data) == 0 && p3 != 0 {
		cmd.Ne = p3
	}
	if cmd.INS == insGetResponse {
		return c.getResponse(cmd, waiting)
	}
	if len(data) == 0 && waiting != nil && !waiting.fetch && waiting.header == header {
		return c.give(waiting, cmd.Ne)
	}
	run := c.execute
	if gsm {
		run = c.execute2G
	}
	out, sw := run(cmd)
	if len(out) == 0 {
		return nil, c.ending(sw)
	}
	o := &outgoing{header: header, gsm: gsm, data: out, sw: sw}
	if len(data) == 0 {
		return c.give(o, cmd.Ne)
	}
	o.fetch = true
	c.pending = o
	return nil, o.announce()
}

// class refuses classes: logical channels, secure messaging and chaining are
// told apart (TS 102 221 table 10.5).
func class(cla byte) apdu.StatusWord {
	switch {
	case cla == classISO, cla == classETS, cla == classGSM:
		return apdu.SWSuccess
	case cla&0x70 == 0x10:
		return apdu.SWCommandChainingNotSupported
	case cla&0x7F >= 0x01 && cla&0x7F <= 0x03, cla&0x40 != 0 && cla != 0xFF && cla&0x30 == 0:
		return apdu.SWLogicalChannelNotSupported
	case cla&0x7F <= 0x0F:
		return apdu.SWSecureMessagingNotSupported
	}
	return apdu.SWClassNotSupported
}

func (o *outgoing) announce() apdu.StatusWord {
	n := apdu.StatusWord(byte(min(len(o.data), longest)))
	if o.gsm {
		return sw2GBytes | n
	}
	return swBytesWaiting | n
}

func (c *Chip) getResponse(cmd apdu.Command, waiting *outgoing) ([]byte, apdu.StatusWord) {
	switch {
	case len(cmd.Data) > 0:
		return nil, apdu.SWWrongLength
	case cmd.CLA == classETS:
		return nil, apdu.SWClassNotSupported
	case cmd.P1 != 0 || cmd.P2 != 0:
		return nil, apdu.SWIncorrectP1P2
	case waiting != nil && waiting.fetch && waiting.gsm == (cmd.CLA == classGSM):
		return c.give(waiting, cmd.Ne)
	case cmd.CLA == classGSM:
		return nil, apdu.SWNoPreciseDiagnosis // the class has no better word
	}
	return nil, apdu.SWConditionsOfUseNotSatisfied
}

// give hands out what the terminal asks for. More than there is: it is told the
// right length, and the answer stays. Less: GET RESPONSE gives a part. Class A0
// says a wrong length by 67xx, and the rest of a part is lost (TS 51.011 clause
// 9.4.6).
func (c *Chip) give(o *outgoing, le int) ([]byte, apdu.StatusWord) {
	n := apdu.StatusWord(byte(min(len(o.data), longest)))
	switch {
	case le == len(o.data):
		return o.data, c.ending(o.sw)
	case o.gsm && le < len(o.data) && (o.fetch || o.header[1] == insStatus):
		return o.data[:le], c.ending(o.sw)
	case o.gsm:
		c.pending = o
		return nil, sw2GWrongLength | n
	case le > len(o.data) || !o.fetch:
		c.pending = o
		return nil, swWrongLe | n
	}
	part, rest := o.data[:le], o.data[le:]
	c.pending = &outgoing{fetch: true, data: rest, sw: o.sw}
	return part, c.pending.announce()
}

// ending is a status word as it goes out: 91xx when the card has a command for
// the terminal (TS 102 221 clause 7.4.2.1).
func (c *Chip) ending(sw apdu.StatusWord) apdu.StatusWord {
	if n := c.toolkit.waiting(); sw == apdu.SWSuccess && n > 0 {
		return swProactive | apdu.StatusWord(n)
	}
	return sw
}

// execute is a command of class 00 or 80 (TS 102 221 table 10.5).
func (c *Chip) execute(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if cmd.CLA == classETS {
		switch cmd.INS {
		case insStatus:
			return c.status(cmd)
		case insIncrease:
			return c.increase(cmd)
		case insTerminalProfile, insFetch, insTerminalResponse, insEnvelope:
			return c.proactive(cmd)
		case insCapability:
			return nil, apdu.SWSuccess
		}
		return nil, apdu.SWInstructionNotSupported
	}
	switch cmd.INS {
	case insSelect:
		return c.selectFile(cmd)
	case insReadBinary:
		return c.readBinary(cmd)
	case insUpdateBinary:
		return c.updateBinary(cmd)
	case insReadRecord:
		return c.readRecord(cmd)
	case insUpdateRecord:
		return c.updateRecord(cmd)
	case insSearch:
		return c.searchRecord(cmd)
	case insVerify, insChangePIN, insDisablePIN, insEnablePIN, insUnblock:
		return nil, c.keyReference(cmd)
	case insDeactivate, insActivate:
		return nil, c.setActive(cmd)
	case insAuthenticate:
		return c.authenticate(cmd)
	case insChallenge:
		return c.challenge(cmd)
	}
	return nil, apdu.SWInstructionNotSupported
}

// challenge is GET CHALLENGE (TS 102 221 clause 11.1.15).
func (c *Chip) challenge(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	out := make([]byte, min(cmd.Ne, longest-1))
	if _, err := c.random.Read(out); err != nil {
		return nil, apdu.SWMemoryFailure
	}
	if cmd.Ne == longest {
		out = out[:8]
	}
	return out, apdu.SWSuccess
}
