package lds

import (
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
)

// HolderPIN is the reference of the holder's PIN: number 1 of the
// application (ISO/IEC 7816-4:2020 clause 11.6.1, P2 with bit 8 for specific
// reference data).
const HolderPIN byte = 0x81

var (
	// ErrPINBlocked says that the PIN (or, from ResetRetry, the unblock key)
	// has no tries left.
	ErrPINBlocked = errors.New("the PIN is blocked")
	// ErrPINFormat marks a PIN that cannot be sent: it is 4 to 12 digits.
	ErrPINFormat = errors.New("lds: a PIN is 4 to 12 digits")
)

// PINError says that the PIN or unblock key was wrong and how many tries are
// left.
type PINError struct{ Tries int }

func (e *PINError) Error() string {
	if e.Tries == 1 {
		return "the PIN is wrong, 1 try is left"
	}
	return fmt.Sprintf("the PIN is wrong, %d tries are left", e.Tries)
}

// VerifyPIN presents a PIN of ASCII digits to the chip (VERIFY, ISO/IEC
// 7816-4 clause 11.6.6). It belongs inside secure messaging. A wrong PIN is a
// *PINError, or ErrPINBlocked.
func VerifyPIN(ctx context.Context, card apdu.Card, reference byte, pin []byte) error {
	return pinCommand(ctx, card, 0x20, reference, pin)
}

// ChangePIN replaces the PIN (CHANGE REFERENCE DATA, ISO/IEC 7816-4 clause
// 11.6.7). A wrong old PIN is a *PINError, or ErrPINBlocked.
func ChangePIN(ctx context.Context, card apdu.Card, reference byte, old, new []byte) error {
	return pinCommand(ctx, card, 0x24, reference, old, new)
}

// ResetRetry unblocks the PIN with the unblock key and sets a new one (RESET
// RETRY COUNTER, ISO/IEC 7816-4 clause 11.6.10). A wrong key is a *PINError,
// or ErrPINBlocked when the key's own tries are used up.
func ResetRetry(ctx context.Context, card apdu.Card, reference byte, unblock, new []byte) error {
	return pinCommand(ctx, card, 0x2C, reference, unblock, new)
}

func pinCommand(ctx context.Context, card apdu.Card, ins, reference byte, pins ...[]byte) error {
	var data []byte
	defer func() { clear(data) }()
	for _, p := range pins {
		if len(p) < 4 || len(p) > 12 || !all(string(p), isDigit) {
			return ErrPINFormat
		}
		data = append(data, p...)
	}
	_, err := apdu.Must(ctx, card, apdu.Command{INS: ins, P2: reference, Data: data})
	var sw apdu.StatusWord
	if !errors.As(err, &sw) {
		return err
	}
	if n, ok := sw.Retries(); ok {
		if n == 0 {
			return fmt.Errorf("%w: %w", ErrPINBlocked, err)
		}
		return &PINError{Tries: n}
	}
	if sw == apdu.SWAuthenticationMethodBlocked {
		return fmt.Errorf("%w: %w", ErrPINBlocked, err)
	}
	return err
}
