package virtual

import (
	"crypto/cipher"
	"crypto/des"
	"crypto/subtle"
	"errors"
)

// desKey is one two-key 3DES key (K1, K2, K1) with what its uses need: the
// whole cipher, and single DES under K1.
type desKey struct {
	triple, single cipher.Block
}

func newDESKey(key []byte) (*desKey, error) {
	if len(key) != 16 {
		return nil, errors.New("virtual: a two-key 3DES key has 16 bytes")
	}
	triple, err := des.NewTripleDESCipher(append(append(make([]byte, 0, 24), key...), key[:8]...))
	if err != nil {
		return nil, err
	}
	single, err := des.NewCipher(key[:8])
	if err != nil {
		return nil, err
	}
	return &desKey{triple: triple, single: single}, nil
}

// mustDESKey is for keys whose length was checked when they came in.
func mustDESKey(key []byte) *desKey {
	k, err := newDESKey(key)
	if err != nil {
		panic(err)
	}
	return k
}

// deriveSCP02 makes a session key: constant, sequence counter and twelve zero
// bytes, enciphered in CBC mode with a zero IV (GPC_SPE_034 v2.3.1 section
// E.4.1).
func (k *desKey) deriveSCP02(constant, sequence uint16) *desKey {
	data := make([]byte, 16)
	data[0], data[1] = byte(constant>>8), byte(constant)
	data[2], data[3] = byte(sequence>>8), byte(sequence)
	return mustDESKey(k.encryptCBC(data))
}

// fullMAC is the MAC of cryptograms: 3DES in CBC mode, zero ICV, over the
// padded data (ISO/IEC 9797-1 MAC algorithm 1; GPC_SPE_034 v2.3.1 section
// B.1.2.1).
func (k *desKey) fullMAC(parts ...[]byte) (mac [8]byte) {
	for block := range blocks8(parts) {
		subtle.XORBytes(mac[:], mac[:], block)
		k.triple.Encrypt(mac[:], mac[:])
	}
	return mac
}

// retailMAC is the MAC of commands and responses: single DES in CBC mode, the
// last block 3DES (ISO/IEC 9797-1 MAC algorithm 3; GPC_SPE_034 v2.3.1 section
// B.1.2.2).
func (k *desKey) retailMAC(icv [8]byte, parts ...[]byte) [8]byte {
	mac := icv
	var last []byte
	for block := range blocks8(parts) {
		if last != nil {
			subtle.XORBytes(mac[:], mac[:], last)
			k.single.Encrypt(mac[:], mac[:])
		}
		last = block
	}
	subtle.XORBytes(mac[:], mac[:], last)
	k.triple.Encrypt(mac[:], mac[:])
	return mac
}

// blocks8 pads the concatenation of parts with 80 and zeros and gives its
// blocks of 8 bytes; there is at least one.
func blocks8(parts [][]byte) func(yield func([]byte) bool) {
	var data []byte
	for _, p := range parts {
		data = append(data, p...)
	}
	data = padTo(data, des.BlockSize)
	return func(yield func([]byte) bool) {
		for ; len(data) > 0; data = data[des.BlockSize:] {
			if !yield(data[:des.BlockSize]) {
				return
			}
		}
	}
}

// kcv is the key check value: the first 3 bytes of eight zero bytes
// enciphered (GPC_SPE_034 v2.3.1 section B.5).
func (k *desKey) kcv() []byte {
	var b [8]byte
	k.triple.Encrypt(b[:], b[:])
	return b[:3]
}

// encryptCBC and decryptCBC have a zero IV and need a multiple of 8 bytes.
func (k *desKey) encryptCBC(data []byte) []byte {
	var iv [8]byte
	out := make([]byte, len(data))
	cipher.NewCBCEncrypter(k.triple, iv[:]).CryptBlocks(out, data)
	return out
}

func (k *desKey) decryptCBC(data []byte) []byte {
	var iv [8]byte
	out := make([]byte, len(data))
	cipher.NewCBCDecrypter(k.triple, iv[:]).CryptBlocks(out, data)
	return out
}

// decryptECB needs a multiple of 8 bytes.
func (k *desKey) decryptECB(data []byte) []byte {
	out := make([]byte, len(data))
	for i := 0; i < len(data); i += des.BlockSize {
		k.triple.Decrypt(out[i:], data[i:])
	}
	return out
}
