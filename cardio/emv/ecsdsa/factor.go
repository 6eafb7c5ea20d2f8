package ecsdsa

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
)

// freshBytes are drawn from the caller's source for each signature.
const freshBytes = 64

// factors is where a signature's secret factors are drawn from. Two messages under
// one factor give the private key away, so a source of random numbers that fails
// must not be enough for that: the bytes are HMAC-SHA512 in counter mode under a key
// that comes of the private key, the message, and fresh random bytes. Where the
// source repeats itself they are another message's other bytes, as with RFC 6979;
// where it does not, no two signatures have the same.
type factors struct {
	key, rest []byte
	count     uint32
}

// factorLabel keeps these uses of the private key apart from any other.
const factorLabel = "EC-SDSA factor\x00"

func newFactors(priv *PrivateKey, message []byte, rand io.Reader) (*factors, error) {
	fresh := make([]byte, freshBytes)
	defer clear(fresh)
	if _, err := io.ReadFull(rand, fresh); err != nil {
		return nil, err
	}
	h := hmac.New(sha512.New, priv.D)
	h.Write([]byte(factorLabel))
	h.Write([]byte{byte(priv.Suite)})
	h.Write(fresh)
	h.Write(message)
	return &factors{key: h.Sum(nil)}, nil
}

// Read never fails.
func (f *factors) Read(p []byte) (int, error) {
	if len(f.rest) == 0 {
		h := hmac.New(sha512.New, f.key)
		h.Write(binary.BigEndian.AppendUint32(nil, f.count))
		f.rest, f.count = h.Sum(nil), f.count+1
	}
	n := copy(p, f.rest)
	clear(f.rest[:n])
	f.rest = f.rest[n:]
	return n, nil
}

func (f *factors) zero() {
	clear(f.key)
	clear(f.rest)
}

// within draws an integer from 1 to the order less 1, by rejection (Book 2, B2.5).
func (s Suite) within(rand io.Reader) (*big.Int, error) {
	b := make([]byte, s.FieldBytes())
	defer clear(b)
	for range 256 {
		if _, err := io.ReadFull(rand, b); err != nil {
			return nil, fmt.Errorf("random numbers: %w", err)
		}
		if s == SuiteP521 {
			b[0] &= 1
		}
		if k := new(big.Int).SetBytes(b); k.Sign() > 0 && k.Cmp(s.order()) < 0 {
			return k, nil
		}
	}
	return nil, errors.New("random numbers: the source gives none that is in range")
}
