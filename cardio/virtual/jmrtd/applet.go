package jmrtd

import (
	"errors"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/icao"
)

// Identifiers in the applet's own build (its Makefile), in hexadecimal: of the
// package, and of the module and its instance.
const (
	PackageAID = "A00000024710"
	AID        = "A0000002471001"
)

// Status words of the applet's own.
const (
	// swInternal is the applet's own "internal error": data that it does not
	// understand.
	swInternal apdu.StatusWord = 0x6D66
	// swCharacter marks a character that the MRZ does not have.
	swCharacter apdu.StatusWord = 0x6D04
	// swCrash is how the Java Card machine answers for an applet that ran into
	// an exception.
	swCrash = apdu.SWNoPreciseDiagnosis
	// swInvalid is SW_DATA_INVALID of the Java Card API.
	swInvalid = apdu.SWReferencedDataNotUsable
	// swFull is SW_FILE_FULL of the Java Card API.
	swFull = apdu.SWNotEnoughMemory
)

// Instructions.
const (
	insManageSecurity       = 0x22
	insPerformSecurity      = 0x2A
	insExternalAuthenticate = 0x82
	insGetChallenge         = 0x84
	insGeneralAuthenticate  = 0x86
	insInternalAuthenticate = 0x88
	insSelect               = 0xA4
	insReadBinary           = 0xB0
	insUpdateBinary         = 0xD6
	insPutData              = 0xDA
	insCreateFile           = 0xE0
)

// Applet is the applet. Its fields are the chip's volatile memory, which the
// applet clears at a reset only: access that was gained outlasts a new
// selection. Not safe for concurrent use.
type Applet struct {
	fork bool // speaks PACE

	selected  uint16 // file identifier; 0: none
	challenge []byte // RND.IC, valid until an authentication succeeds
	bac       *icao.Session
	pace      *icao.Session
	renewed   *icao.Session // of PACE, from the next command on
	run       paceRun
}

var _ virtual.Applet = (*Applet)(nil)

// New returns the applet after power-up. It is the factory that the chip calls
// at each reset.
func New() *Applet { return &Applet{} }

// NewPACE is New of the fork that speaks PACE.
func NewPACE() *Applet { return &Applet{fork: true} }

// Select answers nothing and changes nothing.
func (a *Applet) Select(virtual.Env, apdu.Command) ([]byte, apdu.StatusWord) {
	return nil, apdu.SWSuccess
}

// Deselect changes nothing.
func (a *Applet) Deselect(virtual.Env) {}

// StoreData is refused: the applet offers no personalization through its
// security domain.
func (a *Applet) StoreData(virtual.Env, byte, byte, []byte) ([]byte, apdu.StatusWord) {
	return nil, apdu.SWConditionsOfUseNotSatisfied
}

// command is a command in plain, with the number of response bytes as the
// applet understands it.
type command struct {
	apdu.Command
	secured bool
	le      int
}

// Process answers a command while the applet is selected. It looks at no more
// of the class byte than the bits of secure messaging.
func (a *Applet) Process(e virtual.Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if cmd.Extended {
		return nil, apdu.SWWrongLength
	}
	if cmd.CLA&icao.ClassSecured != icao.ClassSecured {
		data, sw := a.dispatch(e, command{Command: cmd, le: cmd.Ne})
		if a.renewed != nil {
			a.pace, a.renewed = a.renewed, nil
		}
		return data, sw
	}
	s := a.session()
	if s == nil {
		return nil, apdu.SWSecureMessagingNotSupported
	}
	var data []byte
	plain, err := s.Unwrap(cmd)
	sw := a.unwrapStatus(plain, err)
	if sw.OK() {
		c := command{Command: plain.Command, secured: true, le: plain.Ne}
		if c.le == apdu.MaxShortNe {
			c.le = 0 // 97 01 00 reads as zero
		}
		if data, sw = a.dispatch(e, c); sw == swCrash {
			return nil, swCrash
		}
	}
	return s.Wrap(cmd.INS, data, sw), sw
}

// session is the secure messaging that stands; that of Basic Access Control
// goes first.
func (a *Applet) session() *icao.Session {
	if a.bac != nil {
		return a.bac
	}
	return a.pace
}

// unwrapStatus is the answer to secure messaging that is wrong: 6985 for the
// checksum, 6D66 for data objects, 6982 for all in the fork. The session goes
// on.
func (a *Applet) unwrapStatus(c icao.Secured, err error) apdu.StatusWord {
	switch {
	case err == nil && !c.Extended:
		return apdu.SWSuccess
	case a.fork:
		return apdu.SWSecurityStatusNotSatisfied
	case errors.Is(err, icao.ErrChecksum):
		return apdu.SWConditionsOfUseNotSatisfied
	}
	return swInternal
}

func (a *Applet) dispatch(e virtual.Env, c command) ([]byte, apdu.StatusWord) {
	if a.fork && a.session() != nil && !c.secured {
		switch c.INS {
		case insSelect, insReadBinary, insUpdateBinary, insCreateFile, insPutData:
			return nil, apdu.SWSecurityStatusNotSatisfied
		}
	}
	switch c.INS {
	case insGetChallenge:
		return a.getChallenge(e, c)
	case insExternalAuthenticate:
		return a.externalAuthenticate(e, c)
	case insInternalAuthenticate:
		return a.internalAuthenticate(e, c)
	case insManageSecurity:
		return nil, a.manageSecurity(e, c)
	case insGeneralAuthenticate:
		if a.fork {
			return a.generalAuthenticate(e, c)
		}
	case insPerformSecurity:
		return nil, apdu.SWSecurityStatusNotSatisfied // no chip authentication before
	case insSelect:
		return nil, a.selectFile(e, c)
	case insReadBinary:
		return a.readBinary(e, c)
	case insUpdateBinary:
		return nil, a.updateBinary(e, c)
	case insCreateFile:
		return nil, a.createFile(e, c)
	case insPutData:
		return nil, a.putData(e, c)
	}
	return nil, apdu.SWInstructionNotSupported
}

// manageSecurity executes MANAGE SECURITY ENVIRONMENT: in the fork PACE, C1A4.
// The rest needs keys of extended access control, which are not there.
func (a *Applet) manageSecurity(e virtual.Env, c command) apdu.StatusWord {
	switch {
	case a.fork && !c.secured && c.P1 == 0xC1 && c.P2 == 0xA4:
		return a.preparePACE(e, c.Data)
	case !c.secured:
		return apdu.SWSecurityStatusNotSatisfied
	}
	return apdu.SWInstructionNotSupported
}
