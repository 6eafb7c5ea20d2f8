package payment

import "math/big"

// rsaKey is the card's private key.
type rsaKey struct {
	n                  *big.Int
	size               int // bytes of the modulus
	p, q, dp, dq, qinv *big.Int
	d                  *big.Int // without the other five
}

// readKey reads the private key and checks that its parts belong together. Whether
// it signs what its public key recovers is tried once, when it is personalized.
func readKey(m memory) (*rsaKey, error) {
	if p := m.Get(key(dgiP)); p != nil {
		half := oddEnd(p)
		part := func(id uint16) *big.Int {
			b := m.Get(key(id))
			if len(b) < half {
				return new(big.Int)
			}
			return new(big.Int).SetBytes(b[:half])
		}
		k := &rsaKey{p: part(dgiP), q: part(dgiQ), dp: part(dgiDP), dq: part(dgiDQ), qinv: part(dgiQInv)}
		one := big.NewInt(1)
		if k.p.Sign() <= 0 || k.q.Sign() <= 0 || k.p.Cmp(one) <= 0 || k.q.Cmp(one) <= 0 || k.dp.Sign() <= 0 || k.dq.Sign() <= 0 {
			return nil, errKey
		}
		product := new(big.Int).Mul(k.q, k.qinv)
		if product.Mod(product, k.p).Cmp(one) != 0 {
			return nil, errKey
		}
		k.n = new(big.Int).Mul(k.p, k.q)
		k.size = (k.n.BitLen() + 7) / 8
		return k, nil
	}
	n, d := m.Get(key(dgiModulus)), m.Get(key(dgiExponent))
	if n == nil || d == nil {
		return nil, errKey
	}
	size := oddEnd(n)
	if len(d) < size {
		return nil, errKey
	}
	k := &rsaKey{n: new(big.Int).SetBytes(n[:size]), d: new(big.Int).SetBytes(d[:size])}
	k.size = (k.n.BitLen() + 7) / 8
	return k, nil
}

// oddEnd is how long an odd number is that may have padding behind it: 80 and
// zeros, all even.
func oddEnd(b []byte) int {
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	if n > 0 && n < len(b)+1 && b[n-1] == 0x80 {
		n--
	}
	return n
}

// tried checks that what the key signs is recovered by one of the exponents that
// EMV allows. Of a key in five parts the parts tell (RFC 8017, 3.2), which costs less
// than a signature; readKey has looked at the fifth.
func (k *rsaKey) tried() error {
	x := big.NewInt(2)
	for _, e := range []int64{3, 65537} {
		e := big.NewInt(e)
		if k.d == nil {
			if inverse(e, k.dp, k.p) && inverse(e, k.dq, k.q) {
				return nil
			}
			continue
		}
		if y := new(big.Int).Exp(k.private(x), e, k.n); y.Cmp(x) == 0 {
			return nil
		}
	}
	return errKey
}

// inverse reports whether e times d is 1 modulo prime - 1.
func inverse(e, d, prime *big.Int) bool {
	order := new(big.Int).Sub(prime, big.NewInt(1))
	product := new(big.Int).Mul(e, d)
	return product.Mod(product, order).Cmp(big.NewInt(1)) == 0
}

func (k *rsaKey) private(x *big.Int) *big.Int {
	if k.d != nil {
		return new(big.Int).Exp(x, k.d, k.n)
	}
	a := new(big.Int).Exp(x, k.dp, k.p)
	b := new(big.Int).Exp(x, k.dq, k.q)
	h := new(big.Int).Sub(a, b)
	h.Mul(h, k.qinv).Mod(h, k.p)
	return h.Mul(h, k.q).Add(h, b)
}

// sign is the private operation on a block of the modulus' length.
func (k *rsaKey) sign(block []byte) []byte {
	return k.private(new(big.Int).SetBytes(block)).FillBytes(make([]byte, k.size))
}
