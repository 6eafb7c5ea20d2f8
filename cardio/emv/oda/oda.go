// Package oda is offline data authentication of EMV payment cards: the public
// key certificates and signatures with which a terminal tells a genuine card
// from a copy, built, recovered and verified (EMV 4.3 Book 2, sections 5, 6 and
// 7, annexes A2.1 and D).
//
// Building needs the RSA private operation alone, which a caller supplies: the
// keys of an issuer stay in its HSM. Recovering needs public keys only. The
// package knows RSA with SHA-1, which is what EMV's algorithm indicators 01 and
// 01 mean; it knows no card, no terminal and no elliptic curves.
package oda

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // EMV hash algorithm indicator 01
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Sign is the RSA private operation, block^d mod n: block and result have the
// modulus' length. It is where the key is that decides.
type Sign func(ctx context.Context, block []byte) ([]byte, error)

// PublicKey is an RSA public key: the modulus without zeros in front, the
// exponent in as few bytes as it needs, 03 or 010001 (Book 2, section 6.1).
type PublicKey struct {
	Modulus  []byte
	Exponent []byte
}

// Errors of recovering and verifying. Each stands for one thing that a terminal
// notes; they come wrapped in a sentence.
var (
	ErrKey         = errors.New("the public key is not one that EMV allows")
	ErrCertificate = errors.New("the certificate was not signed with this key, or was altered")
	ErrSignature   = errors.New("the signature was not made with this key over this data")
	ErrExpired     = errors.New("the certificate has expired")
	ErrIdentifier  = errors.New("the certificate was issued for another card or issuer")
	ErrUnsupported = errors.New("the certificate names an algorithm that is not supported")
)

// Sizes of moduli, bytes (Book 2, sections 5.1, 6.1 and annex D).
const (
	MinModulus = 64 // 512 bits: shorter ones cannot hold the formats
	MaxModulus = 248
	// MaxIssuerModulus is what an ICC certificate of that length leaves of a record
	// of 254 bytes (annex D1.1).
	MaxIssuerModulus = 247
	// MaxCDAModulus is the longest ICC modulus with which GENERATE AC of a card with
	// 32 bytes of issuer application data still answers in 256 bytes (annex D1.2).
	MaxCDAModulus = 205
)

// Certificate formats and algorithms.
const (
	formatIssuer     = 0x02
	formatStatic     = 0x03
	formatICC        = 0x04
	formatDynamic    = 0x05
	hashSHA1         = 0x01
	algorithmRSA     = 0x01
	header           = 0x6A
	trailer          = 0xBC
	hashSize         = sha1.Size
	issuerOverhead   = 36 // Book 2, table 6 and section 5.3
	iccOverhead      = 42 // table 14
	staticOverhead   = 26 // table 7
	dynamicOverhead  = 25 // table 17
	unpredictablePad = 0xBB
)

// Check says whether the key is one that EMV allows.
func (k PublicKey) Check() error {
	n := len(k.Modulus)
	switch {
	case n < MinModulus || n > MaxModulus:
		return fmt.Errorf("%w: a modulus has %d to %d bytes, this one has %d", ErrKey, MinModulus, MaxModulus, n)
	case k.Modulus[0] < 0x80 || k.Modulus[n-1]&1 == 0:
		return fmt.Errorf("%w: the modulus does not fill its %d bytes, or is even", ErrKey, n)
	case !bytes.Equal(k.Exponent, []byte{3}) && !bytes.Equal(k.Exponent, []byte{1, 0, 1}):
		return fmt.Errorf("%w: an exponent is 3 or 65537", ErrKey)
	}
	return nil
}

// Recover is the RSA public operation, data^e mod n (Book 2, annex B2.1). data
// and result have the modulus' length.
func (k PublicKey) Recover(data []byte) ([]byte, error) {
	if err := k.Check(); err != nil {
		return nil, err
	}
	n := new(big.Int).SetBytes(k.Modulus)
	x := new(big.Int).SetBytes(data)
	if len(data) != len(k.Modulus) || x.Cmp(n) >= 0 {
		return nil, fmt.Errorf("%w: %d bytes under a modulus of %d", ErrCertificate, len(data), len(k.Modulus))
	}
	return x.Exp(x, new(big.Int).SetBytes(k.Exponent), n).FillBytes(make([]byte, len(data))), nil
}

// recoverBlock opens a signature block and checks what all of them share: header,
// format and trailer (annex A2.1.3).
func (k PublicKey) recoverBlock(data []byte, format byte, wrong error) (block []byte, err error) {
	block, err = k.Recover(data)
	if err != nil {
		return nil, err
	}
	n := len(block)
	if block[0] != header || block[n-1] != trailer || block[1] != format {
		return nil, wrong
	}
	return block, nil
}

// hashMatches compares the hash at the block's end with that over the message:
// the block's middle and what follows it.
func hashMatches(block []byte, rest ...[]byte) bool {
	h := sha1.New() //nolint:gosec // as above
	n := len(block)
	h.Write(block[1 : n-1-hashSize])
	for _, b := range rest {
		h.Write(b)
	}
	return bytes.Equal(h.Sum(nil), block[n-1-hashSize:n-1])
}

// seal makes the block of a middle part and has it signed (annex A2.1.2).
func seal(ctx context.Context, sign Sign, middle []byte, rest ...[]byte) ([]byte, error) {
	block := make([]byte, 0, len(middle)+2+hashSize)
	block = append(append(block, header), middle...)
	h := sha1.New() //nolint:gosec // as above
	h.Write(middle)
	for _, b := range rest {
		h.Write(b)
	}
	block = append(h.Sum(block), trailer)
	out, err := sign(ctx, block)
	if err != nil {
		return nil, err
	}
	if len(out) != len(block) {
		return nil, fmt.Errorf("a signature of %d bytes came back for a block of %d", len(out), len(block))
	}
	return out, nil
}

// split is the part of a modulus that fits a certificate, padded with BB, and the
// remainder.
func split(modulus []byte, room int) (left, remainder []byte) {
	if len(modulus) <= room {
		return append(bytes.Clone(modulus), bytes.Repeat([]byte{unpredictablePad}, room-len(modulus))...), nil
	}
	return bytes.Clone(modulus[:room]), bytes.Clone(modulus[room:])
}

// join puts a modulus together again.
func join(left, remainder []byte, size int) ([]byte, error) {
	room := len(left)
	if size <= room {
		for _, b := range left[size:] {
			if b != unpredictablePad {
				return nil, fmt.Errorf("%w: the padding of its key is wrong", ErrCertificate)
			}
		}
		if len(remainder) != 0 {
			return nil, fmt.Errorf("%w: its key has no remainder, and the card gives one", ErrCertificate)
		}
		return bytes.Clone(left[:size]), nil
	}
	if len(remainder) != size-room {
		return nil, fmt.Errorf("%w: its key has a remainder of %d bytes, and the card gives %d", ErrCertificate, size-room, len(remainder))
	}
	return append(bytes.Clone(left), remainder...), nil
}

// packed is digits as compressed numeric (format cn): two a byte, F's behind.
func packed(digits string, size int) ([]byte, error) {
	if len(digits) > 2*size || strings.Trim(digits, "0123456789") != "" || digits == "" {
		return nil, fmt.Errorf("%d digits do not fit %d bytes", len(digits), size)
	}
	digits += strings.Repeat("F", 2*size-len(digits))
	out := make([]byte, size)
	for i := range out {
		out[i] = nibble(digits[2*i])<<4 | nibble(digits[2*i+1])
	}
	return out, nil
}

func nibble(c byte) byte {
	if c == 'F' {
		return 0x0F
	}
	return c - '0'
}

// unpacked is the digits of compressed numeric data.
func unpacked(b []byte) (string, bool) {
	digits := fmt.Sprintf("%X", b)
	trimmed := strings.TrimRight(digits, "F")
	return trimmed, strings.Trim(trimmed, "0123456789") == ""
}

// monthYear is MMYY as two bytes.
func monthYear(text string) ([]byte, error) {
	if len(text) != 4 || text[:2] < "01" || text[:2] > "12" {
		return nil, fmt.Errorf("an expiry date of a certificate is MMYY, not %q", text)
	}
	return packed(text, 2)
}

// valid reports whether a certificate that expires at the end of a month, MMYY,
// is still valid.
func valid(b []byte, at time.Time) (bool, error) {
	text, ok := unpacked(b)
	if !ok || len(text) != 4 || text[:2] < "01" || text[:2] > "12" {
		return false, fmt.Errorf("%w: its expiry date is none", ErrCertificate)
	}
	month := int(text[0]-'0')*10 + int(text[1]-'0')
	year := 2000 + int(text[2]-'0')*10 + int(text[3]-'0')
	if year >= 2050 { // EMV 4.3 Book 4, 6.7.3
		year -= 100
	}
	end := time.Date(year, time.Month(month)+1, 1, 0, 0, 0, 0, time.UTC)
	return at.Before(end), nil
}
