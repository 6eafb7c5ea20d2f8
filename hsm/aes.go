package hsm

import (
	"context"
	"crypto/aes"
	"errors"

	"github.com/miekg/pkcs11"
)

const blockSize = aes.BlockSize

// AESKey is an AES key in the token: one with a label, which stays, or one of
// this process, which lives until Close. KeySize is 16, 24 or 32 bytes. It is
// safe for concurrent use.
type AESKey struct {
	*secretKey
	zero    [blockSize]byte // E(K, 0), see zeroBlock; guarded by mu
	hasZero bool
}

// AES finds the AES key with that label. ErrNoKey when there is none.
func (t *Token) AES(ctx context.Context, label string) (*AESKey, error) {
	k, err := t.findSecret(ctx, label, "an AES", pkcs11.CKK_AES)
	if err != nil {
		return nil, err
	}
	return &AESKey{secretKey: k}, nil
}

// Close destroys a session key in the token. Keys with a label are left
// alone.
func (k *AESKey) Close() error {
	err := k.secretKey.Close()
	k.mu.Lock()
	clear(k.zero[:])
	k.hasZero = false
	k.mu.Unlock()
	return err
}

var errBlocks = errors.New("hsm: data must be a multiple of 16 bytes and an initial vector 16 bytes")

// EncryptECB enciphers blocks, any multiple of 16 bytes, each alone.
func (k *AESKey) EncryptECB(ctx context.Context, blocks []byte) (out []byte, err error) {
	if len(blocks)%blockSize != 0 || len(blocks) == 0 {
		return nil, errBlocks
	}
	err = k.with(ctx, "encipher", func(s *session, h pkcs11.ObjectHandle) error {
		out, err = s.encrypt(pkcs11.CKM_AES_ECB, nil, h, blocks)
		return err
	})
	return out, err
}

// EncryptCBC enciphers data, a multiple of 16 bytes, from a 16-byte iv.
func (k *AESKey) EncryptCBC(ctx context.Context, iv, data []byte) (out []byte, err error) {
	if len(data)%blockSize != 0 || len(data) == 0 || len(iv) != blockSize {
		return nil, errBlocks
	}
	err = k.with(ctx, "encipher", func(s *session, h pkcs11.ObjectHandle) error {
		out, err = s.encrypt(pkcs11.CKM_AES_CBC, iv, h, data)
		return err
	})
	return out, err
}

// DecryptCBC reverses EncryptCBC.
func (k *AESKey) DecryptCBC(ctx context.Context, iv, data []byte) (out []byte, err error) {
	if len(data)%blockSize != 0 || len(data) == 0 || len(iv) != blockSize {
		return nil, errBlocks
	}
	err = k.with(ctx, "decipher", func(s *session, h pkcs11.ObjectHandle) error {
		out, err = s.decrypt(pkcs11.CKM_AES_CBC, iv, h, data)
		return err
	})
	return out, err
}

// CMAC is the 16-byte AES-CMAC of data (NIST SP 800-38B).
func (k *AESKey) CMAC(ctx context.Context, data []byte) (out []byte, err error) {
	err = k.with(ctx, "CMAC", func(s *session, h pkcs11.ObjectHandle) error {
		out, err = s.sign(pkcs11.CKM_AES_CMAC, h, data)
		return err
	})
	return out, err
}

// GCMOverhead is the length of the tag that SealGCM appends, in bytes.
const GCMOverhead = 16

// SealGCM enciphers with AES-GCM (NIST SP 800-38D): nonce is 12 bytes and never
// used twice with a key; the 16-byte tag is appended.
func (k *AESKey) SealGCM(ctx context.Context, nonce, aad, plain []byte) (out []byte, err error) {
	if len(nonce) != 12 {
		return nil, errors.New("hsm: a GCM nonce has 12 bytes")
	}
	err = k.with(ctx, "seal", func(s *session, h pkcs11.ObjectHandle) error {
		p := pkcs11.NewGCMParams(nonce, aad, GCMOverhead*8)
		defer p.Free()
		out, err = s.encrypt(pkcs11.CKM_AES_GCM, p, h, plain)
		return err
	})
	return out, err
}

// OpenGCM reverses SealGCM. ErrAuthentication when anything differs.
func (k *AESKey) OpenGCM(ctx context.Context, nonce, aad, sealed []byte) (out []byte, err error) {
	if len(nonce) != 12 || len(sealed) < GCMOverhead {
		return nil, ErrAuthentication
	}
	err = k.with(ctx, "open", func(s *session, h pkcs11.ObjectHandle) error {
		p := pkcs11.NewGCMParams(nonce, aad, GCMOverhead*8)
		defer p.Free()
		out, err = s.decrypt(pkcs11.CKM_AES_GCM, p, h, sealed)
		if s.refused(err) {
			return ErrAuthentication
		}
		return err
	})
	return out, err
}
