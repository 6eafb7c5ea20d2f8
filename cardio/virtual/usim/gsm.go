package usim

import (
	"bytes"
	"encoding/binary"

	"cardbureau/cardio/apdu"
)

// Status words of class A0 (TS 51.011 clause 9.4).
const (
	sw2GNoFile        = apdu.StatusWord(0x9400) // no EF selected
	sw2GOutOfRange    = apdu.StatusWord(0x9402)
	sw2GNotFound      = apdu.StatusWord(0x9404) // file or pattern
	sw2GInconsistent  = apdu.StatusWord(0x9408) // file and command
	sw2GNoCHV         = apdu.StatusWord(0x9802)
	sw2GDenied        = apdu.StatusWord(0x9804)
	sw2GContradiction = apdu.StatusWord(0x9808) // with CHV status
	sw2GInvalidated   = apdu.StatusWord(0x9810)
	sw2GBlocked       = apdu.StatusWord(0x9840)
)

// in2G translates a status word.
func in2G(sw apdu.StatusWord) apdu.StatusWord {
	if n, ok := sw.Retries(); ok {
		if n == 0 {
			return sw2GBlocked
		}
		return sw2GDenied
	}
	if sw.SW1() == 0x6C {
		return sw2GWrongLength | apdu.StatusWord(sw.SW2())
	}
	switch sw {
	case apdu.SWCommandNotAllowed:
		return sw2GNoFile
	case apdu.SWWrongP1P2, apdu.SWRecordNotFound:
		return sw2GOutOfRange
	case apdu.SWFileNotFound, apdu.SWEndOfFile:
		return sw2GNotFound
	case swIncompatible:
		return sw2GInconsistent
	case apdu.SWReferencedDataNotFound:
		return sw2GNoCHV
	case apdu.SWSecurityStatusNotSatisfied, apdu.SWWrongData:
		return sw2GDenied
	case apdu.SWReferencedDataNotUsable:
		return sw2GContradiction
	case swDeactivated:
		return sw2GInvalidated
	case apdu.SWAuthenticationMethodBlocked:
		return sw2GBlocked
	case apdu.SWIncorrectP1P2:
		return apdu.SWWrongP1P2
	case apdu.SWSelectedFileInvalidated:
		return apdu.SWSuccess // the answer to SELECT says it
	}
	return sw
}

// execute2G is a command of class A0 (TS 51.011 clause 9.2).
func (c *Chip) execute2G(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	out, sw := c.run2G(cmd)
	return out, in2G(sw)
}

func (c *Chip) run2G(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	switch cmd.INS {
	case insReadBinary, insUpdateBinary:
		if cmd.P1&0x80 != 0 {
			return nil, apdu.SWIncorrectP1P2 // there are no short identifiers
		}
	case insReadRecord, insUpdateRecord:
		if cmd.P2&0xF8 != 0 {
			return nil, apdu.SWIncorrectP1P2
		}
	case insSleep, insSelect, insStatus, insIncrease, insDeactivate, insActivate, insAuthenticate:
		if cmd.P1 != 0 || cmd.P2 != 0 {
			return nil, apdu.SWIncorrectP1P2
		}
	}
	switch cmd.INS {
	case insSelect:
		return c.select2G(cmd)
	case insStatus:
		return c.answer2G(c.folder), apdu.SWSuccess
	case insReadBinary:
		return c.read2G(cmd)
	case insUpdateBinary:
		return c.updateBinary(cmd)
	case insReadRecord:
		return c.readRecord(cmd)
	case insUpdateRecord:
		return c.updateRecord(cmd)
	case insSearch:
		return c.seek(cmd)
	case insIncrease:
		return c.increase(cmd)
	case insVerify, insChangePIN, insDisablePIN, insEnablePIN, insUnblock:
		return nil, c.chv(cmd)
	case insDeactivate, insActivate:
		cmd.Data = nil
		return nil, c.setActive(cmd)
	case insAuthenticate:
		return c.runGSM(cmd)
	case insTerminalProfile, insFetch, insTerminalResponse, insEnvelope:
		return c.proactive2G(cmd)
	case insSleep:
		return nil, apdu.SWSuccess
	}
	return nil, apdu.SWInstructionNotSupported
}

// proactive2G has the words of class A0 for a command of the toolkit out of turn or of
// wrong content: of those that TS 51.011 clause 9.4.6 leaves it, only 6F00 fits.
func (c *Chip) proactive2G(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	out, sw := c.proactive(cmd)
	if sw == apdu.SWConditionsOfUseNotSatisfied || sw == apdu.SWWrongData {
		sw = apdu.SWNoPreciseDiagnosis
	}
	return out, sw
}

func (c *Chip) select2G(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if len(cmd.Data) != 2 {
		return nil, apdu.SWWrongLength
	}
	fid := binary.BigEndian.Uint16(cmd.Data)
	f := c.byFID(fid)
	if f == nil || fid == fidADF {
		return nil, apdu.SWFileNotFound
	}
	c.enter(f)
	return c.answer2G(f), apdu.SWSuccess
}

// read2G refuses what reaches beyond the end, by its length.
func (c *Chip) read2G(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	out, sw := c.readBinary(cmd)
	if sw == apdu.SWSuccess && len(out) < cmd.Ne {
		return nil, swWrongLe | apdu.StatusWord(byte(len(out)))
	}
	return out, sw
}

// chv translates the number of a CHV; 0A is ADM1, as cards have it. UNBLOCK
// names CHV1 by 00 (TS 51.011 clause 9.2.13). Nothing but UNBLOCK and VERIFY is
// for ADM1.
func (c *Chip) chv(cmd apdu.Command) apdu.StatusWord {
	if len(cmd.Data) == 0 {
		return apdu.SWWrongLength
	}
	switch {
	case cmd.P2 == 0x01 && cmd.INS != insUnblock, cmd.P2 == 0x00 && cmd.INS == insUnblock:
		cmd.P2 = keyPIN1
	case cmd.P2 == 0x02:
		cmd.P2 = keyPIN2
	case cmd.P2 == keyADM1 && cmd.INS == insVerify:
	default:
		return apdu.SWIncorrectP1P2
	}
	sw := c.pinCommand(cmd)
	if sw == apdu.SWConditionsOfUseNotSatisfied {
		return apdu.SWReferencedDataNotUsable // CHV2 cannot be disabled
	}
	return sw
}

// seek is SEEK (TS 51.011 clause 9.2.7): type 2 answers the record's number.
func (c *Chip) seek(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	f, sw := c.fileFor(0, linear)
	if sw == apdu.SWSuccess {
		sw = c.may(f, opRead)
	}
	switch {
	case sw != apdu.SWSuccess:
		return nil, sw
	case cmd.P1 != 0 || cmd.P2&0xEC != 0:
		return nil, apdu.SWIncorrectP1P2
	case len(cmd.Data) == 0 || len(cmd.Data) > 16 || len(cmd.Data) > f.record:
		return nil, apdu.SWWrongLength
	}
	n, step := 1, 1
	switch cmd.P2 & 0x03 {
	case 1:
		n, step = c.records(f), -1
	case 2:
		n = c.pointer + 1
	case 3:
		n, step = c.pointer-1, -1
		if c.pointer == 0 {
			n = c.records(f)
		}
	}
	for ; n >= 1 && n <= c.records(f); n += step {
		if bytes.HasPrefix(c.record(f, n), cmd.Data) {
			c.pointer = n
			if cmd.P2&0x10 == 0 {
				return nil, apdu.SWSuccess
			}
			return []byte{byte(n)}, apdu.SWSuccess
		}
	}
	return nil, sw2GNotFound
}

// runGSM is RUN GSM ALGORITHM (TS 51.011 clause 9.2.16): SRES and Kc. DF.GSM must
// be the current folder.
func (c *Chip) runGSM(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	switch {
	case len(cmd.Data) != challengeSize:
		return nil, apdu.SWWrongLength
	case c.folder.path != gsmPath:
		return nil, swIncompatible
	case !c.satisfied(keyPIN1):
		return nil, apdu.SWSecurityStatusNotSatisfied
	}
	sres, kc := c.gsm(dataSIMKey, cmd.Data)
	if sres == nil {
		return nil, apdu.SWSecurityStatusNotSatisfied
	}
	return join(sres, kc), apdu.SWSuccess
}

// answer2G is the answer to SELECT and STATUS (TS 51.011 clause 9.2.1).
func (c *Chip) answer2G(f *file) []byte {
	if !f.isFolder() {
		return c.fileAnswer2G(f)
	}
	out := make([]byte, 22)
	binary.BigEndian.PutUint16(out[2:], 0x4000) // free memory
	binary.BigEndian.PutUint16(out[4:], f.fid)
	out[6], out[12] = 0x02, byte(len(out)-13)
	if f.parent == nil {
		out[6] = 0x01
	}
	if !c.pin(keyPIN1).enabled {
		out[13] = 0x80
	}
	for _, child := range f.children {
		switch {
		case child.kind == folder:
			out[14]++
		case child.kind != application:
			out[15]++
		}
	}
	out[16] = 4 // CHV1, CHV2 and their unblock keys
	for i, ref := range []byte{keyPIN1, keyPIN2} {
		p := c.pin(ref)
		out[18+2*i] = 0x80 | (pinLimit - p.used)
		out[19+2*i] = 0x80 | (pukLimit - p.usedUnblock)
	}
	return out
}

func (c *Chip) fileAnswer2G(f *file) []byte {
	out := make([]byte, 15)
	binary.BigEndian.PutUint16(out[2:], uint16(len(c.content(f))))
	binary.BigEndian.PutUint16(out[4:], f.fid)
	out[6], out[12] = 0x04, 0x02
	out[8] = c.level(f, opRead)<<4 | c.level(f, opUpdate)
	out[9] = c.level(f, opIncrease)<<4 | 0x0F
	out[10] = c.level(f, opActivate)<<4 | c.level(f, opDeactivate)
	if c.active(f) {
		out[11] = 0x01
	}
	switch f.kind {
	case linear:
		out[13], out[14] = 0x01, byte(f.record)
	case cyclic:
		out[13], out[14] = 0x03, byte(f.record)
		if f.record == counterSize {
			out[7] = 0x40
		}
	}
	return out
}

// level is an access condition as a nibble (TS 51.011 clause 9.3).
func (c *Chip) level(f *file, op operation) byte {
	k := c.condition(f, op)
	switch {
	case k.always:
		return 0x0
	case len(k.keys) == 0:
		return 0xF
	}
	switch c.keyOf(k.keys[0]) {
	case keyPIN1:
		return 0x1
	case keyPIN2:
		return 0x2
	}
	return 0x4
}
