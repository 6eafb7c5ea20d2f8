package usim

import (
	"crypto/subtle"
	"encoding/hex"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/nvm"
)

const (
	pinSize     = 8
	pinLimit    = 3
	unblockSize = 16
	pukLimit    = 10
)

// pin is a PIN or ADM key. used counts wrong presentations since the last right
// one, so that zero is a fresh one.
type pin struct {
	value, puk        [pinSize]byte
	used, usedUnblock byte
	enabled           bool
}

func pinBlock(s string) (b [pinSize]byte) {
	copy(b[:], padded([]byte(s), pinSize))
	return b
}

// wellFormed: 4 to 8 digits, filled with FF (TS 102 221 clause 9.5.1).
func wellFormed(b []byte) bool {
	n := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	for _, v := range b[n:] {
		if v != 0xFF {
			return false
		}
	}
	return n >= 4 && len(b) == pinSize
}

func pinKey(ref byte) string { return pinPrefix + hex.EncodeToString([]byte{ref}) }

func putPIN(s nvm.Space, ref byte, p pin) {
	enabled := byte(0)
	if p.enabled {
		enabled = 1
	}
	s.Set(pinKey(ref), join(p.value[:], p.puk[:], []byte{p.used, p.usedUnblock, enabled}))
}

func (c *Chip) pin(ref byte) pin {
	b := c.space.Get(pinKey(ref))
	return pin{value: [pinSize]byte(b), puk: [pinSize]byte(b[pinSize:]), used: b[16], usedUnblock: b[17], enabled: b[18] == 1}
}

// satisfied says whether a condition on a key holds: it was verified, or it is a
// PIN that is disabled.
func (c *Chip) satisfied(ref byte) bool { return c.verified[ref] || !c.pin(ref).enabled }

// present compares and counts: the answer is 9000, 63Cx or 6983.
func (c *Chip) present(ref byte, value []byte) apdu.StatusWord {
	p := c.pin(ref)
	if p.used >= pinLimit {
		return apdu.SWAuthenticationMethodBlocked
	}
	right := subtle.ConstantTimeCompare(p.value[:], value) == 1
	if right {
		p.used = 0
	} else {
		p.used++
		delete(c.verified, ref)
	}
	putPIN(c.space, ref, p)
	if right {
		return apdu.SWSuccess
	}
	return swTries | apdu.StatusWord(pinLimit-p.used)
}

func known(ref byte) bool { return ref == keyPIN1 || ref == keyPIN2 || ref == keyADM1 }

// pinCommand is VERIFY, CHANGE, DISABLE, ENABLE and UNBLOCK PIN (TS 102 221
// clauses 11.1.9 to 11.1.13).
func (c *Chip) pinCommand(cmd apdu.Command) apdu.StatusWord {
	ref := cmd.P2
	switch {
	case cmd.P1 != 0:
		return apdu.SWIncorrectP1P2
	case !known(ref):
		return apdu.SWReferencedDataNotFound
	}
	switch cmd.INS {
	case insVerify:
		return c.verify(ref, cmd.Data)
	case insChangePIN:
		return c.change(ref, cmd.Data)
	case insUnblock:
		return c.unblock(ref, cmd.Data)
	}
	return c.enable(ref, cmd.Data, cmd.INS == insEnablePIN)
}

// verify without data asks for the tries left.
func (c *Chip) verify(ref byte, data []byte) apdu.StatusWord {
	p := c.pin(ref)
	switch {
	case len(data) != 0 && len(data) != pinSize:
		return apdu.SWWrongLength
	case p.used >= pinLimit:
		return apdu.SWAuthenticationMethodBlocked
	case !p.enabled:
		return apdu.SWReferencedDataNotUsable
	case len(data) == 0:
		return swTries | apdu.StatusWord(pinLimit-p.used)
	}
	sw := c.present(ref, data)
	if sw == apdu.SWSuccess {
		c.verified[ref] = true
	}
	return sw
}

func (c *Chip) change(ref byte, data []byte) apdu.StatusWord {
	switch {
	case len(data) != 2*pinSize:
		return apdu.SWWrongLength
	case !c.pin(ref).enabled:
		return apdu.SWReferencedDataNotUsable
	case c.pin(ref).used >= pinLimit:
		return apdu.SWAuthenticationMethodBlocked
	case ref != keyADM1 && !wellFormed(data[pinSize:]):
		return apdu.SWWrongData
	}
	if sw := c.present(ref, data[:pinSize]); sw != apdu.SWSuccess {
		return sw
	}
	p := c.pin(ref)
	p.value = [pinSize]byte(data[pinSize:])
	putPIN(c.space, ref, p)
	c.verified[ref] = true
	return apdu.SWSuccess
}

// enable and disable are for PIN1: PIN2 and ADM1 are always asked for.
func (c *Chip) enable(ref byte, data []byte, on bool) apdu.StatusWord {
	switch {
	case ref != keyPIN1:
		return apdu.SWConditionsOfUseNotSatisfied
	case len(data) != pinSize:
		return apdu.SWWrongLength
	case c.pin(ref).used >= pinLimit:
		return apdu.SWAuthenticationMethodBlocked
	case c.pin(ref).enabled == on:
		return apdu.SWReferencedDataNotUsable
	}
	if sw := c.present(ref, data); sw != apdu.SWSuccess {
		return sw
	}
	p := c.pin(ref)
	p.enabled = on
	putPIN(c.space, ref, p)
	c.verified[ref] = on
	return apdu.SWSuccess
}

// unblock without data asks for the tries left of the unblock key.
func (c *Chip) unblock(ref byte, data []byte) apdu.StatusWord {
	p := c.pin(ref)
	switch {
	case ref == keyADM1:
		return apdu.SWReferencedDataNotFound // it has no unblock key
	case len(data) != 0 && len(data) != unblockSize:
		return apdu.SWWrongLength
	case p.usedUnblock >= pukLimit:
		return apdu.SWAuthenticationMethodBlocked
	case len(data) == 0:
		return swTries | apdu.StatusWord(pukLimit-p.usedUnblock)
	case !wellFormed(data[pinSize:]):
		return apdu.SWWrongData
	}
	if subtle.ConstantTimeCompare(p.puk[:], data[:pinSize]) != 1 {
		p.usedUnblock++
		putPIN(c.space, ref, p)
		return swTries | apdu.StatusWord(pukLimit-p.usedUnblock)
	}
	p.value, p.used, p.usedUnblock, p.enabled = [pinSize]byte(data[pinSize:]), 0, 0, true
	putPIN(c.space, ref, p)
	c.verified[ref] = true
	return apdu.SWSuccess
}
