package payment

import (
	"bytes"
	"slices"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
)

// transaction is what the chip knows of the transaction that it is in.
type transaction struct {
	arqc       []byte // of the first GENERATE AC
	pdol       []byte // what GET PROCESSING OPTIONS carried
	cdol1      []byte // what the first GENERATE AC carried
	first      byte   // what the first GENERATE AC gave: 00 AAC, 01 TC, 10 ARQC
	dda, cda   bool
	pinTried   bool
	pinFailed  bool
	authFailed bool
	csu        []byte // of the issuer, once authenticated
	authTried  bool
	unable     bool   // the terminal could not go online
	scriptR    []byte // the cryptogram that script keys are made from; nil: no scripts
	scriptMAC  []byte // chaining value of format 1
	scriptEnd  bool   // a wrong MAC ended scripts
	scripts    uint16 // commands of this transaction with a right MAC

	scriptFailed bool // one of this transaction's commands failed
}

// master gives the card's master keys and suite.
func (m memory) keys() (s suite, ac, smi, smc []byte) {
	k := m.Get(key(dgiKeys))
	s.aes = m.object(dgiCard, 0x9F10)[0] == cciAES
	return s, k[:16], k[16:32], k[32:48]
}

// sessionAC is R of the cryptogram's session key: the transaction counter and
// zeros (Book 2, A1.3.1).
func (m memory) sessionAC() []byte { return append(m.bytes2(atc), 0, 0, 0, 0, 0, 0) }

// getProcessingOptions begins a transaction (Book 3, section 6.5.8), with the
// values that the PDOL of the interface asks for. After 65,535 transactions the
// application is at its end.
func (a *Applet) getProcessingOptions(e virtual.Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	m := memoryOf(e)
	pdol, _ := tlv.Path(m.Get(key(m.fci())), 0xA5, 0x9F38)
	list, err := tlv.Parse(cmd.Data)
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return nil, apdu.SWIncorrectP1P2
	case err != nil || len(list) != 1 || list[0].Tag != 0x83 || len(list[0].Value) != dolLength(pdol):
		return nil, apdu.SWWrongData
	case a.stage != selected:
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	n := m.number(atc)
	if n == 0xFFFF {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	m.setNumber(atc, n+1)
	a.stage, a.trans = initiated, transaction{pdol: bytes.Clone(list[0].Value)}
	return tlv.Encode(0x77, m.Get(key(m.options()))), apdu.SWSuccess
}

func (a *Applet) readRecord(e virtual.Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	sfi := cmd.P2 >> 3
	if cmd.P2&7 != 4 || sfi < 1 || sfi > 30 || cmd.P1 == 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	if len(cmd.Data) > 0 {
		return nil, apdu.SWWrongLength
	}
	m := memoryOf(e)
	id := uint16(sfi)<<8 | uint16(cmd.P1)
	if m.radio && !slices.Contains(m.records(), id) {
		return nil, apdu.SWRecordNotFound // over the air, nothing that the AFL does not name
	}
	if b := m.Get(key(id)); b != nil {
		return b, apdu.SWSuccess
	}
	if m.Get(key(uint16(sfi)<<8|1)) == nil {
		return nil, apdu.SWFileNotFound
	}
	return nil, apdu.SWRecordNotFound
}

// getData gives counters (Book 3, section 6.5.7). There is no transaction log, so
// no log format either.
func (a *Applet) getData(e virtual.Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	m := memoryOf(e)
	if len(cmd.Data) > 0 {
		return nil, apdu.SWWrongLength
	}
	switch tag := uint16(cmd.P1)<<8 | uint16(cmd.P2); tag {
	case 0x9F17:
		return tlv.Encode(0x9F17, []byte{byte(m.number(pinTries))}), apdu.SWSuccess
	case 0x9F36:
		return tlv.Encode(0x9F36, m.bytes2(atc)), apdu.SWSuccess
	case 0x9F13:
		return tlv.Encode(0x9F13, m.bytes2(lastOnline)), apdu.SWSuccess
	case 0x9F14, 0x9F23:
		if v := m.object(dgiCard, tlv.Tag(tag)); v != nil {
			return tlv.Encode(tlv.Tag(tag), v), apdu.SWSuccess
		}
	}
	return nil, apdu.SWReferencedDataNotFound
}

// dynamicNumber is the ICC dynamic number: the transaction counter under the key
// for it, or, where the card has none, random.
func dynamicNumber(e virtual.Env, m memory) []byte {
	out := make([]byte, 8)
	if k := m.Get(key(dgiDynamicKey)); k != nil {
		s, _, _, _ := m.keys()
		c := s.cipher(k)
		b := make([]byte, c.BlockSize())
		copy(b, m.bytes2(atc))
		c.Encrypt(b, b)
		copy(out, b)
		return out
	}
	_, _ = e.Random().Read(out)
	return out
}

// internalAuthenticate is dynamic data authentication (Book 2, section 6.5).
func (a *Applet) internalAuthenticate(e virtual.Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	m := memoryOf(e)
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	if a.stage != initiated {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	if m.object(m.options(), 0x82)[0]&aipDDA == 0 {
		return nil, apdu.SWInstructionNotSupported
	}
	if ddol := m.inRecords(0x9F49); ddol != nil && len(cmd.Data) != dolLength(ddol) || len(cmd.Data) < 4 {
		return nil, apdu.SWWrongLength
	}
	k, err := readKey(m)
	if err != nil {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	a.trans.dda = true
	number := dynamicNumber(e, m)
	return tlv.Encode(0x77, tlv.Encode(0x9F4B, signed(k, append([]byte{8}, number...), cmd.Data))), apdu.SWSuccess
}

// What a GENERATE AC asks for and gives: bits 8 and 7 of P1 and of 9F27; the
// signature that it asks for: bits 5 and 4, both of which are never set (EMV 4.4
// Book 3, table 12).
const (
	typeAAC  = 0x00
	typeTC   = 0x40
	typeARQC = 0x80
	wantCDA  = 0x10
	wantXDA  = 0x08
)

// generateAC is both GENERATE ACs of a transaction (Book 3, section 6.5.5).
func (a *Applet) generateAC(e virtual.Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	m := memoryOf(e)
	want := cmd.P1 & 0xC0
	signature := cmd.P1 & (wantCDA | wantXDA)
	if cmd.P2 != 0 || cmd.P1&^(0xC0|wantCDA|wantXDA) != 0 || signature == wantCDA|wantXDA || want == 0xC0 {
		return nil, apdu.SWIncorrectP1P2
	}
	var dol tlv.Tag = 0x8C
	switch {
	case a.stage == online:
		if dol = 0x8D; want == typeARQC {
			return nil, apdu.SWConditionsOfUseNotSatisfied
		}
	case a.stage != initiated:
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	list := m.inRecords(dol)
	if len(cmd.Data) != dolLength(list) {
		return nil, apdu.SWWrongLength
	}
	aip := m.object(m.options(), 0x82)[0]
	if signature == wantCDA && aip&aipCDA == 0 || signature == wantXDA && aip&aipXDA == 0 {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	var give byte
	tvr := fromDOL(list, cmd.Data, 0x95)
	if a.stage == initiated {
		m.begin(tvr)
		give = a.decideFirst(m, want)
		a.trans.cdol1 = bytes.Clone(cmd.Data)
		a.trans.first = give >> 6
	} else {
		a.authenticateWithin(m, fromDOL(list, cmd.Data, 0x91))
		a.trans.unable = unable(fromDOL(list, cmd.Data, 0x8A))
		m.finish(tvr, a.trans)
		give = a.decideSecond(m, want)
	}
	if signature == wantCDA && give == typeAAC {
		signature = 0 // XDA is signed whatever the cryptogram is
	}
	a.trans.cda = a.trans.cda || signature == wantCDA
	return a.cryptogram(e, m, give, signature, cmd.Data, list), apdu.SWSuccess
}

// decideFirst is the card's own risk management: an account without offline
// limits goes online always.
func (a *Applet) decideFirst(m memory, want byte) byte {
	switch {
	case m.flag(blocked) || want == typeAAC:
		return typeAAC
	case want == typeARQC, m.flag(goOnline), m.flag(cutShort), m.flag(authMissed), m.flag(authWrong):
		return typeARQC
	}
	if m.number(offlineRun) >= uint16(m.limit(0x9F23)) {
		return typeARQC
	}
	if a.trans.pinFailed || m.number(pinTries) == 0 {
		return typeARQC
	}
	return typeTC
}

// decideSecond lets a transaction pass that the issuer approved, and does what it
// asked for.
func (a *Applet) decideSecond(m memory, want byte) byte {
	csu := a.trans.csu
	approved := len(csu) > 1 && csu[1]&0x80 != 0 && !a.trans.authFailed
	if len(csu) > 1 {
		if csu[1]&0x10 != 0 { // update the PIN try counter
			m.setNumber(pinTries, min(uint16(csu[0]&0x0F), uint16(m.Get(key(dgiPINTries))[1])))
		}
		m.setFlag(goOnline, csu[1]&0x08 != 0)
		if csu[1]&0x20 != 0 {
			m.setFlag(blocked, true)
		}
		if csu[1]&0x40 != 0 {
			m.setFlag(cardBlocked, true)
		}
		switch csu[1] & 0x03 { // offline counters
		case 0x01:
			m.setNumber(offlineRun, uint16(m.limit(0x9F23)))
		case 0x02:
			m.setNumber(offlineRun, 0)
		case 0x03:
			m.setNumber(offlineRun, m.number(offlineRun)+1)
		}
	}
	if want != typeTC || !approved || m.flag(blocked) || m.flag(cardBlocked) {
		return typeAAC
	}
	m.setNumber(lastOnline, m.number(atc))
	return typeTC
}

// cryptogram makes the answer: the cryptogram over what the list asked for, AIP,
// transaction counter and issuer application data.
func (a *Applet) cryptogram(e virtual.Env, m memory, give, signature byte, data, list []byte) []byte {
	second := a.stage == online
	iad := a.issuerData(m, give, second)
	s, master, _, _ := m.keys()
	message := append(append(append(bytes.Clone(data), m.object(m.options(), 0x82)...), m.bytes2(atc)...), iad...)
	ac := s.mac(s.session(master, m.sessionAC()), message)
	switch {
	case give == typeARQC:
		a.stage, a.trans.arqc = online, ac
		a.trans.scriptR, a.trans.scriptMAC = ac, ac
		m.setFlag(pending, true)
	default:
		if a.stage = finished; give == typeTC && !second {
			m.setNumber(offlineRun, m.number(offlineRun)+1)
			m.setFlag(settled, true)
		}
		if !second && m.flag(blocked) { // so that it can be unblocked (Book 2, A1.3.1: R is the first cryptogram)
			a.trans.scriptR, a.trans.scriptMAC = ac, ac
		}
	}
	cid, counter, issuer := tlv.Encode(0x9F27, []byte{give}), tlv.Encode(0x9F36, m.bytes2(atc)), tlv.Encode(0x9F10, iad)
	plain := bytes.Join([][]byte{cid, counter, tlv.Encode(0x9F26, ac), issuer}, nil)
	switch signature {
	case 0:
		return tlv.Encode(0x77, plain)
	case wantXDA:
		k, err := readECC(m)
		if err != nil { // checked when it was personalized
			panic(err)
		}
		sent := [][]byte{a.trans.pdol, data}
		if second {
			sent = sent[1:] // of the second GENERATE AC alone (EMV 4.4 Book 2, table 37)
		}
		return tlv.Encode(0x77, plain, tlv.Encode(0x9F4B, signedExtended(k, append(sent, plain)...)))
	}
	k, err := readKey(m)
	if err != nil { // checked when it was personalized
		panic(err)
	}
	number := dynamicNumber(e, m)
	parts := [][]byte{a.trans.pdol, a.trans.cdol1}
	if second {
		parts = append(parts, data)
	}
	hash := hashOf(append(parts, cid, counter, issuer)...)
	dynamic := append(append([]byte{byte(len(number))}, number...), give)
	dynamic = append(append(dynamic, ac...), hash...)
	return tlv.Encode(0x77, cid, counter, tlv.Encode(0x9F4B, signed(k, dynamic, fromDOL(list, data, 0x9F37))), issuer)
}
