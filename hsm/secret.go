package hsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/miekg/pkcs11"
)

// Use says what a key may be used for.
type Use uint

// Uses of secret keys.
const (
	UseEncrypt Use = 1 << iota // encipher and decipher: ECB, CBC, GCM
	UseMAC                     // CMAC or HMAC
	UseDerive                  // be the base of DeriveCMAC
	UseWrap                    // wrap and unwrap other keys
	UseMACs                    // CMAC, of many messages at once, or retail MAC: encipher, never decipher
)

// secretKey is a symmetric key in the token: one with a label, which stays, or
// one of this process, which lives until Close. It is safe for concurrent use.
type secretKey struct {
	token *Token
	label string // empty for a session key
	size  int    // bytes

	mu     sync.Mutex // guards what follows, of session keys only
	handle pkcs11.ObjectHandle
	maker  *session
	serial uint64 // of maker
	epoch  uint64
	closed bool
}

// findSecret finds the key of one of these types with that label.
func (t *Token) findSecret(ctx context.Context, label, what string, types ...uint) (*secretKey, error) {
	var k *secretKey
	err := t.do(ctx, "find "+label, func(s *session) error {
		o, err := s.lookup(pkcs11.CKO_SECRET_KEY, label)
		if err != nil {
			return err
		}
		if !slices.Contains(types, o.keyType) {
			return fmt.Errorf("%w: %s is not %s key", ErrNoKey, label, what)
		}
		k = &secretKey{token: t, label: label, size: o.bytes}
		return nil
	})
	return k, err
}

// KeySize is the key's length in bytes.
func (k *secretKey) KeySize() int { return k.size }

// with runs fn with the key's handle on a session.
func (k *secretKey) with(ctx context.Context, name string, fn func(*session, pkcs11.ObjectHandle) error) error {
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
func (k *secretKey) sessionHandle(epoch uint64) (pkcs11.ObjectHandle, error) {
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
func (s *session) sessionKey(h pkcs11.ObjectHandle, size int) *secretKey {
	return &secretKey{token: s.token, size: size, handle: h, maker: s, serial: s.serial.Load(), epoch: s.epoch}
}

// Close destroys a session key in the token. Keys with a label are left
// alone.
func (k *secretKey) Close() error {
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
