package virtual

import (
	"crypto/aes"
	"crypto/des"
)

// dataKey deciphers sensitive data inside a session: keys of PUT KEY and the
// secrets of STORE DATA.
type dataKey interface {
	// decipher needs a multiple of the block size.
	decipher(data []byte) []byte
	blockSize() int
}

// staticDEK is the data encryption key of SCP03: the static one, CBC with a
// zero IV (GPC_SPE_014 section 6.2.8).
type staticDEK struct{ key *aesKey }

func (d staticDEK) decipher(data []byte) []byte { return d.key.decryptCBC([16]byte{}, data) }
func (d staticDEK) blockSize() int              { return aes.BlockSize }

// sessionDEK is the data encryption key of SCP02: a session key, ECB
// (GPC_SPE_034 v2.3.1 section E.4.7).
type sessionDEK struct{ key *desKey }

func (d sessionDEK) decipher(data []byte) []byte { return d.key.decryptECB(data) }
func (d sessionDEK) blockSize() int              { return des.BlockSize }
