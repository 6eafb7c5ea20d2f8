package jmrtd

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // Doc 9303-11 prescribes SHA-1 here
	"errors"
	"io"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/icao"
)

// getChallenge executes GET CHALLENGE, for which Le must be 08.
func (a *Applet) getChallenge(e virtual.Env, c command) ([]byte, apdu.StatusWord) {
	if c.secured || a.session() != nil || e.Memory().Get(keyMRZ) == nil {
		return nil, apdu.SWSecurityStatusNotSatisfied
	}
	if c.le != icao.ChallengeSize {
		return nil, apdu.SWWrongLength
	}
	challenge := make([]byte, icao.ChallengeSize)
	if _, err := io.ReadFull(e.Random(), challenge); err != nil {
		return nil, swCrash
	}
	a.challenge = challenge
	return bytes.Clone(challenge), apdu.SWSuccess
}

// externalAuthenticate executes EXTERNAL AUTHENTICATE, the mutual
// authentication of Basic Access Control. A challenge that was answered
// wrongly stays good.
func (a *Applet) externalAuthenticate(e virtual.Env, c command) ([]byte, apdu.StatusWord) {
	information := e.Memory().Get(keyMRZ)
	if c.secured || a.challenge == nil || a.bac != nil || information == nil {
		return nil, apdu.SWSecurityStatusNotSatisfied
	}
	if len(c.Data) != icao.BACSize {
		return nil, apdu.SWWrongLength
	}
	seed := sha1.Sum(information) //nolint:gosec // see the import
	answer, s, err := icao.AnswerBAC(e.Random(), icao.KDF(seed[:16], icao.KDFEncryption), icao.KDF(seed[:16], icao.KDFMAC), a.challenge, c.Data)
	switch {
	case errors.Is(err, icao.ErrRefused):
		return nil, apdu.SWSecurityStatusNotSatisfied
	case err != nil:
		return nil, swCrash
	}
	a.bac, a.challenge = s, nil
	return answer, apdu.SWSuccess
}

// References of PACE passwords (Doc 9303-11 clause 4.4.4.1, BSI TR-03110-3
// table 53).
const (
	passwordMRZ = 1
	passwordPUK = 4
)

// paceRun is where the fork stands in PACE. A step that failed can be tried
// again.
type paceRun struct {
	step      int // the next: 1 … 4, 5 done; 0 MSE:Set AT has not come
	reference byte
	run       *icao.PACE
}

// preparePACE executes MSE:Set AT: 80 mechanism, 83 password, the MRZ without
// it; what else is there is skipped.
func (a *Applet) preparePACE(e virtual.Env, data []byte) apdu.StatusWord {
	objects, err := tlv.Parse(data)
	if err != nil {
		return apdu.SWWrongLength
	}
	var mechanism []byte
	reference := byte(passwordMRZ)
	for _, o := range objects {
		switch o.Tag {
		case 0x80:
			mechanism = o.Value
		case 0x83:
			if len(o.Value) != 1 {
				return apdu.SWWrongLength
			}
			reference = o.Value[0]
		case 0x66:
			return apdu.SWWrongData
		}
	}
	if mechanism == nil {
		return apdu.SWWrongData
	}
	if !offersPACE(load(e, fileCardAccess), mechanism) {
		return apdu.SWReferencedDataNotFound
	}
	a.pace, a.run = nil, paceRun{step: 1, reference: reference}
	return apdu.SWSuccess
}

// paceP256 is standardized domain parameter 12 (Doc 9303-11 table 6) as an
// INTEGER's value.
var paceP256 = []byte{12}

// offersPACE reports that EF.CardAccess has a PACEInfo of the mechanism that
// is spoken here.
func offersPACE(cardAccess, mechanism []byte) bool {
	if !bytes.Equal(mechanism, icao.OIDPACE) {
		return false
	}
	set, _, err := tlv.Next(cardAccess)
	if err != nil || set.Tag != 0x31 {
		return false
	}
	infos, err := tlv.Parse(set.Value)
	if err != nil {
		return false
	}
	for _, info := range infos {
		f, err := tlv.Parse(info.Value)
		if err == nil && len(f) == 3 && bytes.Equal(f[0].Value, mechanism) && bytes.Equal(f[2].Value, paceP256) {
			return true
		}
	}
	return false
}

// password is the secret that a reference names; nil where there is none.
func password(e virtual.Env, reference byte) []byte {
	if reference != passwordMRZ {
		return e.Memory().Get(passwordKey(reference))
	}
	b := e.Memory().Get(keyMRZ)
	if b == nil {
		return nil
	}
	number := len(b) - 2*(dateSize+1) - 1
	var information []byte
	information = append(information, b[:number]...)
	for len(information) < 9 {
		information = append(information, '<') // the check digit stays the same
	}
	h := sha1.Sum(append(information, b[number:]...)) //nolint:gosec // see the import
	return h[:]
}

// generalAuthenticate executes GENERAL AUTHENTICATE: the steps of PACE, in
// their order whatever the chaining bit says.
func (a *Applet) generalAuthenticate(e virtual.Env, c command) ([]byte, apdu.StatusWord) {
	p := &a.run
	switch {
	case c.secured:
		return nil, apdu.SWIncorrectP1P2
	case p.step == 0:
		return nil, apdu.SWConditionsOfUseNotSatisfied
	case p.step > 4:
		return nil, apdu.SWInstructionNotSupported
	}
	var value []byte
	if p.step == 1 {
		secret := password(e, p.reference)
		if secret == nil {
			return nil, apdu.SWReferencedDataNotFound
		}
		p.run = icao.NewPACE(icao.P256{}, secret)
	} else {
		var sw apdu.StatusWord
		if value, sw = paceData(c.Data, tlv.Tag(0x81+2*(p.step-2))); !sw.OK() {
			return nil, sw
		}
	}
	var out []byte
	var err error
	switch p.step {
	case 1:
		out, err = p.run.Nonce(e.Random())
	case 2:
		out, err = p.run.Map(e.Random(), value)
	case 3:
		out, err = p.run.Agree(e.Random(), value)
	case 4:
		if len(value) != icao.MACSize {
			return nil, apdu.SWWrongLength
		}
		out, a.renewed, err = p.run.Tokens(value)
	}
	switch {
	case errors.Is(err, icao.ErrRefused):
		return nil, apdu.SWSecurityStatusNotSatisfied
	case err != nil:
		return nil, swInternal
	}
	tag := tlv.Tag(0x80 + 2*(p.step-1))
	p.step++
	return tlv.Encode(0x7C, tlv.Encode(tag, out)), apdu.SWSuccess
}

// paceData takes the one data object of a step out of 7C.
func paceData(data []byte, tag tlv.Tag) ([]byte, apdu.StatusWord) {
	if len(data) == 0 {
		return nil, apdu.SWWrongLength
	}
	outer, _, err := tlv.Next(data)
	if err != nil || outer.Tag != 0x7C {
		return nil, apdu.SWWrongData
	}
	o, rest, err := tlv.Next(outer.Value)
	if err != nil || o.Tag != tag || len(rest) != 0 {
		return nil, apdu.SWWrongData
	}
	return o.Value, apdu.SWSuccess
}
