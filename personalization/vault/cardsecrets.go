package vault

import (
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"cardbureau/cardio/gp"
	"cardbureau/hsm"
	"cardbureau/personalization/identity"
)

// Try limits of a card's PIN and unblock key where the request names none.
const (
	defaultPINTries = 3
	defaultPUKTries = 10
)

// elements are a card's secrets in the clear, by name.
type elements map[string][]byte

func (e elements) zero() {
	for _, v := range e {
		clear(v)
	}
}

func (s *Service) newCardSecrets(ctx context.Context, in *CardSecretsRequest) (*CardSecrets, error) {
	switch {
	case len(in.MRZInformation) < 24:
		return nil, fmt.Errorf("%w: MRZ information has 24 characters or more", ErrRequest)
	case len(in.CAN) != identity.CANLength || strings.Trim(in.CAN, "0123456789") != "":
		return nil, fmt.Errorf("%w: a CAN has %d digits", ErrRequest, identity.CANLength)
	case in.PINTries > 15 || in.PUKTries > 15:
		return nil, fmt.Errorf("%w: a try limit is at most 15", ErrRequest)
	case in.ActiveAuthentication != 0 && in.ActiveAuthentication != activeBits:
		return nil, fmt.Errorf("%w: a key of active authentication has %d bits", ErrRequest, activeBits)
	}
	random := &tokenReader{ctx: ctx, token: s.token}
	defer random.forget()
	private, public, err := chipKey(random)
	if err != nil {
		return nil, err
	}
	defer clear(private)
	pin, err := identity.TransportPIN(random)
	if err != nil {
		return nil, err
	}
	puk, err := identity.PUK(random)
	if err != nil {
		return nil, err
	}
	bac, pace := identity.BACKeys(in.MRZInformation), identity.PACEPassword(in.MRZInformation)
	e := elements{
		SecretBAC:                bac[:],
		SecretPACEMRZ:            pace[:],
		SecretPACECAN:            []byte(in.CAN),
		SecretChipAuthentication: private,
		SecretPIN:                limited(in.PINTries, defaultPINTries, pin),
		SecretPUK:                limited(in.PUKTries, defaultPUKTries, puk),
	}
	defer e.zero()
	e.addMRZ(in.MRZInformation)
	out := &CardSecrets{ChipPublicKey: public}
	if in.Plain {
		e[plainMark] = []byte{1}
	}
	if in.ActiveAuthentication != 0 {
		if out.ActivePublicKey, err = e.addActiveKey(&tokenReader{ctx: ctx, token: s.token, portion: activePortion}); err != nil {
			return nil, err
		}
	}
	if in.HolderKeys {
		for name, public := range map[string]*[]byte{SecretPairingKey: &out.PairingPublicKey, SecretReceiptKey: &out.ReceiptPublicKey} {
			if e[name], *public, err = chipKey(random); err != nil {
				return nil, err
			}
		}
	}
	plain, err := cbor.Marshal(map[string][]byte(e))
	if err != nil {
		return nil, fmt.Errorf("encode the card's secrets: %w", err)
	}
	defer clear(plain)
	err = s.withDataKey(ctx, in.DataKey, func(key *hsm.AESKey) (err error) {
		out.Sealed, err = sealWith(ctx, key, kindSecrets, in.AAD, plain)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// limited is a try limit and digits.
func limited(tries, usual byte, digits string) []byte {
	if tries == 0 {
		tries = usual
	}
	return append([]byte{tries}, digits...)
}

// chipKey makes a key pair on P-256 for chip authentication: the card needs the
// scalar itself, so it is drawn from random numbers that the token gives
// rather than made as a key that could not leave it.
func chipKey(random io.Reader) (private, public []byte, err error) {
	private = make([]byte, 32)
	for {
		if _, err := io.ReadFull(random, private); err != nil {
			return nil, nil, err
		}
		// Zero and values beyond the group's order are refused: draw again.
		if k, err := ecdh.P256().NewPrivateKey(private); err == nil {
			return private, k.PublicKey().Bytes(), nil
		}
	}
}

// cardSecrets opens sealed secrets; the caller zeroes them.
func (s *Service) cardSecrets(ctx context.Context, it SealItem) (elements, error) {
	var plain []byte
	err := s.withDataKey(ctx, it.DataKey, func(key *hsm.AESKey) (err error) {
		plain, err = openWith(ctx, key, kindSecrets, it.AAD, it.Data)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	var e elements
	if err := cbor.Unmarshal(plain, &e); err != nil {
		return nil, errors.New("the card's secrets cannot be decoded")
	}
	e.addDigits()
	return e, nil
}

func (s *Service) transportPIN(ctx context.Context, in *SealItem) (*bytesReply, error) {
	return s.limitedSecret(ctx, in, SecretPIN, identity.PINLength)
}

func (s *Service) unblockingKey(ctx context.Context, in *SealItem) (*bytesReply, error) {
	return s.limitedSecret(ctx, in, SecretPUK, identity.PUKLength)
}

// limitedSecret is the digits of a secret with a try limit.
func (s *Service) limitedSecret(ctx context.Context, in *SealItem, name string, length int) (*bytesReply, error) {
	e, err := s.cardSecrets(ctx, *in)
	if err != nil {
		return nil, err
	}
	defer e.zero()
	secret := e[name]
	if len(secret) != 1+length {
		return nil, fmt.Errorf("the card's secrets hold no %s", name)
	}
	return &bytesReply{Data: append([]byte(nil), secret[1:]...)}, nil
}

func (s *Service) blankKeys(ctx context.Context, in *BlankKeysRequest) (*wireBlankKeys, error) {
	set, err := newCardKeySet(in.KeySet, in.KeyType, in.KeyBits, in.Diversification)
	if err != nil {
		return nil, err
	}
	if err := set.mustDiversify(); err != nil {
		return nil, err
	}
	out := &wireBlankKeys{}
	for kind, to := range map[byte]*[]byte{gp.KeyENC: &out.ENC, gp.KeyMAC: &out.MAC, gp.KeyDEK: &out.DEK} {
		value, err := s.blankKey(ctx, set, kind, in.KeyDiversificationData)
		if err != nil {
			out.Zero()
			return nil, err
		}
		*to = value
	}
	return out, nil
}

// blankKey derives a key into memory from a development master.
func (s *Service) blankKey(ctx context.Context, set cardKeySet, kind byte, kdd []byte) (Secret, error) {
	_, l, err := s.master(ctx, set, kind)
	if err != nil {
		return nil, err
	}
	switch _, development, err := s.token.Exists(ctx, l); {
	case err != nil:
		return nil, err
	case !development:
		return nil, fmt.Errorf("%w: %s is not one", ErrDevelopment, l)
	}
	return s.keyInMemory(ctx, set, kind, kdd)
}
