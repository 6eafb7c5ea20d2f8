package payment

import (
	"bytes"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
)

// Data groupings (EMV CPS 1.1 annex A; records are numbered by file and record).
const (
	dgiFiles      uint16 = 0x0062 // file control parameters
	dgiCounters   uint16 = 0x3000 // 9F36
	dgiCard       uint16 = 0x3001 // card's own copies: action codes, 9F10, 9F14, 9F23, C3
	dgiComplete   uint16 = 0x7FFF
	dgiKeys       uint16 = 0x8000 // MK-AC ‖ MK-SMI ‖ MK-SMC, 48 bytes
	dgiDynamicKey uint16 = 0x8001 // MK-DN, 16 bytes
	dgiPIN        uint16 = 0x8010 // format 2 block, 8 bytes
	dgiExponent   uint16 = 0x8101 // private exponent
	dgiModulus    uint16 = 0x8103
	dgiECC        uint16 = 0x8105 // private key of elliptic curves: CPS 1.1 has none; this applet's own
	dgiQInv       uint16 = 0x8201
	dgiDQ         uint16 = 0x8202
	dgiDP         uint16 = 0x8203
	dgiQ          uint16 = 0x8204
	dgiP          uint16 = 0x8205
	dgiKeysKCV    uint16 = 0x9000
	dgiDynamicKCV uint16 = 0x9001
	dgiPINTries   uint16 = 0x9010
	dgiFCI        uint16 = 0x9102
	dgiFCINear    uint16 = 0x9103 // contactless
	dgiOptions    uint16 = 0x9104 // 82, 94
	dgiOptionsNr  uint16 = 0x9105
)

// P1 of STORE DATA (EMV CPS 1.1, 4.3.4; GPC_SPE_034 table 11-89).
const (
	p1Last       = 0x80
	p1Enciphered = 0x60
	p1Format     = 0x18
	p1FormatDGI  = 0x08
)

const maxRecord = 254

// stream is a personalization sequence in progress.
type stream struct {
	open       bool
	next       byte // block number that comes next
	enciphered bool
	pending    []byte // of a data grouping that is not whole yet
	done       bool   // 7FFF was taken
}

func record(id uint16) bool { return id>>8 >= 1 && id>>8 <= 30 && id&0xFF >= 1 && id&0xFF <= 0xFE }

func secret(id uint16) bool { return id>>8 == 0x80 || id>>8 == 0x81 || id>>8 == 0x82 }

func known(id uint16) bool {
	switch id {
	case dgiFiles, dgiCounters, dgiCard, dgiComplete, dgiKeys, dgiDynamicKey, dgiPIN, dgiExponent, dgiModulus, dgiECC, dgiQInv, dgiDQ, dgiDP,
		dgiQ, dgiP, dgiKeysKCV, dgiDynamicKCV, dgiPINTries, dgiFCI, dgiFCINear, dgiOptions, dgiOptionsNr:
		return true
	}
	return record(id)
}

// StoreData takes personalization data. The blocks of a sequence, p2 from 00, are
// one stream of data groupings for as long as P1 says the same of encipherment: a
// grouping may be cut between two of them. A sequence may be begun again from 00
// as long as 7FFF has not been taken; what it holds then replaces what was there.
//
// Refusals: 6985 after completion, or where 7FFF finds something missing or
// contradictory; 6A86 a block out of order, or another P1; 6982 a secret grouping
// in the clear; 6A88 a grouping that is reserved or unknown; 6A80 a wrong length,
// content or key check value. Keys whose check value is wrong are not kept.
func (a *Applet) StoreData(e virtual.Env, p1, p2 byte, data []byte) ([]byte, apdu.StatusWord) {
	sw := a.store(e, p1, p2, data)
	if !sw.OK() || p1&p1Last != 0 {
		a.stream = stream{}
	}
	return nil, sw
}

func (a *Applet) store(e virtual.Env, p1, p2 byte, data []byte) apdu.StatusWord {
	if complete(e) {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	enciphered := p1&p1Enciphered == p1Enciphered
	if p1&^(p1Last|p1Enciphered|p1FormatDGI) != 0 || !enciphered && p1&p1Enciphered != 0 {
		return apdu.SWIncorrectP1P2
	}
	s := &a.stream
	if p2 == 0 {
		*s = stream{open: true}
	}
	if !s.open || p2 != s.next || len(s.pending) > 0 && enciphered != s.enciphered {
		return apdu.SWIncorrectP1P2
	}
	s.next++
	s.enciphered = enciphered
	s.pending = append(s.pending, data...)
	for len(s.pending) > 0 {
		if s.done {
			return apdu.SWConditionsOfUseNotSatisfied // nothing comes after completion
		}
		id, value, rest, whole, sw := next(s.pending)
		if !sw.OK() {
			return sw
		}
		if !whole {
			break
		}
		if sw := a.take(e, id, value, enciphered); !sw.OK() {
			return sw
		}
		s.pending = append([]byte{}, rest...)
		s.done = id == dgiComplete
	}
	if p1&p1Last != 0 {
		if len(s.pending) > 0 {
			return apdu.SWWrongData
		}
		if s.done {
			return finish(e)
		}
	}
	return apdu.SWSuccess
}

// next cuts the first data grouping off a stream.
func next(b []byte) (id uint16, value, rest []byte, whole bool, sw apdu.StatusWord) {
	if len(b) < 2 {
		return 0, nil, nil, false, apdu.SWSuccess
	}
	id = uint16(b[0])<<8 | uint16(b[1])
	if !known(id) {
		return 0, nil, nil, false, apdu.SWReferencedDataNotFound
	}
	if len(b) < 3 {
		return 0, nil, nil, false, apdu.SWSuccess
	}
	n, at := int(b[2]), 3
	if b[2] == 0xFF {
		if len(b) < 5 {
			return 0, nil, nil, false, apdu.SWSuccess
		}
		n, at = int(b[3])<<8|int(b[4]), 5
	}
	if n > 512 {
		return 0, nil, nil, false, apdu.SWWrongData
	}
	if len(b) < at+n {
		return 0, nil, nil, false, apdu.SWSuccess
	}
	return id, b[at : at+n], b[at+n:], true, apdu.SWSuccess
}

// take keeps one data grouping.
func (a *Applet) take(e virtual.Env, id uint16, value []byte, enciphered bool) apdu.StatusWord {
	if id == dgiComplete {
		if len(value) != 0 {
			return apdu.SWWrongData
		}
		return apdu.SWSuccess
	}
	if secret(id) != enciphered {
		return apdu.SWSecurityStatusNotSatisfied
	}
	if enciphered {
		plain, err := e.DecipherDEK(value)
		if err != nil {
			return apdu.SWWrongData
		}
		value = plain
	}
	m := memoryOf(e)
	value, ok := shaped(id, value)
	if !ok {
		return apdu.SWWrongData
	}
	m.Set(key(id), value)
	for _, pair := range [][2]uint16{{dgiKeys, dgiKeysKCV}, {dgiDynamicKey, dgiDynamicKCV}} {
		if id != pair[0] && id != pair[1] {
			continue
		}
		keys, kcvs := m.Get(key(pair[0])), m.Get(key(pair[1]))
		if keys == nil || kcvs == nil || bytes.Equal(kcvsDES(keys), kcvs) || bytes.Equal(kcvsAES(keys), kcvs) {
			continue
		}
		if id == pair[1] {
			m.Delete(key(pair[0]))
			m.Delete(key(pair[1]))
			return apdu.SWWrongData
		}
		m.Delete(key(pair[1])) // that of keys from before; the new ones' follows
	}
	return apdu.SWSuccess
}

// shaped checks a grouping by itself, and takes the padding off a secret.
func shaped(id uint16, value []byte) ([]byte, bool) {
	exact := func(n int) ([]byte, bool) {
		if len(value) == n {
			return value, true
		}
		if len(value) > n && value[n] == 0x80 && len(bytes.Trim(value[n+1:], "\x00")) == 0 && len(value)-n <= 16 {
			return value[:n], true
		}
		return nil, false
	}
	switch {
	case record(id):
		if id>>8 > 10 {
			return value, len(value) > 0 && len(value) <= maxRecord
		}
		list, err := tlv.Parse(value)
		return value, err == nil && len(list) == 1 && list[0].Tag == 0x70 && len(value) <= maxRecord
	case id == dgiKeys:
		return exact(48)
	case id == dgiDynamicKey:
		return exact(16)
	case id == dgiPIN:
		v, ok := exact(8)
		return v, ok && validPINBlock(v)
	case id == dgiECC:
		for _, c := range curves {
			if v, ok := exact(c.size); ok {
				_, good := parseECC(v)
				return v, good
			}
		}
		return nil, false
	case id == dgiKeysKCV:
		return value, len(value) == 9
	case id == dgiDynamicKCV:
		return value, len(value) == 3
	case id == dgiPINTries:
		return value, len(value) == 2 && value[0] == value[1] && value[1] >= 1 && value[1] <= 15
	case id == dgiFCI || id == dgiFCINear:
		list, err := tlv.Parse(value)
		return value, err == nil && len(list) == 1 && list[0].Tag == 0xA5
	case secret(id):
		return value, len(value) >= 32
	}
	list, err := tlv.Parse(value)
	for _, o := range list {
		if o.Tag == 0x9F4F { // there is no log of transactions
			return nil, false
		}
	}
	return value, err == nil
}

// finish checks everything together and ends personalization.
func finish(e virtual.Env) apdu.StatusWord {
	m := memory{e.Memory(), false}
	if !whole(m) {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	if m.Get(key(dgiOptions)) != nil {
		m.setNumber(pinTries, uint16(m.Get(key(dgiPINTries))[0]))
		m.setNumber(atc, uint16(m.object(dgiCounters, 0x9F36)[0])<<8|uint16(m.object(dgiCounters, 0x9F36)[1]))
	}
	if err := e.SetLifeCycle(LifeCyclePersonalized); err != nil {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	return apdu.SWSuccess
}

// whole reports whether an instance can be used: a directory with its entry, or
// an application with all that its AIP and AFL promise.
func whole(m memory) bool {
	if m.Get(key(dgiFCI)) == nil {
		return false
	}
	if m.Get(key(dgiOptions)) == nil {
		return wholeDirectory(m)
	}
	aip, afl := m.object(dgiOptions, 0x82), m.object(dgiOptions, 0x94)
	if len(aip) != 2 || len(afl) == 0 || len(afl)%4 != 0 {
		return false
	}
	if !wholeRecords(m) || !wholeContactless(m) {
		return false
	}
	for _, tag := range []tlv.Tag{0x9F0D, 0x9F0E, 0x9F0F} { // the issuer's action codes
		if len(m.object(dgiCard, tag)) != 5 {
			return false
		}
	}
	keys, kcvs := m.Get(key(dgiKeys)), m.Get(key(dgiKeysKCV))
	control := m.object(dgiCard, 0x9F10)
	if len(control) != 2 || control[0] != cciDES && control[0] != cciAES || len(m.object(dgiCard, 0xC3)) != 1 || len(m.object(dgiCounters, 0x9F36)) != 2 || keys == nil || kcvs == nil {
		return false
	}
	want := kcvsDES(keys)
	if control[0] == cciAES {
		want = kcvsAES(keys)
	}
	if !bytes.Equal(want, kcvs) || (m.Get(key(dgiDynamicKey)) == nil) != (m.Get(key(dgiDynamicKCV)) == nil) {
		return false
	}
	if m.Get(key(dgiPIN)) == nil || m.Get(key(dgiPINTries)) == nil {
		return false
	}
	if aip[0]&aipDDA != 0 || aip[0]&aipCDA != 0 {
		if k, err := readKey(m); err != nil || k.tried() != nil || m.inRecords(0x9F46) == nil {
			return false
		}
	}
	if aip[0]&aipXDA != 0 && !wholeXDA(m, aip[0]) {
		return false
	}
	return aip[0]&aipSDA == 0 || m.inRecords(0x93) != nil
}

// wholeXDA: there are the key and both certificates, and nothing beside XDA is
// promised: the records have the certificates of RSA or of elliptic curves, not
// both (EMV 4.4 Book 3, section 10.3).
func wholeXDA(m memory, aip byte) bool {
	_, err := readECC(m)
	return err == nil && aip&(aipSDA|aipDDA|aipCDA) == 0 && m.inRecords(0x8F) != nil && m.inRecords(0x90) != nil && m.inRecords(0x9F46) != nil
}

// wholeRecords: the records that the AFL of the interface names are there, and in
// them what is mandatory (Book 3, table 26).
func wholeRecords(m memory) bool {
	for _, id := range m.records() {
		if m.Get(key(id)) == nil {
			return false
		}
	}
	for _, tag := range []tlv.Tag{0x5A, 0x5F24, 0x8C, 0x8D} {
		if m.inRecords(tag) == nil {
			return false
		}
	}
	return true
}

// wholeContactless: the contactless application has file control information and
// options of its own, or neither; its AIP is the one that the signatures are over,
// and its AFL stands to what the contact one was held to.
func wholeContactless(m memory) bool {
	near := memory{m.Space, true}
	if m.Get(key(dgiOptionsNr)) == nil {
		return m.Get(key(dgiFCINear)) == nil
	}
	afl := near.object(dgiOptionsNr, 0x94)
	return m.Get(key(dgiFCINear)) != nil && len(afl) > 0 && len(afl)%4 == 0 &&
		bytes.Equal(near.object(dgiOptionsNr, 0x82), m.object(dgiOptions, 0x82)) && wholeRecords(near)
}

// wholeDirectory: PSE's FCI names the file of its entries (88), PPSE's holds
// them.
func wholeDirectory(m memory) bool {
	if sfi, ok := tlv.Path(m.Get(key(dgiFCI)), 0xA5, 0x88); ok {
		return len(sfi) == 1 && m.Get(key(uint16(sfi[0])<<8|1)) != nil
	}
	_, ok := tlv.Path(m.Get(key(dgiFCI)), 0xA5, 0xBF0C, 0x61)
	return ok
}

// Bits of the AIP's first byte (Book 3, annex C1; XDA is EMV 4.4's).
const (
	aipXDA    = 0x80
	aipSDA    = 0x40
	aipDDA    = 0x20
	aipCDA    = 0x01
	aipIssuer = 0x04 // issuer authentication by EXTERNAL AUTHENTICATE
)
