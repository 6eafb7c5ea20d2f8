package mrtd

import (
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/icao"
)

// dgi is the identifier of a data grouping (EMV Card Personalization
// Specification 1.1 clause 3.2).
type dgi uint16

// Data groupings of the dialect. Those of files have the file's identifier.
const (
	dgiBACKeys    dgi = 0x8001 // K_Enc ‖ K_MAC, 3DES, 32 bytes
	dgiPACEMRZ    dgi = 0x8002 // SHA-1 of the MRZ information, 20 bytes
	dgiPACECAN    dgi = 0x8003 // 6 ASCII digits
	dgiChipKey    dgi = 0x8004 // private key of chip authentication, P-256, 32 bytes
	dgiPIN        dgi = 0x8005 // try limit, 6 to 8 ASCII digits
	dgiPUK        dgi = 0x8006 // try limit, 8 ASCII digits
	dgiPairingKey dgi = 0x8007 // private key that signs SIM pairings, P-256, 32 bytes
	dgiReceiptKey dgi = 0x8008 // private key that signs receipts, P-256, 32 bytes
	dgiComplete   dgi = 0x7FFF // empty
)

// maxFile is the greatest file in bytes: what READ BINARY with even INS
// reaches.
const maxFile = 32767

// maxSecret is the greatest enciphered value in bytes.
const maxSecret = 64

// maxTries is the greatest try limit: what 63Cx can tell.
const maxTries = 15

const canSize = 6

func (d dgi) secret() bool { return d >= dgiBACKeys && d <= dgiReceiptKey }

func (d dgi) file() bool {
	if _, ok := findFile(masterFile, fid(d)); ok {
		return true
	}
	_, ok := findFile(application, fid(d))
	return ok && fid(d) != fidPairing
}

// key is where a secret lies in the chip's memory.
func (d dgi) key() string { return fmt.Sprintf("key/%04X", uint16(d)) }

// complete reports whether the completing data grouping was taken; a locked
// application keeps the state in its lower bits (GPC_SPE_034 v2.3.1 table
// 11-4).
func complete(e virtual.Env) bool { return e.LifeCycle()&0x7F == LifeCycleComplete }

// stream is a personalization sequence in progress.
type stream struct {
	open        bool
	enciphering byte   // P1 b7 b6
	pending     []byte // of a data grouping that is not whole yet
	done        int    // data groupings taken
}

// P1 of STORE DATA (GPC_SPE_034 v2.3.1 table 11-91).
const (
	storeLast       = 0x80
	storeEnciphered = 0x60
	storeFormatMask = 0x18
	storeFormatDGI  = 0x08
	storeReserved   = 0x06
)

// StoreData takes personalization data. A sequence of blocks, p2 from 00, is
// one stream of data groupings: identifier of 2 bytes, length of 1 byte or FF
// and 2 bytes, value. A data grouping may cross block borders and is written
// when it is whole; the same one again replaces it, so that a torn sequence
// can be repeated from its start.
//
//	0101 … 0110  DG1 … DG16                          at most 32,767 bytes
//	011C 011D 011E  EF.CardAccess, EF.SOD, EF.COM
//	0201  services file, behind the holder's PIN
//	0202  the bank's binding, behind the holder's PIN
//	8001  K_Enc ‖ K_MAC of Basic Access Control      32 bytes
//	8002  PACE password from the MRZ (its SHA-1)     20 bytes
//	8003  CAN                                        6 ASCII digits
//	8004  private key of chip authentication, P-256  32 bytes
//	8005  try limit 1 … 15 ‖ transport PIN           1 + 6 … 8 ASCII digits
//	8006  try limit 1 … 15 ‖ unblocking key          1 + 8 ASCII digits
//	8007  private key of SIM pairing, P-256          32 bytes
//	8008  private key of receipts, P-256             32 bytes
//	7FFF  completion, empty, a sequence of its own
//
// With P1 b7 b6 = 11 every value is padded with 80 00 … to whole blocks, of 16
// bytes in SCP03 and of 8 or 16 in SCP02, and enciphered under the channel's
// data encryption key; secrets are taken in no other way (6982 otherwise).
//
// Completion is refused with 6985 unless EF.COM, EF.SOD, DG1, DG2 and
// EF.CardAccess are there, 8001 to 8003, 8004 where there is a DG14, and 8005
// and 8006 where there is a file behind the PIN or a key of the holder's. After it everything is refused
// with 6985. Other refusals: 6A88 unknown data grouping, 6A80 wrong length or
// content, 6A86 other formats in P1. A refusal ends the sequence.
func (a *Applet) StoreData(e virtual.Env, p1, p2 byte, data []byte) ([]byte, apdu.StatusWord) {
	sw := a.store(e, p1, p2, data)
	if !sw.OK() || p1&storeLast != 0 {
		a.stream = stream{}
	}
	return nil, sw
}

func (a *Applet) store(e virtual.Env, p1, p2 byte, data []byte) apdu.StatusWord {
	if complete(e) {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	a.current, a.content = file{}, nil
	enciphering := p1 & storeEnciphered
	if p1&storeFormatMask != storeFormatDGI || p1&storeReserved != 0 ||
		(enciphering != 0 && enciphering != storeEnciphered) {
		return apdu.SWIncorrectP1P2
	}
	if p2 == 0 {
		a.stream = stream{open: true, enciphering: enciphering}
	}
	s := &a.stream
	if !s.open {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	if s.enciphering != enciphering {
		return apdu.SWIncorrectP1P2
	}
	s.pending = append(s.pending, data...)
	last := p1&storeLast != 0
	for {
		id, value, rest, sw := nextGrouping(s.pending, enciphering != 0)
		if !sw.OK() {
			return sw
		}
		if value == nil {
			break
		}
		if id == dgiComplete {
			if s.done != 0 || len(rest) != 0 || !last {
				return apdu.SWConditionsOfUseNotSatisfied
			}
			return a.finish(e)
		}
		if sw := put(e, id, value, enciphering != 0); !sw.OK() {
			return sw
		}
		s.done++
		s.pending = rest
	}
	if last && len(s.pending) != 0 {
		return apdu.SWWrongData
	}
	return apdu.SWSuccess
}

// nextGrouping takes a data grouping off the stream; a nil value means that
// it is not whole yet. Identifier and length are checked as soon as they are
// there, so that a wrong stream cannot fill the memory.
func nextGrouping(b []byte, enciphered bool) (id dgi, value, rest []byte, sw apdu.StatusWord) {
	if len(b) < 3 {
		return 0, nil, nil, apdu.SWSuccess
	}
	id = dgi(b[0])<<8 | dgi(b[1])
	n, header := int(b[2]), 3
	if b[2] == 0xFF {
		if len(b) < 5 {
			return id, nil, nil, apdu.SWSuccess
		}
		n, header = int(b[3])<<8|int(b[4]), 5
	}
	greatest, least := 0, 0
	switch {
	case id == dgiComplete:
	case id.secret():
		if !enciphered {
			return id, nil, nil, apdu.SWSecurityStatusNotSatisfied
		}
		greatest, least = maxSecret, 1
	case id.file():
		greatest, least = maxFile, 1
		if enciphered {
			greatest = maxFile + 16 // padding
		}
	default:
		return id, nil, nil, apdu.SWReferencedDataNotFound
	}
	if n < least || n > greatest {
		return id, nil, nil, apdu.SWWrongData
	}
	if len(b) < header+n {
		return id, nil, nil, apdu.SWSuccess
	}
	return id, b[header : header+n : header+n], b[header+n:], apdu.SWSuccess
}

// put writes one data grouping.
func put(e virtual.Env, id dgi, value []byte, enciphered bool) apdu.StatusWord {
	if enciphered {
		padded, err := e.DecipherDEK(value)
		if err != nil {
			return apdu.SWWrongData
		}
		plain, ok := icao.Unpad(padded)
		if !ok || len(padded)-len(plain) > 16 {
			return apdu.SWWrongData
		}
		value = plain
	}
	if id.file() {
		if len(value) == 0 || len(value) > maxFile {
			return apdu.SWWrongData
		}
		e.Memory().Set(fid(id).key(), value)
		return apdu.SWSuccess
	}
	if !validSecret(id, value) {
		return apdu.SWWrongData
	}
	switch id {
	case dgiPIN, dgiPUK:
		pin{limit: value[0], tries: value[0], transport: id == dgiPIN, digits: value[1:]}.save(e, id)
	default:
		e.Memory().Set(id.key(), value)
	}
	return apdu.SWSuccess
}

func validSecret(id dgi, value []byte) bool {
	switch id {
	case dgiBACKeys:
		return len(value) == 32
	case dgiPACEMRZ:
		return len(value) == 20
	case dgiPACECAN:
		return len(value) == canSize && allDigits(value)
	case dgiChipKey, dgiPairingKey, dgiReceiptKey:
		return icao.ScalarIn(value, icao.P256Order)
	case dgiPIN:
		return len(value) > 0 && validLimit(value[0]) && validPIN(value[1:])
	case dgiPUK:
		return len(value) == 1+pukSize && validLimit(value[0]) && allDigits(value[1:])
	}
	return false
}

func validLimit(n byte) bool { return n >= 1 && n <= maxTries }

// finish is the completion: it checks that the application is whole.
func (a *Applet) finish(e virtual.Env) apdu.StatusWord {
	m := e.Memory()
	has := func(key string) bool { return len(m.Get(key)) > 0 }
	for _, key := range []string{
		fidCOM.key(), fidSOD.key(), fidDG1.key(), fidDG2.key(), fidCardAccess.key(),
		dgiBACKeys.key(), dgiPACEMRZ.key(), dgiPACECAN.key(),
	} {
		if !has(key) {
			return apdu.SWConditionsOfUseNotSatisfied
		}
	}
	if has(fidDG14.key()) && !has(dgiChipKey.key()) {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	if (has(fidServices.key()) || has(fidBinding.key()) || has(dgiPairingKey.key()) || has(dgiReceiptKey.key())) && (!has(dgiPIN.key()) || !has(dgiPUK.key())) {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	if err := e.SetLifeCycle(LifeCycleComplete); err != nil {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	return apdu.SWSuccess
}
