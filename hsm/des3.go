package hsm

import (
	"context"
	"crypto/des"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

const desBlock = des.BlockSize

// DES3Key is a triple DES key in the token, of two parts (CKK_DES2, 16 bytes)
// or three (CKK_DES3, 24 bytes): one with a label, which stays, or one of this
// process, which lives until Close. Tokens may correct parity bits, which mean
// nothing. It is safe for concurrent use.
type DES3Key struct{ *secretKey }

// des3Type is the key type for a length in bytes.
func des3Type(size int) (uint, error) {
	switch size {
	case 16:
		return pkcs11.CKK_DES2, nil
	case 24:
		return pkcs11.CKK_DES3, nil
	}
	return 0, fmt.Errorf("hsm: no triple DES key has %d bytes", size)
}

// DES3 finds the triple DES key with that label. ErrNoKey when there is none.
func (t *Token) DES3(ctx context.Context, label string) (*DES3Key, error) {
	k, err := t.findSecret(ctx, label, "a triple DES", pkcs11.CKK_DES2, pkcs11.CKK_DES3)
	if err != nil {
		return nil, err
	}
	return &DES3Key{k}, nil
}

// GenerateDES3 makes a random triple DES key of size 16 or 24 bytes that stays.
// ErrKeyExists when the label is taken.
func (t *Token) GenerateDES3(ctx context.Context, label string, size int, opt KeyOptions) error {
	keyType, err := des3Type(size)
	if err != nil {
		return err
	}
	mechanism := map[uint]uint{pkcs11.CKK_DES2: pkcs11.CKM_DES2_KEY_GEN, pkcs11.CKK_DES3: pkcs11.CKM_DES3_KEY_GEN}[keyType]
	return t.generateSecret(ctx, label, mechanism, keyType, size, opt)
}

// ImportDES3 stores a triple DES key of 16 or 24 bytes whose value is known
// outside: a vendor's transport key from a ceremony, or a public test key. The
// value passes through memory; the caller zeroes it.
func (t *Token) ImportDES3(ctx context.Context, label string, value []byte, opt KeyOptions) error {
	keyType, err := des3Type(len(value))
	if err != nil {
		return err
	}
	return t.importSecret(ctx, label, keyType, value, opt)
}

var errDESBlocks = errors.New("hsm: data must be a multiple of 8 bytes and an initial vector 8 bytes")

// EncryptECB enciphers blocks, any multiple of 8 bytes, each alone.
func (k *DES3Key) EncryptECB(ctx context.Context, blocks []byte) (out []byte, err error) {
	if len(blocks)%desBlock != 0 || len(blocks) == 0 {
		return nil, errDESBlocks
	}
	err = k.with(ctx, "encipher", func(s *session, h pkcs11.ObjectHandle) error {
		out, err = s.encrypt(pkcs11.CKM_DES3_ECB, nil, h, blocks)
		return err
	})
	return out, err
}

// EncryptCBC enciphers data, a multiple of 8 bytes, from an 8-byte iv.
func (k *DES3Key) EncryptCBC(ctx context.Context, iv, data []byte) (out []byte, err error) {
	if len(data)%desBlock != 0 || len(data) == 0 || len(iv) != desBlock {
		return nil, errDESBlocks
	}
	err = k.with(ctx, "encipher", func(s *session, h pkcs11.ObjectHandle) error {
		out, err = s.encrypt(pkcs11.CKM_DES3_CBC, iv, h, data)
		return err
	})
	return out, err
}

// DecryptCBC reverses EncryptCBC.
func (k *DES3Key) DecryptCBC(ctx context.Context, iv, data []byte) (out []byte, err error) {
	if len(data)%desBlock != 0 || len(data) == 0 || len(iv) != desBlock {
		return nil, errDESBlocks
	}
	err = k.with(ctx, "decipher", func(s *session, h pkcs11.ObjectHandle) error {
		out, err = s.decrypt(pkcs11.CKM_DES3_CBC, iv, h, data)
		return err
	})
	return out, err
}

// WrapECB returns key enciphered under k by triple DES ECB, as GlobalPlatform's
// PUT KEY carries it: as long as the key. k needs UseWrap, key must be
// exportable. ErrUnsupported where Capabilities.WrapDES3 is not set.
func (k *DES3Key) WrapECB(ctx context.Context, key *DES3Key) ([]byte, error) {
	if !k.token.Capabilities().WrapDES3 {
		return nil, fmt.Errorf("%w: triple DES wrapping", ErrUnsupported)
	}
	out, err := k.wrap(ctx, key.secretKey, mech(pkcs11.CKM_DES3_ECB, nil))
	if err == nil && len(out) != key.size {
		return nil, fmt.Errorf("hsm: the module wrapped %d bytes into %d", key.size, len(out))
	}
	return out, err
}

// DeriveECB makes a session key whose value is the triple DES ECB encipherment
// of data, 16 or 24 bytes, under k, which needs UseDerive. The key does not leave
// the token. ErrUnsupported where Capabilities.DeriveDES3InToken is not set.
func (k *DES3Key) DeriveECB(ctx context.Context, data []byte, tmpl SessionTemplate) (*DES3Key, error) {
	return k.derive(ctx, pkcs11.CKM_DES3_ECB_ENCRYPT_DATA, nil, data, tmpl)
}

// DeriveCBC is DeriveECB with CBC from a zero initial vector.
func (k *DES3Key) DeriveCBC(ctx context.Context, data []byte, tmpl SessionTemplate) (*DES3Key, error) {
	return k.derive(ctx, pkcs11.CKM_DES3_CBC_ENCRYPT_DATA, make([]byte, desBlock), data, tmpl)
}

func (k *DES3Key) derive(ctx context.Context, mechanism uint, iv, data []byte, tmpl SessionTemplate) (*DES3Key, error) {
	keyType, err := des3Type(len(data))
	if err != nil {
		return nil, err
	}
	d, err := k.deriveAs(ctx, mechanism, iv, data, keyType, len(data), tmpl)
	if err != nil {
		return nil, err
	}
	return &DES3Key{d}, nil
}

func (k *DES3Key) deriveAs(ctx context.Context, mechanism uint, iv, data []byte, keyType uint, size int, tmpl SessionTemplate) (d *secretKey, err error) {
	if !k.token.Capabilities().DeriveDES3InToken {
		return nil, fmt.Errorf("%w: triple DES derivation", ErrUnsupported)
	}
	err = k.with(ctx, "derive a key", func(s *session, h pkcs11.ObjectHandle) error {
		d, err = s.deriveKey(h, mechanism, iv, data, keyType, size, tmpl)
		return err
	})
	return d, err
}

// DES3MACKey is a triple DES session key of two parts K1 ‖ K2 that also does
// single DES under K1, which the retail MAC needs (ISO/IEC 9797-1 algorithm 3).
// Few modules have that MAC as a mechanism; all that derive keys can hold K1 ‖
// K1 beside K1 ‖ K2, under which triple DES is single DES.
type DES3MACKey struct {
	*DES3Key
	single *DES3Key
}

// DeriveMACKey makes the key that is the CBC encipherment of 16 bytes of data
// from a zero initial vector. ErrUnsupported as for DeriveCBC.
func (k *DES3Key) DeriveMACKey(ctx context.Context, data []byte) (*DES3MACKey, error) {
	if len(data) != 2*desBlock {
		return nil, fmt.Errorf("hsm: a MAC key is derived from 16 bytes, not %d", len(data))
	}
	tmpl := SessionTemplate{Use: UseMACs}
	triple, err := k.DeriveCBC(ctx, data, tmpl)
	if err != nil {
		return nil, err
	}
	// The first block of CBC from a zero vector is that of ECB.
	single, err := k.DeriveECB(ctx, append(data[:desBlock:desBlock], data[:desBlock]...), tmpl)
	if err != nil {
		_ = triple.Close()
		return nil, err
	}
	return &DES3MACKey{DES3Key: triple, single: single}, nil
}

// EncryptSingleCBC enciphers data, a multiple of 8 bytes, by single DES CBC
// under K1 from an 8-byte iv.
func (k *DES3MACKey) EncryptSingleCBC(ctx context.Context, iv, data []byte) ([]byte, error) {
	return k.single.EncryptCBC(ctx, iv, data)
}

// Close destroys the key.
func (k *DES3MACKey) Close() error {
	return errors.Join(k.DES3Key.Close(), k.single.Close())
}
