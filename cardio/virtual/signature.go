package virtual

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"math/big"
	"slices"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// verifies checks a signature or MAC over a message (GPC_SPE_034 v2.3.1
// appendix B): RSA-1024 with SHA-1 and PKCS #1 v1.5, ECDSA on P-256 with
// SHA-256 as r and s of 32 bytes, AES-CMAC, or a MAC of full triple DES.
func (k singleKey) verifies(message, signature []byte) bool {
	switch k.kind {
	case keyTypeRSAModulus:
		e := new(big.Int).SetBytes(k.second)
		if !e.IsInt64() || e.Int64() > 1<<31-1 {
			return false
		}
		digest := sha1.Sum(message)
		public := rsa.PublicKey{N: new(big.Int).SetBytes(k.value), E: int(e.Int64())}
		return rsa.VerifyPKCS1v15(&public, crypto.SHA1, digest[:], signature) == nil
	case keyTypeECPublic:
		if len(signature) != 64 {
			return false
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), k.value)
		if err != nil {
			return false
		}
		digest := sha256.Sum256(message)
		return ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	}
	want := k.mac(message)
	return want != nil && subtle.ConstantTimeCompare(want, signature) == 1
}

// mac is a MAC with a secret key: 16 bytes with AES (B.2.2), 8 with DES
// (B.1.2.1: CBC of triple DES from a zero vector, the last block, padding
// method 2); nil with a public key.
func (k singleKey) mac(message []byte) []byte {
	switch k.kind {
	case keyTypeAES:
		m := mustAESKey(k.value).cmac(message)
		return m[:]
	case keyType3DES:
		m := mustDESKey(k.value).fullMAC(message)
		return m[:]
	}
	return nil
}

// dapRequired are the security domains whose DAP block must come with what is
// loaded to a domain (section 9.2.1): that domain's, if it has DAP
// Verification, and those of all with Mandated DAP Verification.
func (c *Chip) dapRequired(target *application) []*application {
	var out []*application
	for _, a := range c.reg.apps {
		if a.state&0x07 == 0x07 && (a.privileges&PrivilegeMandatedDAP != 0 || a == target && a.privileges&PrivilegeDAP != 0) {
			out = append(out, a)
		}
	}
	return out
}

// verifyDAP checks the DAP blocks before a load file data block: E2 { 4F AID
// of the security domain, C3 signature over the hash } (section 11.6.2.3 and
// appendix C.3), at most one a domain. One that is required and missing is
// 6985, a wrong signature 6982.
func (c *Chip) verifyDAP(blocks []tlv.Object, l *loading) apdu.StatusWord {
	var seen []*application
	for _, b := range blocks {
		parts, err := tlv.Parse(b.Value)
		if err != nil || len(parts) != 2 || parts[0].Tag != 0x4F || parts[1].Tag != 0xC3 || len(l.hash) == 0 {
			return apdu.SWWrongData
		}
		d := c.reg.application(parts[0].Value)
		if d == nil || d.privileges&PrivilegeDAP == 0 || slices.Contains(seen, d) {
			return apdu.SWWrongData
		}
		key, ok := d.ring.single(dapKeyVersion, 0)
		if !ok {
			return apdu.SWConditionsOfUseNotSatisfied
		}
		if !key.verifies(l.hash, parts[1].Value) {
			return apdu.SWSecurityStatusNotSatisfied
		}
		seen = append(seen, d)
	}
	for _, d := range c.dapRequired(l.domain) {
		if !slices.Contains(seen, d) {
			return apdu.SWConditionsOfUseNotSatisfied
		}
	}
	return apdu.SWSuccess
}
