package lds

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds/ec"
)

// ActiveAuthenticationInfo says how a chip with an elliptic-curve key signs
// in active authentication (9303-11 section 9.2.8).
type ActiveAuthenticationInfo struct {
	Version   int // 1
	Algorithm asn1.ObjectIdentifier
}

// ActiveKey is the public key of active authentication, from DG15, with what
// it takes to verify a signature by it.
type ActiveKey struct {
	rsa   *rsa.PublicKey
	curve *ec.Curve
	point []byte
	hash  crypto.Hash // of ECDSA; with RSA the signature names its own
}

// plainECDSA are the hashes of ecdsa-plain-signatures by the last arc (BSI
// TR-03111 section 5.2.1.1).
var plainECDSA = map[int]crypto.Hash{1: crypto.SHA1, 2: crypto.SHA224, 3: crypto.SHA256, 4: crypto.SHA384, 5: crypto.SHA512}

var (
	oidActiveAuth = asn1.ObjectIdentifier{2, 23, 136, 1, 1, 5}
	oidPlainECDSA = asn1.ObjectIdentifier{0, 4, 0, 127, 0, 7, 1, 1, 4, 1}
	oidRSAKey     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
)

// ParseActiveKey takes the SubjectPublicKeyInfo in DG15 (datagroup.DG15). A
// key on a curve needs the ActiveAuthenticationInfo of DG14, which says the
// hash; dg14 may be nil for RSA. ErrMalformed, or ErrNotSupported for other
// keys and algorithms.
func ParseActiveKey(publicKeyInfo []byte, dg14 *SecurityInfos) (*ActiveKey, error) {
	var info struct {
		Algorithm struct {
			OID        asn1.ObjectIdentifier
			Parameters asn1.RawValue `asn1:"optional"`
		}
		Key asn1.BitString
	}
	if rest, err := asn1.Unmarshal(publicKeyInfo, &info); err != nil || len(rest) != 0 {
		return nil, fmt.Errorf("%w: the public key of active authentication", ErrMalformed)
	}
	if info.Algorithm.OID.Equal(oidRSAKey) {
		key, err := x509.ParsePKCS1PublicKey(info.Key.Bytes)
		if err != nil || key.N.Bit(0) == 0 || key.Size() < minModulus || key.Size() > maxModulus {
			return nil, fmt.Errorf("%w: the RSA key of active authentication", ErrMalformed)
		}
		return &ActiveKey{rsa: key}, nil
	}
	curve, point, err := publicKey(asn1.RawValue{FullBytes: publicKeyInfo})
	if err != nil {
		return nil, fmt.Errorf("active authentication: %w", err)
	}
	if dg14 == nil || len(dg14.ActiveAuth) == 0 {
		return nil, fmt.Errorf("%w: DG14 lacks the ActiveAuthenticationInfo that a key on a curve needs", ErrMalformed)
	}
	oid := dg14.ActiveAuth[0].Algorithm
	hash := plainECDSA[oid[len(oid)-1]]
	if !under(oid, oidPlainECDSA) || len(oid) != len(oidPlainECDSA)+1 || hash == 0 {
		return nil, fmt.Errorf("%w: active authentication with %v", ErrNotSupported, oid)
	}
	return &ActiveKey{curve: curve, point: point, hash: hash}, nil
}

// Size is the length of a signature in bytes.
func (k *ActiveKey) Size() int {
	if k.rsa != nil {
		return k.rsa.Size()
	}
	return 2 * k.curve.ScalarSize()
}

// Verify checks what a chip answered to a challenge: with RSA a signature by
// ISO/IEC 9796-2 scheme 1, whose message ends with the challenge; on a curve
// r ‖ s over the challenge (9303-11 section 6.1.2, BSI TR-03111 section
// 5.2.1). ErrActiveAuthentication where it does not hold.
func (k *ActiveKey) Verify(challenge, answer []byte) error {
	if len(answer) != k.Size() {
		return fmt.Errorf("%w: %d bytes of signature, %d are due", ErrActiveAuthentication, len(answer), k.Size())
	}
	if k.rsa != nil {
		return verifyISO9796(k.rsa, challenge, answer)
	}
	n := k.curve.ScalarSize()
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(answer[:n]), new(big.Int).SetBytes(answer[n:])})
	if err != nil {
		return err
	}
	h := k.hash.New()
	h.Write(challenge)
	if err := k.curve.VerifyECDSA(k.point, h.Sum(nil), der); err != nil {
		return fmt.Errorf("%w: %w", ErrActiveAuthentication, err)
	}
	return nil
}

// ActiveAuthentication has the chip sign 8 random bytes with INTERNAL
// AUTHENTICATE and verifies the signature (9303-11 section 6.1). What it is
// worth depends on DG15's hash in the signed EF.SOD, which the caller checks.
// The answer is a proof of the chip's presence that can be shown to others;
// it is not kept.
//
// A wrong signature is ErrActiveAuthentication, a refusal the chip's status
// word.
func ActiveAuthentication(ctx context.Context, card apdu.Card, key *ActiveKey) error {
	return activeAuthentication(ctx, card, key, rand.Reader)
}

func activeAuthentication(ctx context.Context, card apdu.Card, key *ActiveKey, random io.Reader) error {
	challenge := make([]byte, 8)
	if _, err := io.ReadFull(random, challenge); err != nil {
		return fmt.Errorf("active authentication: no random numbers: %w", err)
	}
	c := apdu.Command{INS: 0x88, Data: challenge, Ne: key.Size()}
	if sm, ok := card.(*SecureMessaging); ok {
		c.Extended = c.Ne > sm.MaxRead()
	}
	answer, err := apdu.Must(ctx, card, c)
	if err != nil {
		return fmt.Errorf("active authentication: %w", err)
	}
	return key.Verify(challenge, answer)
}
