package hsm

import (
	"context"
	"fmt"

	"github.com/miekg/pkcs11"
)

// DeriveECB makes an AES session key of the leftmost size bytes of the AES ECB
// encipherment of data, 16 or 32 bytes, under k, which needs UseDerive. The key
// does not leave the token. ErrUnsupported where Capabilities.DeriveInToken is
// not set.
func (k *AESKey) DeriveECB(ctx context.Context, data []byte, size int, tmpl SessionTemplate) (d *AESKey, err error) {
	if err := aesFrom(data, size, blockSize); err != nil {
		return nil, err
	}
	if !k.token.Capabilities().DeriveInToken {
		return nil, fmt.Errorf("%w: AES derivation", ErrUnsupported)
	}
	err = k.with(ctx, "derive a key", func(s *session, h pkcs11.ObjectHandle) error {
		d, err = s.encryptIntoKey(h, data, size, tmpl)
		return err
	})
	return d, err
}

// DeriveAES is DeriveECB of an AES key of size bytes, from as many bytes of
// data.
func (k *DES3Key) DeriveAES(ctx context.Context, data []byte, size int, tmpl SessionTemplate) (*AESKey, error) {
	if err := aesFrom(data, size, desBlock); err != nil {
		return nil, err
	}
	d, err := k.deriveAs(ctx, pkcs11.CKM_DES3_ECB_ENCRYPT_DATA, nil, data, pkcs11.CKK_AES, size, tmpl)
	if err != nil {
		return nil, err
	}
	return &AESKey{secretKey: d}, nil
}

// aesFrom checks that whole blocks of data give an AES key of size bytes.
func aesFrom(data []byte, size, block int) error {
	if size != 16 && size != 24 && size != 32 {
		return fmt.Errorf("hsm: no AES key has %d bytes", size)
	}
	if len(data)%block != 0 || len(data) < size || len(data) >= size+block {
		return fmt.Errorf("hsm: %d bytes do not make an AES key of %d", len(data), size)
	}
	return nil
}
