package icao

import (
	"bytes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // the standard's own cipher for Basic Access Control
	"crypto/subtle"
	"errors"
	"io"
)

// Lengths of Basic Access Control in bytes (Doc 9303-11 clause 4.3.1).
const (
	ChallengeSize = 8
	keySeedSize   = 16
	bacPlainSize  = 2*ChallengeSize + keySeedSize
	BACSize       = bacPlainSize + MACSize // of the command data and of the answer
)

// ErrRefused means that the other side did not prove that it knows the
// password.
var ErrRefused = errors.New("icao: the other side is not authentic")

// AnswerBAC is the chip's side of the mutual authentication of Basic Access
// Control (Doc 9303-11 clause 4.3.1): it takes E_IFD ‖ M_IFD, BACSize bytes,
// and answers E_IC ‖ M_IC with the session that begins after the answer. kEnc
// and kMAC are two-key 3DES keys of 16 bytes, challenge is RND.IC. ErrRefused
// where the MAC or the challenge is wrong.
func AnswerBAC(random io.Reader, kEnc, kMAC, challenge, data []byte) (answer []byte, s *Session, err error) {
	encryption, check := NewTripleDES(kEnc), NewRetailMAC(kMAC)
	var iv [des.BlockSize]byte
	if !SameMAC(check.MAC(data[:bacPlainSize]), data[bacPlainSize:]) {
		return nil, nil, ErrRefused
	}
	p := make([]byte, bacPlainSize) // RND.IFD ‖ RND.IC ‖ K.IFD
	cipher.NewCBCDecrypter(encryption, iv[:]).CryptBlocks(p, data[:bacPlainSize])
	rndIFD, rndIC, kIFD := p[:8], p[8:16], p[16:]
	if !bytes.Equal(rndIC, challenge) {
		return nil, nil, ErrRefused
	}
	r := make([]byte, 0, BACSize) // RND.IC ‖ RND.IFD ‖ K.IC
	r = append(r, rndIC...)
	r = append(r, rndIFD...)
	r = r[:bacPlainSize]
	kIC := r[2*ChallengeSize:]
	if _, err := io.ReadFull(random, kIC); err != nil {
		return nil, nil, err
	}
	seed := make([]byte, keySeedSize)
	subtle.XORBytes(seed, kIFD, kIC)
	cipher.NewCBCEncrypter(encryption, iv[:]).CryptBlocks(r, r)
	m := check.MAC(r)
	return append(r, m[:]...), newBACSession(seed, rndIC, rndIFD), nil
}
