package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cardbureau/cardio/gp"
	"cardbureau/hsm"
)

// Kinds of static key.
const (
	kindENC = gp.KeyENC
	kindMAC = gp.KeyMAC
	kindDEK = gp.KeyDEK
)

// kdf3 is GlobalPlatformPro's KDF3.
var kdf3 = gp.Diversification{Cipher: gp.DiversifyAESCMAC, Input: "counter 000000 key 00 kdd"}

func keyBytes(bits int) (int, error) {
	switch bits {
	case 128, 192, 256:
		return bits / 8, nil
	}
	return 0, fmt.Errorf("%w: no AES key has %d bits", ErrRequest, bits)
}

// kdf3Messages are the CMAC inputs whose MACs make a static key of size bytes.
func kdf3Messages(kind byte, kdd []byte, size int) ([][]byte, error) {
	out, err := kdf3.Inputs(kind, kdd, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return out, nil
}

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
	kindENC: {Use: hsm.UseDerive},
	kindMAC: {Use: hsm.UseDerive},
	kindDEK: {Use: hsm.UseEncrypt | hsm.UseWrap},
}

// staticKeys makes or finds the static keys of a card.
func (s *Service) staticKeys(ctx context.Context, keySet, diversification string, bits int, kdd []byte) (_ *cardKeys, err error) {
	size, err := keyBytes(bits)
	if err != nil {
		return nil, err
	}
	k := &cardKeys{size: size, dek: lazyKey{size: size}}
	switch diversification {
	case DiversifyNone:
		err = s.findStatic(ctx, k, keySet)
	case DiversifyKDF3:
		err = s.deriveStatic(ctx, k, keySet, kdd)
	default:
		err = fmt.Errorf("%w: the diversification %q is not known (%s or %s)", ErrRequest, diversification, DiversifyKDF3, DiversifyNone)
	}
	if err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

func (s *Service) deriveStatic(ctx context.Context, k *cardKeys, keySet string, kdd []byte) error {
	l, err := label(keySet)
	if err != nil {
		return err
	}
	master, err := s.token.AES(ctx, l)
	if err != nil {
		return err
	}
	derive := func(ctx context.Context, kind byte) (*hsm.AESKey, error) {
		messages, err := kdf3Messages(kind, kdd, k.size)
		if err != nil {
			return nil, err
		}
		return master.DeriveCMAC(ctx, messages, k.size, templates[kind])
	}
	k.dek.make = func(ctx context.Context) (*hsm.AESKey, error) { return derive(ctx, kindDEK) }
	if k.enc, err = derive(ctx, kindENC); err != nil {
		return err
	}
	k.mac, err = derive(ctx, kindMAC)
	return err
}

// findStatic takes three keys as they are: <role>.enc, .mac and .dek.
func (s *Service) findStatic(ctx context.Context, k *cardKeys, keySet string) error {
	role, version, ok := strings.Cut(keySet, "/")
	if !ok {
		return fmt.Errorf("%w: %q names no key set (role/version)", ErrRequest, keySet)
	}
	find := func(ctx context.Context, suffix string) (*hsm.AESKey, error) {
		l, err := roleLabel(role+suffix, version)
		if err != nil {
			return nil, err
		}
		key, err := s.token.AES(ctx, l)
		if err == nil && key.KeySize() != k.size {
			return nil, fmt.Errorf("%w: %s has %d bits, not %d", ErrRequest, l, key.KeySize()*8, k.size*8)
		}
		return key, err
	}
	var err error
	k.dek.make = func(ctx context.Context) (*hsm.AESKey, error) { return find(ctx, ".dek") }
	if k.enc, err = find(ctx, ".enc"); err != nil {
		return err
	}
	k.mac, err = find(ctx, ".mac")
	return err
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

// newKeyComponents enciphers a card's new static keys under its present DEK.
func (s *Service) newKeyComponents(ctx context.Context, dek *hsm.AESKey, in PutKeyRequest) ([]gp.KeyComponent, error) {
	if in.Diversification != DiversifyKDF3 && in.Diversification != "" {
		return nil, fmt.Errorf("%w: a card gets diversified keys only", ErrRequest)
	}
	l, err := label(in.KeySet)
	if err != nil {
		return nil, err
	}
	size, err := keyBytes(in.KeyBits)
	if err != nil {
		return nil, err
	}
	master, err := s.token.AES(ctx, l)
	if err != nil {
		return nil, err
	}
	var out []gp.KeyComponent
	for _, kind := range []byte{kindENC, kindMAC, kindDEK} {
		messages, err := kdf3Messages(kind, in.KeyDiversificationData, size)
		if err != nil {
			return nil, err
		}
		c, err := wrappedComponent(ctx, master, dek, messages, size)
		if errors.Is(err, hsm.ErrUnsupported) {
			c, err = clearComponent(ctx, master, dek, messages, size)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// wrappedComponent keeps the new key inside the token.
func wrappedComponent(ctx context.Context, master, dek *hsm.AESKey, messages [][]byte, size int) (c gp.KeyComponent, err error) {
	if size%16 != 0 {
		return c, hsm.ErrUnsupported // 24 bytes are padded before they are enciphered
	}
	key, err := master.DeriveCMAC(ctx, messages, size, hsm.SessionTemplate{Use: hsm.UseEncrypt, Exportable: true})
	if err != nil {
		return c, err
	}
	defer func() {
		if cerr := key.Close(); err == nil {
			err = cerr
		}
	}()
	c = gp.KeyComponent{Type: gp.KeyTypeAES, Length: size}
	if c.Ciphertext, err = dek.WrapCBC(ctx, key); err != nil {
		return c, err
	}
	c.KCV, err = gp.KCV(ctx, key)
	return c, err
}

// clearComponent is for modules that cannot wrap so: the new key passes
// through this process's memory and is zeroed.
func clearComponent(ctx context.Context, master, dek *hsm.AESKey, messages [][]byte, size int) (gp.KeyComponent, error) {
	value, err := master.DeriveCMACBytes(ctx, messages, size)
	if err != nil {
		return gp.KeyComponent{}, err
	}
	defer clear(value)
	return gp.NewKeyComponent(ctx, dek, value)
}
