package gp

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
)

// SoftwareCipher is a Cipher whose key is in memory: for public development
// keys, known answers, and session keys of a token that cannot derive. It is
// safe for concurrent use until it is closed. Close drops the expanded key;
// crypto/aes offers no way to overwrite it.
type SoftwareCipher struct {
	size   int
	block  cipher.Block
	k1, k2 [blockSize]byte // CMAC subkeys (RFC 4493 2.3)
}

// NewSoftwareCipher takes a key of 16, 24 or 32 bytes, which the caller may
// zero afterwards.
func NewSoftwareCipher(key []byte) (*SoftwareCipher, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("gp: no AES key has %d bytes", len(key))
	}
	c := &SoftwareCipher{size: len(key), block: block}
	var zero, l [blockSize]byte
	block.Encrypt(l[:], zero[:])
	c.k1 = double(l)
	c.k2 = double(c.k1)
	clear(l[:])
	return c, nil
}

// double multiplies by x in GF(2^128) with the CMAC polynomial.
func double(b [blockSize]byte) (out [blockSize]byte) {
	for i := range blockSize - 1 {
		out[i] = b[i]<<1 | b[i+1]>>7
	}
	out[blockSize-1] = b[blockSize-1]<<1 ^ 0x87*(b[0]>>7)
	return out
}

var errCipherClosed = errors.New("gp: the key has been closed")

// KeySize is 16, 24 or 32 bytes.
func (c *SoftwareCipher) KeySize() int { return c.size }

// EncryptECB enciphers each 16-byte block alone.
func (c *SoftwareCipher) EncryptECB(_ context.Context, blocks []byte) ([]byte, error) {
	if err := c.check(nil, blocks); err != nil {
		return nil, err
	}
	out := make([]byte, len(blocks))
	for i := 0; i < len(blocks); i += blockSize {
		c.block.Encrypt(out[i:], blocks[i:i+blockSize])
	}
	return out, nil
}

// EncryptCBC enciphers a multiple of 16 bytes from a 16-byte iv.
func (c *SoftwareCipher) EncryptCBC(_ context.Context, iv, data []byte) ([]byte, error) {
	if err := c.check(iv, data); err != nil {
		return nil, err
	}
	out := make([]byte, len(data))
	cipher.NewCBCEncrypter(c.block, iv).CryptBlocks(out, data)
	return out, nil
}

// DecryptCBC reverses EncryptCBC.
func (c *SoftwareCipher) DecryptCBC(_ context.Context, iv, data []byte) ([]byte, error) {
	if err := c.check(iv, data); err != nil {
		return nil, err
	}
	out := make([]byte, len(data))
	cipher.NewCBCDecrypter(c.block, iv).CryptBlocks(out, data)
	return out, nil
}

// CMAC is the 16-byte AES-CMAC of data.
func (c *SoftwareCipher) CMAC(_ context.Context, data []byte) ([]byte, error) {
	if c.block == nil {
		return nil, errCipherClosed
	}
	x := make([]byte, blockSize)
	for len(data) > blockSize {
		xor(x, data[:blockSize])
		c.block.Encrypt(x, x)
		data = data[blockSize:]
	}
	xor(x, data)
	if len(data) == blockSize {
		xor(x, c.k1[:])
	} else {
		x[len(data)] ^= 0x80
		xor(x, c.k2[:])
	}
	c.block.Encrypt(x, x)
	return x, nil
}

// Close makes the cipher unusable.
func (c *SoftwareCipher) Close() error {
	c.block = nil
	clear(c.k1[:])
	clear(c.k2[:])
	return nil
}

// check accepts whole blocks and, where one is given, a 16-byte iv.
func (c *SoftwareCipher) check(iv, data []byte) error {
	switch {
	case c.block == nil:
		return errCipherClosed
	case iv != nil && len(iv) != blockSize:
		return fmt.Errorf("gp: an initial vector of %d bytes", len(iv))
	case len(data)%blockSize != 0:
		return fmt.Errorf("gp: %d bytes are no whole number of AES blocks", len(data))
	}
	return nil
}

// xor adds src to the start of dst.
func xor(dst, src []byte) {
	for i, b := range src {
		dst[i] ^= b
	}
}

// SoftwareKeys are static keys in memory: public development keys and known
// answers. Keys that protect people's cards stay in a token.
type SoftwareKeys struct {
	enc, mac, dek *SoftwareCipher
}

// NewSoftwareKeys takes three keys of one size, 16, 24 or 32 bytes, which the
// caller may zero afterwards.
func NewSoftwareKeys(enc, mac, dek []byte) (*SoftwareKeys, error) {
	if len(enc) != len(mac) || len(enc) != len(dek) {
		return nil, fmt.Errorf("gp: keys of %d, %d and %d bytes make no key set", len(enc), len(mac), len(dek))
	}
	k := &SoftwareKeys{}
	var err error
	for _, part := range []struct {
		to  **SoftwareCipher
		key []byte
	}{{&k.enc, enc}, {&k.mac, mac}, {&k.dek, dek}} {
		if *part.to, err = NewSoftwareCipher(part.key); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// KeySize is that of each key, in bytes.
func (k *SoftwareKeys) KeySize() int { return k.enc.size }

// ENC is Key-ENC.
func (k *SoftwareKeys) ENC() Cipher { return k.enc }

// MAC is Key-MAC.
func (k *SoftwareKeys) MAC() Cipher { return k.mac }

// DEK is Key-DEK.
func (k *SoftwareKeys) DEK() Cipher { return k.dek }

// DeriveSession makes a session key in memory.
func (k *SoftwareKeys) DeriveSession(ctx context.Context, kind byte, kdfContext []byte) (Cipher, error) {
	var from *SoftwareCipher
	switch kind {
	case DeriveSENC:
		from = k.enc
	case DeriveSMAC, DeriveSRMAC:
		from = k.mac
	default:
		return nil, fmt.Errorf("gp: %02X is no kind of session key", kind)
	}
	key, err := Derive(ctx, from, kind, from.size*8, kdfContext)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return NewSoftwareCipher(key)
}

// Close forgets the keys.
func (k *SoftwareKeys) Close() {
	for _, c := range []*SoftwareCipher{k.enc, k.mac, k.dek} {
		_ = c.Close()
	}
}
