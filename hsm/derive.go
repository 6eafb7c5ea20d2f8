package hsm

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"
)

// SessionTemplate says what a key that is made for this process may do.
type SessionTemplate struct {
	Use Use
	// Exportable lets the key be wrapped by another key of the token. It stays
	// sensitive: its value is not shown in the clear.
	Exportable bool
}

// DeriveCMAC makes a session key of size 16, 24 or 32 bytes whose value is
// the leftmost size bytes of CMAC(k, messages[0]) ‖ CMAC(k, messages[1]) …
// It is the core of GlobalPlatform's KDF3 and of SP 800-108 in counter mode.
// The key does not leave the token where Capabilities.DeriveInToken is set.
// k needs UseDerive.
func (k *AESKey) DeriveCMAC(ctx context.Context, messages [][]byte, size int, tmpl SessionTemplate) (*AESKey, error) {
	if size != 16 && size != 24 && size != 32 {
		return nil, fmt.Errorf("hsm: no AES key has %d bytes", size)
	}
	if need := (size + blockSize - 1) / blockSize; len(messages) != need {
		return nil, fmt.Errorf("hsm: %d messages for %d bytes, %d are needed", len(messages), size, need)
	}
	var derived *AESKey
	err := k.with(ctx, "derive a key", func(s *session, h pkcs11.ObjectHandle) error {
		var err error
		if s.token.caps.DeriveInToken {
			derived, err = k.deriveInside(s, h, messages, size, tmpl)
		} else {
			derived, err = deriveOutside(s, h, messages, size, tmpl)
		}
		return err
	})
	return derived, err
}

// deriveInside computes the last block X of each CMAC and lets the token
// encrypt it into a new key (CKM_AES_ECB_ENCRYPT_DATA).
func (k *AESKey) deriveInside(s *session, h pkcs11.ObjectHandle, messages [][]byte, size int, tmpl SessionTemplate) (*AESKey, error) {
	last, err := k.lastBlocks(s, h, messages)
	if err != nil {
		return nil, err
	}
	defer clear(last)
	return s.encryptIntoKey(h, last, size, tmpl)
}

// encryptIntoKey makes a session key of the leftmost size bytes of the ECB
// encryption of blocks under h.
func (s *session) encryptIntoKey(h pkcs11.ObjectHandle, blocks []byte, size int, tmpl SessionTemplate) (*AESKey, error) {
	k, err := s.deriveKey(h, pkcs11.CKM_AES_ECB_ENCRYPT_DATA, nil, blocks, pkcs11.CKK_AES, size, tmpl)
	if err != nil {
		return nil, err
	}
	return &AESKey{secretKey: k}, nil
}

// deriveKey makes a session key of the leftmost size bytes of the encryption
// of data, from iv where the mechanism is one of CBC.
func (s *session) deriveKey(h pkcs11.ObjectHandle, mechanism uint, iv, data []byte, keyType uint, size int, tmpl SessionTemplate) (*secretKey, error) {
	m, release := encryptDataMechanism(mechanism, iv, data)
	defer release()
	s.token.counts.add(fnDeriveKey)
	derived, err := s.mod.DeriveKey(s.h, []*pkcs11.Mechanism{m}, h, sessionTemplate(keyType, size, tmpl))
	if err != nil {
		return nil, err
	}
	return s.sessionKey(derived, size), nil
}

// lastBlocks returns for each message the block X with CMAC = E(K, X)
// (NIST SP 800-38B 6.2). The first blocks of all messages are enciphered in
// one call, together with the zero block that the subkeys come from.
func (k *AESKey) lastBlocks(s *session, h pkcs11.ObjectHandle, messages [][]byte) ([]byte, error) {
	zero, known := k.zeroBlock()
	last := make([]byte, blockSize*len(messages))
	chains := make([][blockSize]byte, len(messages))
	for step := 0; ; step++ {
		var batch []byte
		var whose []int
		if step == 0 && !known {
			batch = append(batch, make([]byte, blockSize)...)
		}
		for i, m := range messages {
			if (len(m)-1)/blockSize > step { // a block that is not the last
				block := make([]byte, blockSize)
				subtle.XORBytes(block, chains[i][:], m[step*blockSize:(step+1)*blockSize])
				batch = append(batch, block...)
				whose = append(whose, i)
			}
		}
		if len(batch) == 0 {
			break
		}
		out, err := s.encrypt(pkcs11.CKM_AES_ECB, nil, h, batch)
		if err != nil {
			return nil, err
		}
		if len(out) != len(batch) {
			return nil, fmt.Errorf("hsm: the module enciphered %d bytes into %d", len(batch), len(out))
		}
		if step == 0 && !known {
			copy(zero[:], out)
			k.keepZeroBlock(zero)
			out = out[blockSize:]
		}
		for n, i := range whose {
			copy(chains[i][:], out[n*blockSize:])
		}
		if len(whose) == 0 {
			break
		}
	}
	k1 := double(zero)
	for i, m := range messages {
		x := last[i*blockSize : (i+1)*blockSize]
		tail := m[max(0, len(m)-1)/blockSize*blockSize:]
		sub := k1
		copy(x, tail)
		if len(tail) < blockSize {
			x[len(tail)] = 0x80
			sub = double(k1)
		}
		subtle.XORBytes(x, x, chains[i][:])
		subtle.XORBytes(x, x, sub[:])
	}
	clear(zero[:])
	return last, nil
}

// double multiplies by x in GF(2^128) (NIST SP 800-38B 6.1).
func double(b [blockSize]byte) [blockSize]byte {
	var out [blockSize]byte
	carry := b[0] >> 7
	for i := range blockSize - 1 {
		out[i] = b[i]<<1 | b[i+1]>>7
	}
	out[blockSize-1] = b[blockSize-1]<<1 ^ 0x87*carry
	return out
}

// zeroBlock is E(K, 0), which CMAC's subkeys come from. It is remembered: for
// a master key it would otherwise be asked for with every card. It reveals
// nothing of the key, and without the key nothing can be computed from it but
// the subkeys.
func (k *AESKey) zeroBlock() (b [blockSize]byte, ok bool) {
	if k.label != "" {
		v, ok := k.token.subkeys.Load(k.label)
		if !ok {
			return b, false
		}
		return v.([blockSize]byte), true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.zero, k.hasZero
}

func (k *AESKey) keepZeroBlock(b [blockSize]byte) {
	if k.label != "" {
		k.token.subkeys.Store(k.label, b)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.zero, k.hasZero = b, true
}

// deriveOutside is for modules that cannot derive: the value passes through
// this process's memory and is zeroed.
func deriveOutside(s *session, h pkcs11.ObjectHandle, messages [][]byte, size int, tmpl SessionTemplate) (*AESKey, error) {
	value, err := cmacs(s, h, messages, size)
	if err != nil {
		return nil, err
	}
	defer clear(value)
	return s.importAES(value, tmpl)
}

func cmacs(s *session, h pkcs11.ObjectHandle, messages [][]byte, size int) ([]byte, error) {
	out := make([]byte, 0, blockSize*len(messages))
	for _, m := range messages {
		mac, err := s.sign(pkcs11.CKM_AES_CMAC, h, m)
		if err != nil {
			clear(out)
			return nil, err
		}
		out = append(out, mac...)
		clear(mac)
	}
	if len(out) < size {
		clear(out)
		return nil, errors.New("hsm: the module's CMAC is too short")
	}
	clear(out[size:])
	return out[:size:size], nil
}

// sessionTemplate describes a key of this process. CKA_PRIVATE is off: it
// would only make the module encipher the key in its own memory on every use,
// while no other process can see a session object at all.
func sessionTemplate(keyType uint, size int, tmpl SessionTemplate) []*pkcs11.Attribute {
	out := append([]*pkcs11.Attribute{
		attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		attr(pkcs11.CKA_KEY_TYPE, keyType),
		attr(pkcs11.CKA_TOKEN, false),
		attr(pkcs11.CKA_PRIVATE, false),
		attr(pkcs11.CKA_SENSITIVE, true),
		attr(pkcs11.CKA_EXTRACTABLE, tmpl.Exportable),
	}, useAttributes(tmpl.Use)...)
	if keyType == pkcs11.CKK_AES { // a DES key's type says its length
		out = append(out, attr(pkcs11.CKA_VALUE_LEN, size))
	}
	return out
}

// useAttributes spells out every use: what a module assumes for those left
// out differs.
func useAttributes(u Use) []*pkcs11.Attribute {
	has := func(bits Use) bool { return u&bits != 0 }
	return []*pkcs11.Attribute{
		attr(pkcs11.CKA_ENCRYPT, has(UseEncrypt|UseDerive|UseMACs)),
		attr(pkcs11.CKA_DECRYPT, has(UseEncrypt)),
		attr(pkcs11.CKA_SIGN, has(UseMAC|UseMACs|UseDerive)),
		attr(pkcs11.CKA_VERIFY, has(UseMAC|UseMACs)),
		attr(pkcs11.CKA_DERIVE, has(UseDerive)),
		attr(pkcs11.CKA_WRAP, has(UseWrap)),
		attr(pkcs11.CKA_UNWRAP, has(UseWrap)),
	}
}

// ImportSession brings an AES key value into the token for this process. It is
// for modules' self-tests and for values that come from outside in the clear.
func (t *Token) ImportSession(ctx context.Context, value []byte, tmpl SessionTemplate) (*AESKey, error) {
	var k *AESKey
	err := t.do(ctx, "import a session key", func(s *session) error {
		var err error
		k, err = s.importAES(value, tmpl)
		return err
	})
	return k, err
}

func (s *session) importAES(value []byte, tmpl SessionTemplate) (*AESKey, error) {
	k, err := s.importSessionKey(pkcs11.CKK_AES, value, tmpl)
	if err != nil {
		return nil, err
	}
	return &AESKey{secretKey: k}, nil
}

func (s *session) importSessionKey(keyType uint, value []byte, tmpl SessionTemplate) (*secretKey, error) {
	// PKCS#11 2.40 4.9: C_CreateObject takes CKA_VALUE in place of CKA_VALUE_LEN.
	template := append(without(sessionTemplate(keyType, len(value), tmpl), pkcs11.CKA_VALUE_LEN), attr(pkcs11.CKA_VALUE, value))
	s.token.counts.add(fnCreateObject)
	h, err := s.mod.CreateObject(s.h, template)
	if err != nil {
		return nil, err
	}
	return s.sessionKey(h, len(value)), nil
}

// without takes an attribute out of a template.
func without(template []*pkcs11.Attribute, typ uint) []*pkcs11.Attribute {
	return slices.DeleteFunc(template, func(a *pkcs11.Attribute) bool { return a.Type == typ })
}

// GenerateSession makes a random AES session key of size bytes inside the token.
func (t *Token) GenerateSession(ctx context.Context, size int, tmpl SessionTemplate) (*AESKey, error) {
	var k *AESKey
	err := t.do(ctx, "make a session key", func(s *session) error {
		s.token.counts.add(fnGenerateKey)
		h, err := s.mod.GenerateKey(s.h, mech(pkcs11.CKM_AES_KEY_GEN, nil), sessionTemplate(pkcs11.CKK_AES, size, tmpl))
		if err != nil {
			return err
		}
		k = &AESKey{secretKey: s.sessionKey(h, size)}
		return nil
	})
	return k, err
}
