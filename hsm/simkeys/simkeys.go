// Package simkeys keeps SIM subscribers' keys outside the token and still under
// it: K, OPc or TOPc, and keys for messages over the air are wrapped under a storage key of the token by AES-GCM, bound to
// the ICCID and the batch they were delivered in. It also reads the forms in which
// operators and vendors send them, under a transport key.
//
// A million subscribers need no million objects in a token; what is opened passes
// through the memory of the process, which is why only the agent does it (see
// hsm/agent), and is zeroed after use. The package knows no card, no operator and
// no file format: rows of a file come to it as bytes.
package simkeys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"cardbureau/hsm"
	"cardbureau/hsm/aka"
)

// ErrInput marks what cannot be a subscriber's keys, or names that cannot bind
// them.
var ErrInput = errors.New("simkeys: wrong input")

// AEAD is AES-GCM under a key of the token: *hsm.AESKey. Nonces have 12 bytes,
// tags 16.
type AEAD interface {
	SealGCM(ctx context.Context, nonce, aad, plain []byte) ([]byte, error)
	OpenGCM(ctx context.Context, nonce, aad, sealed []byte) ([]byte, error)
}

// Sizes in bytes.
const (
	keySize   = 16
	nonceSize = 12
)

const (
	purpose = "sim-key-v1"
	storage = "|storage"
)

// Subscriber is what an authentication centre knows of a SIM, and what a blank is
// programmed with.
type Subscriber struct {
	// K and OPc have 16 bytes each. For TUAK, K has 16 or 32 and OPc is TOPc, of 32.
	K, OPc aka.Secret
	// TUAK are the parameters of subscribers whose algorithm is TUAK (TS 35.231); nil:
	// it is MILENAGE with its default constants.
	TUAK *aka.TUAKParameters
	// OTA are keys for messages over the air (TS 102 225), by OTANames: 16, 24 or 32
	// bytes each. There may be none.
	OTA map[string]aka.Secret
	// Bureau: the bureau made the keys, for a SIM that it programs itself. Delegated: an
	// operator gave them to the bureau for that. Otherwise nothing gives them out.
	Bureau, Delegated bool
}

// OTANames are the keys of the three key sets as vendors' files name them: KIc
// enciphers, KID authenticates, KIK protects other keys. The order is that in which
// they are wrapped.
var OTANames = []string{"KIC1", "KID1", "KIK1", "KIC2", "KID2", "KIK2", "KIC3", "KID3", "KIK3"}

// Zero overwrites the keys.
func (s Subscriber) Zero() {
	s.K.Zero()
	s.OPc.Zero()
	for _, k := range s.OTA {
		k.Zero()
	}
}

// Algorithm is the subscriber's algorithm set.
func (s Subscriber) Algorithm() (aka.Algorithm, error) {
	if s.TUAK != nil {
		return aka.NewTUAK(s.K, s.OPc, *s.TUAK)
	}
	return aka.NewMilenage(s.K, s.OPc)
}

// CheckTUAK refuses parameters of TUAK that no USIM can have: AUTN takes a MAC of 8
// bytes, and AUTHENTICATE answers with 4 to 16 (TS 33.102 clause 6.3.7).
func CheckTUAK(p aka.TUAKParameters) error {
	if err := p.Check(); err != nil {
		return err
	}
	if p.MAC != 8 || p.RES > 16 {
		return fmt.Errorf("%w: a USIM has room for a MAC of 8 bytes and a response of 4 to 16", ErrInput)
	}
	return nil
}

func (s Subscriber) check() error {
	if s.TUAK != nil {
		if err := CheckTUAK(*s.TUAK); err != nil {
			return err
		}
		if len(s.K) != keySize && len(s.K) != 2*keySize || len(s.OPc) != aka.TOPcSize {
			return fmt.Errorf("%w: K has 16 or 32 bytes and TOPc 32", ErrInput)
		}
	} else if len(s.K) != keySize || len(s.OPc) != keySize {
		return fmt.Errorf("%w: K and OPc have 16 bytes", ErrInput)
	}
	for name, k := range s.OTA {
		if !slices.Contains(OTANames, name) || !otaSize(len(k)) {
			return fmt.Errorf("%w: keys for messages over the air are KIC1 to KIK3, of 16, 24 or 32 bytes", ErrInput)
		}
	}
	return nil
}

func otaSize(n int) bool { return n == 16 || n == 24 || n == 32 }

// Binding is what keys belong to.
type Binding struct {
	ICCID string // 18 to 20 digits
	Batch string // 1 to 64 characters without |
}

// check keeps AAD unambiguous.
func (b Binding) check() error {
	for _, c := range b.ICCID {
		if c < '0' || c > '9' {
			return fmt.Errorf("%w: an ICCID has digits only", ErrInput)
		}
	}
	if n := len(b.ICCID); n < 18 || n > 20 {
		return fmt.Errorf("%w: an ICCID has 18 to 20 digits", ErrInput)
	}
	if n := len(b.Batch); n < 1 || n > 64 || strings.ContainsRune(b.Batch, '|') {
		return fmt.Errorf("%w: a batch is named by 1 to 64 characters without |", ErrInput)
	}
	return nil
}

// AAD is sim-key-v1|ICCID|BATCH in ASCII: the additional data of the form AESGCM,
// and the beginning of that of Wrap.
func (b Binding) AAD() []byte { return []byte(purpose + "|" + b.ICCID + "|" + b.Batch) }

// Wrap seals a subscriber's keys under a storage key: nonce ‖ ciphertext ‖ tag.
func Wrap(ctx context.Context, key AEAD, random io.Reader, s Subscriber, b Binding) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	plain := s.encode()
	defer clear(plain)
	return seal(ctx, key, random, append(b.AAD(), storage...), plain)
}

func seal(ctx context.Context, key AEAD, random io.Reader, aad, plain []byte) ([]byte, error) {
	nonce := make([]byte, nonceSize, nonceSize+len(plain)+hsm.GCMOverhead)
	if _, err := io.ReadFull(random, nonce); err != nil {
		return nil, fmt.Errorf("draw a nonce: %w", err)
	}
	sealed, err := key.SealGCM(ctx, nonce, aad, plain)
	if err != nil {
		return nil, err
	}
	return append(nonce, sealed...), nil
}

// Open reverses Wrap. hsm.ErrAuthentication when the keys were altered, or belong
// to another ICCID or batch. The caller zeroes the subscriber.
func Open(ctx context.Context, key AEAD, wrapped []byte, b Binding) (Subscriber, error) {
	if err := b.check(); err != nil {
		return Subscriber{}, err
	}
	if len(wrapped) < nonceSize+hsm.GCMOverhead {
		return Subscriber{}, hsm.ErrAuthentication
	}
	plain, err := key.OpenGCM(ctx, wrapped[:nonceSize], append(b.AAD(), storage...), wrapped[nonceSize:])
	if err != nil {
		return Subscriber{}, err
	}
	s, err := decode(plain)
	if err != nil {
		clear(plain)
	}
	return s, err
}
