package lds

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Cipher is a block cipher of secure messaging.
type Cipher byte

// The ciphers of 9303-11 section 9.8.
const (
	TripleDES Cipher = 1 // two keys, CBC with retail MAC
	AES128    Cipher = 2 // CBC with CMAC
	AES192    Cipher = 3
	AES256    Cipher = 4
)

// String is the name.
func (c Cipher) String() string {
	switch c {
	case TripleDES:
		return "3DES"
	case AES128:
		return "AES-128"
	case AES192:
		return "AES-192"
	case AES256:
		return "AES-256"
	}
	return fmt.Sprintf("cipher %d", byte(c))
}

// Counters of the key derivation function (9303-11 section 9.7.1.1).
const (
	counterEnc = 1
	counterMAC = 2
	counterPi  = 3
)

// derive is KDF(K, c) of 9303-11 section 9.7.1: SHA-1 for 3DES and AES-128,
// SHA-256 for the others.
func (c Cipher) derive(k []byte, counter uint32) []byte {
	input := binary.BigEndian.AppendUint32(append(make([]byte, 0, len(k)+4), k...), counter)
	defer clear(input)
	switch c {
	case TripleDES:
		sum := sha1.Sum(input)
		for i, b := range sum[:16] { // odd parity, as the examples print it
			sum[i] = b&^1 | byte(bits.OnesCount8(b&^1)+1)&1
		}
		return sum[:16]
	case AES128:
		sum := sha1.Sum(input)
		return sum[:16]
	default:
		sum := sha256.Sum256(input)
		if c == AES192 {
			return sum[:24]
		}
		return sum[:]
	}
}

// block makes the block cipher of an encryption key.
func (c Cipher) block(key []byte) (cipher.Block, error) {
	if c == TripleDES {
		if len(key) != 16 {
			return nil, fmt.Errorf("lds: a 3DES key has 16 bytes")
		}
		return des.NewTripleDESCipher(append(append(make([]byte, 0, 24), key...), key[:8]...))
	}
	return aes.NewCipher(key)
}

// mac makes a MAC of 8 bytes.
func (c Cipher) mac(key []byte) (macer, error) {
	if c == TripleDES {
		if len(key) != 16 {
			return nil, fmt.Errorf("lds: a 3DES key has 16 bytes")
		}
		k1, err := des.NewCipher(key[:8])
		if err != nil {
			return nil, err
		}
		k2, err := des.NewCipher(key[8:])
		if err != nil {
			return nil, err
		}
		return &retailMAC{k1: k1, k2: k2}, nil
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return newCMAC(b), nil
}

// macer computes the 8-byte MAC of a message as it stands: padding to the
// block size is the caller's for the retail MAC (see pad).
type macer interface {
	sum(message []byte) [8]byte
}

// retailMAC is ISO/IEC 9797-1 algorithm 3 with DES, zero IV. The message is
// padded by method 2 already.
type retailMAC struct{ k1, k2 cipher.Block }

func (m *retailMAC) sum(message []byte) (out [8]byte) {
	for len(message) >= 8 {
		for i := range out {
			out[i] ^= message[i]
		}
		m.k1.Encrypt(out[:], out[:])
		message = message[8:]
	}
	m.k2.Decrypt(out[:], out[:])
	m.k1.Encrypt(out[:], out[:])
	return out
}

// cmac is AES-CMAC (NIST SP 800-38B) cut to 8 bytes.
type cmac struct {
	block  cipher.Block
	k1, k2 [16]byte
	buf    []byte
}

func newCMAC(b cipher.Block) *cmac {
	m := &cmac{block: b}
	b.Encrypt(m.k1[:], m.k1[:])
	double(&m.k1)
	m.k2 = m.k1
	double(&m.k2)
	return m
}

func double(b *[16]byte) {
	carry := byte(0)
	for i := 15; i >= 0; i-- {
		next := b[i] >> 7
		b[i] = b[i]<<1 | carry
		carry = next
	}
	b[15] ^= 0x87 * carry
}

func (m *cmac) sum(message []byte) (out [8]byte) {
	m.buf = append(m.buf[:0], message...)
	key := &m.k1
	if n := len(m.buf); n == 0 || n%16 != 0 {
		key = &m.k2
		m.buf = pad(m.buf, 16)
	}
	last := m.buf[len(m.buf)-16:]
	for i := range last {
		last[i] ^= key[i]
	}
	var iv [16]byte
	cipher.NewCBCEncrypter(m.block, iv[:]).CryptBlocks(m.buf, m.buf)
	copy(out[:], last)
	return out
}

// pad appends 80 00 … to a multiple of the block size (ISO/IEC 9797-1 method
// 2); at least one byte is added.
func pad(b []byte, size int) []byte {
	b = append(b, 0x80)
	for len(b)%size != 0 {
		b = append(b, 0)
	}
	return b
}

// unpad removes 80 00 …
func unpad(b []byte) ([]byte, bool) {
	for i := len(b) - 1; i >= 0; i-- {
		switch b[i] {
		case 0:
		case 0x80:
			return b[:i], true
		default:
			return nil, false
		}
	}
	return nil, false
}
