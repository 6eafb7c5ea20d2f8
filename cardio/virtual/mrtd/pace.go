package mrtd

import (
	"bytes"
	"crypto/aes"
	"io"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
)

// Data objects inside 7C of PACE, terminal's and chip's (Doc 9303-11 clause
// 4.4.4.2).
const (
	tagNonce         = tlv.Tag(0x80)
	tagMapTerminal   = tlv.Tag(0x81)
	tagMapChip       = tlv.Tag(0x82)
	tagAgreeTerminal = tlv.Tag(0x83)
	tagAgreeChip     = tlv.Tag(0x84)
	tagTokenTerminal = tlv.Tag(0x85)
	tagTokenChip     = tlv.Tag(0x86)
)

// nonceSize is the length of s in bytes: one block of the cipher.
const nonceSize = aes.BlockSize

// paceState is what the chip keeps between the steps of PACE.
type paceState struct {
	step      int // the next: 1 nonce, 2 mapping, 3 key agreement, 4 tokens
	password  []byte
	nonce     []byte
	generator []byte // the mapped one
	terminal  []byte // PK_DH,IFD
	chip      []byte // PK_DH,IC
	secret    []byte // x of the shared point
}

// preparePACE executes MSE:SET AT for PACE: 80 mechanism, 83 password, and 84
// domain parameters, which may be left out because there is one set only.
func (a *Applet) preparePACE(e virtual.Env, values map[tlv.Tag][]byte) apdu.StatusWord {
	if !onlyTags(values, tagMechanism, tagPassword, tagReference) {
		return apdu.SWWrongData
	}
	if a.secureMessaging() {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	if !sameOID(values[tagMechanism], oidPACE) || len(values[tagPassword]) != 1 {
		return apdu.SWWrongData
	}
	if id, given := values[tagReference]; given && !bytes.Equal(id, []byte{a.domain.id}) {
		return apdu.SWReferencedDataNotFound
	}
	var password []byte
	switch values[tagPassword][0] {
	case passwordMRZ:
		password = e.Memory().Get(dgiPACEMRZ.key())
	case passwordCAN:
		password = e.Memory().Get(dgiPACECAN.key())
	}
	if password == nil {
		return apdu.SWReferencedDataNotFound
	}
	a.general = exchange{protocol: protocolPACE, pace: &paceState{step: 1, password: kdf(password, kdfPassword)}}
	return apdu.SWSuccess
}

// continuePACE executes one of the four GENERAL AUTHENTICATE commands. All but
// the last carry the chaining bit. An error ends the protocol.
func (a *Applet) continuePACE(e virtual.Env, p *paceState, data []byte, chained bool) ([]byte, apdu.StatusWord) {
	if last := p.step == 4; last == chained {
		if last {
			return nil, apdu.SWLastCommandOfChainExpected
		}
		return nil, apdu.SWWrongData
	}
	var answer []byte
	var sw apdu.StatusWord
	switch p.step {
	case 1:
		answer, sw = a.paceNonce(e, p, data)
	case 2:
		answer, sw = a.paceMap(e, p, data)
	case 3:
		answer, sw = a.paceAgree(e, p, data)
	default:
		return a.paceTokens(p, data)
	}
	if !sw.OK() {
		return nil, sw
	}
	p.step++
	a.general = exchange{protocol: protocolPACE, pace: p}
	return answer, sw
}

// paceNonce answers z = E(K_pi, s).
func (a *Applet) paceNonce(e virtual.Env, p *paceState, data []byte) ([]byte, apdu.StatusWord) {
	if len(data) != 0 {
		return nil, apdu.SWWrongData
	}
	p.nonce = make([]byte, nonceSize)
	if _, err := io.ReadFull(e.Random(), p.nonce); err != nil {
		return nil, apdu.SWNoPreciseDiagnosis
	}
	block, err := aes.NewCipher(p.password)
	if err != nil {
		return nil, apdu.SWNoPreciseDiagnosis
	}
	z := make([]byte, nonceSize) // one block, zero IV: CBC is ECB
	block.Encrypt(z, p.nonce)
	return dynamic(tagNonce, z), apdu.SWSuccess
}

// paceMap is the generic mapping G' = s·G + H with H the point of an
// anonymous key agreement (Doc 9303-11 clause 4.4.3.3.1).
func (a *Applet) paceMap(e virtual.Env, p *paceState, data []byte) ([]byte, apdu.StatusWord) {
	terminal, ok := single(data, tagMapTerminal)
	if !ok {
		return nil, apdu.SWWrongData
	}
	chip, h, sw := a.agree(e, nil, terminal)
	if !sw.OK() {
		return nil, sw
	}
	s := make([]byte, fieldSize)
	copy(s[fieldSize-nonceSize:], p.nonce)
	sG, err := a.domain.mul(nil, s)
	if err != nil {
		return nil, apdu.SWAuthenticationFailed
	}
	if p.generator, err = a.domain.add(sG, h); err != nil {
		return nil, apdu.SWAuthenticationFailed
	}
	return dynamic(tagMapChip, chip), apdu.SWSuccess
}

// paceAgree is the key agreement on the mapped generator.
func (a *Applet) paceAgree(e virtual.Env, p *paceState, data []byte) ([]byte, apdu.StatusWord) {
	terminal, ok := single(data, tagAgreeTerminal)
	if !ok {
		return nil, apdu.SWWrongData
	}
	chip, k, sw := a.agree(e, p.generator, terminal)
	if !sw.OK() {
		return nil, sw
	}
	p.terminal, p.chip, p.secret = bytes.Clone(terminal), chip, coordinateX(k)
	return dynamic(tagAgreeChip, chip), apdu.SWSuccess
}

// agree makes an ephemeral key pair on a generator (nil: the curve's own) and
// the shared point with the terminal's key. A key that is no point of the
// curve is 6A80; one that equals the chip's own is 6300 (Doc 9303-11 clause
// 4.4.1 asks for the comparison).
func (a *Applet) agree(e virtual.Env, generator, terminal []byte) (public, shared []byte, sw apdu.StatusWord) {
	private, err := newScalar(e.Random(), a.domain)
	if err != nil {
		return nil, nil, apdu.SWNoPreciseDiagnosis
	}
	if public, err = a.domain.mul(generator, private); err != nil {
		return nil, nil, apdu.SWAuthenticationFailed
	}
	if shared, err = a.domain.mul(terminal, private); err != nil || len(terminal) != pointSize {
		return nil, nil, apdu.SWWrongData
	}
	if bytes.Equal(public, terminal) {
		return nil, nil, apdu.SWAuthenticationFailed
	}
	return public, shared, apdu.SWSuccess
}

// paceTokens checks the terminal's token and answers the chip's; secure
// messaging begins with the next command.
func (a *Applet) paceTokens(p *paceState, data []byte) ([]byte, apdu.StatusWord) {
	token, ok := single(data, tagTokenTerminal)
	if !ok || len(token) != macSize {
		return nil, apdu.SWWrongData
	}
	check := newCMAC(kdf(p.secret, kdfMAC))
	if !sameMAC(check.mac(publicKeyObject(p.chip)), token) {
		return nil, apdu.SWAuthenticationFailed
	}
	answer := check.mac(publicKeyObject(p.terminal))
	a.renewed = newSessionAES(p.secret)
	return dynamic(tagTokenChip, answer[:]), apdu.SWSuccess
}

// publicKeyObject is what a token is made over: the other side's ephemeral
// key with the protocol's identifier (Doc 9303-11 clause 4.4.3.5).
func publicKeyObject(point []byte) []byte {
	return tlv.Encode(tagPublicKey, tlv.Encode(tagObject, oidPACE), tlv.Encode(tagPublicPoint, point))
}
