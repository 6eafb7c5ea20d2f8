package hsm

import (
	"context"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// Wrap returns key enciphered under k by AES key wrap (RFC 3394, NIST
// SP 800-38F): 8 bytes longer than the key. k needs UseWrap, key must be
// exportable.
func (k *AESKey) Wrap(ctx context.Context, key *AESKey) ([]byte, error) {
	return k.wrap(ctx, key.secretKey, mech(pkcs11.CKM_AES_KEY_WRAP, nil))
}

// WrapCBC returns key enciphered under k by AES-CBC with a zero initial
// vector, as GlobalPlatform's PUT KEY carries it: as long as the key, which
// must have 16 or 32 bytes. k needs UseWrap, key must be exportable.
// ErrUnsupported where Capabilities.WrapCBC is not set.
func (k *AESKey) WrapCBC(ctx context.Context, key *AESKey) ([]byte, error) {
	if key.size%blockSize != 0 {
		return nil, fmt.Errorf("%w: CBC wrapping of %d bytes", ErrUnsupported, key.size)
	}
	if !k.token.Capabilities().WrapCBC {
		return nil, fmt.Errorf("%w: CBC wrapping", ErrUnsupported)
	}
	out, err := k.wrap(ctx, key.secretKey, mech(pkcs11.CKM_AES_CBC, make([]byte, blockSize)))
	if err == nil && len(out) != key.size {
		return nil, fmt.Errorf("hsm: the module wrapped %d bytes into %d", key.size, len(out))
	}
	return out, err
}

func (k *secretKey) wrap(ctx context.Context, key *secretKey, m []*pkcs11.Mechanism) ([]byte, error) {
	var out []byte
	err := k.with(ctx, "wrap a key", func(s *session, h pkcs11.ObjectHandle) error {
		wrapped, err := key.sessionHandle(s.epoch)
		if err != nil {
			return err
		}
		s.token.counts.add(fnWrapKey)
		out, err = s.mod.WrapKey(s.h, m, h, wrapped)
		if errors.Is(err, pkcs11.Error(pkcs11.CKR_KEY_HANDLE_INVALID)) {
			return sessionKeyError(err)
		}
		return err
	})
	return out, err
}

// Unwrap reverses Wrap into a session key of size bytes. ErrAuthentication
// when the wrapped key was altered or wrapped under another key.
func (k *AESKey) Unwrap(ctx context.Context, wrapped []byte, size int, tmpl SessionTemplate) (*AESKey, error) {
	if len(wrapped) != size+8 {
		return nil, fmt.Errorf("%w: a wrapped key of %d bytes", ErrAuthentication, len(wrapped))
	}
	var out *AESKey
	err := k.with(ctx, "unwrap a key", func(s *session, h pkcs11.ObjectHandle) error {
		var err error
		out, err = s.unwrap(h, wrapped, size, tmpl)
		return err
	})
	return out, err
}

func (s *session) unwrap(h pkcs11.ObjectHandle, wrapped []byte, size int, tmpl SessionTemplate) (*AESKey, error) {
	s.token.counts.add(fnUnwrapKey)
	// PKCS#11 2.40 2.14: the length follows from the wrapped key, and modules
	// refuse a template that repeats it.
	template := without(sessionTemplate(pkcs11.CKK_AES, size, tmpl), pkcs11.CKA_VALUE_LEN)
	key, err := s.mod.UnwrapKey(s.h, mech(pkcs11.CKM_AES_KEY_WRAP, nil), h, wrapped, template)
	if s.refused(err) {
		return nil, fmt.Errorf("%w (the module answers %v)", ErrAuthentication, err)
	}
	if err != nil {
		return nil, err
	}
	return &AESKey{secretKey: s.sessionKey(key, size)}, nil
}

// UnwrapAny is Unwrap that tries every key of k's label: two processes may
// have made one at the same moment, each having wrapped with its own.
func (k *AESKey) UnwrapAny(ctx context.Context, wrapped []byte, size int, tmpl SessionTemplate) (*AESKey, error) {
	out, err := k.Unwrap(ctx, wrapped, size, tmpl)
	if k.label == "" || !errors.Is(err, ErrAuthentication) || len(wrapped) != size+8 {
		return out, err
	}
	first := err
	err = k.token.do(ctx, "unwrap a key", func(s *session) error {
		all, err := s.lookupAll(pkcs11.CKO_SECRET_KEY, k.label)
		if err != nil {
			return err
		}
		if len(all) < 2 {
			return first
		}
		for _, o := range all {
			if out, err = s.unwrap(o.handle, wrapped, size, tmpl); !errors.Is(err, ErrAuthentication) {
				return err
			}
		}
		return err
	})
	return out, err
}
