package lds

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds/ec"
	"cardbureau/cardio/tlv"
)

// ChipAuthentication makes the chip prove that it holds the private key to a
// public key in its DG14 (9303-11 section 6.2, version 1) and returns the new
// session that results; the old one is over. The proof is complete: the chip
// has answered one command under the new keys. What it is worth depends on
// DG14's hash in the signed EF.SOD, which the caller checks.
//
// An answer that does not verify is ErrChipAuthentication; a protocol or
// curve that is not spoken here is ErrNotSupported, and then the old session
// still stands.
func ChipAuthentication(ctx context.Context, sm *SecureMessaging, dg14 *SecurityInfos) (*SecureMessaging, error) {
	return chipAuthentication(ctx, sm, dg14, rand.Reader)
}

func chipAuthentication(ctx context.Context, sm *SecureMessaging, dg14 *SecurityInfos, random io.Reader) (*SecureMessaging, error) {
	info, key, err := dg14.usableChipAuth()
	if err != nil {
		return nil, err
	}
	private, err := key.Curve.NewScalar(random)
	if err != nil {
		return nil, err
	}
	defer clear(private)
	public, err := key.Curve.BaseMult(private)
	if err != nil {
		return nil, err
	}
	shared, err := key.Curve.Mult(private, key.Point)
	if err != nil {
		return nil, err
	}
	defer clear(shared)
	next, err := sessionFrom(sm.card, info.Cipher, key.Curve.XOf(shared))
	if err != nil {
		return nil, err
	}
	commands, err := chipAuthCommands(info, key.KeyID, public)
	if err != nil {
		return nil, err
	}
	// The new keys depend on nothing that the chip answers, so the proof of
	// them goes along in the same exchange: DG14 is there to be selected.
	raw, err := sm.Wrap(commands)
	if err != nil {
		return nil, err
	}
	proof, err := next.Wrap([]apdu.Command{selectFile(FileDG(14))})
	if err != nil {
		return nil, err
	}
	items := make([]apdu.Item, 0, len(raw)+1)
	for _, b := range append(raw, proof...) {
		items = append(items, apdu.Item{Command: b})
	}
	responses, sendErr := apdu.Exchange(ctx, sm.card, items)
	var status *apdu.StatusError
	if sendErr != nil && !errors.As(sendErr, &status) {
		sm.end(sendErr)
		return nil, sendErr
	}
	old := min(len(responses), len(commands))
	plain, err := sm.Unwrap(responses[:old], old)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChipAuthentication, err)
	}
	for i, r := range plain {
		if !r.SW.OK() {
			return nil, fmt.Errorf("%w: %w", ErrChipAuthentication, statusError(commands[i], r.SW))
		}
	}
	sm.end(ErrSessionOver)
	answer, err := next.Unwrap(responses[old:], 1)
	if err == nil && !answer[0].SW.OK() {
		err = statusError(selectFile(FileDG(14)), answer[0].SW)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChipAuthentication, err)
	}
	return next, nil
}

// chipAuthCommands are MSE:Set KAT with 3DES, MSE:Set AT and GENERAL
// AUTHENTICATE with AES (9303-11 section 6.2.4).
func chipAuthCommands(info ChipAuthenticationInfo, keyID int, public []byte) ([]apdu.Command, error) {
	var reference []byte
	if keyID >= 0 {
		reference = tlv.Append(nil, 0x84, keyReference(keyID))
	}
	if info.Cipher == TripleDES {
		return []apdu.Command{{INS: 0x22, P1: 0x41, P2: 0xA6, Data: append(tlv.Append(nil, 0x91, public), reference...)}}, nil
	}
	oid, err := oidContent(info.OID)
	if err != nil {
		return nil, err
	}
	return []apdu.Command{
		{INS: 0x22, P1: 0x41, P2: 0xA4, Data: append(tlv.Append(nil, 0x80, oid), reference...)},
		{INS: 0x86, Data: tlv.Encode(0x7C, tlv.Encode(0x80, public)), Ne: apdu.MaxShortNe},
	}, nil
}

// keyReference is a key identifier as an unsigned number without leading
// zeros.
func keyReference(id int) []byte {
	out := []byte{byte(id)}
	for id >>= 8; id > 0; id >>= 8 {
		out = append([]byte{byte(id)}, out...)
	}
	return out
}

// usableChipAuth picks the strongest protocol for which the chip has a key on a
// known curve. A key without a ChipAuthenticationInfo means 3DES (9303-11
// section 9.2.6).
func (s *SecurityInfos) usableChipAuth() (ChipAuthenticationInfo, ChipAuthenticationPublicKeyInfo, error) {
	err := fmt.Errorf("%w: DG14 has no key for chip authentication", ErrNotSupported)
	var info ChipAuthenticationInfo
	var key ChipAuthenticationPublicKeyInfo
	for _, k := range s.PublicKeys {
		if k.Problem != nil {
			err = fmt.Errorf("chip authentication: %w", k.Problem)
			continue
		}
		options := s.ChipAuth
		if len(options) == 0 {
			options = []ChipAuthenticationInfo{{Version: 1, KeyID: -1, EC: true, Cipher: TripleDES}}
		}
		for _, c := range options {
			switch {
			case c.KeyID != k.KeyID && c.KeyID >= 0 && k.KeyID >= 0:
			case c.Version != 1 || !c.EC || c.Cipher == 0:
				if key.Curve == nil {
					err = fmt.Errorf("%w: chip authentication of kind %v version %d", ErrNotSupported, c.OID, c.Version)
				}
			case c.Cipher > info.Cipher:
				info, key = c, k
			}
		}
	}
	if key.Curve == nil {
		return info, key, err
	}
	return info, key, nil
}

// ChipAuthKey returns the curve and the public key (an uncompressed point)
// that ChipAuthentication would use, so that a maker can compare it with the
// one that was personalized.
func (s *SecurityInfos) ChipAuthKey() (*ec.Curve, []byte, error) {
	_, key, err := s.usableChipAuth()
	return key.Curve, key.Point, err
}
