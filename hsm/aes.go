package hsm

import (
	"context"
	"crypto/aes"
	"errors"
	"fmt"
	"sync"

	"github.com/miekg/pkcs11"
)

const blockSize = aes.BlockSize

// Use says what a key may be used for.
type Use uint

// Uses of secret keys.
const (
	UseEncrypt Use = 1 << iota // encipher and decipher: ECB, CBC, GCM
	UseMAC                     // CMAC or HMAC
	UseDerive                  // be the base of DeriveCMAC
	UseWrap                    // wrap and unwrap other keys
	UseMACs                    // CMAC, of many messages at once: encipher, never decipher
)

// AESKey is an AES key in the token: one with a label, which stays, or one of
// this process, which lives until Close. It is safe for concurrent use.
type AESKey struct {
	token *Token
	label string // empty for a session key
	size  int    // bytes

	mu      sync.Mutex // guards what follows, of session keys only
	handle  pkcs11.ObjectHandle
	maker   *session
	serial  uint64 // of maker
	epoch   uint64
	closed  bool
	zero    [blockSize]byte // E(K, 0), see zeroBlock
	hasZero bool
}

// AES finds the AES key with that label. ErrNoKey when there is none.
func (t *Token) AES(ctx context.Context, label string) (*AESKey, error) {
	var k *AESKey
	err := t.do(ctx, "find "+label, func(s *session) error {
		o, err := s.lookup(pkcs11.CKO_SECRET_KEY, label)
		if err != nil {
			return err
		}
		if o.keyType != pkcs11.CKK_AES {
			return fmt.Errorf("%w: %s is not an AES key", ErrNoKey, label)
		}
		k = &AESKey{token: t, label: label, size: o.bytes}
		return nil
	})
	return k, err
}

// KeySize is 16, 24 or 32 bytes.
func (k *AESKey) KeySize() int { return k.size }

// with runs fn with the key's handle on a session.
func (k *AESKey) with(ctx context.Context, name string, fn func(*session, pkcs11.ObjectHandle) error) error {
	return k.token.do(ctx, name, func(s *session) error {
		if k.label != "" {
			return s.using(pkcs11.CKO_SECRET_KEY, k.label, func(o object) error { return fn(s, o.handle) })
		}
		h, err := k.sessionHandle(s.epoch)
		if err != nil {
			return err
		}
		return sessionKeyError(fn(s, h))
	})
}

// sessionHandle returns the handle while it means this key.
func (k *AESKey) sessionHandle(epoch uint64) (pkcs11.ObjectHandle, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.epoch != epoch || k.maker.serial.Load() != k.serial {
		return 0, ErrKeyGone
	}
	return k.handle, nil
}

// sessionKeyError keeps a lost session key from calling for remedies: it
// cannot be found again.
func sessionKeyError(err error) error {
	if remedyFor(err) == remedyObject {
		return fmt.Errorf("%w: the module answers %s", ErrKeyGone, err.Error())
	}
	return err
}

// sessionKey wraps a fresh session object.
func (s *session) sessionKey(h pkcs11.ObjectHandle, size int) *AESKey {
	return &AESKey{token: s.token, size: size, handle: h, maker: s, serial: s.serial.Load(), epoch: s.epoch}
}

// Close destroys a session key in the token. Keys with a label are left
// alone.
func (k *AESKey) Close() error {
	if k.label != "" {
		return nil
	}
	// The operation is not tied to a caller's context: a key must not survive
	// because someone was in a hurry.
	err := k.token.do(context.Background(), "destroy a session key", func(s *session) error {
		h, err := k.sessionHandle(s.epoch)
		if err != nil {
			return err
		}
		return sessionKeyError(s.destroy(h))
	})
	k.mu.Lock()
	k.closed = true
	clear(k.zero[:])
	k.hasZero = false
	k.mu.Unlock()
	if errors.Is(err, ErrKeyGone) || errors.Is(err, ErrClosed) {
		return nil
	}
	return err
}

func (s *session) encrypt(mechanism uint, param any, h pkcs11.ObjectHandle, data []byte) ([]byte, error) {
	s.token.counts.add(fnEncrypt)
	if err := s.mod.EncryptInit(s.h, mech(mechanism, param), h); err != nil {
		return nil, err
	}
	return s.mod.Encrypt(s.h, data)
}

func (s *session) decrypt(mechanism uint, param any, h pkcs11.ObjectHandle, data []byte) ([]byte, error) {
	s.token.counts.add(fnDecrypt)
	if err := s.mod.DecryptInit(s.h, mech(mechanism, param), h); err != nil {
		return nil, err
	}
	return s.mod.Decrypt(s.h, data)
}

func (s *session) sign(mechanism uint, h pkcs11.ObjectHandle, data []byte) ([]byte, error) {
	s.token.counts.add(fnSign)
	if err := s.mod.SignInit(s.h, mech(mechanism, nil), h); err != nil {
		return nil, err
	}
	return s.mod.Sign(s.h, data)
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
