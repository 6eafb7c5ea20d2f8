package gp

import (
	"context"
	"crypto/subtle"
	"fmt"

	"cardbureau/cardio/apdu"
)

// KeyComponent is one key in PUT KEY (Amendment D 7.2; of triple DES,
// GPC_SPE_034 11.8.2.3.1): its type, the key enciphered under the card's current
// DEK, its clear length in bytes and its 3-byte key check value.
type KeyComponent struct {
	Type       byte // KeyTypeAES or KeyTypeDES
	Ciphertext []byte
	Length     int
	KCV        []byte
}

// PaddedKeySize is the size that a key of n bytes has when it is enciphered:
// whole AES blocks, so that a 24-byte key takes 32.
func PaddedKeySize(n int) int { return (n + blockSize - 1) / blockSize * blockSize }

// NewKeyComponent enciphers an AES key of 16, 24 or 32 bytes, which the
// caller zeroes afterwards. dek is the Key-DEK of the open session. A key
// that must not leave its token is wrapped there instead.
func NewKeyComponent(ctx context.Context, dek Cipher, key []byte) (KeyComponent, error) {
	c, err := NewSoftwareCipher(key)
	if err != nil {
		return KeyComponent{}, err
	}
	defer func() { _ = c.Close() }()
	kcv, err := KCV(ctx, c)
	if err != nil {
		return KeyComponent{}, err
	}
	padded := make([]byte, PaddedKeySize(len(key)))
	copy(padded, key)
	defer clear(padded)
	ciphertext, err := dek.EncryptCBC(ctx, make([]byte, blockSize), padded)
	if err != nil {
		return KeyComponent{}, fmt.Errorf("encipher key: %w", err)
	}
	return KeyComponent{Type: KeyTypeAES, Ciphertext: ciphertext, Length: len(key), KCV: kcv}, nil
}

// NewDESKeyComponent enciphers a triple DES key of 16 bytes under the S-DEK of
// an open SCP02 session, in ECB. The caller zeroes the key afterwards.
func NewDESKeyComponent(ctx context.Context, dek BlockCipher, key []byte) (KeyComponent, error) {
	if len(key) != 16 {
		return KeyComponent{}, fmt.Errorf("gp: a triple DES key of a secure channel has 16 bytes, not %d", len(key))
	}
	c, err := NewSoftwareDESCipher(key)
	if err != nil {
		return KeyComponent{}, err
	}
	defer func() { _ = c.Close() }()
	kcv, err := DESKCV(ctx, c)
	if err != nil {
		return KeyComponent{}, err
	}
	ciphertext, err := ecb(ctx, dek, key)
	if err != nil {
		return KeyComponent{}, fmt.Errorf("encipher key: %w", err)
	}
	return KeyComponent{Type: KeyTypeDES, Ciphertext: ciphertext, Length: len(key), KCV: kcv}, nil
}

// PutKeyCommand adds a new key set: version 01 to 7F, keys numbered from
// firstID (1 for the ENC, MAC, DEK of a secure channel).
func PutKeyCommand(version, firstID byte, components []KeyComponent) apdu.Command {
	return ReplaceKeyCommand(0, version, firstID, components)
}

// ReplaceKeyCommand puts a key set in the place of the one with version
// replaced (GPC_SPE_034 11.8); 0 adds one.
func ReplaceKeyCommand(replaced, version, firstID byte, components []KeyComponent) apdu.Command {
	data := []byte{version}
	for _, k := range components {
		data = append(data, k.Type)
		if k.Type == KeyTypeAES { // whose padding hides its length
			data = append(data, byte(len(k.Ciphertext)+1), byte(k.Length))
		} else {
			data = append(data, byte(len(k.Ciphertext)))
		}
		data = append(data, k.Ciphertext...)
		data = append(data, byte(len(k.KCV)))
		data = append(data, k.KCV...)
	}
	p2 := firstID
	if len(components) > 1 {
		p2 |= 0x80
	}
	return apdu.Command{CLA: 0x80, INS: 0xD8, P1: replaced, P2: p2, Data: data, Ne: apdu.MaxShortNe}
}

// CheckPutKeyResponse compares what the card says it stored, the version and
// each key's check value, with what was sent. ErrKCV means that the card holds
// another key than intended.
func CheckPutKeyResponse(response []byte, version byte, components []KeyComponent) error {
	if len(response) == 0 {
		return fmt.Errorf("%w: PUT KEY gave no answer", ErrMalformed)
	}
	if response[0] != version {
		return fmt.Errorf("%w: PUT KEY stored version %02X, not %02X", ErrKCV, response[0], version)
	}
	rest := response[1:]
	for i, k := range components {
		if len(rest) < len(k.KCV) {
			return fmt.Errorf("%w: PUT KEY gave %d bytes for %d keys", ErrMalformed, len(response), len(components))
		}
		if subtle.ConstantTimeCompare(rest[:len(k.KCV)], k.KCV) != 1 {
			return fmt.Errorf("%w: key %d of version %02X", ErrKCV, i+1, version)
		}
		rest = rest[len(k.KCV):]
	}
	if len(rest) != 0 {
		return fmt.Errorf("%w: PUT KEY gave %d bytes for %d keys", ErrMalformed, len(response), len(components))
	}
	return nil
}
