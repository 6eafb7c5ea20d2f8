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

	if _, err := lds.ReadRecordFile(ctx, sm, filePairing); !errors.Is(err, lds.ErrNoRecord) {
		t.Error(err)
	}
	long := bytes.Repeat([]byte("0123456789"), 102)
	for _, content := range [][]byte{long[:lds.MaxRecord], []byte("x"), long[:300]} {
		if err := lds.WriteRecordFile(ctx, sm, filePairing, content); err != nil {
			t.Fatal(err)
		}
		if got, err := lds.ReadRecordFile(ctx, sm, filePairing); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes came back as %d, %v", len(content), len(got), err)
		}
	}
	if err := lds.WriteRecordFile(ctx, sm, filePairing, make([]byte, lds.MaxRecord+1)); err == nil {
		t.Error("a record that is too long was written")
	}
	if err := lds.WriteRecordFile(ctx, sm, 0x0102, []byte("x")); !errors.Is(err, apdu.SWSecurityStatusNotSatisfied) {
		t.Error(err)
	}
}

// TestRecordTorn cuts the write at every command: afterwards the file holds all or
// nothing of a record.
func TestRecordTorn(t *testing.T) {
	ctx := t.Context()
	d := newDocument(t, 500)
	byCAN, _ := passwords(t)
	before, after := bytes.Repeat([]byte{1}, 400), bytes.Repeat([]byte{2}, 500)
	chip := d.card(t, false)
	own := []byte("753190")
	for cut := 1; ; cut++ {
		chip.Reset()
		c := &counter{Card: chip}
		sm := enter(ctx, t, c, byCAN)
		if cut == 1 {
			if err := lds.ChangePIN(ctx, sm, lds.HolderPIN, []byte(pin), own); err != nil {
				t.Fatal(err)
			}
		} else if err := lds.VerifyPIN(ctx, sm, lds.HolderPIN, own); err != nil {
			t.Fatal(err)
		}
		if err := lds.WriteRecordFile(ctx, sm, filePairing, before); err != nil {
			t.Fatal(err)
		}
		c.n = 0
		c.between = func(n int, _ []byte) []byte {
			if n > cut {
				return []byte{0x6F, 0x00}
			}
			return nil
		}
		failed := lds.WriteRecordFile(ctx, sm, filePairing, after)
		c.between = nil
		chip.Reset()
		sm = enter(ctx, t, c, byCAN)
		if err := lds.VerifyPIN(ctx, sm, lds.HolderPIN, own); err != nil {
			t.Fatal(err)
		}
		got, err := lds.ReadRecordFile(ctx, sm, filePairing)
		switch {
		case failed == nil && bytes.Equal(got, after):
			return
		case failed == nil:
			t.Fatalf("cut %d: written, and %d bytes, %v", cut, len(got), err)
		case errors.Is(err, lds.ErrNoRecord), err == nil && bytes.Equal(got, before), err == nil && bytes.Equal(got, after):
		default:
			t.Errorf("cut %d: %d bytes, %v", cut, len(got), err)
		}
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
