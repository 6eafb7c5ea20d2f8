package lds

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	_ "crypto/sha1"   // SHA-1, in most chips
	_ "crypto/sha256" // SHA-224 and SHA-256
	_ "crypto/sha512" // SHA-384 and SHA-512
	"fmt"
	"math/big"
)

// Lengths in bytes of the RSA keys that are looked at: 1,024 to 8,192 bits.
const (
	minModulus = 128
	maxModulus = 1024
)

// trailerHashes are the hashes of a trailer of two bytes, identifier and CC
// (ISO/IEC 10118-3), as 9303-11 section 6.1.2.1 lists them.
var trailerHashes = map[byte]crypto.Hash{0x33: crypto.SHA1, 0x34: crypto.SHA256, 0x35: crypto.SHA512, 0x36: crypto.SHA384, 0x38: crypto.SHA224}

// verifyISO9796 verifies a signature of digital signature scheme 1 of ISO/IEC
// 9796-2 with partial recovery: what the signature opens to is
// 6A ‖ M1 ‖ hash(M1 ‖ M2) ‖ trailer, and m2 is known. A shorter M1 has 6B BB …
// BA in front. The trailer is BC for SHA-1, or an identifier and CC.
func verifyISO9796(key *rsa.PublicKey, m2, signature []byte) error {
	refuse := func(why string) error { return fmt.Errorf("%w: %s", ErrActiveAuthentication, why) }
	s := new(big.Int).SetBytes(signature)
	if s.Cmp(key.N) >= 0 {
		return refuse("the signature is no number below the modulus")
	}
	m := s.Exp(s, big.NewInt(int64(key.E)), key.N)
	f := m.FillBytes(make([]byte, key.Size()))
	end := len(f) - 1
	if f[end]&0x0F != 0x0C { // the signer may have given the smaller of s and n − s
		f = m.Sub(key.N, m).FillBytes(f)
	}
	var hash crypto.Hash
	switch f[end] {
	case 0xBC:
		hash = crypto.SHA1
	case 0xCC:
		end--
		hash = trailerHashes[f[end]]
	}
	if hash == 0 {
		return refuse("the signature opens to no trailer that is known")
	}
	start := 1
	switch f[0] {
	case 0x6A:
	case 0x6B:
		for start < end && f[start] == 0xBB {
			start++
		}
		if f[start] != 0xBA {
			return refuse("the signature opens to no padding")
		}
		start++
	default:
		return refuse("the signature opens to no header of partial recovery")
	}
	at := end - hash.Size()
	if at < start {
		return refuse("the signature has no room for its hash")
	}
	h := hash.New()
	h.Write(f[start:at])
	h.Write(m2)
	if !bytes.Equal(h.Sum(nil), f[at:end]) {
		return refuse("the hash in the signature is another")
	}
	return nil
}
