package icao

import "crypto/sha1" //nolint:gosec // the standard's own hash for 128-bit keys

// Counters of the key derivation function (Doc 9303-11 clause 9.7.1).
const (
	KDFEncryption = 1
	KDFMAC        = 2
	KDFPassword   = 3 // K_pi of PACE
)

// KDF is KDF(K, c) of Doc 9303-11 clause 9.7.1 for two-key 3DES and AES-128:
// the first 16 bytes of SHA-1(K ‖ c). Parity bits stay as they come out; DES
// ignores them.
func KDF(secret []byte, counter byte) []byte {
	h := sha1.New() //nolint:gosec // see the import
	h.Write(secret)
	h.Write([]byte{0, 0, 0, counter})
	return h.Sum(nil)[:16]
}
