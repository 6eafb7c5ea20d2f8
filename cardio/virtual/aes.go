package virtual

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
)

// aesKey is one AES key with what its uses need again and again: the expanded
// key and the two CMAC subkeys (NIST SP 800-38B section 6.1).
type aesKey struct {
	block  cipher.Block
	k1, k2 [16]byte
	size   int // bytes
}

func newAESKey(key []byte) (*aesKey, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, errors.New("virtual: an AES key has 16, 24 or 32 bytes")
	}
	k := &aesKey{block: b, size: len(key)}
	b.Encrypt(k.k1[:], k.k1[:])
	k.k1 = doubled(k.k1)
	k.k2 = doubled(k.k1)
	return k, nil
}

// mustAESKey is for keys whose length was checked when they came in.
func mustAESKey(key []byte) *aesKey {
	k, err := newAESKey(key)
	if err != nil {
		panic(err)
	}
	return k
}

// doubled multiplies by x in GF(2^128).
func doubled(in [16]byte) (out [16]byte) {
	var carry byte
	for i := 15; i >= 0; i-- {
		out[i] = in[i]<<1 | carry
		carry = in[i] >> 7
	}
	if carry != 0 {
		out[15] ^= 0x87
	}
	return out
}

// cmac is AES-CMAC (NIST SP 800-38B) over the concatenation of parts, 16
// bytes.
func (k *aesKey) cmac(parts ...[]byte) [16]byte {
	var x, buf [16]byte
	n := 0
	for _, p := range parts {
		for len(p) > 0 {
			if n == 16 { // more follows: this was not the last block
				xor(&x, &buf)
				k.block.Encrypt(x[:], x[:])
				n = 0
			}
			c := copy(buf[n:], p)
			n += c
			p = p[c:]
		}
	}
	if n == 16 {
		xor(&buf, &k.k1)
	} else {
		buf[n] = 0x80
		clear(buf[n+1:])
		xor(&buf, &k.k2)
	}
	xor(&x, &buf)
	k.block.Encrypt(x[:], x[:])
	return x
}

func xor(dst, src *[16]byte) {
	for i := range dst {
		dst[i] ^= src[i]
	}
}

// derive is the key derivation of GPC_SPE_014 (Amendment D 1.1.2) section
// 4.1.5: NIST SP 800-108 in counter mode with CMAC, label of 11 zero bytes
// and the constant, then 00, the length in bits (2 bytes), the counter (1
// byte) and the context.
func (k *aesKey) derive(constant byte, bits int, context ...[]byte) []byte {
	parts := make([][]byte, 0, 4)
	var head [16]byte
	head[11] = constant
	head[13], head[14] = byte(bits>>8), byte(bits)
	parts = append(parts, head[:])
	parts = append(parts, context...)
	out := make([]byte, 0, 32)
	for i := 1; len(out)*8 < bits; i++ {
		head[15] = byte(i)
		block := k.cmac(parts...)
		out = append(out, block[:]...)
	}
	return out[:bits/8]
}

// kcv is the key check value: the first 3 bytes of sixteen 01 bytes
// enciphered (GPC_SPE_014 section 4.1.4).
func (k *aesKey) kcv() []byte {
	var b [16]byte
	for i := range b {
		b[i] = 1
	}
	k.block.Encrypt(b[:], b[:])
	return b[:3]
}

// encryptCBC and decryptCBC need a multiple of 16 bytes.
func (k *aesKey) encryptCBC(iv [16]byte, data []byte) []byte {
	out := make([]byte, len(data))
	cipher.NewCBCEncrypter(k.block, iv[:]).CryptBlocks(out, data)
	return out
}

func (k *aesKey) decryptCBC(iv [16]byte, data []byte) []byte {
	out := make([]byte, len(data))
	cipher.NewCBCDecrypter(k.block, iv[:]).CryptBlocks(out, data)
	return out
}

// pad appends 80 and zeros up to a multiple of 16 bytes (ISO/IEC 9797-1
// padding method 2) to a copy of data.
func pad(data []byte) []byte { return padTo(data, 16) }

// padTo is pad for other block sizes.
func padTo(data []byte, size int) []byte {
	out := make([]byte, len(data)/size*size+size)
	copy(out, data)
	out[len(data)] = 0x80
	return out
}

// unpad removes that padding.
func unpad(data []byte) ([]byte, bool) { return unpadFrom(data, 16) }

func unpadFrom(data []byte, size int) ([]byte, bool) {
	for i := len(data) - 1; i >= 0 && i >= len(data)-size; i-- {
		switch data[i] {
		case 0x00:
		case 0x80:
			return data[:i], true
		default:
			return nil, false
		}
	}
	return nil, false
}
