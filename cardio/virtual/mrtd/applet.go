package mrtd

import (
	"bytes"
	"errors"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/icao"
)

// AID is the identifier of the LDS1 application (Doc 9303-10 clause 3.5).
const AID = "A0000002471001"

var aid = []byte{0xA0, 0x00, 0x00, 0x02, 0x47, 0x10, 0x01}

// Life cycle states of the application beyond those of GPC_SPE_034 v2.3.1
// table 11-4.
const (
	// LifeCyclePersonalizing is the state of a fresh application (SELECTABLE).
	LifeCyclePersonalizing byte = 0x07
	// LifeCycleComplete is the state after the completing data grouping: no
	// personalization data is taken any more.
	LifeCycleComplete byte = 0x0F
)

// Bits of the class byte (ISO/IEC 7816-4 clause 5.4.1).
const (
	claChained = 0x10
	claSecured = icao.ClassSecured
	claChannel = 0x03
)

// Instructions.
const (
	insVerify               = 0x20
	insManageSecurity       = 0x22
	insChangeReference      = 0x24
	insPerformSecurity      = 0x2A
	insResetRetryCounter    = 0x2C
	insExternalAuthenticate = 0x82
	insGetChallenge         = 0x84
	insGeneralAuthenticate  = 0x86
	insSelect               = 0xA4
	insReadBinary           = 0xB0
	insReadBinaryOdd        = 0xB1
	insGetData              = 0xCA
	insGetDataOdd           = 0xCB
	insUpdateBinary         = 0xD6
)

// secured is a command in plain, as it came or unwrapped.
type secured = icao.Secured

// directory is where the chip stands.
type directory byte

const (
	masterFile directory = iota
	application
)

// Applet is the application. Its fields are the chip's volatile memory: one
// value serves one power-up. Everything that lasts is in the memory that the
// chip hands to each call. Not safe for concurrent use.
type Applet struct {
	at      directory
	current file   // zero: no current EF
	content []byte // of the current EF

	session *icao.Session
	renewed *icao.Session // takes over once the answer under session is wrapped

	challenge []byte   // RND.IC of the command before, for Basic Access Control
	general   exchange // what GENERAL AUTHENTICATE is about
	pinOK     bool
	consent   bool // a verification of the PIN that no signature has used
	signer    byte // reference of the key that signs; 0: none chosen

	stream stream

	domain domain
}

// domain is the standardized domain parameters of PACE.
type domain struct {
	id byte
	icao.Group
}

var _ virtual.Applet = (*Applet)(nil)

// New returns an application after power-up. It is the factory that the chip
// calls at each reset.
func New() *Applet {
	return &Applet{domain: domain{id: 12, Group: icao.P256{}}}
}

// Select answers SELECT of the application. The zero command is the selection
// by default after a reset: the chip then stands in the master file, where
// EF.CardAccess is read and PACE is run. A SELECT in plain ends secure
// messaging and all rights (Doc 9303-11 clause 9.8.8).
func (a *Applet) Select(_ virtual.Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if cmd.INS == 0 {
		a.reset()
		return nil, apdu.SWSuccess
	}
	cmd.P2 &^= 0x02 // the next occurrence: the chip has found it
	answer, sw := selectAnswer(cmd, applicationFCI)
	if !sw.OK() {
		return nil, sw
	}
	a.reset()
	a.at = application
	return answer, sw
}

// Deselect forgets everything volatile.
func (a *Applet) Deselect(virtual.Env) { a.reset() }

func (a *Applet) reset() { *a = Applet{domain: a.domain} }

// closeSession ends secure messaging and what it allowed.
func (a *Applet) closeSession() {
	a.session, a.renewed = nil, nil
	a.forgetPIN()
	a.current, a.content = file{}, nil
}

// Process answers a command while the application is selected.
func (a *Applet) Process(e virtual.Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	switch {
	case cmd.CLA&0xE0 != 0:
		return a.refusePlain(apdu.SWClassNotSupported)
	case cmd.CLA&claChannel != 0:
		return a.refusePlain(apdu.SWLogicalChannelNotSupported)
	case cmd.CLA&claSecured == claSecured:
		return a.processSecured(e, cmd)
	case cmd.CLA&claSecured != 0:
		return a.refusePlain(apdu.SWSecureMessagingNotSupported)
	}
	if a.session != nil {
		a.closeSession() // a plain command ends secure messaging
	}
	data, sw := a.dispatch(e, secured{Command: cmd, Limit: apdu.MaxExtendedNe})
	a.session, a.renewed = a.takeOver()
	return data, sw
}

func (a *Applet) refusePlain(sw apdu.StatusWord) ([]byte, apdu.StatusWord) {
	if a.session != nil {
		a.closeSession()
	}
	a.forgetSteps()
	return nil, sw
}

func (a *Applet) processSecured(e virtual.Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if a.session == nil {
		a.forgetSteps()
		return nil, apdu.SWSecureMessagingIncorrect
	}
	if cmd.CLA&claChained != 0 {
		return a.refusePlain(apdu.SWCommandChainingNotSupported)
	}
	plain, err := a.session.Unwrap(cmd)
	switch {
	case errors.Is(err, icao.ErrMissing):
		return a.refusePlain(apdu.SWSecureMessagingObjectsMissing)
	case err != nil:
		return a.refusePlain(apdu.SWSecureMessagingIncorrect)
	}
	data, sw := a.dispatch(e, plain)
	out := a.session.Wrap(cmd.INS, data, sw)
	a.session, a.renewed = a.takeOver()
	return out, sw
}

// takeOver is the session for the next command.
func (a *Applet) takeOver() (current, renewed *icao.Session) {
	if a.renewed != nil {
		return a.renewed, nil
	}
	return a.session, nil
}

// forgetSteps drops what the command before has begun.
func (a *Applet) forgetSteps() {
	a.challenge = nil
	a.general = exchange{}
}

// dispatch executes a plain or unwrapped command. Protocols of several
// commands go on only if nothing else comes between.
func (a *Applet) dispatch(e virtual.Env, c secured) ([]byte, apdu.StatusWord) {
	if c.CLA&claChained != 0 && c.INS != insGeneralAuthenticate {
		a.forgetSteps()
		return nil, apdu.SWCommandChainingNotSupported
	}
	challenge, general := a.challenge, a.general
	a.forgetSteps()
	switch c.INS {
	case insSelect:
		return a.selectFile(e, c)
	case insReadBinary, insReadBinaryOdd:
		return a.readBinary(e, c)
	case insGetChallenge:
		return a.getChallenge(e, c)
	case insExternalAuthenticate:
		return a.externalAuthenticate(e, c, challenge)
	case insManageSecurity:
		return a.manageSecurity(e, c)
	case insGeneralAuthenticate:
		return a.generalAuthenticate(e, c, general)
	case insVerify:
		return a.verify(e, c)
	case insChangeReference:
		return a.changeReference(e, c)
	case insPerformSecurity:
		return a.sign(e, c)
	case insUpdateBinary:
		return a.updateBinary(e, c)
	case insResetRetryCounter:
		return a.resetRetryCounter(e, c)
	case insGetData, insGetDataOdd:
		return nil, apdu.SWReferencedDataNotFound
	}
	return nil, apdu.SWInstructionNotSupported
}

// secureMessaging reports whether access was gained by Basic Access Control
// or PACE.
func (a *Applet) secureMessaging() bool { return a.session != nil }

func isAID(name []byte) bool { return bytes.Equal(name, aid) }
