package emv

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/emv/oda"
)

// PINBlock is an offline PIN as VERIFY has it: 2, length, digits, F's (Book 3,
// table 25; ISO 9564-1 format 2). It prints as nothing.
type PINBlock [8]byte

// NewPINBlock makes the block of a PIN of 4 to 12 digits.
func NewPINBlock(pin []byte) (PINBlock, error) {
	var b PINBlock
	if len(pin) < 4 || len(pin) > 12 {
		return b, fmt.Errorf("a PIN has 4 to 12 digits, not %d", len(pin))
	}
	for i := range b {
		b[i] = 0xFF
	}
	b[0] = 0x20 | byte(len(pin))
	for i, c := range pin {
		if c < '0' || c > '9' {
			return PINBlock{}, fmt.Errorf("a PIN has digits only")
		}
		if i%2 == 0 {
			b[1+i/2] = (c-'0')<<4 | 0x0F
		} else {
			b[1+i/2] = b[1+i/2]&0xF0 | (c - '0')
		}
	}
	return b, nil
}

// Zero overwrites the PIN.
func (b *PINBlock) Zero() { clear(b[:]) }

// String shows nothing.
func (PINBlock) String() string { return "[PIN block]" }

// GoString shows nothing.
func (PINBlock) GoString() string { return "[PIN block]" }

// Format shows nothing, whatever the verb.
func (PINBlock) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[PIN block]")) }

// LogValue shows nothing.
func (PINBlock) LogValue() slog.Value { return slog.StringValue("[PIN block]") }

// MarshalText shows nothing.
func (PINBlock) MarshalText() ([]byte, error) { return []byte("[PIN block]"), nil }

// Verify gives the card the PIN in the clear (Book 3, section 6.5.12). ErrPIN
// comes with the tries left in its sentence, ErrPINBlocked when there are none.
func (a *Application) Verify(ctx context.Context, pin *PINBlock) error {
	return a.verify(ctx, 0x80, pin[:])
}

// VerifyEnciphered gives the card the PIN enciphered under its key with a
// challenge of the card (Book 2, section 7.2).
func (a *Application) VerifyEnciphered(ctx context.Context, random io.Reader, key oda.PublicKey, pin *PINBlock) error {
	challenge, err := a.send(ctx, "GET CHALLENGE", apdu.Command{INS: 0x84, Ne: 256})
	if err != nil {
		return err
	}
	if len(challenge) != 8 {
		return format("the challenge has %d bytes", len(challenge))
	}
	data, err := oda.EncipherPIN(random, key, pin[:], challenge)
	if err != nil {
		return err
	}
	return a.verify(ctx, 0x88, data)
}

func (a *Application) verify(ctx context.Context, how byte, data []byte) error {
	c := apdu.Command{INS: 0x20, P2: how, Data: data}
	r, err := apdu.Send(ctx, a.Card, c)
	if err != nil {
		return fmt.Errorf("VERIFY: %w", err)
	}
	left, counted := r.SW.Retries()
	switch {
	case r.SW.OK():
		return nil
	case counted && left == 0, r.SW == apdu.SWAuthenticationMethodBlocked, r.SW == apdu.SWReferencedDataNotUsable:
		return fmt.Errorf("VERIFY: %w: %w", ErrPINBlocked, status(c, r.SW))
	case counted:
		return fmt.Errorf("VERIFY: %w: %w", ErrPIN, status(c, r.SW))
	}
	return fmt.Errorf("VERIFY: %w", status(c, r.SW))
}
