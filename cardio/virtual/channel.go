package virtual

import (
	"bytes"

	"cardbureau/cardio/apdu"
)

// SecureChannel is how an applet uses the secure channel of the security
// domain that it is associated with (GPC_SPE_034 v2.3.1 sections 7.3.2 and
// 10.2.2), as org.globalplatform.SecureChannel is for Java Cards. The Env of
// Applet.Process implements it.
type SecureChannel interface {
	// ProcessSecurity executes INITIALIZE UPDATE and EXTERNAL AUTHENTICATE
	// with the domain's keys; 6D00 for any other command. The pseudo-random
	// challenge is bound to the application's own AID. EXTERNAL AUTHENTICATE
	// must be the next command that the application gets.
	ProcessSecurity(cmd apdu.Command) ([]byte, apdu.StatusWord)
	// Secured takes the secure messaging off a command, gives it to run, and
	// protects what that returns. A wrong protection ends the session, with
	// 6982 or 6988, and run is not called. Without a session a command that
	// has no protection is given to run as it is.
	Secured(cmd apdu.Command, run func(apdu.Command) ([]byte, apdu.StatusWord)) ([]byte, apdu.StatusWord)
	// SecurityLevel is that of the open session (GPC_SPE_014 table 7-5) and
	// whether there is one.
	SecurityLevel() (level byte, open bool)
}

func (e *env) ProcessSecurity(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	e.live()
	switch cmd.INS {
	case insInitializeUpdate:
		if cmd.CLA != 0x80 {
			return nil, apdu.SWClassNotSupported
		}
		return e.chip.initializeUpdate(cmd)
	case insExternalAuthenticate:
		if cmd.CLA != 0x84 {
			e.chip.closeSession()
			return nil, apdu.SWClassNotSupported
		}
		return e.chip.externalAuthenticate(cmd)
	}
	return nil, apdu.SWInstructionNotSupported
}

func (e *env) Secured(cmd apdu.Command, run func(apdu.Command) ([]byte, apdu.StatusWord)) ([]byte, apdu.StatusWord) {
	e.live()
	if e.chip.session.phase != open {
		if cmd.CLA&0x04 != 0 {
			return nil, apdu.SWSecurityStatusNotSatisfied
		}
		return run(cmd)
	}
	return e.chip.secured(cmd, run)
}

func (e *env) SecurityLevel() (byte, bool) {
	e.live()
	s := &e.chip.session
	return s.level, s.phase == open
}

// processEnv is the environment of a command to the selected application: the
// data encryption key is there while it has a channel open.
func (c *Chip) processEnv() *env {
	e := &env{chip: c, app: c.selected}
	if c.session.phase == open {
		e.dek = c.session.dek
	}
	return e
}

// isSelf says whether an AID is that of the selected application.
func (c *Chip) isSelf(aid []byte) bool { return bytes.Equal(aid, c.invoker()) }
