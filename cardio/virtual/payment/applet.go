// Package payment is the payment application of the software card: a CCD-style
// EMV application (EMV 4.3 Books 1 to 3, Common Core Definitions of Book 3 annex
// C; of EMV 4.4, XDA) and, as instances of the same module, the directories PSE and PPSE. It is
// personalized by the EMV Card Personalization Specification 1.1, through its own
// secure channel or after INSTALL [for personalization].
//
// It is strict: what an issuer's card would refuse is refused, with the standard's
// status word. It keeps no list of transactions. Over the contactless interface the
// same commands come (EMV Contactless Book B, section 3.3, and the EMV mode of
// transactions); an instance answers there only if it was personalized for it, with
// its own file control information, AIP and AFL.
//
// Its cryptography is its own: the host's packages are not imported, so that the
// two cannot share a mistake.
package payment

import (
	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
)

// AIDs of the load file, its module, and the instances that a card usually has.
// The RID F000000364 is proprietary (ISO/IEC 7816-5).
const (
	PackageAID = "F00000036450"
	ModuleAID  = "F0000003645001"
	AID        = "F0000003641010"
	PSE        = "315041592E5359532E4444463031" // 1PAY.SYS.DDF01
	PPSE       = "325041592E5359532E4444463031" // 2PAY.SYS.DDF01
)

// LifeCyclePersonalized is the state of an instance whose personalization is
// complete (EMV CPS 1.1, 3.3): no more data is taken.
const LifeCyclePersonalized byte = 0x0F

// Instructions (EMV 4.3 Book 3, section 6.5, and Book 1, section 11).
const (
	insInitializeUpdate     = 0x50
	insExternalAuthenticate = 0x82
	insStoreData            = 0xE2
	insApplicationBlock     = 0x1E
	insApplicationUnblock   = 0x18
	insCardBlock            = 0x16
	insVerify               = 0x20
	insSelect               = 0xA4
	insPINChange            = 0x24
	insGetChallenge         = 0x84
	insInternalAuthenticate = 0x88
	insGetProcessingOptions = 0xA8
	insGenerateAC           = 0xAE
	insReadRecord           = 0xB2
	insGetData              = 0xCA
	insPutData              = 0xDA
	insUpdateRecord         = 0xDC
)

// stage is where a transaction stands.
type stage byte

const (
	selected  stage = iota
	initiated       // GET PROCESSING OPTIONS was answered
	online          // the first GENERATE AC gave an ARQC
	finished        // a TC or an AAC was given
)

// Applet is one instance. Its fields are the chip's volatile memory.
type Applet struct {
	stream stream
	stage  stage
	trans  transaction

	challenge []byte // of the command before
}

var _ virtual.Applet = (*Applet)(nil)

// New returns an instance after power-up.
func New() *Applet { return &Applet{} }

// Select answers with the file control information that was personalized; 6283
// says that the application is blocked, 6A81 that the card is, for payment.
func (a *Applet) Select(e virtual.Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	*a = Applet{}
	if cmd.INS == 0 {
		return nil, apdu.SWSuccess
	}
	m := memoryOf(e)
	if m.flag(cardBlocked) {
		return nil, apdu.SWFunctionNotSupported
	}
	if complete(e) && m.radio && !m.contactless() {
		return nil, apdu.SWFileNotFound // it is not there for this interface
	}
	proprietary := m.Get(key(m.fci()))
	if !complete(e) || proprietary == nil {
		proprietary = tlv.Encode(0xA5, nil)
	}
	fci := tlv.Encode(0x6F, append(tlv.Encode(0x84, e.AID()), proprietary...))
	if m.flag(blocked) {
		return fci, 0x6283
	}
	return fci, apdu.SWSuccess
}

// Deselect forgets everything volatile.
func (a *Applet) Deselect(virtual.Env) { *a = Applet{} }

// Process answers a command while the instance is selected.
func (a *Applet) Process(e virtual.Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	challenge := a.challenge
	a.challenge = nil
	if !complete(e) || cmd.INS == insInitializeUpdate || cmd.INS == insStoreData || cmd.INS == insExternalAuthenticate && cmd.CLA == 0x84 {
		return a.personalize(e, cmd)
	}
	m := memoryOf(e)
	if m.flag(cardBlocked) {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	if m.Get(key(dgiOptions)) == nil && cmd.INS != insReadRecord {
		return nil, apdu.SWInstructionNotSupported // a directory has records alone
	}
	switch cmd.CLA {
	case 0x8C, 0x84, 0x0C, 0x04:
		return nil, a.script(e, cmd)
	case 0x80, 0x00:
	default:
		return nil, apdu.SWClassNotSupported
	}
	type command struct{ cla, ins byte }
	switch (command{cmd.CLA, cmd.INS}) {
	case command{0x80, insGetProcessingOptions}:
		return a.getProcessingOptions(e, cmd)
	case command{0x00, insReadRecord}:
		return a.readRecord(e, cmd)
	case command{0x80, insGetData}:
		return a.getData(e, cmd)
	case command{0x80, insGenerateAC}:
		return a.generateAC(e, cmd)
	case command{0x00, insVerify}:
		return nil, a.verify(e, cmd, challenge)
	case command{0x00, insGetChallenge}:
		return a.getChallenge(e, cmd)
	case command{0x00, insInternalAuthenticate}:
		return a.internalAuthenticate(e, cmd)
	case command{0x00, insExternalAuthenticate}:
		return nil, a.externalAuthenticate(e, cmd)
	}
	for _, ins := range []byte{insGetProcessingOptions, insReadRecord, insGetData, insGenerateAC, insVerify, insGetChallenge,
		insInternalAuthenticate, insExternalAuthenticate} {
		if cmd.INS == ins {
			return nil, apdu.SWClassNotSupported
		}
	}
	if cmd.INS == insSelect && cmd.CLA == 0 { // by name, the card has done it (Book 1, 11.3.2)
		return nil, apdu.SWIncorrectP1P2
	}
	return nil, apdu.SWInstructionNotSupported
}

// personalize takes the commands of the instance's own secure channel (EMV CPS
// 1.1, section 3.2): INITIALIZE UPDATE, EXTERNAL AUTHENTICATE, STORE DATA.
func (a *Applet) personalize(e virtual.Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	channel, ok := e.(virtual.SecureChannel)
	if !ok {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	if cmd.INS == insInitializeUpdate || cmd.INS == insExternalAuthenticate && cmd.CLA == 0x84 {
		a.stream = stream{}
		return channel.ProcessSecurity(cmd)
	}
	if cmd.INS != insStoreData {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	if _, open := channel.SecurityLevel(); !open {
		if complete(e) {
			return nil, apdu.SWConditionsOfUseNotSatisfied
		}
		return nil, apdu.SWSecurityStatusNotSatisfied
	}
	return channel.Secured(cmd, func(c apdu.Command) ([]byte, apdu.StatusWord) {
		if c.CLA&0xFC != 0x80 {
			return nil, apdu.SWClassNotSupported
		}
		return a.StoreData(e, c.P1, c.P2, c.Data)
	})
}

func complete(e virtual.Env) bool { return e.LifeCycle()&0x7F == LifeCyclePersonalized }
