package vault

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"

	"github.com/fxamacker/cbor/v2"

	"cardbureau/hsm"
)

// What a sealed ICC key and a sealed PIN are bound to beside the caller's data.
const (
	kindICCKey = "icc-key\x00"
	kindMailer = "pin-mailer\x00"
)

// crt is an RSA private key as a card takes it: five parts of half the modulus
// each, and the exponent in use.
type crt struct {
	P        []byte `cbor:"1,keyasint"`
	Q        []byte `cbor:"2,keyasint"`
	DP       []byte `cbor:"3,keyasint"`
	DQ       []byte `cbor:"4,keyasint"`
	QInv     []byte `cbor:"5,keyasint"`
	Modulus  []byte `cbor:"6,keyasint"`
	Exponent []byte `cbor:"7,keyasint"`
}

func (k *crt) zero() {
	for _, b := range [][]byte{k.P, k.Q, k.DP, k.DQ, k.QInv} {
		clear(b)
	}
}

// newCRT makes a key. It is made in this process and not in the token: the card
// must get it, and a key that was made to leave a token is no safer in it.
func newCRT(bits, exponent int) (*crt, error) {
	if bits < 1024 || bits > 1984 || bits%8 != 0 {
		return nil, fmt.Errorf("%w: an ICC key has 1024 to 1984 bits, a multiple of 8, not %d", ErrRequest, bits)
	}
	var p, q *big.Int
	switch exponent {
	case 65537:
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			return nil, err
		}
		p, q = k.Primes[0], k.Primes[1]
	case 3:
		var err error
		if p, q, err = primesFor3(bits); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("%w: a public exponent is 3 or 65537, not %d", ErrRequest, exponent)
	}
	one, e := big.NewInt(1), big.NewInt(int64(exponent))
	p1, q1 := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
	dp, dq, qinv := new(big.Int).ModInverse(e, p1), new(big.Int).ModInverse(e, q1), new(big.Int).ModInverse(q, p)
	n := new(big.Int).Mul(p, q)
	half := (bits/8 + 1) / 2
	fill := func(x *big.Int) []byte { return x.FillBytes(make([]byte, half)) }
	out := &crt{P: fill(p), Q: fill(q), DP: fill(dp), DQ: fill(dq), QInv: fill(qinv), Modulus: n.Bytes(), Exponent: e.Bytes()}
	wipe(p, q, p1, q1, dp, dq, qinv)
	return out, nil
}

// primesFor3 finds primes with which 3 can be the exponent: p − 1 and q − 1 are no
// multiples of it, and the product has all its bits.
func primesFor3(bits int) (p, q *big.Int, err error) {
	prime := func(size int) (*big.Int, error) {
		three := big.NewInt(3)
		for {
			x, err := rand.Prime(rand.Reader, size)
			if err != nil {
				return nil, err
			}
			if new(big.Int).Mod(x, three).Int64() == 2 {
				return x, nil
			}
		}
	}
	for {
		if p, err = prime((bits + 1) / 2); err != nil {
			return nil, nil, err
		}
		if q, err = prime(bits / 2); err != nil {
			return nil, nil, err
		}
		if n := new(big.Int).Mul(p, q); n.BitLen() == bits && new(big.Int).Sub(p, q).BitLen() > bits/2-100 {
			return p, q, nil
		}
	}
}

type iccKeysRequest struct{ Bits, Exponent, N int }

type iccKeysReply struct{ Keys []ICCKey }

// maxICCKeys is how many keys one call makes: about two seconds of work.
const maxICCKeys = 32

func (s *Service) newICCKeys(ctx context.Context, in *iccKeysRequest) (*iccKeysReply, error) {
	if in.N < 1 || in.N > maxICCKeys {
		return nil, fmt.Errorf("%w: 1 to %d ICC keys are made at once", ErrRequest, maxICCKeys)
	}
	pool, err := s.sealingKey(ctx, RolePool)
	if err != nil {
		return nil, err
	}
	out := &iccKeysReply{}
	for range in.N {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		k, err := newCRT(in.Bits, in.Exponent)
		if err != nil {
			return nil, err
		}
		one := ICCKey{ID: make([]byte, 16), Bits: in.Bits}
		if _, err := rand.Read(one.ID); err != nil {
			return nil, err
		}
		plain, err := cbor.Marshal(k)
		k.zero()
		if err != nil {
			return nil, err
		}
		one.Sealed, err = sealWith(ctx, pool, kindICCKey, one.ID, plain)
		clear(plain)
		if err != nil {
			return nil, err
		}
		out.Keys = append(out.Keys, one)
	}
	return out, nil
}

// pooled opens a key of the pool; the caller zeroes it.
func (s *Service) pooled(ctx context.Context, in ICCKey) (*crt, error) {
	pool, err := s.sealingKey(ctx, RolePool)
	if err != nil {
		return nil, err
	}
	plain, err := openWith(ctx, pool, kindICCKey, in.ID, in.Sealed)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	var k crt
	if err := cbor.Unmarshal(plain, &k); err != nil {
		return nil, errors.New("the ICC key cannot be decoded")
	}
	return &k, nil
}

// sealingKey is a key that seals what waits.
func (s *Service) sealingKey(ctx context.Context, role string) (*hsm.AESKey, error) {
	l, err := roleLabel(role, "1")
	if err != nil {
		return nil, err
	}
	k, err := s.token.AES(ctx, l)
	return k, notProvisioned(err)
}

// NewICCKeys makes RSA keys for cards ahead of them: bits is 1024 to 1984, exponent
// 3 or 65537, n at most 32. Each is sealed and bound to its random ID.
func (c *Client) NewICCKeys(ctx context.Context, bits, exponent, n int) ([]ICCKey, error) {
	ctx, cancel := deadline(ctx, provisionTimeout)
	defer cancel()
	out, _, err := call[iccKeysReply](ctx, c, methodNewICCKeys, iccKeysRequest{bits, exponent, n})
	return out.Keys, err
}
