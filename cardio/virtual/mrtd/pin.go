package mrtd

import (
	"crypto/subtle"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
)

// pinReference is P2 of the holder's PIN: local reference 1 (ISO/IEC 7816-4
// table 94).
const pinReference = 0x81

// Lengths of the holder's secrets in ASCII digits.
const (
	minPIN  = 6
	maxPIN  = 8
	pukSize = 8
)

// pin is the holder's PIN or unblocking key with its retry counter.
type pin struct {
	limit, tries byte
	transport    bool // personalized, not yet the holder's own
	digits       []byte
}

func loadPIN(e virtual.Env) pin { return decodePIN(e.Memory().Get(dgiPIN.key())) }

func decodePIN(b []byte) pin {
	if len(b) < 3 {
		return pin{}
	}
	return pin{limit: b[0], tries: b[1], transport: b[2] != 0, digits: b[3:]}
}

func (p pin) save(e virtual.Env, where dgi) {
	b := []byte{p.limit, p.tries, 0}
	if p.transport {
		b[2] = 1
	}
	e.Memory().Set(where.key(), append(b, p.digits...))
}

func (p pin) exists() bool { return len(p.digits) > 0 }

// try compares under the retry counter: 9000, 63Cx with the tries left, or
// 6983 where none was left before. The counter is written before the comparison and both commit before
// the answer leaves the chip, so that a power cut never gives a free guess.
func (p *pin) try(e virtual.Env, where dgi, guess []byte) apdu.StatusWord {
	if p.tries == 0 {
		return apdu.SWAuthenticationMethodBlocked
	}
	p.tries--
	p.save(e, where)
	if subtle.ConstantTimeCompare(p.digits, guess) != 1 {
		return 0x63C0 | apdu.StatusWord(p.tries)
	}
	p.tries = p.limit
	p.save(e, where)
	return apdu.SWSuccess
}

// forgetPIN ends what a verification of the PIN allowed.
func (a *Applet) forgetPIN() { a.pinOK, a.consent, a.signer = false, false, 0 }

func allDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func validPIN(b []byte) bool { return len(b) >= minPIN && len(b) <= maxPIN && allDigits(b) }

// pinFor checks what the three PIN commands have in common. Over contacts they are
// taken in plain too, since a pin-pad cannot protect what it inserts; what the PIN
// opens needs secure messaging all the same, and BAC inside the application keeps
// what was verified.
func (a *Applet) pinFor(e virtual.Env, c secured) (pin, apdu.StatusWord) {
	switch {
	case c.P1 != 0:
		return pin{}, apdu.SWIncorrectP1P2
	case c.P2 != pinReference, a.at != application:
		return pin{}, apdu.SWReferencedDataNotFound
	}
	p := loadPIN(e)
	if !p.exists() {
		return pin{}, apdu.SWReferencedDataNotFound
	}
	return p, apdu.SWSuccess
}

// verify executes VERIFY: without data it tells the state, with data it
// compares. Data that can be no PIN is 6A80 and costs no try.
func (a *Applet) verify(e virtual.Env, c secured) ([]byte, apdu.StatusWord) {
	p, sw := a.pinFor(e, c)
	if !sw.OK() {
		return nil, sw
	}
	if len(c.Data) == 0 {
		switch {
		case a.pinOK:
			return nil, apdu.SWSuccess
		case p.tries == 0:
			return nil, apdu.SWAuthenticationMethodBlocked
		}
		return nil, 0x63C0 | apdu.StatusWord(p.tries)
	}
	if !validPIN(c.Data) {
		return nil, apdu.SWWrongData
	}
	sw = p.try(e, dgiPIN, c.Data)
	a.pinOK, a.consent = sw.OK(), sw.OK()
	return nil, sw
}

// changeReference executes CHANGE REFERENCE DATA: the old PIN, then the new
// one, which must differ. Before completion there is no holder to change it:
// 6985.
func (a *Applet) changeReference(e virtual.Env, c secured) ([]byte, apdu.StatusWord) {
	p, sw := a.pinFor(e, c)
	if !sw.OK() {
		return nil, sw
	}
	if !complete(e) {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	n := len(p.digits)
	if len(c.Data) < n+minPIN || len(c.Data) > n+maxPIN || !allDigits(c.Data) {
		return nil, apdu.SWWrongData
	}
	old, fresh := c.Data[:n], c.Data[n:]
	if sw = p.try(e, dgiPIN, old); !sw.OK() {
		a.forgetPIN()
		return nil, sw
	}
	if subtle.ConstantTimeCompare(old, fresh) == 1 {
		return nil, apdu.SWWrongData
	}
	a.replacePIN(e, p, fresh)
	a.pinOK, a.consent = true, true
	return nil, apdu.SWSuccess
}

// resetRetryCounter executes RESET RETRY COUNTER: the unblocking key, then
// the new PIN. The PIN must be verified afterwards.
func (a *Applet) resetRetryCounter(e virtual.Env, c secured) ([]byte, apdu.StatusWord) {
	p, sw := a.pinFor(e, c)
	if !sw.OK() {
		return nil, sw
	}
	if !complete(e) {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	puk := decodePIN(e.Memory().Get(dgiPUK.key()))
	if !puk.exists() {
		return nil, apdu.SWReferencedDataNotFound
	}
	if len(c.Data) < pukSize+minPIN || !validPIN(c.Data[pukSize:]) || !allDigits(c.Data) {
		return nil, apdu.SWWrongData
	}
	a.forgetPIN()
	if sw = puk.try(e, dgiPUK, c.Data[:pukSize]); !sw.OK() {
		return nil, sw
	}
	a.replacePIN(e, p, c.Data[pukSize:])
	return nil, apdu.SWSuccess
}

func (a *Applet) replacePIN(e virtual.Env, p pin, digits []byte) {
	p.digits, p.tries, p.transport = digits, p.limit, false
	p.save(e, dgiPIN)
}
