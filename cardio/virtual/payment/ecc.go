package payment

import (
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"math/big"
)

// curve is one of the curves of XDA with its hash algorithm (EMV 4.4 Book 2, tables
// 44 to 48).
type curve struct {
	size int // bytes of a coordinate, of a private key, and of a signature's s
	hash func() hash.Hash
	ecdh ecdh.Curve
	p, n *big.Int
}

func number16(s string) *big.Int {
	n, ok := new(big.Int).SetString(s, 16)
	if !ok {
		panic(s)
	}
	return n
}

var curves = []curve{
	{32, sha256.New, ecdh.P256(),
		number16("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"),
		number16("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")},
	{66, sha512.New, ecdh.P521(),
		new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 521), big.NewInt(1)),
		number16("01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409")},
}

// eccKey is the card's private key of elliptic curves.
type eccKey struct {
	curve
	d *big.Int
}

// parseECC takes a private key, big-endian: 32 bytes are P-256's, 66 P-521's. It is
// more than 1 and less than n-1 (EMV 4.4 Book 2, section B2.2.4).
func parseECC(b []byte) (*eccKey, bool) {
	for _, c := range curves {
		if len(b) != c.size {
			continue
		}
		d, one := new(big.Int).SetBytes(b), big.NewInt(1)
		return &eccKey{c, d}, d.Cmp(one) > 0 && d.Cmp(new(big.Int).Sub(c.n, one)) < 0
	}
	return nil, false
}

// readECC reads the private key and checks that terminals can verify what it signs:
// of the two points with its public key's x-coordinate they take the one with the
// smaller y.
func readECC(m memory) (*eccKey, error) {
	k, ok := parseECC(m.Get(key(dgiECC)))
	if !ok {
		return nil, errKey
	}
	_, y := k.multiple(k.d)
	if y.Lsh(y, 1).Cmp(k.p) > 0 {
		return nil, errKey
	}
	return k, nil
}

// multiple is a multiple of the base point: x as bytes, and y. The factor is from 1
// to n-1.
func (c curve) multiple(k *big.Int) (x []byte, y *big.Int) {
	private, err := c.ecdh.NewPrivateKey(k.FillBytes(make([]byte, c.size)))
	if err != nil {
		panic(err)
	}
	point := private.PublicKey().Bytes() // 04, x, y
	return point[1 : 1+c.size], new(big.Int).SetBytes(point[1+c.size:])
}

// sign is EC-SDSA that hashes x alone (EMV 4.4 Book 2, section A2.2.2). The secret
// factor comes of key and message: a random number generator that fails once gives
// the private key away.
func (k *eccKey) sign(message []byte) []byte {
	for next := k.factors(message); ; {
		if s := k.signWith(next(), message); s != nil {
			return s
		}
	}
}

func (k *eccKey) signWith(factor *big.Int, message []byte) []byte {
	x, _ := k.multiple(factor)
	h := k.hash()
	h.Write(x)
	h.Write(message)
	r := h.Sum(nil)
	s := new(big.Int).Mod(new(big.Int).SetBytes(r), k.n)
	if s.Sign() == 0 {
		return nil
	}
	if s.Mul(s, k.d).Add(s, factor).Mod(s, k.n).Sign() == 0 {
		return nil
	}
	return append(r, s.FillBytes(make([]byte, k.size))...)
}

// factors gives secret factors, one after the other (RFC 6979, section 3.2).
func (k *eccKey) factors(message []byte) func() *big.Int {
	bits := k.n.BitLen()
	toInt := func(b []byte) *big.Int {
		n := new(big.Int).SetBytes(b)
		return n.Rsh(n, uint(max(0, len(b)*8-bits)))
	}
	h := k.hash()
	h.Write(message)
	digest := toInt(h.Sum(nil))
	seed := append(k.d.FillBytes(make([]byte, k.size)), digest.Mod(digest, k.n).FillBytes(make([]byte, k.size))...)
	mac := func(key []byte, parts ...[]byte) []byte {
		m := hmac.New(k.hash, key)
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	state, v := make([]byte, h.Size()), make([]byte, h.Size())
	for i := range v {
		v[i] = 1
	}
	for _, b := range []byte{0, 1} {
		state = mac(state, v, []byte{b}, seed)
		v = mac(state, v)
	}
	return func() *big.Int {
		for {
			var t []byte
			for len(t)*8 < bits {
				v = mac(state, v)
				t = append(t, v...)
			}
			n := toInt(t)
			state = mac(state, v, []byte{0})
			v = mac(state, v)
			if n.Sign() > 0 && n.Cmp(k.n) < 0 {
				return n
			}
		}
	}
}

// signedExtended is signed dynamic application data of XDA (EMV 4.4 Book 2, tables
// 37 and 38) over what the terminal sent and the answer's data objects.
func signedExtended(k *eccKey, parts ...[]byte) []byte {
	message := []byte{formatXDA}
	for _, p := range parts {
		message = append(message, p...)
	}
	return append([]byte{formatXDA}, k.sign(message)...)
}

const formatXDA = 0x15
