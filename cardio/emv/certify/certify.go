// Package certify makes the public key certificates of extended data authentication:
// of issuers' elliptic curve keys and of cards' (EMV 4.4 Book 2, sections 12.3 and
// 12.4, tables 35 and 36). Unlike RSA's they hide nothing: data, and an EC-SDSA
// signature behind it. Package xda is the terminal's side, which opens them.
package certify

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"cardbureau/cardio/emv/ecsdsa"
)

// ErrIdentifier says that an issuer or application identifier is none.
var ErrIdentifier = errors.New("the identifier is none of a certificate")

const (
	formatIssuer = 0x12
	formatICC    = 0x14
	encoding     = 0x00
	hashSHA256   = 0x02 // hash algorithm indicator (Book 2, table 47)
	ridBytes     = 5
)

// Sign signs a message with the key of the certificate's authority: r and s.
type Sign func(ctx context.Context, message []byte) ([]byte, error)

// IssuerCertificate is what a scheme's certification authority certifies of an
// issuer's key (Book 2, table 35), tag 90.
type IssuerCertificate struct {
	IIN     string    // issuer identification number: the leftmost 3 to 10 digits of its PANs
	Expires time.Time // the last day that it holds, in UTC
	Serial  [3]byte   // the authority's number for the certificate
	RID     []byte    // 5 bytes, of the application
	CAIndex byte      // of the authority's key, tag 8F
	Key     ecsdsa.PublicKey
}

// Sign makes the certificate: 21 bytes, the key, the signature.
func (c IssuerCertificate) Sign(ctx context.Context, sign Sign) ([]byte, error) {
	if err := c.Key.Check(); err != nil {
		return nil, fmt.Errorf("issuer certificate: %w", err)
	}
	if n := len(c.IIN); n < 3 || n > 10 || strings.Trim(c.IIN, "0123456789") != "" {
		return nil, fmt.Errorf("issuer certificate: %w: an issuer identification number has 3 to 10 digits", ErrIdentifier)
	}
	if len(c.RID) != ridBytes {
		return nil, fmt.Errorf("issuer certificate: %w: a RID has 5 bytes, this one has %d", ErrIdentifier, len(c.RID))
	}
	b := []byte{formatIssuer, encoding}
	b = append(b, packed(c.IIN+strings.Repeat("F", 10-len(c.IIN)))...)
	b = append(b, byte(c.Key.Suite))
	b = append(b, packed(c.Expires.UTC().Format("20060102"))...)
	b = append(append(append(b, c.Serial[:]...), c.RID...), c.CAIndex)
	return seal(ctx, append(b, c.Key.X...), sign)
}

// ICCCertificate is what an issuer certifies of a card's signing key and data
// (Book 2, table 36), tag 9F46. The card's data are hashed with SHA-256: the one
// hash with which the certificate fits into a record for every pair of keys (note
// in section 12.4).
type ICCCertificate struct {
	Expires time.Time // the minute from which it holds no more, in UTC
	Serial  [6]byte   // the issuer's number for the certificate
	ICCD    [sha256.Size]byte
	Key     ecsdsa.PublicKey
}

// Sign makes the certificate: 17 bytes, the hash, the key, the signature.
func (c ICCCertificate) Sign(ctx context.Context, sign Sign) ([]byte, error) {
	if err := c.Key.Check(); err != nil {
		return nil, fmt.Errorf("ICC certificate: %w", err)
	}
	b := []byte{formatICC, encoding, byte(c.Key.Suite)}
	b = append(b, packed(c.Expires.UTC().Format("200601021504"))...)
	b = append(append(b, c.Serial[:]...), encoding, hashSHA256)
	return seal(ctx, append(append(b, c.ICCD[:]...), c.Key.X...), sign)
}

func seal(ctx context.Context, data []byte, sign Sign) ([]byte, error) {
	signature, err := sign(ctx, data)
	if err != nil {
		return nil, err
	}
	return append(data, signature...), nil
}

// packed is hexadecimal digits, an even number of them, as bytes.
func packed(digits string) []byte {
	out := make([]byte, len(digits)/2)
	for i := range out {
		out[i] = nibble(digits[2*i])<<4 | nibble(digits[2*i+1])
	}
	return out
}

func nibble(c byte) byte {
	if c == 'F' {
		return 0xF
	}
	return c - '0'
}
