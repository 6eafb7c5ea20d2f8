package jmrtd

import (
	"crypto/sha1" //nolint:gosec // the applet knows no other
	"math/big"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
)

// modulusSize is the length of the RSA key in bytes: 1,024 bits.
const modulusSize = 128

// nonceSize is the length of RND.IFD of active authentication in bytes.
const nonceSize = 8

// internalAuthenticate executes INTERNAL AUTHENTICATE (Doc 9303-11 clause 6.1;
// ISO/IEC 9796-2 scheme 1 with SHA-1): the private operation over
// 6A ‖ M1 ‖ SHA-1(M1 ‖ RND.IFD) ‖ BC. The applet's M1 is no random number but
// 106 zeros, so that the same challenge draws the same answer.
func (a *Applet) internalAuthenticate(e virtual.Env, c command) ([]byte, apdu.StatusWord) {
	modulus, exponent := e.Memory().Get(keyModulus), e.Memory().Get(keyExponent)
	if modulus == nil || exponent == nil || a.session() == nil {
		return nil, apdu.SWSecurityStatusNotSatisfied
	}
	if len(c.Data) != nonceSize {
		return nil, apdu.SWWrongLength
	}
	const recovered = modulusSize - 1 - sha1.Size - 1
	h := sha1.Sum(append(make([]byte, recovered), c.Data...)) //nolint:gosec // see the import
	f := make([]byte, modulusSize)
	f[0] = 0x6A
	copy(f[1+recovered:], h[:])
	f[modulusSize-1] = 0xBC
	n := new(big.Int).SetBytes(modulus)
	m := new(big.Int).SetBytes(f)
	if m.Cmp(n) >= 0 || n.Bit(0) == 0 {
		return nil, swCrash
	}
	s := m.Exp(m, new(big.Int).SetBytes(exponent), n)
	return s.FillBytes(f), apdu.SWSuccess
}
