package vault

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"cardbureau/hsm"
)

// Layout of sealed data: version 01, nonce (12 bytes), ciphertext, tag (16).
const (
	sealVersion  = 0x01
	nonceSize    = 12
	sealOverhead = 1 + nonceSize + hsm.GCMOverhead
	dataKeySize  = 32
)

// What is sealed is bound to its kind before the caller's additional data, so
// that a card's secrets do not open as something that may leave the agent.
const (
	kindData    = "data\x00"
	kindSecrets = "card-secrets\x00"
)

const epochFormat = "2006-01"

// newDataKey makes a data key inside the token and wraps it there.
func (s *Service) newDataKey(ctx context.Context, _ *nothing) (*DataKey, error) {
	epoch := s.now().UTC().Format(epochFormat)
	kek, err := s.kek(ctx, epoch)
	if errors.Is(err, hsm.ErrNoKey) {
		if err = s.makeKEK(ctx, epoch); err == nil {
			kek, err = s.kek(ctx, epoch)
		}
	}
	if err != nil {
		return nil, err
	}
	key, err := s.token.GenerateSession(ctx, dataKeySize, hsm.SessionTemplate{Use: hsm.UseEncrypt, Exportable: true})
	if err != nil {
		return nil, err
	}
	wrapped, err := kek.Wrap(ctx, key)
	if cerr := key.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	return &DataKey{Epoch: epoch, Wrapped: wrapped}, nil
}

func (s *Service) kek(ctx context.Context, epoch string) (*hsm.AESKey, error) {
	if _, err := time.Parse(epochFormat, epoch); err != nil {
		return nil, fmt.Errorf("%w: a data key's epoch is yyyy-mm", ErrRequest)
	}
	l, err := roleLabel(RolePersonalData, epoch)
	if err != nil {
		return nil, err
	}
	return s.token.AES(ctx, l)
}

// makeKEK makes the key-encryption key of a month on its first use, with the
// mark that the token's other keys have.
func (s *Service) makeKEK(ctx context.Context, epoch string) error {
	unlock, err := s.lockMaking(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	ref, err := roleLabel(RolePersonRef, "1")
	if err != nil {
		return err
	}
	exists, development, err := s.token.Exists(ctx, ref)
	if err != nil {
		return err
	}
	if !exists {
		return notProvisioned(fmt.Errorf("%w: %s", hsm.ErrNoKey, ref))
	}
	return s.ensureKEK(ctx, epoch, development)
}

func (s *Service) ensureKEK(ctx context.Context, epoch string, development bool) error {
	l, err := roleLabel(RolePersonalData, epoch)
	if err != nil {
		return err
	}
	err = s.token.GenerateAES(ctx, l, 32, hsm.KeyOptions{Use: hsm.UseWrap, Development: development})
	if errors.Is(err, hsm.ErrKeyExists) {
		return nil
	}
	return err
}

func sealWith(ctx context.Context, key *hsm.AESKey, kind string, aad, plain []byte) ([]byte, error) {
	out := make([]byte, 1+nonceSize, sealOverhead+len(plain))
	out[0] = sealVersion
	nonce := out[1:]
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("draw a nonce: %w", err)
	}
	sealed, err := key.SealGCM(ctx, nonce, append([]byte(kind), aad...), plain)
	if err != nil {
		return nil, err
	}
	return append(out, sealed...), nil
}

func openWith(ctx context.Context, key *hsm.AESKey, kind string, aad, sealed []byte) ([]byte, error) {
	if len(sealed) < sealOverhead || sealed[0] != sealVersion {
		return nil, ErrSealed
	}
	plain, err := key.OpenGCM(ctx, sealed[1:1+nonceSize], append([]byte(kind), aad...), sealed[1+nonceSize:])
	if errors.Is(err, hsm.ErrAuthentication) {
		return nil, ErrSealed
	}
	return plain, err
}

func (s *Service) seal(ctx context.Context, in *sealRequest) (*piecesReply, error) {
	return s.each(ctx, in.Items, func(key *hsm.AESKey, it SealItem) ([]byte, error) {
		return sealWith(ctx, key, kindData, it.AAD, it.Data)
	})
}

func (s *Service) open(ctx context.Context, in *sealRequest) (*piecesReply, error) {
	return s.each(ctx, in.Items, func(key *hsm.AESKey, it SealItem) ([]byte, error) {
		return openWith(ctx, key, kindData, it.AAD, it.Data)
	})
}

func (s *Service) each(ctx context.Context, items []SealItem, fn func(*hsm.AESKey, SealItem) ([]byte, error)) (*piecesReply, error) {
	out := &piecesReply{Pieces: make([][]byte, len(items))}
	for i, it := range items {
		err := s.withDataKey(ctx, it.DataKey, func(key *hsm.AESKey) (err error) {
			out.Pieces[i], err = fn(key, it)
			return err
		})
		if err != nil {
			out.Zero()
			if len(items) > 1 {
				err = fmt.Errorf("piece %d: %w", i+1, err)
			}
			return nil, err
		}
	}
	return out, nil
}
