package mrtd

import (
	"bytes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // the standard's own cipher for Basic Access Control
	"crypto/subtle"
	"io"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
)

// Lengths of Basic Access Control in bytes (Doc 9303-11 clause 4.3.1).
const (
	challengeSize = 8
	keySeedSize   = 16
	bacPlainSize  = 2*challengeSize + keySeedSize
	bacSize       = bacPlainSize + macSize
)

// getChallenge executes GET CHALLENGE: 8 bytes, valid for the next command.
// Before the card has keys for Basic Access Control there is nothing that the
// challenge could be for.
func (a *Applet) getChallenge(e virtual.Env, c secured) ([]byte, apdu.StatusWord) {
	if c.P1 != 0 || c.P2 != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	if len(c.Data) != 0 || (c.Ne != challengeSize && !asksForAll(c)) {
		return nil, apdu.SWWrongLength
	}
	if e.Memory().Get(dgiBACKeys.key()) == nil {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	challenge := make([]byte, challengeSize)
	if _, err := io.ReadFull(e.Random(), challenge); err != nil {
		return nil, apdu.SWNoPreciseDiagnosis
	}
	a.challenge = challenge
	return challenge, apdu.SWSuccess
}

// externalAuthenticate executes EXTERNAL AUTHENTICATE as the mutual
// authentication of Basic Access Control (Doc 9303-11 clause 4.3.1): it takes
// E_IFD ‖ M_IFD and answers E_IC ‖ M_IC, and secure messaging begins.
func (a *Applet) externalAuthenticate(e virtual.Env, c secured, challenge []byte) ([]byte, apdu.StatusWord) {
	switch {
	case c.P1 != 0 || c.P2 != 0:
		return nil, apdu.SWIncorrectP1P2
	case a.at != application, a.secureMessaging(), challenge == nil:
		return nil, apdu.SWConditionsOfUseNotSatisfied
	case len(c.Data) != bacSize, c.Ne != 0 && c.Ne < bacSize:
		return nil, apdu.SWWrongLength
	}
	keys := e.Memory().Get(dgiBACKeys.key())
	if keys == nil {
		return nil, apdu.SWReferencedDataNotFound
	}
	encryption, check := newTripleDES(keys[:16]), newRetailMAC(keys[16:])
	var iv [des.BlockSize]byte
	if !sameMAC(check.mac(c.Data[:bacPlainSize]), c.Data[bacPlainSize:]) {
		return nil, apdu.SWAuthenticationFailed
	}
	s := make([]byte, bacPlainSize) // RND.IFD ‖ RND.IC ‖ K.IFD
	cipher.NewCBCDecrypter(encryption, iv[:]).CryptBlocks(s, c.Data[:bacPlainSize])
	rndIFD, rndIC, kIFD := s[:8], s[8:16], s[16:]
	if !bytes.Equal(rndIC, challenge) {
		return nil, apdu.SWAuthenticationFailed
	}

	r := make([]byte, 0, bacSize) // RND.IC ‖ RND.IFD ‖ K.IC
	r = append(r, rndIC...)
	r = append(r, rndIFD...)
	r = r[:bacPlainSize]
	kIC := r[2*challengeSize:]
	if _, err := io.ReadFull(e.Random(), kIC); err != nil {
		return nil, apdu.SWNoPreciseDiagnosis
	}
	seed := make([]byte, keySeedSize)
	subtle.XORBytes(seed, kIFD, kIC)
	cipher.NewCBCEncrypter(encryption, iv[:]).CryptBlocks(r, r)
	m := check.mac(r)
	a.renewed = newBACSession(seed, rndIC, rndIFD)
	return append(r, m[:]...), apdu.SWSuccess
}
