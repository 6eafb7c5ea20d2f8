package usim

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// word is a block of 128 bits, the most significant half first.
type word struct{ high, low uint64 }

func toWord(b []byte) word {
	return word{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func (w word) bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, w.high), w.low)
}

func (w word) xor(v word) word { return word{w.high ^ v.high, w.low ^ v.low} }

// left rotates by r bits, 0 to 127.
func (w word) left(r int) word {
	if r >= 64 {
		w.high, w.low, r = w.low, w.high, r-64
	}
	return word{w.high<<r | w.low>>(64-r), w.low<<r | w.high>>(64-r)}
}

// milenage is the algorithm set of TS 35.206.
type milenage struct {
	block cipher.Block
	opc   word
	r     [5]int
	c     [5]word
}

// newMilenage takes K and OPc, or OP, and parameters as EF.MILENAGE_CFG has them:
// five r of a byte, then five c of 16.
func newMilenage(k, op []byte, isOPc bool, config []byte) *milenage {
	b, err := aes.NewCipher(k)
	if err != nil {
		panic("usim: a key of " + err.Error())
	}
	m := &milenage{block: b, opc: toWord(op)}
	if !isOPc {
		m.opc = m.opc.xor(m.encipher(m.opc))
	}
	for i := range 5 {
		m.r[i] = int(config[i]) & 0x7F
		m.c[i] = toWord(config[5+16*i:])
	}
	return m
}

func (m *milenage) encipher(w word) word {
	b := w.bytes()
	m.block.Encrypt(b, b)
	return toWord(b)
}

// macs are MAC-A and MAC-S (f1 and f1*).
func (m *milenage) macs(challenge []byte, sqn uint64, amf uint16) (a, s uint64) {
	half := sqn<<16 | uint64(amf)
	in := word{half, half}.xor(m.opc).left(m.r[0])
	out := m.encipher(m.temp(challenge).xor(in).xor(m.c[0])).xor(m.opc)
	return out.high, out.low
}

func (m *milenage) temp(challenge []byte) word { return m.encipher(toWord(challenge).xor(m.opc)) }

func (m *milenage) output(challenge []byte, n int) word {
	in := m.temp(challenge).xor(m.opc).left(m.r[n-1]).xor(m.c[n-1])
	return m.encipher(in).xor(m.opc)
}

// answer is what f2 to f5 give: ak has 48 bits.
func (m *milenage) answer(challenge []byte) (res, ck, ik []byte, ak uint64) {
	two := m.output(challenge, 2)
	return two.bytes()[8:], m.output(challenge, 3).bytes(), m.output(challenge, 4).bytes(), two.high >> 16
}

// akStar is f5*, 48 bits.
func (m *milenage) akStar(challenge []byte) uint64 { return m.output(challenge, 5).high >> 16 }

// fold is the exclusive-or of the pieces of n bytes: c2 and c3 (TS 33.102 clause
// 6.8.1.2).
func fold(b []byte, n int) []byte {
	out := make([]byte, n)
	for i, v := range b {
		out[i%n] ^= v
	}
	return out
}
