package payment

import (
	"math/big"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
)

func (a *Applet) getChallenge(e virtual.Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	if len(cmd.Data) > 0 {
		return nil, apdu.SWWrongLength
	}
	a.challenge = make([]byte, 8)
	if _, err := e.Random().Read(a.challenge); err != nil {
		return nil, apdu.SWNoPreciseDiagnosis
	}
	return a.challenge, apdu.SWSuccess
}

// verify checks the offline PIN (Book 3, section 6.5.12): 80 plain, 88 enciphered
// with the challenge of the command before.
func (a *Applet) verify(e virtual.Env, cmd apdu.Command, challenge []byte) apdu.StatusWord {
	m := memoryOf(e)
	if cmd.P1 != 0 || cmd.P2 != 0x80 && cmd.P2 != 0x88 {
		return apdu.SWIncorrectP1P2
	}
	if a.stage != initiated || m.radio { // no PIN goes through the air
		return apdu.SWConditionsOfUseNotSatisfied
	}
	tries := m.number(pinTries)
	if tries == 0 {
		a.trans.pinTried = true
		return apdu.SWAuthenticationMethodBlocked
	}
	block := cmd.Data
	if cmd.P2 == 0x88 {
		k, err := readKey(m)
		switch {
		case err != nil || challenge == nil:
			return apdu.SWReferencedDataNotUsable
		case len(cmd.Data) != k.size:
			return apdu.SWWrongLength
		}
		x := new(big.Int).SetBytes(cmd.Data)
		if x.Cmp(k.n) >= 0 {
			return apdu.SWWrongData
		}
		plain := k.sign(cmd.Data)
		if plain[0] != 0x7F || !same(plain[9:17], challenge) {
			return apdu.SWReferencedDataNotUsable
		}
		block = plain[1:9]
	}
	if len(block) != 8 {
		return apdu.SWWrongLength
	}
	a.trans.pinTried = true
	if same(block, m.Get(key(dgiPIN))) {
		a.trans.pinFailed = false
		m.setNumber(pinTries, uint16(m.Get(key(dgiPINTries))[1]))
		return apdu.SWSuccess
	}
	a.trans.pinFailed = true
	m.setNumber(pinTries, tries-1)
	return 0x63C0 | apdu.StatusWord(tries-1)
}

func validPINBlock(b []byte) bool {
	n := int(b[0] & 0x0F)
	if b[0]>>4 != 2 || n < 4 || n > 12 {
		return false
	}
	for i := range 14 {
		d := b[1+i/2] >> 4
		if i%2 == 1 {
			d = b[1+i/2] & 0x0F
		}
		if i < n && d > 9 || i >= n && d != 0x0F {
			return false
		}
	}
	return true
}
