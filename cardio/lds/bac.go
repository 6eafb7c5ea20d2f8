package lds

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"cardbureau/cardio/apdu"
)

// OpenBAC opens the chip by basic access control (9303-11 section 4.3) with
// the MRZ's password and starts secure messaging with 3DES. The LDS1
// application must be selected (SelectApplication). A refusal is
// ErrAccessDenied.
func OpenBAC(ctx context.Context, card apdu.Card, password Password) (*SecureMessaging, error) {
	return openBAC(ctx, card, password, rand.Reader)
}

func openBAC(ctx context.Context, card apdu.Card, password Password, random io.Reader) (*SecureMessaging, error) {
	if !password.IsMRZ() {
		return nil, fmt.Errorf("%w: basic access control needs the MRZ", ErrPassword)
	}
	seed := password.secret[:16]
	block, err := TripleDES.block(TripleDES.derive(seed, counterEnc))
	if err != nil {
		return nil, err
	}
	mac, err := TripleDES.mac(TripleDES.derive(seed, counterMAC))
	if err != nil {
		return nil, err
	}
	rndIC, err := apdu.Must(ctx, card, apdu.Command{INS: 0x84, Ne: 8})
	if err != nil {
		return nil, fmt.Errorf("BAC: get challenge: %w", err)
	}
	if len(rndIC) != 8 {
		return nil, fmt.Errorf("BAC: %w: a challenge of %d bytes", ErrMalformed, len(rndIC))
	}
	own := make([]byte, 8+16) // RND.IFD ‖ K.IFD
	if _, err := io.ReadFull(random, own); err != nil {
		return nil, fmt.Errorf("BAC: no random numbers: %w", err)
	}
	defer clear(own)
	rndIFD, kIFD := own[:8], own[8:]
	s := make([]byte, 0, 40)
	s = append(append(append(s, rndIFD...), rndIC...), kIFD...)
	cipher.NewCBCEncrypter(block, make([]byte, 8)).CryptBlocks(s, s)
	tag := mac.sum(pad(append([]byte(nil), s...), 8))
	answer, err := apdu.Must(ctx, card, apdu.Command{INS: 0x82, Data: append(s, tag[:]...), Ne: 40})
	if err != nil {
		return nil, fmt.Errorf("BAC: %w", denied(err))
	}
	if len(answer) != 40 {
		return nil, fmt.Errorf("BAC: %w: %d bytes of authentication, 40 are due", ErrMalformed, len(answer))
	}
	want := mac.sum(pad(append([]byte(nil), answer[:32]...), 8))
	if subtle.ConstantTimeCompare(want[:], answer[32:]) != 1 {
		return nil, fmt.Errorf("BAC: %w: the chip's MAC is wrong", ErrAccessDenied)
	}
	r := make([]byte, 32) // RND.IC ‖ RND.IFD ‖ K.IC
	defer clear(r)
	cipher.NewCBCDecrypter(block, make([]byte, 8)).CryptBlocks(r, answer[:32])
	if subtle.ConstantTimeCompare(r[:8], rndIC) != 1 || subtle.ConstantTimeCompare(r[8:16], rndIFD) != 1 {
		return nil, fmt.Errorf("BAC: %w: the chip did not answer this challenge", ErrAccessDenied)
	}
	for i := range kIFD {
		kIFD[i] ^= r[16+i]
	}
	enc, macKey := TripleDES.derive(kIFD, counterEnc), TripleDES.derive(kIFD, counterMAC)
	defer clear(enc)
	defer clear(macKey)
	ssc := append(append(make([]byte, 0, 8), rndIC[4:]...), rndIFD[4:]...)
	return newSecureMessaging(card, TripleDES, enc, macKey, ssc)
}

// denied makes a chip's refusal of an authentication ErrAccessDenied and
// keeps the status word within reach.
func denied(err error) error {
	var sw apdu.StatusWord
	if !errors.As(err, &sw) {
		return err
	}
	switch sw {
	case apdu.SWAuthenticationFailed, apdu.SWSecurityStatusNotSatisfied, apdu.SWAuthenticationMethodBlocked,
		apdu.SWConditionsOfUseNotSatisfied, apdu.SWSecureMessagingIncorrect, apdu.SWWrongData:
		return fmt.Errorf("%w: %w", ErrAccessDenied, err)
	}
	if _, ok := sw.Retries(); ok {
		return fmt.Errorf("%w: %w", ErrAccessDenied, err)
	}
	return err
}
