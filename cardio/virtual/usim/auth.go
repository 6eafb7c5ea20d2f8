package usim

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"

	"cardbureau/cardio/apdu"
)

// Key files are those of SJA2 and SJA5: a byte of configuration, K and OPc or OP; for
// TUAK two bytes of configuration, the number of permutations, TOPc or TOP, and K.
const (
	keyFileSize       = 33
	tuakFileSize      = 67 // with K of 32 bytes
	algorithmMask     = 0x0F
	algorithmMilenage = 0x04
	algorithmTUAK     = 0x06
	configOPc         = 0x10
	configFirstSRES   = 0x20 // SRES is the beginning of RES, not c2
	configShortRES    = 0x40 // 4 bytes of RES in the 3G context; of TUAK, K of 32 bytes
)

// Contexts of AUTHENTICATE, P2 (TS 31.102 clause 7.1.2).
const (
	contextGSM = 0x80
	context3G  = 0x81
	contextVGC = 0x82
	contextGBA = 0x84

	challengeSize = 16
	autnSize      = 16

	tagSuccess   = 0xDB
	tagSync      = 0xDC
	tagBootstrap = 0xDD
	tagNAF       = 0xDE
)

const (
	gbaSize = 64    // of EF.GBABP
	dataKs  = "gba" // CK ‖ IK of the last bootstrapping, in no file
)

// algorithms are what a key file chooses from.
type algorithms interface {
	macs(challenge []byte, sqn uint64, amf uint16) (a, s uint64)
	answer(challenge []byte) (res, ck, ik []byte, ak uint64)
	akStar(challenge []byte) uint64
}

// algorithm reads a key file; nil: not programmed, or for an algorithm that
// this card has not. Only files that have room for TUAK's keys choose it.
func (c *Chip) algorithm(name string) (m algorithms, config byte) {
	b := c.space.Get(dataPrefix + name)
	if len(b) < keyFileSize {
		return nil, 0
	}
	switch b[0] & algorithmMask {
	case algorithmMilenage:
		return newMilenage(b[1:17], b[17:33], b[0]&configOPc != 0, c.space.Get(dataPrefix+dataConfig)), b[0]
	case algorithmTUAK:
		if len(b) < tuakFileSize {
			return nil, 0
		}
		return tuakOf(b)
	}
	return nil, 0
}

// tuakOf reads a key file for TUAK. The second byte has the sizes of RES in its bits
// 1 to 3, of MAC in 4 to 6, of CK and IK in 7.
func tuakOf(b []byte) (algorithms, byte) {
	size := 16
	if b[0]&configShortRES != 0 {
		size = 32
	}
	res, mac, ck := b[1]&0x07, b[1]>>3&0x07, 16
	if b[1]&0x40 != 0 {
		ck = 32
	}
	if mac != 0 || res > 2 || b[2] == 0 { // AUTN takes 8 bytes, AUTHENTICATE answers with 4 to 16
		return nil, 0
	}
	return newTUAK(b[35:35+size], b[3:35], b[0]&configOPc != 0, 4<<res, ck, int(b[2])), b[0] &^ configShortRES
}

// authenticate is AUTHENTICATE (TS 31.102 and TS 31.103 clause 7.1). The order of
// the checks is: parameters, application, PIN1, context, lengths.
func (c *Chip) authenticate(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if cmd.P1 != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	switch cmd.P2 {
	case contextGSM, context3G, contextVGC, contextGBA:
	default:
		return nil, apdu.SWIncorrectP1P2
	}
	if c.adf == nil || !c.inside(c.adf) {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	if !c.satisfied(keyPIN1) {
		return nil, apdu.SWSecurityStatusNotSatisfied
	}
	isim := string(c.adf.aid) == string(mustHex(ISIMAID))
	switch cmd.P2 {
	case contextGSM:
		if isim || !c.service(serviceGSM) {
			return nil, swNoContext
		}
		return c.authenticateGSM(cmd.Data)
	case context3G:
		challenge, autn, ok := tokens(cmd.Data)
		if !ok {
			return nil, apdu.SWWrongLength
		}
		key := dataKey
		if isim && c.space.Get(dataPrefix+dataISIMKey) != nil {
			key = dataISIMKey
		}
		return c.authenticate3G(key, challenge, autn, !isim && c.service(serviceGSMAccess))
	case contextGBA:
		if isim || !c.service(serviceGBA) {
			return nil, swNoContext
		}
		return c.authenticateGBA(cmd.Data)
	}
	return nil, swNoContext // voice group calls
}

// inside says whether the current folder is f or below it.
func (c *Chip) inside(f *file) bool {
	for d := c.folder; d != nil; d = d.parent {
		if d == f {
			return true
		}
	}
	return false
}

// tokens takes RAND and AUTN apart, each behind its length.
func tokens(b []byte) (challenge, autn []byte, ok bool) {
	if len(b) != 2+challengeSize+autnSize || b[0] != challengeSize || b[1+challengeSize] != autnSize {
		return nil, nil, false
	}
	return b[1 : 1+challengeSize], b[2+challengeSize:], true
}

// lv is a value behind its length in one byte.
func lv(b []byte) []byte { return append([]byte{byte(len(b))}, b...) }

// verdict is the part that 3G and GBA have in common: the MAC, then the sequence
// number (TS 33.102 clause 6.3.3). conceal changes the MAC that is expected.
func (c *Chip) verdict(m algorithms, challenge, autn []byte, conceal func(mac, ik []byte)) (auts []byte, sw apdu.StatusWord) {
	_, _, ik, ak := m.answer(challenge)
	sqn := get48(autn) ^ ak
	a, _ := m.macs(challenge, sqn, binary.BigEndian.Uint16(autn[6:]))
	want := binary.BigEndian.AppendUint64(nil, a)
	conceal(want, ik)
	if subtle.ConstantTimeCompare(want, autn[8:]) != 1 {
		return nil, swIncorrectMAC
	}
	state := c.space.Get(dataPrefix + dataSQN)
	if next, ok := fresh(state, sqn); ok {
		c.space.Set(dataPrefix+dataSQN, next)
		return nil, apdu.SWSuccess
	}
	top := highest(state)
	_, s := m.macs(challenge, top, 0)
	auts = make([]byte, 6, 14)
	put48(auts, top^m.akStar(challenge))
	return binary.BigEndian.AppendUint64(auts, s), apdu.SWSuccess
}

func (c *Chip) authenticate3G(key string, challenge, autn []byte, withKc bool) ([]byte, apdu.StatusWord) {
	m, config := c.algorithm(key)
	if m == nil {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	auts, sw := c.verdict(m, challenge, autn, func([]byte, []byte) {})
	if sw != apdu.SWSuccess {
		return nil, sw
	}
	if auts != nil {
		return append([]byte{tagSync}, lv(auts)...), apdu.SWSuccess
	}
	res, ck, ik, _ := m.answer(challenge)
	if config&configShortRES != 0 {
		res = res[:4]
	}
	out := join([]byte{tagSuccess}, lv(res), lv(ck), lv(ik))
	if withKc && len(ck) == 16 { // c3 takes no longer keys
		out = append(out, lv(fold(join(ck, ik), 8))...)
	}
	return out, apdu.SWSuccess
}

// gsm is SRES and Kc under a key file.
func (c *Chip) gsm(name string, challenge []byte) (sres, kc []byte) {
	m, config := c.algorithm(name)
	if m == nil {
		return nil, nil
	}
	res, ck, ik, _ := m.answer(challenge)
	if len(ck) != 16 {
		return nil, nil
	}
	if config&configFirstSRES != 0 {
		sres = res[:4]
	} else {
		sres = fold(res, 4)
	}
	return sres, fold(join(ck, ik), 8)
}

func (c *Chip) authenticateGSM(b []byte) ([]byte, apdu.StatusWord) {
	if len(b) != 1+challengeSize || b[0] != challengeSize {
		return nil, apdu.SWWrongLength
	}
	sres, kc := c.gsm(dataKey2G, b[1:])
	if sres == nil {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	return join(lv(sres), lv(kc)), apdu.SWSuccess
}

// authenticateGBA is the GBA security context (TS 31.102 clauses 7.1.1.4 and
// 7.1.1.5): bootstrapping as GBA_U does it, and derivation of a key for a
// network application.
func (c *Chip) authenticateGBA(b []byte) ([]byte, apdu.StatusWord) {
	if len(b) == 0 {
		return nil, apdu.SWWrongLength
	}
	switch b[0] {
	case tagBootstrap:
		challenge, autn, ok := tokens(b[1:])
		if !ok {
			return nil, apdu.SWWrongLength
		}
		return c.bootstrap(challenge, autn)
	case tagNAF:
		return c.deriveNAF(b[1:])
	}
	return nil, apdu.SWWrongData
}

// bootstrap expects MAC* = MAC ⊕ Trunc(SHA-1(IK)) (TS 33.220 clause 5.3.2). Only
// RES leaves the card.
func (c *Chip) bootstrap(challenge, autn []byte) ([]byte, apdu.StatusWord) {
	m, _ := c.algorithm(dataKey)
	if m == nil {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	auts, sw := c.verdict(m, challenge, autn, func(mac, ik []byte) {
		sum := sha1.Sum(ik)
		subtle.XORBytes(mac, mac, sum[:len(mac)])
	})
	if sw != apdu.SWSuccess {
		return nil, sw
	}
	if auts != nil {
		return append([]byte{tagSync}, lv(auts)...), apdu.SWSuccess
	}
	res, ck, ik, _ := m.answer(challenge)
	c.space.Set(dataPrefix+dataKs, join(ck, ik))
	c.space.Set(dataPrefix+dataGBA, padded(lv(challenge), gbaSize))
	return append([]byte{tagSuccess}, lv(res)...), apdu.SWSuccess
}

// deriveNAF gives Ks_ext_NAF (TS 33.220 annexes B.2 and B.3).
func (c *Chip) deriveNAF(b []byte) ([]byte, apdu.StatusWord) {
	var parts [2][]byte // NAF_Id and IMPI
	for i := range parts {
		if len(b) == 0 || int(b[0]) > len(b)-1 {
			return nil, apdu.SWWrongLength
		}
		parts[i], b = b[1:1+int(b[0])], b[1+int(b[0]):]
	}
	if len(b) > 0 || len(parts[0]) == 0 {
		return nil, apdu.SWWrongLength
	}
	ks, state := c.space.Get(dataPrefix+dataKs), c.space.Get(dataPrefix+dataGBA)
	if ks == nil || len(state) < 1+challengeSize || state[0] != challengeSize {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	mac := hmac.New(sha256.New, ks)
	mac.Write([]byte{0x01})
	for _, p := range [][]byte{[]byte("gba-me"), state[1 : 1+challengeSize], parts[1], parts[0]} {
		mac.Write(p)
		mac.Write(binary.BigEndian.AppendUint16(nil, uint16(len(p))))
	}
	return append([]byte{tagSuccess}, lv(mac.Sum(nil))...), apdu.SWSuccess
}
