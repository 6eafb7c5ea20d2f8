package vault

import (
	"context"
	"fmt"

	"cardbureau/cardio/gp"
	"cardbureau/hsm"
)

// cardKeys are the static keys of one card in the token.
type cardKeys struct {
	size     int
	enc, mac *hsm.AESKey // until the session is open
	dek      lazyKey     // many sessions never need it
}

// lazyKey is a key that is made when it is first used.
type lazyKey struct {
	size int
	make func(context.Context) (*hsm.AESKey, error)
	key  *hsm.AESKey
}

var _ gp.Cipher = (*lazyKey)(nil)

func (l *lazyKey) get(ctx context.Context) (_ *hsm.AESKey, err error) {
	if l.key == nil {
		l.key, err = l.make(ctx)
	}
	return l.key, err
}

func (l *lazyKey) close() {
	if l.key != nil {
		closeQuietly(l.key)
	}
}

// KeySize is 16, 24 or 32 bytes.
func (l *lazyKey) KeySize() int { return l.size }

// EncryptECB is hsm.AESKey's.
func (l *lazyKey) EncryptECB(ctx context.Context, blocks []byte) ([]byte, error) {
	k, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return k.EncryptECB(ctx, blocks)
}

// EncryptCBC is hsm.AESKey's.
func (l *lazyKey) EncryptCBC(ctx context.Context, iv, data []byte) ([]byte, error) {
	k, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return k.EncryptCBC(ctx, iv, data)
}

// DecryptCBC is hsm.AESKey's.
func (l *lazyKey) DecryptCBC(ctx context.Context, iv, data []byte) ([]byte, error) {
	k, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return k.DecryptCBC(ctx, iv, data)
}

// CMAC is hsm.AESKey's.
func (l *lazyKey) CMAC(ctx context.Context, data []byte) ([]byte, error) {
	k, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return k.CMAC(ctx, data)
}

var _ gp.StaticKeys = (*cardKeys)(nil)

// templates say what each static key is for. KeyENC and Key-MAC only make
// session keys (and Key-ENC the card's challenge, a CMAC); Key-DEK enciphers
// and wraps.
var templates = map[byte]hsm.SessionTemplate{
	gp.KeyENC: {Use: hsm.UseDerive},
	gp.KeyMAC: {Use: hsm.UseDerive},
	gp.KeyDEK: {Use: hsm.UseEncrypt | hsm.UseWrap},
}

// staticKeys makes or finds the AES keys of a card.
func (s *Service) staticKeys(ctx context.Context, set cardKeySet, kdd []byte) (_ *cardKeys, err error) {
	key := func(ctx context.Context, kind byte) (*hsm.AESKey, error) {
		return s.aesKey(ctx, set, kind, kdd, templates[kind])
	}
	k := &cardKeys{size: set.size, dek: lazyKey{size: set.size, make: func(ctx context.Context) (*hsm.AESKey, error) { return key(ctx, gp.KeyDEK) }}}
	if k.enc, err = key(ctx, gp.KeyENC); err == nil {
		k.mac, err = key(ctx, gp.KeyMAC)
	}
	if err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

// KeySize is that of all three keys in bytes.
func (k *cardKeys) KeySize() int { return k.size }

// ENC is Key-ENC.
func (k *cardKeys) ENC() gp.Cipher { return k.enc }

// DEK is Key-DEK.
func (k *cardKeys) DEK() gp.Cipher { return &k.dek }

// DeriveSession makes a session key that stays in the token.
func (k *cardKeys) DeriveSession(ctx context.Context, kind byte, kdfContext []byte) (gp.Cipher, error) {
	base, use := k.mac, hsm.UseMACs
	switch kind {
	case gp.DeriveSENC:
		base, use = k.enc, hsm.UseEncrypt
	case gp.DeriveSMAC, gp.DeriveSRMAC:
	default:
		return nil, fmt.Errorf("%w: session key of kind %02X", ErrRequest, kind)
	}
	var messages [][]byte
	for i := 0; i*16 < k.size; i++ {
		messages = append(messages, gp.DerivationData(kind, k.size*8, byte(i+1), kdfContext))
	}
	key, err := base.DeriveCMAC(ctx, messages, k.size, hsm.SessionTemplate{Use: use})
	if err != nil {
		return nil, err // not key: a nil *AESKey in an interface is not nil
	}
	return key, nil
}

// closeBase destroys what a session needs only while it is opened.
func (k *cardKeys) closeBase() {
	for _, key := range []**hsm.AESKey{&k.enc, &k.mac} {
		if *key != nil {
			closeQuietly(*key)
			*key = nil
		}
	}
}

func (k *cardKeys) close() {
	k.closeBase()
	k.dek.close()
}
