package pairing

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"math/big"
)

// ErrHolder: the identity card's signature is not of the key that its DG13 carries.
var ErrHolder = errors.New("the identity card's signature over the session is wrong: this is not the card whose data was read")

// Holder is the identity card, after the holder has given the PIN that its pairing
// key wants. A signature uses the PIN up.
type Holder interface {
	// Sign has the chip sign a digest with its pairing key: r ‖ s, 64 bytes (BSI
	// TR-03111 5.2.1).
	Sign(ctx context.Context, digest [32]byte) ([]byte, error)
	// PublicKey is the pairing key that DG13 carries, on P-256. Whoever gives it has
	// checked DG13 against EF.SOD.
	PublicKey() *ecdsa.PublicKey
	// CardThumbprint is statement.Thumbprint of the chip authentication key, with
	// which the chip has proven itself, 32 bytes.
	CardThumbprint() []byte
}

// VerifyHolder checks a signature over a session's digest.
func VerifyHolder(key *ecdsa.PublicKey, digest [32]byte, signature []byte) error {
	if key == nil || key.Curve != elliptic.P256() {
		return fmt.Errorf("%w: its pairing key is not on P-256", ErrHolder)
	}
	if len(signature) != 64 {
		return fmt.Errorf("%w: it has %d bytes instead of 64", ErrHolder, len(signature))
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(key, digest[:], r, s) {
		return ErrHolder
	}
	return nil
}

// proveHolder has the identity card sign the session.
func proveHolder(ctx context.Context, s *Session, h Holder) (signature []byte, err error) {
	digest := s.Digest()
	if signature, err = h.Sign(ctx, digest); err != nil {
		return nil, fmt.Errorf("the identity card did not sign: %w", err)
	}
	return signature, VerifyHolder(h.PublicKey(), digest, signature)
}

// pointKey reads an uncompressed point on P-256.
func pointKey(point []byte) (*ecdsa.PublicKey, error) {
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
}
