package payment

import (
	"bytes"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
)

// externalAuthenticate checks the issuer's answer to an ARQC (Book 2, section
// 8.2; Book 3, section 6.5.4), once a transaction.
func (a *Applet) externalAuthenticate(e virtual.Env, cmd apdu.Command) apdu.StatusWord {
	m := memoryOf(e)
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return apdu.SWIncorrectP1P2
	}
	if m.object(m.options(), 0x82)[0]&aipIssuer == 0 { // the second GENERATE AC carries the answer
		return apdu.SWInstructionNotSupported
	}
	if a.stage != online || a.trans.authTried {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	if n := len(cmd.Data); n < 8 || n > 16 {
		return apdu.SWWrongLength
	}
	return a.authenticate(m, cmd.Data)
}

// authenticateWithin is issuer authentication in the second GENERATE AC, where CDOL2
// asks for the issuer authentication data (EMV 4.4 Book 3, Common Core Definitions
// 6.5.5.1). A terminal that has none sends zeros (Book 3, section 5.4).
func (a *Applet) authenticateWithin(m memory, data []byte) {
	if !a.trans.authTried && len(data) >= 8 && bytes.ContainsFunc(data, func(r rune) bool { return r != 0 }) {
		a.authenticate(m, data)
	}
}

// authenticate checks the issuer's answer by the method that the card was
// personalized for.
func (a *Applet) authenticate(m memory, data []byte) apdu.StatusWord {
	a.trans.authTried = true
	s, master, _, _ := m.keys()
	k := s.session(master, m.sessionAC())
	if m.object(dgiCard, 0xC3)[0]&0x80 != 0 && !s.aes {
		return a.method1(m, s, k, data)
	}
	arpc := s.mac(k, append(bytes.Clone(a.trans.arqc), data[4:]...))
	if !same(arpc[:4], data[:4]) {
		a.trans.authFailed = true
		return apdu.SWAuthenticationFailed
	}
	a.trans.csu = bytes.Clone(data[4:8])
	a.reported(m)
	return apdu.SWSuccess
}

// method1: the ARPC is the authorization response code, added to the ARQC, under
// the session key. An approval, 00, is taken for a status update that approves.
func (a *Applet) method1(m memory, s suite, k, data []byte) apdu.StatusWord {
	if len(data) < 10 {
		a.trans.authFailed = true
		return apdu.SWWrongLength
	}
	if !a.matches1(s, k, data) {
		a.trans.authFailed = true
		return apdu.SWAuthenticationFailed
	}
	a.trans.csu = []byte{0, 0, 0, 0}
	if string(data[8:10]) == "00" || string(data[8:10]) == "10" || string(data[8:10]) == "11" {
		a.trans.csu[1] = 0x82
	}
	a.reported(m)
	return apdu.SWSuccess
}

// matches1 checks an ARPC of method 1, followed by its response code.
func (a *Applet) matches1(s suite, k, data []byte) bool {
	block := bytes.Clone(a.trans.arqc)
	block[0] ^= data[8]
	block[1] ^= data[9]
	s.cipher(k).Encrypt(block, block)
	return same(block, data[:8])
}

// reported forgets the scripts that the ARQC told the issuer of, once the issuer
// has answered it: those of this transaction are counted afresh, also where the
// answer comes after them in the second GENERATE AC.
func (a *Applet) reported(m memory) {
	m.authentic()
	m.setNumber(scriptsSeen, a.trans.scripts)
	m.setFlag(scriptWrong, a.trans.scriptFailed)
}
