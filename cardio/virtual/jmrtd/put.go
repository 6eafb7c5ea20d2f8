package jmrtd

import (
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
)

// Where things lie in the chip's memory.
const (
	keyState     = "state"       // 1 byte, absent: personalizing
	keyOpenReads = "open-reads"  // there: EF.COM and EF.SOD are free to read
	keyMRZ       = "mrz"         // MRZ information, with check digits
	keyModulus   = "aa-modulus"  // 128 bytes
	keyExponent  = "aa-exponent" // up to 128 bytes
)

// passwordKey is where a PACE password lies, its characters.
func passwordKey(reference byte) string { return fmt.Sprintf("pace/%02X", reference) }

// States of the applet's life. personalized is the fork's alone.
const (
	personalizing byte = iota
	personalized
	locked
)

func lifeCycle(e virtual.Env) byte {
	if b := e.Memory().Get(keyState); len(b) == 1 {
		return b[0]
	}
	return personalizing
}

// mayWrite is the answer to a command that writes: 6985 once the applet is
// locked, 6986 between 00DADEAF and the lock.
func (a *Applet) mayWrite(e virtual.Env) apdu.StatusWord {
	switch lifeCycle(e) {
	case locked:
		return apdu.SWConditionsOfUseNotSatisfied
	case personalized:
		return apdu.SWCommandNotAllowed
	}
	return apdu.SWSuccess
}

// P2 of PUT DATA with P1 = 00.
const (
	putModulus  = 0x60
	putExponent = 0x61
	putMRZ      = 0x62
	putPACE     = 0x65 // the fork's
	putDate     = 0x67 // the fork's: today's date for terminal authentication
)

// P1 of PUT DATA that changes the state, and its P2.
const (
	putState         = 0xDE
	statePersonalize = 0xAF // the fork's
	stateLock        = 0xAD
	stateOpenReads   = 0xFE // the fork's
)

// putData executes PUT DATA.
func (a *Applet) putData(e virtual.Env, c command) apdu.StatusWord {
	if a.fork {
		switch {
		case c.P1 == putState:
			return putForkState(e, c)
		case c.P1 == 0 && c.P2 == putDate:
			if len(c.Data) != 6 {
				return apdu.SWWrongLength
			}
			return apdu.SWSuccess // no certificate to compare it with
		}
	}
	if sw := a.mayWrite(e); !sw.OK() {
		return sw
	}
	switch {
	case c.P1 == putState && c.P2 == stateLock:
		e.Memory().Set(keyState, []byte{locked})
		return apdu.SWSuccess
	case c.P1 != 0:
	case c.P2 == putModulus:
		return putNumber(e, keyModulus, c, func(n int) bool { return n == modulusSize })
	case c.P2 == putExponent:
		return putNumber(e, keyExponent, c, func(n int) bool { return n > 0 && n <= modulusSize })
	case c.P2 == putMRZ:
		return putInformation(e, c.Data)
	case c.P2 == putPACE && a.fork:
		return putPasswords(e, c.Data)
	}
	return apdu.SWIncorrectP1P2
}

// putForkState executes 00DADExx of the fork: a state that is there already is
// no error.
func putForkState(e virtual.Env, c command) apdu.StatusWord {
	var from, to byte
	switch c.P2 {
	case statePersonalize:
		from, to = personalizing, personalized
	case stateLock:
		from, to = personalized, locked
	case stateOpenReads:
		switch {
		case len(c.Data) != 1:
			return apdu.SWWrongLength
		case c.Data[0] == 0:
			e.Memory().Delete(keyOpenReads)
		case c.Data[0] == 1:
			e.Memory().Set(keyOpenReads, []byte{1})
		default:
			return apdu.SWWrongData
		}
		return apdu.SWSuccess
	default:
		return apdu.SWIncorrectP1P2
	}
	now := lifeCycle(e)
	switch {
	case len(c.Data) != 0:
		return apdu.SWWrongLength
	case now == to:
	case now == from:
		e.Memory().Set(keyState, []byte{to})
	default:
		return apdu.SWConditionsOfUseNotSatisfied
	}
	return apdu.SWSuccess
}

// putNumber takes a part of the RSA key: tag 00 04 L number. The length of the
// template is zero, and one leading zero of the number is dropped.
func putNumber(e virtual.Env, key string, c command, fits func(n int) bool) apdu.StatusWord {
	if len(c.Data) < 2 || c.Data[0] != c.P2 || c.Data[1] != 0 {
		return swCrash
	}
	o, rest, err := tlv.Next(c.Data[2:])
	if err != nil || len(rest) != 0 || o.Tag != 0x04 || len(o.Value) == 0 {
		return swCrash
	}
	if o.Value[0] == 0 {
		o.Value = o.Value[1:]
	}
	if !fits(len(o.Value)) {
		return swCrash // CryptoException of the key object
	}
	e.Memory().Set(key, o.Value)
	return apdu.SWSuccess
}

// putInformation takes document number, date of birth and date of expiry, each
// a data object 04 inside 62, without check digits.
func putInformation(e virtual.Env, data []byte) apdu.StatusWord {
	outer, rest, err := tlv.Next(data)
	if err != nil || len(rest) != 0 || outer.Tag != putMRZ {
		return swCrash
	}
	parts, err := tlv.Parse(outer.Value)
	if err != nil || len(parts) != 3 || len(parts[0].Value) == 0 {
		return swCrash
	}
	var information []byte
	for i, p := range parts {
		if p.Tag != 0x04 || i > 0 && len(p.Value) != dateSize {
			return swCrash
		}
		digit, ok := checkDigit(p.Value)
		if !ok {
			return swCharacter
		}
		information = append(append(information, p.Value...), digit)
	}
	e.Memory().Set(keyMRZ, information)
	return apdu.SWSuccess
}

// dateSize is the length of YYMMDD.
const dateSize = 6

// checkDigit is the check digit of Doc 9303-3 clause 4.9. The applet takes
// small letters for capital ones.
func checkDigit(b []byte) (digit byte, ok bool) {
	sum := 0
	for i, c := range b {
		v := 0
		switch {
		case c >= '0' && c <= '9':
			v = int(c - '0')
		case c >= 'A' && c <= 'Z':
			v = int(c-'A') + 10
		case c >= 'a' && c <= 'z':
			v = int(c-'a') + 10
		case c != '<':
			return 0, false
		}
		sum += v * [3]int{7, 3, 1}[i%3]
	}
	return byte('0' + sum%10), true
}

// putPasswords takes PACE passwords: 65 { 66 { reference, characters } … }, or
// the entries without their container.
func putPasswords(e virtual.Env, data []byte) apdu.StatusWord {
	if o, _, err := tlv.Next(data); err == nil && o.Tag == putPACE {
		data = o.Value
	}
	for len(data) > 0 {
		o, rest, err := tlv.Next(data)
		switch {
		case err != nil:
			return swCrash
		case o.Tag != 0x66:
			return apdu.SWWrongData
		case len(o.Value) < 2:
			return apdu.SWWrongLength
		case o.Value[0] < passwordMRZ || o.Value[0] > passwordPUK:
			return swCrash
		}
		e.Memory().Set(passwordKey(o.Value[0]), o.Value[1:])
		data = rest
	}
	return apdu.SWSuccess
}
