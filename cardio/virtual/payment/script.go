package payment

import (
	"bytes"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/icao"
)

// script takes an issuer's command (Book 3, section 6.5; Book 2, section 9). A
// wrong MAC ends scripts for the transaction; every right one is counted.
func (a *Applet) script(e virtual.Env, cmd apdu.Command) apdu.StatusWord {
	m := memoryOf(e)
	switch cmd.INS {
	case insApplicationBlock, insApplicationUnblock, insCardBlock, insPINChange, insPutData, insUpdateRecord:
	default:
		return apdu.SWInstructionNotSupported
	}
	if a.trans.scriptR == nil || a.trans.scriptEnd {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	format1 := m.object(dgiCard, 0xC3)[0]&0x40 != 0
	data, sw := a.unwrap(m, cmd, format1)
	if !sw.OK() {
		a.trans.scriptEnd, a.trans.scriptFailed = true, true
		m.setFlag(scriptWrong, true)
		return sw
	}
	a.trans.scripts = min(a.trans.scripts+1, 15)
	m.setNumber(scriptsSeen, min(m.number(scriptsSeen)+1, 15))
	sw = a.execute(m, cmd, data)
	if !sw.OK() {
		a.trans.scriptFailed = true
		m.setFlag(scriptWrong, true)
	}
	return sw
}

// unwrap checks a script command's MAC and gives its data, deciphered.
func (a *Applet) unwrap(m memory, cmd apdu.Command, format1 bool) ([]byte, apdu.StatusWord) {
	s, _, smi, smc := m.keys()
	r := a.trans.scriptR
	macKey, encKey := s.session(smi, r), s.session(smc, r)
	if format1 {
		return a.unwrap1(s, macKey, encKey, cmd)
	}
	return a.unwrap2(m, s, macKey, encKey, cmd)
}

// unwrap1 is format 1 (Book 2, 9.2.1 and 9.3.1.1; ISO/IEC 7816-4): data objects 81
// or 87 and 8E. The MAC is over the chaining value (the application cryptogram
// before the first command, the whole MAC of the one before afterwards), the
// header, padded, and the data object, padded, where there is one; nothing more is
// padded (9.2.3).
func (a *Applet) unwrap1(s suite, macKey, encKey []byte, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if cmd.CLA != 0x8C && cmd.CLA != 0x0C {
		return nil, apdu.SWClassNotSupported
	}
	list, err := tlv.Parse(cmd.Data)
	if err != nil || len(list) == 0 || list[len(list)-1].Tag != 0x8E {
		return nil, apdu.SWSecureMessagingObjectsMissing
	}
	sent := list[len(list)-1].Value
	if len(sent) < 4 || len(sent) > 8 {
		return nil, apdu.SWSecureMessagingIncorrect
	}
	size := 8
	if s.aes {
		size = 16
	}
	header := []byte{cmd.CLA, cmd.INS, cmd.P1, cmd.P2, 0x80}
	header = append(header, make([]byte, size-len(header))...)
	chain := a.trans.scriptMAC
	chain = append(bytes.Clone(chain), make([]byte, size-len(chain))...)
	message := append(chain, header...)
	if body := cmd.Data[:len(cmd.Data)-2-len(sent)]; len(body) > 0 {
		message = append(message, icao.Pad(body, size)...)
	}
	full := s.macPadded(macKey, message)
	if !same(full[:len(sent)], sent) {
		return nil, apdu.SWSecureMessagingIncorrect
	}
	a.trans.scriptMAC = full
	var data []byte
	for _, o := range list[:len(list)-1] {
		switch {
		case o.Tag == 0x81 && data == nil:
			data = o.Value
		case o.Tag == 0x87 && data == nil && len(o.Value) > 1 && o.Value[0] == 0x01:
			plain, ok := s.decipher(encKey, o.Value[1:])
			if ok {
				plain, ok = unpad(plain)
			}
			if !ok {
				return nil, apdu.SWSecureMessagingIncorrect
			}
			data = plain
		default:
			return nil, apdu.SWSecureMessagingObjectsMissing
		}
	}
	return data, apdu.SWSuccess
}

// unwrap2 is format 2 (Book 2, 9.2.2 and 9.3.1.2): the data and a MAC of 8 bytes
// over header, transaction counter, application cryptogram and data. Of PIN CHANGE
// the data is enciphered.
func (a *Applet) unwrap2(m memory, s suite, macKey, encKey []byte, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if cmd.CLA != 0x84 && cmd.CLA != 0x04 {
		return nil, apdu.SWClassNotSupported
	}
	if len(cmd.Data) < 8 {
		return nil, apdu.SWSecureMessagingObjectsMissing
	}
	data, sent := cmd.Data[:len(cmd.Data)-8], cmd.Data[len(cmd.Data)-8:]
	message := []byte{cmd.CLA, cmd.INS, cmd.P1, cmd.P2, byte(len(cmd.Data))}
	message = append(append(append(message, m.bytes2(atc)...), a.trans.scriptR...), data...)
	if !same(s.mac(macKey, message), sent) {
		return nil, apdu.SWSecureMessagingIncorrect
	}
	if cmd.INS != insPINChange || len(data) == 0 {
		return data, apdu.SWSuccess
	}
	plain, ok := s.decipher(encKey, data)
	if ok {
		plain, ok = unpad(plain)
	}
	if !ok {
		return nil, apdu.SWSecureMessagingIncorrect
	}
	return plain, apdu.SWSuccess
}

func unpad(b []byte) ([]byte, bool) {
	for n := len(b); n > 0; n-- {
		switch b[n-1] {
		case 0:
		case 0x80:
			return b[:n-1], true
		default:
			return nil, false
		}
	}
	return nil, false
}

// execute carries out an authentic command.
func (a *Applet) execute(m memory, cmd apdu.Command, data []byte) apdu.StatusWord {
	switch cmd.INS {
	case insApplicationBlock, insApplicationUnblock, insCardBlock:
		if cmd.P1 != 0 || cmd.P2 != 0 {
			return apdu.SWIncorrectP1P2
		}
		if len(data) > 0 {
			return apdu.SWWrongLength
		}
		switch cmd.INS {
		case insApplicationBlock:
			m.setFlag(blocked, true)
		case insApplicationUnblock:
			m.setFlag(blocked, false)
		default: // for payment alone: the identity on the same card is another's
			m.setFlag(cardBlocked, true)
		}
		return apdu.SWSuccess
	case insPINChange:
		return pinChange(m, cmd, data)
	case insPutData:
		tag := uint16(cmd.P1)<<8 | uint16(cmd.P2)
		if tag != 0x9F14 && tag != 0x9F23 {
			return apdu.SWReferencedDataNotFound
		}
		if len(data) != 1 {
			return apdu.SWWrongLength
		}
		return m.replace(dgiCard, tlv.Tag(tag), data)
	}
	return m.updateRecord(cmd, data)
}

// pinChange: P2 00 unblocks, 01 and 02 set another PIN and unblock (Book 3,
// section 6.5.10).
func pinChange(m memory, cmd apdu.Command, data []byte) apdu.StatusWord {
	switch {
	case cmd.P1 != 0 || cmd.P2 > 2:
		return apdu.SWIncorrectP1P2
	case cmd.P2 == 0 && len(data) > 0:
		return apdu.SWWrongLength
	case cmd.P2 > 0:
		if len(data) != 8 || !validPINBlock(data) {
			return apdu.SWWrongData
		}
		m.Set(key(dgiPIN), data)
	}
	m.setNumber(pinTries, uint16(m.Get(key(dgiPINTries))[1]))
	return apdu.SWSuccess
}

// replace writes another value of the same length to a data object.
func (m memory) replace(id uint16, tag tlv.Tag, value []byte) apdu.StatusWord {
	list, err := tlv.Parse(m.Get(key(id)))
	if err != nil {
		return apdu.SWMemoryFailure
	}
	var out []byte
	found := false
	for _, o := range list {
		v := o.Value
		if o.Tag == tag {
			v, found = value, true
		}
		out = tlv.Append(out, o.Tag, v)
	}
	if !found {
		return apdu.SWReferencedDataNotFound
	}
	m.Set(key(id), out)
	return apdu.SWSuccess
}

// updateRecord replaces a record that is not signed.
func (m memory) updateRecord(cmd apdu.Command, data []byte) apdu.StatusWord {
	sfi := cmd.P2 >> 3
	id := uint16(sfi)<<8 | uint16(cmd.P1)
	if cmd.P2&7 != 4 || !record(id) {
		return apdu.SWIncorrectP1P2
	}
	if m.Get(key(id)) == nil {
		return apdu.SWRecordNotFound
	}
	for _, options := range []uint16{dgiOptions, dgiOptionsNr} {
		for afl := m.object(options, 0x94); len(afl) >= 4; afl = afl[4:] {
			if afl[0]>>3 == sfi && cmd.P1 >= afl[1] && cmd.P1 < afl[1]+afl[3] {
				return apdu.SWConditionsOfUseNotSatisfied // signed: it would not be authentic any more
			}
		}
	}
	if _, ok := shaped(id, data); !ok {
		return apdu.SWWrongData
	}
	m.Set(key(id), data)
	return apdu.SWSuccess
}
