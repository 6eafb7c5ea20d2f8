package gp

import (
	"context"
	"crypto/cipher"
	"crypto/des"
	"fmt"
)

// SoftwareDESCipher is a DESCipher whose key is in memory: for public
// development keys and known answers. It is safe for concurrent use until it is
// closed. Close drops the expanded key; crypto/des offers no way to overwrite
// it.
type SoftwareDESCipher struct {
	triple, single cipher.Block
}

// NewSoftwareDESCipher takes a key of 16 bytes (K1 ‖ K2) or 24 (K1 ‖ K2 ‖ K3),
// which the caller may zero afterwards.
func NewSoftwareDESCipher(key []byte) (*SoftwareDESCipher, error) {
	if len(key) != 16 && len(key) != 24 {
		return nil, fmt.Errorf("gp: no triple DES key has %d bytes", len(key))
	}
	var three [24]byte
	defer clear(three[:])
	copy(three[copy(three[:], key):], key) // K1 again where there is no K3
	triple, err := des.NewTripleDESCipher(three[:])
	if err != nil {
		return nil, fmt.Errorf("gp: %w", err)
	}
	single, err := des.NewCipher(three[:desBlock])
	if err != nil {
		return nil, fmt.Errorf("gp: %w", err)
	}
	return &SoftwareDESCipher{triple: triple, single: single}, nil
}

// EncryptECB enciphers each 8-byte block alone.
func (c *SoftwareDESCipher) EncryptECB(_ context.Context, blocks []byte) ([]byte, error) {
	if err := c.check(nil, blocks); err != nil {
		return nil, err
	}
	out := make([]byte, len(blocks))
	for i := 0; i < len(blocks); i += desBlock {
		c.triple.Encrypt(out[i:], blocks[i:i+desBlock])
	}
	return out, nil
}

// EncryptCBC enciphers a multiple of 8 bytes from an 8-byte iv.
func (c *SoftwareDESCipher) EncryptCBC(_ context.Context, iv, data []byte) ([]byte, error) {
	if err := c.check(iv, data); err != nil {
		return nil, err
	}
	return desCBC(c.triple, iv, data), nil
}

// EncryptSingleCBC is EncryptCBC with single DES under the first 8 bytes of
// the key.
func (c *SoftwareDESCipher) EncryptSingleCBC(_ context.Context, iv, data []byte) ([]byte, error) {
	if err := c.check(iv, data); err != nil {
		return nil, err
	}
	return desCBC(c.single, iv, data), nil
}

func desCBC(block cipher.Block, iv, data []byte) []byte {
	out := make([]byte, len(data))
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(out, data)
	return out
}

// Close makes the cipher unusable.
func (c *SoftwareDESCipher) Close() error {
	c.triple, c.single = nil, nil
	return nil
}

// check accepts whole blocks and, where one is given, an 8-byte iv.
func (c *SoftwareDESCipher) check(iv, data []byte) error {
	switch {
	case c.triple == nil:
		return errCipherClosed
	case iv != nil && len(iv) != desBlock:
		return fmt.Errorf("gp: an initial vector of %d bytes", len(iv))
	case len(data)%desBlock != 0:
		return fmt.Errorf("gp: %d bytes are no whole number of DES blocks", len(data))
	}
	return nil
}

// SoftwareDESKeys are static keys in memory: public development keys and
// known answers. Keys that protect people's cards stay in a token.
type SoftwareDESKeys struct {
	keys [KeyDEK + 1]*SoftwareDESCipher // by kind
}

var _ StaticDESKeys = (*SoftwareDESKeys)(nil)

// NewSoftwareDESKeys takes three keys of 16 bytes each, which the caller may
// zero afterwards. A card with one base key has it three times.
func NewSoftwareDESKeys(enc, mac, dek []byte) (*SoftwareDESKeys, error) {
	k := &SoftwareDESKeys{}
	for i, key := range [][]byte{enc, mac, dek} {
		if len(key) != 16 {
			return nil, fmt.Errorf("gp: SCP02 has keys of 16 bytes, not %d", len(key))
		}
		c, err := NewSoftwareDESCipher(key)
		if err != nil {
			return nil, err
		}
		k.keys[i+1] = c
	}
	return k, nil
}

// DeriveSession makes a session key in memory.
func (k *SoftwareDESKeys) DeriveSession(ctx context.Context, kind byte, constant uint16, sequenceCounter []byte) (DESCipher, error) {
	if kind < KeyENC || kind > KeyDEK {
		return nil, fmt.Errorf("gp: %02X is no kind of key", kind)
	}
	key, err := k.keys[kind].EncryptCBC(ctx, make([]byte, desBlock), SCP02DerivationData(constant, sequenceCounter))
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return NewSoftwareDESCipher(key)
}

// Close forgets the keys.
func (k *SoftwareDESKeys) Close() {
	for _, c := range k.keys[KeyENC:] {
		_ = c.Close()
	}
}
