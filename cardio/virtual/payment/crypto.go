package payment

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1" //nolint:gosec // EMV hash algorithm indicator 01
	"crypto/subtle"
	"errors"

	"cardbureau/cardio/virtual/icao"
)

var errKey = errors.New("payment: the private key is not consistent")

// Common core identifiers (Book 3, C7.2): the cryptogram versions.
const (
	cciDES = 0xA5
	cciAES = 0xA6
)

// suite is the symmetric cryptography of a card: 3DES or AES.
type suite struct{ aes bool }

func (s suite) cipher(k []byte) cipher.Block {
	if s.aes {
		c, err := aes.NewCipher(k)
		if err != nil {
			panic(err)
		}
		return c
	}
	return icao.NewTripleDES(k)
}

// session is the common session key (Book 2, A1.3.1) for R, 8 bytes.
func (s suite) session(master, r []byte) []byte {
	if s.aes {
		out := make([]byte, 16)
		copy(out, r)
		s.cipher(master).Encrypt(out, out)
		return out
	}
	out := append(append([]byte{}, r...), r...)
	out[2], out[10] = 0xF0, 0x0F
	c := s.cipher(master)
	c.Encrypt(out[:8], out[:8])
	c.Encrypt(out[8:], out[8:])
	return out
}

// mac is the MAC of cryptograms and scripts, 8 bytes: ISO/IEC 9797-1 algorithm 3
// with padding method 2, or the left half of a CMAC (Book 2, A1.2).
func (s suite) mac(k, message []byte) []byte {
	if s.aes {
		t := icao.NewCMAC(k).Sum(message)
		return t[:8]
	}
	t := icao.NewRetailMAC(k).MAC(message)
	return t[:]
}

// macPadded is the whole MAC, 8 or 16 bytes, of whole blocks, to which nothing is
// added: script commands of format 1 have their padding (Book 2, 9.2.3).
func (s suite) macPadded(k, blocks []byte) []byte {
	if s.aes {
		t := icao.NewCMAC(k).Sum(blocks)
		return t[:]
	}
	t := icao.NewRetailMAC(k).Sum(blocks)
	return t[:]
}

// decipher is CBC with a zero initial vector (Book 2, A1.1).
func (s suite) decipher(k, data []byte) ([]byte, bool) {
	c := s.cipher(k)
	if len(data) == 0 || len(data)%c.BlockSize() != 0 {
		return nil, false
	}
	out := make([]byte, len(data))
	cipher.NewCBCDecrypter(c, make([]byte, c.BlockSize())).CryptBlocks(out, data)
	return out, true
}

// kcvsDES are the key check values of keys of 16 bytes each: 3 bytes of eight
// zero bytes enciphered.
func kcvsDES(keys []byte) (out []byte) {
	for ; len(keys) >= 16; keys = keys[16:] {
		b := make([]byte, 8)
		icao.NewTripleDES(keys[:16]).Encrypt(b, b)
		out = append(out, b[:3]...)
	}
	return out
}

// kcvsAES are those of AES keys: of sixteen bytes 01.
func kcvsAES(keys []byte) (out []byte) {
	for ; len(keys) >= 16; keys = keys[16:] {
		b := make([]byte, 16)
		for i := range b {
			b[i] = 1
		}
		c, err := aes.NewCipher(keys[:16])
		if err != nil {
			panic(err)
		}
		c.Encrypt(b, b)
		out = append(out, b[:3]...)
	}
	return out
}

func same(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// signed is signed dynamic application data (Book 2, tables 15 and 18): over the
// card's dynamic data and what the terminal sent.
func signed(k *rsaKey, dynamic, terminal []byte) []byte {
	block := make([]byte, k.size)
	for i := range block {
		block[i] = 0xBB
	}
	block[0], block[1], block[2], block[3] = 0x6A, 0x05, 0x01, byte(len(dynamic))
	copy(block[4:], dynamic)
	h := sha1.New() //nolint:gosec // as above
	h.Write(block[1 : k.size-21])
	h.Write(terminal)
	copy(block[k.size-21:], h.Sum(nil))
	block[k.size-1] = 0xBC
	return k.sign(block)
}

func hashOf(parts ...[]byte) []byte {
	h := sha1.New() //nolint:gosec // as above
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}
