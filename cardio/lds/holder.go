package lds

import (
	"context"
	"crypto/sha256"
	"fmt"

	"cardbureau/cardio/apdu"
)

// SignatureSize is the length of a holder's signature: r ‖ s on P-256.
const SignatureSize = 64

// Sign has the chip sign a SHA-256 with one of the holder's keys: MANAGE SECURITY
// ENVIRONMENT: SET with the key's reference, then PERFORM SECURITY OPERATION:
// COMPUTE DIGITAL SIGNATURE (ISO/IEC 7816-8:2021 clauses 5.4.2 and 5.2). The PIN must
// have been verified since the last signature. It belongs inside secure messaging.
// The answer is r ‖ s.
func Sign(ctx context.Context, card apdu.Card, reference byte, hash []byte) ([]byte, error) {
	if len(hash) != sha256.Size {
		return nil, fmt.Errorf("lds: a hash of %d bytes cannot be signed, it has %d", len(hash), sha256.Size)
	}
	set := apdu.Command{INS: 0x22, P1: 0x41, P2: 0xB6, Data: []byte{0x84, 0x01, reference}}
	if _, err := apdu.Must(ctx, card, set); err != nil {
		return nil, fmt.Errorf("the holder's key %02X: %w", reference, err)
	}
	signature, err := apdu.Must(ctx, card, apdu.Command{INS: 0x2A, P1: 0x9E, P2: 0x9A, Data: hash, Ne: apdu.MaxShortNe})
	if err != nil {
		return nil, fmt.Errorf("a signature with the holder's key %02X: %w", reference, err)
	}
	if len(signature) != SignatureSize {
		return nil, fmt.Errorf("%w: a signature of %d bytes", ErrMalformed, len(signature))
	}
	return signature, nil
}
