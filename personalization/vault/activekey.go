package vault

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
)

// The RSA key of active authentication: its length in bits, its public
// exponent, and how many random bytes are drawn from the token at once to find
// its primes, which takes about 350 numbers.
const (
	activeBits     = 1024
	activeBytes    = activeBits / 8
	activeExponent = 65537
	activePortion  = 4096
)

// addActiveKey makes an RSA key for active authentication and adds modulus and
// private exponent. It returns the public key, SubjectPublicKeyInfo, DER.
//
// The applet needs the exponent itself, in plain: like the key of chip
// authentication it is made of random numbers that the token gives. A key pair
// made in the token would have to be extractable, and tokens that follow FIPS
// 186-5 make none of 1,024 bits.
func (e elements) addActiveKey(random *tokenReader) ([]byte, error) {
	defer random.forget()
	n, d, err := activeKey(random)
	if err != nil {
		return nil, err
	}
	defer wipe(d)
	e[SecretAAModulus] = n.FillBytes(make([]byte, activeBytes))
	e[SecretAAPrivateExponent] = d.FillBytes(make([]byte, activeBytes))
	return x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n, E: activeExponent})
}

// activeKey is the modulus and the private exponent of a new key: two primes
// that differ within their first 100 bits, both with their two top bits set,
// and the inverse of the public exponent modulo lcm(p − 1, q − 1) (FIPS 186-5
// appendix A.1.1 and A.1.3). A key is tried once before it is given out.
func activeKey(random io.Reader) (n, d *big.Int, err error) {
	one, exponent := big.NewInt(1), big.NewInt(activeExponent)
	for {
		p, err := activePrime(random)
		if err != nil {
			return nil, nil, err
		}
		q, err := activePrime(random)
		if err != nil {
			wipe(p)
			return nil, nil, err
		}
		distance := new(big.Int).Sub(p, q)
		far := distance.BitLen() > activeBits/2-100
		n = new(big.Int).Mul(p, q)
		p.Sub(p, one)
		q.Sub(q, one)
		common := new(big.Int).GCD(nil, nil, p, q)
		lambda := new(big.Int).Mul(p, q)
		lambda.Div(lambda, common)
		d = new(big.Int).ModInverse(exponent, lambda)
		wipe(p, q, distance, common, lambda)
		if !far || d == nil || d.BitLen() <= activeBits/2 {
			continue
		}
		probe := big.NewInt(2)
		probe.Exp(probe, exponent, n)
		if probe.Exp(probe, d, n); probe.Cmp(big.NewInt(2)) != 0 {
			return nil, nil, errors.New("a new key of active authentication does not work")
		}
		return n, d, nil
	}
}

// activePrime draws numbers until one is prime and p − 1 has no factor in
// common with the public exponent.
func activePrime(random io.Reader) (*big.Int, error) {
	b := make([]byte, activeBytes/2)
	defer clear(b)
	p, exponent := new(big.Int), big.NewInt(activeExponent)
	for {
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, err
		}
		b[0] |= 0xC0
		b[len(b)-1] |= 1
		p.SetBytes(b)
		if !p.ProbablyPrime(20) {
			continue
		}
		if r := new(big.Int).Mod(p, exponent); r.Cmp(big.NewInt(1)) != 0 {
			return p, nil
		}
	}
}

// wipe overwrites numbers. What math/big copied meanwhile it cannot reach.
func wipe(numbers ...*big.Int) {
	for _, x := range numbers {
		w := x.Bits()
		clear(w[:cap(w)])
		x.SetInt64(0)
	}
}
