package icao

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // the standard's own cipher for Basic Access Control
	"crypto/subtle"
)

// MACSize is the length in bytes of every MAC and token of Doc 9303-11.
const MACSize = 8

// MACer makes 8-byte MACs under one key. The message is not padded yet.
type MACer interface {
	// MAC is the MAC of a message.
	MAC(message []byte) [MACSize]byte
}

// CMAC is AES-CMAC (NIST SP 800-38B), cut to its first 8 bytes where Doc
// 9303-11 clause 9.8.6.1 asks for it.
type CMAC struct {
	block  cipher.Block
	k1, k2 [aes.BlockSize]byte
}

// NewCMAC takes an AES key of 16 bytes.
func NewCMAC(key []byte) *CMAC {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("icao: " + err.Error()) // keys come out of our own derivation
	}
	c := &CMAC{block: block}
	block.Encrypt(c.k1[:], c.k1[:])
	double(&c.k1)
	c.k2 = c.k1
	double(&c.k2)
	return c
}

// double multiplies by x in GF(2^128) (SP 800-38B clause 6.1).
func double(b *[aes.BlockSize]byte) {
	carry := b[0] >> 7
	for i := 0; i < len(b)-1; i++ {
		b[i] = b[i]<<1 | b[i+1]>>7
	}
	b[len(b)-1] = b[len(b)-1]<<1 ^ 0x87*carry
}

// Sum is the whole CMAC, 16 bytes.
func (c *CMAC) Sum(message []byte) (t [aes.BlockSize]byte) {
	for len(message) > aes.BlockSize {
		subtle.XORBytes(t[:], t[:], message[:aes.BlockSize])
		c.block.Encrypt(t[:], t[:])
		message = message[aes.BlockSize:]
	}
	last := c.k1
	if len(message) < aes.BlockSize {
		last = c.k2
		last[len(message)] ^= 0x80
	}
	subtle.XORBytes(last[:len(message)], last[:len(message)], message)
	subtle.XORBytes(t[:], t[:], last[:])
	c.block.Encrypt(t[:], t[:])
	return t
}

// MAC is the first 8 bytes of the CMAC.
func (c *CMAC) MAC(message []byte) (m [MACSize]byte) {
	t := c.Sum(message)
	copy(m[:], t[:])
	return m
}

// RetailMAC is ISO/IEC 9797-1 MAC algorithm 3 with DES and padding method 2:
// the MAC of Basic Access Control and of 3DES secure messaging (Doc 9303-11
// clauses 4.3.3.2 and 9.8.6.2).
type RetailMAC struct{ a, b cipher.Block }

// NewRetailMAC takes a two-key 3DES key of 16 bytes.
func NewRetailMAC(key []byte) *RetailMAC {
	return &RetailMAC{a: newDES(key[:8]), b: newDES(key[8:16])}
}

func newDES(key []byte) cipher.Block {
	block, err := des.NewCipher(key) //nolint:gosec // see the import
	if err != nil {
		panic("icao: " + err.Error())
	}
	return block
}

// MAC is the MAC of a message, which it pads.
func (r *RetailMAC) MAC(message []byte) (t [MACSize]byte) {
	return r.Sum(Pad(message, des.BlockSize))
}

// Sum is the MAC of whole blocks, which it does not pad.
func (r *RetailMAC) Sum(message []byte) (t [MACSize]byte) {
	for ; len(message) > 0; message = message[des.BlockSize:] {
		subtle.XORBytes(t[:], t[:], message[:des.BlockSize])
		r.a.Encrypt(t[:], t[:])
	}
	r.b.Decrypt(t[:], t[:])
	r.a.Encrypt(t[:], t[:])
	return t
}

// NewTripleDES takes a two-key 3DES key of 16 bytes.
func NewTripleDES(key []byte) cipher.Block {
	block, err := des.NewTripleDESCipher(append(append([]byte{}, key[:16]...), key[:8]...)) //nolint:gosec // see the import
	if err != nil {
		panic("icao: " + err.Error())
	}
	return block
}

// Pad copies b and pads it by ISO/IEC 9797-1 padding method 2: 80, then 00 up
// to a whole block.
func Pad(b []byte, block int) []byte {
	out := make([]byte, (len(b)/block+1)*block)
	out[copy(out, b)] = 0x80
	return out
}

// Unpad removes padding method 2. ok is false where there is none.
func Unpad(b []byte) (data []byte, ok bool) {
	n := len(b) - 1
	for n >= 0 && b[n] == 0 {
		n--
	}
	if n < 0 || b[n] != 0x80 {
		return nil, false
	}
	return b[:n], true
}

// SameMAC compares in constant time.
func SameMAC(a [MACSize]byte, b []byte) bool {
	return subtle.ConstantTimeCompare(a[:], b) == 1
}
