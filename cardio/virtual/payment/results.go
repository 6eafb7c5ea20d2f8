package payment

import (
	"encoding/binary"

	"cardbureau/cardio/tlv"
)

// What a card reports of transactions before this one (EMV 4.4 Book 3, Common Core
// Definitions 9.2.3.2), for an issuer that demands to be authenticated.

// odaFailed are the bits of the TVR's first byte for SDA, DDA and CDA that failed.
const odaFailed = 0x40 | 0x08 | 0x04

// begin turns what became of the transaction before into what the first GENERATE AC
// reports of it; tvr is that of the transaction that begins.
func (m memory) begin(tvr []byte) {
	if m.flag(pending) { // no second GENERATE AC came
		m.setFlag(cutShort, true)
		m.setFlag(pending, false)
	}
	if m.flag(settled) {
		m.setFlag(dataFailed, false)
	}
	if m.flag(dataFails) {
		m.setFlag(dataFailed, true)
	}
	m.setFlag(settled, false)
	m.setFlag(dataFails, failedODA(tvr))
}

// finish keeps what the second GENERATE AC tells of a transaction: an issuer that was
// not there, and one that was not authentic.
func (m memory) finish(tvr []byte, t transaction) {
	m.setFlag(pending, false)
	m.setFlag(authMissed, !t.authTried)
	if t.authFailed {
		m.setFlag(authWrong, true)
	}
	m.setFlag(settled, !t.unable)
	m.setFlag(dataFails, failedODA(tvr))
}

// authentic forgets what stood against the card until its issuer was authenticated.
func (m memory) authentic() {
	m.setFlag(authWrong, false)
	m.setFlag(cutShort, false)
}

func failedODA(tvr []byte) bool { return len(tvr) == 5 && tvr[0]&odaFailed != 0 }

// unable reports whether an authorization response code says that the terminal could
// not go online.
func unable(arc []byte) bool { return string(arc) == "Y3" || string(arc) == "Z3" }

// issuerData is 9F10 of CCD (EMV 4.4 Book 3, Common Core Definitions C9), 32 bytes: length, CCI, DKI,
// card verification results, counters, and 15 bytes of the issuer's.
func (a *Applet) issuerData(m memory, give byte, second bool) []byte {
	t := &a.trans
	cvr := make([]byte, 5)
	if second {
		cvr[0] = give & 0xC0
	} else {
		cvr[0] = 0x80 // a second GENERATE AC was not asked for
	}
	cvr[0] |= t.first << 4
	set := func(i int, bit byte, on bool) {
		if on {
			cvr[i] |= bit
		}
	}
	set(0, 0x08, t.cda)
	set(0, 0x04, t.dda)
	set(0, 0x02, m.flag(authMissed))
	set(0, 0x01, m.flag(authWrong))
	cvr[1] = byte(m.number(pinTries)) << 4
	set(1, 0x08, t.pinTried)
	set(1, 0x04, t.pinFailed)
	set(1, 0x02, m.number(pinTries) == 0)
	set(1, 0x01, m.flag(cutShort))
	set(2, 0x80, m.number(offlineRun) >= uint16(m.limit(0x9F14)))
	set(2, 0x40, m.number(offlineRun) >= uint16(m.limit(0x9F23)))
	cvr[3] = byte(min(m.number(scriptsSeen), 15)) << 4
	set(3, 0x08, m.flag(scriptWrong))
	set(3, 0x04, m.flag(dataFailed))
	set(3, 0x02, m.flag(goOnline))
	set(3, 0x01, t.unable)
	out := append([]byte{0x0F}, m.object(dgiCard, 0x9F10)...)
	out = append(out, cvr...)
	out = binary.BigEndian.AppendUint16(out, m.number(offlineRun))
	out = append(out, 0, 0, 0, 0, 0, 0, 0x0F)
	return append(out, make([]byte, 15)...)
}

// limit is an offline limit in transactions; without one it is 0: always online.
func (m memory) limit(tag tlv.Tag) byte {
	if v := m.object(dgiCard, tag); len(v) == 1 {
		return v[0]
	}
	return 0
}
