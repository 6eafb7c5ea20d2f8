package payment

import (
	"encoding/binary"
	"fmt"

	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/nvm"
)

// memory is what lasts. Data groupings lie under "dgi/", what changes in use
// under "count/".
type memory struct {
	nvm.Space
	radio bool // the command came over the contactless interface
}

func memoryOf(e virtual.Env) memory {
	r, ok := e.(virtual.Radio)
	return memory{e.Memory(), ok && r.Contactless()}
}

// fci and options are the groupings that count on the interface in use.
func (m memory) fci() uint16 {
	if m.radio && m.Get(key(dgiFCINear)) != nil {
		return dgiFCINear
	}
	return dgiFCI
}

func (m memory) options() uint16 {
	if m.radio {
		return dgiOptionsNr
	}
	return dgiOptions
}

// contactless reports whether the instance is one for the contactless interface:
// an application with data for it, or PPSE.
func (m memory) contactless() bool {
	if m.Get(key(dgiOptions)) != nil {
		return m.Get(key(dgiOptionsNr)) != nil
	}
	_, ok := tlv.Path(m.Get(key(dgiFCI)), 0xA5, 0xBF0C)
	return ok
}

// Counters and flags that last.
const (
	atc         = "count/atc"         // application transaction counter, 2 bytes
	lastOnline  = "count/last-online" // that of the last transaction that an issuer approved
	pinTries    = "count/pin-tries"
	scriptsSeen = "count/scripts" // commands with a right MAC since the last online transaction
	scriptWrong = "count/script-failed"
	offlineRun  = "count/offline"              // offline transactions since
	pending     = "count/second-awaited"       // an ARQC was given and no second GENERATE AC came yet
	cutShort    = "count/online-not-completed" // until the issuer is authenticated
	authMissed  = "count/issuer-missed"        // the last second GENERATE AC came without an issuer's answer
	authWrong   = "count/issuer-wrong"         // until the issuer is authenticated
	settled     = "count/settled"              // the transaction went online, or was approved offline
	dataFails   = "count/data-fails"           // the terminal's offline data authentication, in this transaction
	dataFailed  = "count/data-failed"          // in one before
	goOnline    = "count/go-online"
	blocked     = "count/blocked"
	cardBlocked = "count/card-blocked"
)

func (m memory) number(key string) uint16 {
	if b := m.Get(key); len(b) == 2 {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (m memory) setNumber(key string, n uint16) { m.Set(key, binary.BigEndian.AppendUint16(nil, n)) }

func (m memory) flag(key string) bool { return m.number(key) != 0 }

func (m memory) setFlag(key string, on bool) {
	if on {
		m.setNumber(key, 1)
	} else if m.Get(key) != nil {
		m.setNumber(key, 0)
	}
}

func (m memory) bytes2(key string) []byte { return binary.BigEndian.AppendUint16(nil, m.number(key)) }

// key is where a data grouping lies.
func key(id uint16) string { return fmt.Sprintf("dgi/%04X", id) }

// object finds a data object in a grouping of data objects.
func (m memory) object(id uint16, tag tlv.Tag) []byte {
	list, err := tlv.Parse(m.Get(key(id)))
	if err != nil {
		return nil
	}
	for _, o := range list {
		if o.Tag == tag {
			return o.Value
		}
	}
	return nil
}

// inRecords finds a data object in the records of the application file locator.
func (m memory) inRecords(tag tlv.Tag) []byte {
	for _, id := range m.records() {
		if v, ok := tlv.Path(m.Get(key(id)), 0x70, tag); ok {
			return v
		}
	}
	return nil
}

// records lists the records that the application file locator of the interface in
// use names.
func (m memory) records() (ids []uint16) {
	afl := m.object(m.options(), 0x94)
	for ; len(afl) >= 4; afl = afl[4:] {
		for n := int(afl[1]); n <= int(afl[2]); n++ {
			ids = append(ids, uint16(afl[0]>>3)<<8|uint16(n))
		}
	}
	return ids
}
