package mrtd

import (
	"errors"
	"io"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/icao"
)

// getChallenge executes GET CHALLENGE: 8 bytes, valid for the next command.
// Before the card has keys for Basic Access Control there is nothing that the
// challenge could be for.
func (a *Applet) getChallenge(e virtual.Env, c secured) ([]byte, apdu.StatusWord) {
	if c.P1 != 0 || c.P2 != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	if len(c.Data) != 0 || (c.Ne != icao.ChallengeSize && !asksForAll(c)) {
		return nil, apdu.SWWrongLength
	}
	if e.Memory().Get(dgiBACKeys.key()) == nil {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	challenge := make([]byte, icao.ChallengeSize)
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
	case len(c.Data) != icao.BACSize, c.Ne != 0 && c.Ne < icao.BACSize:
		return nil, apdu.SWWrongLength
	}
	keys := e.Memory().Get(dgiBACKeys.key())
	if keys == nil {
		return nil, apdu.SWReferencedDataNotFound
	}
	answer, s, err := icao.AnswerBAC(e.Random(), keys[:16], keys[16:], challenge, c.Data)
	switch {
	case errors.Is(err, icao.ErrRefused):
		return nil, apdu.SWAuthenticationFailed
	case err != nil:
		return nil, apdu.SWNoPreciseDiagnosis
	}
	a.renewed = s
	return answer, apdu.SWSuccess
}
