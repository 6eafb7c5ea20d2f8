package lds_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"math/big"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds"
)

const filePairing = 0x0203

// TestHolder signs with the holder's keys and keeps a record on the card.
func TestHolder(t *testing.T) {
	ctx := t.Context()
	d := newDocument(t, 500)
	chip := d.card(t, false)
	byCAN, _ := passwords(t)
	sm := enter(ctx, t, chip, byCAN)
	own := []byte("753190")
	if err := lds.ChangePIN(ctx, sm, lds.HolderPIN, []byte(pin), own); err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte("statement"))
	signature, err := lds.Sign(ctx, sm, 0x03, hash[:])
	if err != nil {
		t.Fatal(err)
	}
	key, _ := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{8}, 32))
	if !ecdsa.Verify(&key.PublicKey, hash[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		t.Error("the signature does not hold")
	}
	if _, err := lds.Sign(ctx, sm, 0x03, hash[:]); !errors.Is(err, apdu.SWSecurityStatusNotSatisfied) {
		t.Error(err)
	}
	if _, err := lds.Sign(ctx, sm, 0x03, hash[:31]); err == nil {
		t.Error("a hash of 31 bytes was signed")
	}

	if _, err := lds.KeepRecords(ctx, sm, 0x0102, [][]byte{[]byte("x")}); err == nil {
		t.Error("records were kept in DG2")
	}
}

func enter(ctx context.Context, t *testing.T, card apdu.Card, password lds.Password) *lds.SecureMessaging {
	t.Helper()
	_, infos, err := lds.ReadCardAccess(ctx, card)
	if err != nil {
		t.Fatal(err)
	}
	sm, err := lds.OpenPACE(ctx, card, password, infos)
	if err != nil {
		t.Fatal(err)
	}
	if err := lds.EnterApplication(ctx, sm); err != nil {
		t.Fatal(err)
	}
	return sm
}
