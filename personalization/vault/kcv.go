package vault

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/des"
	"fmt"
	"strings"

	"cardbureau/hsm/tr31"
)

// secretKCVs makes the key check values of named secrets that are keys. Three
// bytes of a key enciphered zeros give nothing of it away.
func (s *Service) secretKCVs(ctx context.Context, in *secretKCVsRequest) (*encipherReply, error) {
	e, err := s.cardSecrets(ctx, in.Item)
	if err != nil {
		return nil, err
	}
	defer e.zero()
	out := &encipherReply{Values: make(map[string][]byte, len(in.Names))}
	for _, name := range in.Names {
		value, ok := e[name]
		if !ok || !keySecrets[name] {
			return nil, fmt.Errorf("%w: the card's secrets have no key %q", ErrRequest, name)
		}
		of := desKCV
		if e[emvAES] != nil && strings.HasPrefix(name, emvPrefix) {
			of = aesKCV
		}
		for k := value; len(k) >= desKeySize; k = k[desKeySize:] {
			kcv, err := of(k[:desKeySize])
			if err != nil {
				return nil, err
			}
			out.Values[name] = append(out.Values[name], kcv...)
		}
	}
	return out, nil
}

// keySecrets are the secrets that are keys of 16 bytes, one or more: 3DES keys of
// two parts, or a payment application's AES keys.
var keySecrets = map[string]bool{SecretBAC: true, SecretEMVKeys: true, SecretEMVDynamic: true}

// aesKCV is the key check value of an AES key: the first 3 bytes of sixteen bytes 01
// enciphered (GPC_SPE_034 v2.3.1 B.6).
func aesKCV(key []byte) ([]byte, error) { return firstThree(aesCheck(key)) }

func aesCheck(key []byte) ([]byte, error) {
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	block := bytes.Repeat([]byte{1}, 16)
	c.Encrypt(block, block)
	return block, nil
}

const desKeySize = 16

// desKCV is the key check value of a 3DES key of 16 or 24 bytes: the first 3 bytes of
// eight zeros enciphered (GPC_SPE_034 v2.3.1 B.6).
func desKCV(key []byte) ([]byte, error) { return firstThree(desCheck(key)) }

func desCheck(key []byte) ([]byte, error) {
	whole := append(make([]byte, 0, 24), key...)
	defer clear(whole[:cap(whole)])
	if len(key) == desKeySize {
		whole = append(whole, key[:8]...)
	}
	c, err := des.NewTripleDESCipher(whole)
	if err != nil {
		return nil, err
	}
	block := make([]byte, 8)
	c.Encrypt(block, block)
	return block, nil
}

func firstThree(block []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return block[:3], nil
}

// kcv is a key's check value, 3 bytes, as the token's list shows it.
func (e exchanged) kcv(key []byte) ([]byte, error) {
	if e.algorithm == 'A' {
		return aesKCV(key)
	}
	return desKCV(key)
}

// described has a key's check values and no label yet.
func (e exchanged) described(key []byte) (*ImportedKey, error) {
	kcv, err := e.kcv(key)
	if err != nil || e.algorithm != 'A' {
		return &ImportedKey{KCV: kcv}, err
	}
	mac, err := firstThree(tr31.AESCMAC(key, make([]byte, 16)))
	return &ImportedKey{KCV: kcv, CMAC: mac}, err
}

// check compares a check value of 3 bytes or more with a key's. Of an AES key it may
// be either of the two that are in use.
func (e exchanged) check(key, want []byte) error {
	if len(want) < 3 {
		return fmt.Errorf("%w: a check value has 3 bytes or more", ErrRequest)
	}
	of := []func([]byte) ([]byte, error){desCheck}
	if e.algorithm == 'A' {
		of = []func([]byte) ([]byte, error){aesCheck, func(key []byte) ([]byte, error) { return tr31.AESCMAC(key, make([]byte, 16)) }}
	}
	for _, of := range of {
		block, err := of(key)
		if err != nil {
			return err
		}
		if bytes.HasPrefix(block, want) {
			return nil
		}
	}
	return ErrKCV
}

// SecretKCVs returns the key check values of named secrets that are keys: 3
// bytes for each 3DES key in them, so 6 for the keys of Basic Access Control.
// Other names are ErrRequest.
func (c *Client) SecretKCVs(ctx context.Context, key DataKey, aad, sealed []byte, names []string) (map[string][]byte, error) {
	out, _, err := call[encipherReply](ctx, c, methodSecretKCVs, secretKCVsRequest{SealItem{key, aad, sealed}, names})
	return out.Values, err
}
