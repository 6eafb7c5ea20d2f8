// Package simkeys keeps SIM subscribers' keys outside the token and still under
// it: K and OPc are wrapped under a storage key of the token by AES-GCM, bound to
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
	plainSize = 2 + 2*keySize
	// WrappedSize is the length of what Wrap gives.
	WrappedSize = nonceSize + plainSize + hsm.GCMOverhead
	// AEADSize is the length of K ‖ OPc in the form AESGCM.
	AEADSize = nonceSize + 2*keySize + hsm.GCMOverhead
)

const (
	purpose       = "sim-key-v1"
	storage       = "|storage"
	formatVersion = 1
	flagBureau    = 0x01
)

// Subscriber is what an authentication centre knows of a SIM. The algorithm is
// MILENAGE with its default constants.
type Subscriber struct {
	K, OPc aka.Secret // 16 bytes each
	// Bureau: the bureau made the keys, for a SIM that it programs itself. Those of
	// an operator are false, and then nothing gives them out.
	Bureau bool
}

// Zero overwrites the keys.
func (s Subscriber) Zero() {
	s.K.Zero()
	s.OPc.Zero()
}

// Algorithm is the subscriber's algorithm set.
func (s Subscriber) Algorithm() (aka.Algorithm, error) { return aka.NewMilenage(s.K, s.OPc) }

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
	if len(s.K) != keySize || len(s.OPc) != keySize {
		return nil, fmt.Errorf("%w: K and OPc have 16 bytes", ErrInput)
	}
	plain := append(make([]byte, 0, plainSize), formatVersion, 0)
	if s.Bureau {
		plain[1] = flagBureau
	}
	plain = append(append(plain, s.K...), s.OPc...)
	defer clear(plain)
	return seal(ctx, key, random, append(b.AAD(), storage...), plain)
}

func seal(ctx context.Context, key AEAD, random io.Reader, aad, plain []byte) ([]byte, error) {
	nonce := make([]byte, nonceSize, WrappedSize)
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
	if len(wrapped) != WrappedSize {
		return Subscriber{}, hsm.ErrAuthentication
	}
	plain, err := key.OpenGCM(ctx, wrapped[:nonceSize], append(b.AAD(), storage...), wrapped[nonceSize:])
	if err != nil {
		return Subscriber{}, err
	}
	if len(plain) != plainSize || plain[0] != formatVersion || plain[1]&^flagBureau != 0 {
		clear(plain)
		return Subscriber{}, fmt.Errorf("%w: the wrapped keys are of another version", ErrInput)
	}
	return Subscriber{
		K: plain[2 : 2+keySize : 2+keySize], OPc: plain[2+keySize:], Bureau: plain[1]&flagBureau != 0,
	}, nil
}
