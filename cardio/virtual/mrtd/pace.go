package mrtd

import (
	"bytes"
	"errors"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/icao"
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

// paceState is what the chip keeps between the steps of PACE.
type paceState struct {
	step int // the next: 1 nonce, 2 mapping, 3 key agreement, 4 tokens
	run  *icao.PACE
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
	a.general = exchange{protocol: protocolPACE, pace: &paceState{step: 1, run: icao.NewPACE(a.domain.Group, password)}}
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
		answer, sw = a.paceTokens(p, data)
	}
	if !sw.OK() {
		return nil, sw
	}
	if p.step == 4 {
		return answer, sw
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
	z, err := p.run.Nonce(e.Random())
	return dynamic(tagNonce, z), paceStatus(err)
}

// paceMap maps the nonce.
func (a *Applet) paceMap(e virtual.Env, p *paceState, data []byte) ([]byte, apdu.StatusWord) {
	terminal, ok := single(data, tagMapTerminal)
	if !ok {
		return nil, apdu.SWWrongData
	}
	chip, err := p.run.Map(e.Random(), terminal)
	return dynamic(tagMapChip, chip), paceStatus(err)
}

// paceAgree is the key agreement on the mapped generator.
func (a *Applet) paceAgree(e virtual.Env, p *paceState, data []byte) ([]byte, apdu.StatusWord) {
	terminal, ok := single(data, tagAgreeTerminal)
	if !ok {
		return nil, apdu.SWWrongData
	}
	chip, err := p.run.Agree(e.Random(), terminal)
	return dynamic(tagAgreeChip, chip), paceStatus(err)
}

// paceTokens checks the terminal's token and answers the chip's; secure
// messaging begins with the next command.
func (a *Applet) paceTokens(p *paceState, data []byte) ([]byte, apdu.StatusWord) {
	token, ok := single(data, tagTokenTerminal)
	if !ok || len(token) != icao.MACSize {
		return nil, apdu.SWWrongData
	}
	answer, s, err := p.run.Tokens(token)
	if err == nil {
		a.renewed = s
	}
	return dynamic(tagTokenChip, answer), paceStatus(err)
}

// paceStatus is the status word of a step: a key that is no point of the curve
// is 6A80, what is not authentic or agrees on nothing is 6300.
func paceStatus(err error) apdu.StatusWord {
	switch {
	case err == nil:
		return apdu.SWSuccess
	case errors.Is(err, icao.ErrPoint):
		return apdu.SWWrongData
	case errors.Is(err, icao.ErrOwnKey), errors.Is(err, icao.ErrRefused):
		return apdu.SWAuthenticationFailed
	}
	return apdu.SWNoPreciseDiagnosis
}
