package icao

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // the standard's own cipher for Basic Access Control
	"errors"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// Errors of Unwrap.
var (
	// ErrObjects marks data objects that are not those of the standard, or a
	// cryptogram or length field that is not well formed.
	ErrObjects = errors.New("icao: secure messaging data objects are not well formed")
	// ErrMissing marks a command without its checksum.
	ErrMissing = errors.New("icao: a secure messaging data object is missing")
	// ErrChecksum marks a checksum that is wrong.
	ErrChecksum = errors.New("icao: the checksum of secure messaging is wrong")
)

// Data objects of secure messaging (Doc 9303-11 clause 9.8.4).
const (
	tagCryptogram       = tlv.Tag(0x87) // padding indicator and cryptogram, even INS
	tagCryptogramOddINS = tlv.Tag(0x85) // cryptogram alone, odd INS
	tagExpectedLength   = tlv.Tag(0x97)
	tagStatus           = tlv.Tag(0x99)
	tagChecksum         = tlv.Tag(0x8E)
)

// ClassSecured are the bits of the class byte that mean secure messaging with
// an authenticated header (ISO/IEC 7816-4 clause 5.4.1).
const ClassSecured = 0x0C

// paddingISO is the padding-content indicator of DO'87'.
const paddingISO = 0x01

// Session is secure messaging with one pair of keys, the chip's side. Whether
// it may go on after an error is the application's rule.
type Session struct {
	block cipher.Block
	macer MACer
	ssc   []byte // send sequence counter, one cipher block
	isAES bool
}

// NewSessionAES starts secure messaging with AES-128; the counter starts at
// zero (Doc 9303-11 clauses 9.8.6.3 and 9.8.7).
func NewSessionAES(secret []byte) *Session {
	block, err := aes.NewCipher(KDF(secret, KDFEncryption))
	if err != nil {
		panic("icao: " + err.Error()) // kdf gives 16 bytes
	}
	return &Session{
		block: block,
		macer: NewCMAC(KDF(secret, KDFMAC)),
		ssc:   make([]byte, aes.BlockSize),
		isAES: true,
	}
}

// NewSession3DES starts secure messaging with two-key 3DES at the given
// counter of 8 bytes.
func NewSession3DES(secret, ssc []byte) *Session {
	return &Session{
		block: NewTripleDES(KDF(secret, KDFEncryption)),
		macer: NewRetailMAC(KDF(secret, KDFMAC)),
		ssc:   append([]byte{}, ssc...),
	}
}

func (s *Session) step() {
	for i := len(s.ssc) - 1; i >= 0; i-- {
		s.ssc[i]++
		if s.ssc[i] != 0 {
			return
		}
	}
}

// iv is zero for 3DES and E(KSenc, SSC) for AES (Doc 9303-11 clause 9.8.6).
func (s *Session) iv() []byte {
	iv := make([]byte, len(s.ssc))
	if s.isAES {
		s.block.Encrypt(iv, s.ssc)
	}
	return iv
}

// checksum is the MAC over SSC ‖ header, if any, padded to a block ‖ objects.
// CMAC pads by itself, but Doc 9303-11 figure 5 pads before it with both
// ciphers.
func (s *Session) checksum(header, objects []byte) [MACSize]byte {
	n := len(s.ssc)
	m := make([]byte, 0, 2*n+len(objects)+n)
	m = append(m, s.ssc...)
	if header != nil {
		m = append(m, Pad(header, n)...)
	}
	m = append(m, objects...)
	if s.isAES {
		m = Pad(m, n)
	}
	return s.macer.MAC(m) // the retail MAC pads by itself
}

// Secured is an unwrapped command: the plain command and the greatest plain
// data of its answer that the wrapped answer has room for, in bytes.
type Secured struct {
	apdu.Command
	Limit int
}

// Unwrap checks and deciphers a command of class 0C. The counter is stepped
// first. It returns ErrObjects, ErrMissing or ErrChecksum.
func (s *Session) Unwrap(c apdu.Command) (Secured, error) {
	s.step()
	var cryptogram, expected []byte
	hasData, hasLe := false, false
	dataTag := tagCryptogram
	if c.INS&1 == 1 {
		dataTag = tagCryptogramOddINS
	}
	rest := c.Data
	next := func(tag tlv.Tag) ([]byte, bool, bool) {
		if len(rest) == 0 {
			return nil, false, true
		}
		o, after, err := tlv.Next(rest)
		if err != nil {
			return nil, false, false
		}
		if o.Tag != tag {
			return nil, false, true
		}
		rest = after
		return o.Value, true, true
	}
	var wellFormed bool
	if cryptogram, hasData, wellFormed = next(dataTag); !wellFormed {
		return Secured{}, ErrObjects
	}
	if expected, hasLe, wellFormed = next(tagExpectedLength); !wellFormed {
		return Secured{}, ErrObjects
	}
	objects := c.Data[:len(c.Data)-len(rest)]
	if len(rest) == 0 {
		return Secured{}, ErrMissing
	}
	sum, hasSum, wellFormed := next(tagChecksum)
	if !wellFormed || !hasSum || len(rest) != 0 {
		return Secured{}, ErrObjects
	}
	if !SameMAC(s.checksum([]byte{c.CLA, c.INS, c.P1, c.P2}, objects), sum) {
		return Secured{}, ErrChecksum
	}

	out := Secured{Command: apdu.Command{CLA: c.CLA &^ ClassSecured, INS: c.INS, P1: c.P1, P2: c.P2}}
	if hasData {
		data, ok := s.decipher(cryptogram, dataTag)
		if !ok {
			return Secured{}, ErrObjects
		}
		out.Data = data
	}
	if hasLe {
		ne, extended, ok := expectedLength(expected, c.Extended)
		if !ok {
			return Secured{}, ErrObjects
		}
		out.Ne, out.Extended = ne, extended
	}
	out.Limit = s.room(c, dataTag)
	return out, nil
}

func (s *Session) decipher(value []byte, tag tlv.Tag) ([]byte, bool) {
	if tag == tagCryptogram {
		if len(value) == 0 || value[0] != paddingISO {
			return nil, false
		}
		value = value[1:]
	}
	if len(value) == 0 || len(value)%len(s.ssc) != 0 {
		return nil, false
	}
	plain := make([]byte, len(value))
	cipher.NewCBCDecrypter(s.block, s.iv()).CryptBlocks(plain, value)
	return Unpad(plain)
}

// expectedLength reads DO'97': one byte, two bytes, or empty for the greatest
// length (ISO/IEC 7816-4 clause 10.4).
func expectedLength(value []byte, extendedOuter bool) (ne int, extended, ok bool) {
	zero := func(n, greatest int) int {
		if n == 0 {
			return greatest
		}
		return n
	}
	switch len(value) {
	case 0:
		if extendedOuter {
			return apdu.MaxExtendedNe, true, true
		}
		return apdu.MaxShortNe, false, true
	case 1:
		return zero(int(value[0]), apdu.MaxShortNe), false, true
	case 2:
		return zero(int(value[0])<<8|int(value[1]), apdu.MaxExtendedNe), true, true
	}
	return 0, false, false
}

// room is the greatest plain data whose wrapped answer fits into the outer
// Ne. An outer command without Le has lost it on the way (T=0 sends none with
// data) and gets the greatest of its length form.
func (s *Session) room(c apdu.Command, dataTag tlv.Tag) int {
	outer := c.Ne
	if outer == 0 {
		outer = apdu.MaxShortNe
		if c.Extended {
			outer = apdu.MaxExtendedNe
		}
	}
	const statusAndChecksum = 4 + 10
	free := outer - statusAndChecksum
	indicator := 0
	if dataTag == tagCryptogram {
		indicator = 1
	}
	block, best := len(s.ssc), 0
	for _, header := range []int{2, 3, 4} { // tag, and a length of 1, 2, 3 bytes
		blocks := (free - header - indicator) / block
		if blocks >= 1 && len(tlv.AppendLength(nil, blocks*block+indicator)) < header {
			best = max(best, blocks*block-1) // at least one byte of padding
		}
	}
	return best
}

// Wrap protects an answer. The counter is stepped first.
func (s *Session) Wrap(ins byte, data []byte, sw apdu.StatusWord) []byte {
	s.step()
	out := make([]byte, 0, len(data)+len(s.ssc)+32)
	if len(data) > 0 {
		cryptogram := Pad(data, len(s.ssc))
		cipher.NewCBCEncrypter(s.block, s.iv()).CryptBlocks(cryptogram, cryptogram)
		if ins&1 == 1 {
			out = tlv.Append(out, tagCryptogramOddINS, cryptogram)
		} else {
			out = tlv.AppendHeader(out, tagCryptogram, len(cryptogram)+1)
			out = append(out, paddingISO)
			out = append(out, cryptogram...)
		}
	}
	out = tlv.Append(out, tagStatus, []byte{sw.SW1(), sw.SW2()})
	sum := s.checksum(nil, out)
	return tlv.Append(out, tagChecksum, sum[:])
}

// newBACSession keeps the counter rule of Basic Access Control in one place:
// the last 4 bytes of RND.IC, then those of RND.IFD (Doc 9303-11 clause
// 9.8.6.2).
func newBACSession(secret, rndIC, rndIFD []byte) *Session {
	ssc := make([]byte, 0, des.BlockSize)
	ssc = append(ssc, rndIC[4:8]...)
	ssc = append(ssc, rndIFD[4:8]...)
	return NewSession3DES(secret, ssc)
}
