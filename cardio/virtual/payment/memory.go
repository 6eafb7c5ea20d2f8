package payment

import (
	"encoding/binary"
	"fmt"

	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual/nvm"
)

// memory is what lasts. Data groupings lie under "dgi/", what changes in use
// under "count/".
type memory struct{ nvm.Space }

// Counters and flags that last.
const (
	atc         = "count/atc"         // application transaction counter, 2 bytes
	lastOnline  = "count/last-online" // that of the last transaction that an issuer approved
	pinTries    = "count/pin-tries"
	scriptsSeen = "count/scripts" // commands with a right MAC since the last online transaction
	scriptWrong = "count/script-failed"
	offlineRun  = "count/offline" // offline transactions since
	cutShort    = "count/online-not-completed"
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

// records lists the records that the application file locator names.
func (m memory) records() (ids []uint16) {
	afl := m.object(dgiOptions, 0x94)
	for ; len(afl) >= 4; afl = afl[4:] {
		for n := int(afl[1]); n <= int(afl[2]); n++ {
			ids = append(ids, uint16(afl[0]>>3)<<8|uint16(n))
		}
	}
	return ids
}
