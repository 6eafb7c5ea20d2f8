package tr31

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// CMACByECB makes CMACs of texts of any length (NIST SP 800-38B) with a key of which
// only whole blocks can be enciphered, as tokens without the mechanism have it. n is
// the block's size in bytes, 8 or 16.
func CMACByECB(n int, ecb func(block []byte) ([]byte, error)) CMAC {
	return func(text []byte) ([]byte, error) {
		k, err := ecb(make([]byte, n))
		if err != nil {
			return nil, err
		}
		k = double(k)
		whole := len(text) > 0 && len(text)%n == 0
		if !whole {
			k = double(k)
			text = append(append(make([]byte, 0, len(text)+n), text...), 0x80)
			for len(text)%n != 0 {
				text = append(text, 0)
			}
		}
		defer clear(k)
		mac := make([]byte, n)
		for i := 0; i < len(text); i += n {
			subtle.XORBytes(mac, mac, text[i:i+n])
			if i+n == len(text) {
				subtle.XORBytes(mac, mac, k)
			}
			if mac, err = ecb(mac); err != nil {
				return nil, err
			}
		}
		return mac, nil
	}
}

// double doubles in the field of a block of 8 or 16 bytes.
func double(k []byte) []byte {
	n := len(k)
	out := make([]byte, n)
	for i := range k {
		out[i] = k[i] << 1
		if i+1 < n {
			out[i] |= k[i+1] >> 7
		}
	}
	out[n-1] ^= k[0] >> 7 * map[int]byte{8: 0x1B, 16: 0x87}[n]
	return out
}

// cmac is CMAC by a key in memory.
func cmac(c cipher.Block, text []byte) []byte {
	mac, _ := CMACByECB(c.BlockSize(), func(b []byte) ([]byte, error) { // memory does not fail
		out := make([]byte, len(b))
		c.Encrypt(out, b)
		return out, nil
	})(text)
	return mac
}

// AESCMAC is CMAC by an AES key in memory.
func AESCMAC(key, text []byte) ([]byte, error) {
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cmac(c, text), nil
}
