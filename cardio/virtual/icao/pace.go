package icao

import (
	"bytes"
	"crypto/aes"
	"errors"
	"io"

	"cardbureau/cardio/tlv"
)

// OIDPACE is id-PACE-ECDH-GM-AES-CBC-CMAC-128, the value bytes of the object
// identifier (Doc 9303-11 clause 9.2.2; bsi-de is 0.4.0.127.0.7).
var OIDPACE = []byte{0x04, 0x00, 0x7F, 0x00, 0x07, 0x02, 0x02, 0x04, 0x02, 0x02}

// nonceSize is the length of s in bytes: one block of the cipher.
const nonceSize = aes.BlockSize

// ErrOwnKey means that the terminal sent the chip's own public key back (Doc
// 9303-11 clause 4.4.1 asks for the comparison), or one that ends at infinity.
var ErrOwnKey = errors.New("icao: the terminal's key agrees on nothing")

// PACE is the chip's side of one run of PACE-ECDH-GM-AES-CBC-CMAC-128 (Doc
// 9303-11 clause 4.4). Its methods are the four steps, called in their order;
// that order is the caller's matter. After an error a step can be repeated.
type PACE struct {
	group     Group
	password  []byte // K_pi
	nonce     []byte
	generator []byte // the mapped one
	terminal  []byte // PK_DH,IFD
	chip      []byte // PK_DH,IC
	secret    []byte // x of the shared point
}

// NewPACE begins a run on a curve. The password is the SHA-1 of the MRZ
// information, 20 bytes, or the characters of CAN, PIN or PUK (clause 9.7.3).
func NewPACE(g Group, password []byte) *PACE {
	return &PACE{group: g, password: KDF(password, KDFPassword)}
}

// Nonce draws s and answers z = E(K_pi, s), 16 bytes.
func (p *PACE) Nonce(random io.Reader) ([]byte, error) {
	p.nonce = make([]byte, nonceSize)
	if _, err := io.ReadFull(random, p.nonce); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(p.password)
	if err != nil {
		return nil, err
	}
	z := make([]byte, nonceSize) // one block, zero IV: CBC is ECB
	block.Encrypt(z, p.nonce)
	return z, nil
}

// Map is the generic mapping G' = s·G + H with H the point of an anonymous key
// agreement (Doc 9303-11 clause 4.4.3.3.1). It takes the terminal's point and
// answers the chip's. ErrPoint where the terminal's is none, ErrOwnKey where
// it leads nowhere.
func (p *PACE) Map(random io.Reader, terminal []byte) ([]byte, error) {
	chip, h, err := p.agree(random, nil, terminal)
	if err != nil {
		return nil, err
	}
	s := make([]byte, FieldSize)
	copy(s[FieldSize-nonceSize:], p.nonce)
	sG, err := p.group.Mul(nil, s)
	if err != nil {
		return nil, ErrOwnKey
	}
	if p.generator, err = p.group.Add(sG, h); err != nil {
		return nil, ErrOwnKey
	}
	return chip, nil
}

// Agree is the key agreement on the mapped generator. Errors as of Map.
func (p *PACE) Agree(random io.Reader, terminal []byte) ([]byte, error) {
	chip, k, err := p.agree(random, p.generator, terminal)
	if err != nil {
		return nil, err
	}
	p.terminal, p.chip, p.secret = bytes.Clone(terminal), chip, CoordinateX(k)
	return chip, nil
}

// agree makes an ephemeral key pair on a generator (nil: the curve's own) and
// the shared point with the terminal's key.
func (p *PACE) agree(random io.Reader, generator, terminal []byte) (public, shared []byte, err error) {
	private, err := NewScalar(random, p.group)
	if err != nil {
		return nil, nil, err
	}
	if public, err = p.group.Mul(generator, private); err != nil {
		return nil, nil, ErrOwnKey
	}
	if shared, err = p.group.Mul(terminal, private); err != nil || len(terminal) != PointSize {
		return nil, nil, ErrPoint
	}
	if bytes.Equal(public, terminal) {
		return nil, nil, ErrOwnKey
	}
	return public, shared, nil
}

// Tokens checks the terminal's token, 8 bytes, and answers the chip's with the
// session that begins after the answer. ErrRefused where the token is wrong.
func (p *PACE) Tokens(token []byte) (answer []byte, s *Session, err error) {
	check := NewCMAC(KDF(p.secret, KDFMAC))
	if !SameMAC(check.MAC(publicKeyObject(p.chip)), token) {
		return nil, nil, ErrRefused
	}
	m := check.MAC(publicKeyObject(p.terminal))
	return m[:], NewSessionAES(p.secret), nil
}

// publicKeyObject is what a token is made over: the other side's ephemeral
// key with the protocol's identifier (Doc 9303-11 clause 4.4.3.5).
func publicKeyObject(point []byte) []byte {
	return tlv.Encode(0x7F49, tlv.Encode(0x06, OIDPACE), tlv.Encode(0x86, point))
}
