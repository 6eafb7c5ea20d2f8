package vault

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/sha1" //nolint:gosec // option B of EMV Book 2 A1.4.2
	"encoding/hex"
	"fmt"
	"math/bits"
	"strings"

	"cardbureau/cardio/gp"
)

// emvSuite is 3DES or AES under a card's application keys.
type emvSuite struct{ aes bool }

// accountBlock is what an ICC master key is derived from (EMV 4.3 Book 2, A1.4): the
// PAN and its sequence number, of option A the rightmost 16 digits, of option B a
// decimalized hash for PANs of more than 16 digits, of option C (AES) the whole,
// right in 16 bytes.
func accountBlock(option, pan string, sequence byte) ([]byte, error) {
	if len(pan) < 12 || len(pan) > 19 || strings.Trim(pan, "0123456789") != "" || sequence > 99 {
		return nil, fmt.Errorf("%w: a PAN has 12 to 19 digits, its sequence number 0 to 99", ErrRequest)
	}
	digits := pan + fmt.Sprintf("%02d", sequence)
	switch {
	case option == "A" || option == "B" && len(pan) <= 16:
		return unhex(rightmost(digits, 16)), nil
	case option == "B":
		if len(digits)%2 == 1 {
			digits = "0" + digits
		}
		sum := sha1.Sum(unhex(digits)) //nolint:gosec // as above
		return unhex(decimalize(hex.EncodeToString(sum[:]))[:16]), nil
	case option == "C":
		return unhex(rightmost(digits, 32)), nil
	}
	return nil, fmt.Errorf("%w: keys are derived by option A, B or C, not %q", ErrRequest, option)
}

func rightmost(digits string, n int) string {
	if len(digits) >= n {
		return digits[len(digits)-n:]
	}
	return strings.Repeat("0", n-len(digits)) + digits
}

// decimalize takes the decimal digits of hexadecimal ones first, then the letters
// as digits: A is 0, B 1 and so on.
func decimalize(text string) string {
	var first, then []byte
	for _, c := range []byte(strings.ToUpper(text)) {
		if c >= 'A' {
			then = append(then, c-'A'+'0')
		} else {
			first = append(first, c)
		}
	}
	return string(first) + string(then)
}

func unhex(text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic("vault: " + err.Error()) // digits that were checked
	}
	return b
}

// oddParity sets the parity bit of each byte of a DES key.
func oddParity(key []byte) {
	for i, b := range key {
		if bits.OnesCount8(b)%2 == 0 {
			key[i] ^= 1
		}
	}
}

// iccMasterKey derives a card's master key of a role from the issuer's. It passes
// through this process's memory; the caller zeroes it.
func (s *Service) iccMasterKey(ctx context.Context, role, version, option string, account []byte) ([]byte, error) {
	if option == "C" {
		l, err := roleLabel(role+RoleAES, version)
		if err != nil {
			return nil, err
		}
		k, err := s.token.AES(ctx, l)
		if err != nil {
			return nil, err
		}
		return k.EncryptECB(ctx, account)
	}
	l, err := roleLabel(role, version)
	if err != nil {
		return nil, err
	}
	k, err := s.token.DES3(ctx, l)
	if err != nil {
		return nil, err
	}
	in := make([]byte, 16)
	copy(in, account)
	for i, b := range account {
		in[8+i] = ^b
	}
	out, err := k.EncryptECB(ctx, in)
	if err == nil {
		oddParity(out)
	}
	return out, err
}

func (e emvSuite) cipher(key []byte) (cipher.Block, error) {
	if e.aes {
		return aes.NewCipher(key)
	}
	whole := append(append(make([]byte, 0, 24), key...), key[:8]...)
	defer clear(whole)
	return des.NewTripleDESCipher(whole)
}

// sessionKey is the common session key for R, 8 bytes (Book 2, A1.3.1).
func (e emvSuite) sessionKey(master, r []byte) ([]byte, error) {
	c, err := e.cipher(master)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 16)
	copy(out, r)
	if e.aes {
		c.Encrypt(out, out)
		return out, nil
	}
	copy(out[8:], r)
	out[2], out[10] = 0xF0, 0x0F
	c.Encrypt(out[:8], out[:8])
	c.Encrypt(out[8:], out[8:])
	return out, nil
}

// mac is 8 bytes: ISO/IEC 9797-1 algorithm 3 with padding method 2, or the left
// half of a CMAC (Book 2, A1.2).
func (e emvSuite) mac(ctx context.Context, key, message []byte) ([]byte, error) {
	if e.aes {
		sum, err := e.macPadded(ctx, key, message)
		if err != nil {
			return nil, err
		}
		return sum[:8], nil
	}
	return e.macPadded(ctx, key, gp.PadDES(message))
}

// macPadded is the whole MAC, 8 or 16 bytes, without the padding of A1.2: script
// commands of format 1 have theirs (Book 2, 9.2.3). A CMAC over other than whole
// blocks pads by itself.
func (e emvSuite) macPadded(ctx context.Context, key, padded []byte) ([]byte, error) {
	if e.aes {
		c, err := gp.NewSoftwareCipher(key)
		if err != nil {
			return nil, err
		}
		defer func() { _ = c.Close() }()
		return c.CMAC(ctx, padded)
	}
	if len(padded) == 0 || len(padded)%8 != 0 {
		return nil, fmt.Errorf("%w: a padded message is whole blocks", ErrRequest)
	}
	single, err := des.NewCipher(key[:8])
	if err != nil {
		return nil, err
	}
	triple, err := e.cipher(key)
	if err != nil {
		return nil, err
	}
	block := make([]byte, 8)
	for i := 0; i < len(padded); i += 8 {
		for j := range block {
			block[j] ^= padded[i+j]
		}
		if i+8 < len(padded) {
			single.Encrypt(block, block)
		} else {
			triple.Encrypt(block, block)
		}
	}
	return block, nil
}

// encipher is CBC with a zero initial vector over data padded with 80….
func (e emvSuite) encipher(key, plain []byte) ([]byte, error) {
	c, err := e.cipher(key)
	if err != nil {
		return nil, err
	}
	padded := append(append(make([]byte, 0, len(plain)+c.BlockSize()), plain...), 0x80)
	for len(padded)%c.BlockSize() != 0 {
		padded = append(padded, 0)
	}
	cipher.NewCBCEncrypter(c, make([]byte, c.BlockSize())).CryptBlocks(padded, padded)
	return padded, nil
}

// cvv is a card verification value of 3 digits: PAN, expiry as YYMM and service
// code under the two parts of a version of the key.
func (s *Service) cvv(ctx context.Context, version, pan, expiry string, services ...string) ([]string, error) {
	version = cmp.Or(version, firstVersion)
	left, err := roleLabel(RoleCVKLeft, version)
	if err != nil {
		return nil, err
	}
	whole, err := roleLabel(RoleCVK, version)
	if err != nil {
		return nil, err
	}
	single, err := s.token.DES3(ctx, left)
	if err != nil {
		return nil, err
	}
	triple, err := s.token.DES3(ctx, whole)
	if err != nil {
		return nil, err
	}
	if len(expiry) != 4 {
		return nil, fmt.Errorf("%w: an expiry is YYMM", ErrRequest)
	}
	var firsts, seconds []byte
	for _, service := range services {
		if len(service) != 3 {
			return nil, fmt.Errorf("%w: a service code has 3 digits", ErrRequest)
		}
		text := pan + expiry + service
		if len(text) > 32 || strings.Trim(text, "0123456789") != "" {
			return nil, fmt.Errorf("%w: PAN, expiry and service code are digits", ErrRequest)
		}
		b := unhex(text + strings.Repeat("0", 32-len(text)))
		firsts, seconds = append(firsts, b[:8]...), append(seconds, b[8:]...)
	}
	defer clear(firsts)
	if firsts, err = single.EncryptECB(ctx, firsts); err != nil {
		return nil, err
	}
	for i := range firsts {
		firsts[i] ^= seconds[i]
	}
	sums, err := triple.EncryptECB(ctx, firsts)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(services))
	for i := range out {
		out[i] = decimalize(hex.EncodeToString(sums[8*i : 8*i+8]))[:3]
	}
	return out, nil
}

// firstVersion is that of keys of which nobody names another.
const firstVersion = "1"

// pvk is a version of the PIN verification key.
func (s *Service) pvk(ctx context.Context, version string) (interface {
	EncryptECB(ctx context.Context, blocks []byte) ([]byte, error)
}, error) {
	l, err := roleLabel(RolePVK, cmp.Or(version, firstVersion))
	if err != nil {
		return nil, err
	}
	return s.token.DES3(ctx, l)
}

// pvv is a PIN verification value: the eleven digits before the check digit, the
// key's index and four digits of the PIN under the key.
func (s *Service) pvv(ctx context.Context, version, pan string, pvki int, pin []byte) (string, error) {
	key, err := s.pvk(ctx, version)
	if err != nil {
		return "", err
	}
	if len(pan) < 12 || pvki < 1 || pvki > 6 || len(pin) < 4 {
		return "", fmt.Errorf("%w: a PVV needs a PAN, a key index of 1 to 6 and a PIN", ErrRequest)
	}
	in := unhex(pan[len(pan)-12:len(pan)-1] + fmt.Sprint(pvki) + string(pin[:4]))
	defer clear(in)
	out, err := key.EncryptECB(ctx, in)
	if err != nil {
		return "", err
	}
	return decimalize(hex.EncodeToString(out))[:4], nil
}

// decimalization is the IBM 3624 table in use: hexadecimal digit 0 becomes 1, and
// so on.
const decimalization = "1234567890123456"

// naturalPIN is the IBM 3624 PIN of validation data, the 16 leftmost digits of
// the PAN. The caller zeroes it.
func (s *Service) naturalPIN(ctx context.Context, version, pan string, length int) ([]byte, error) {
	key, err := s.pvk(ctx, version)
	if err != nil {
		return nil, err
	}
	if len(pan) < 16 || length < 4 || length > 12 {
		return nil, fmt.Errorf("%w: a PIN of %d digits for a PAN of %d", ErrRequest, length, len(pan))
	}
	out, err := key.EncryptECB(ctx, unhex(pan[:16]))
	if err != nil {
		return nil, err
	}
	defer clear(out)
	pin := make([]byte, length)
	for i := range pin {
		v := out[i/2] >> 4
		if i%2 == 1 {
			v = out[i/2] & 0x0F
		}
		pin[i] = decimalization[v]
	}
	return pin, nil
}

// offsetOf is the IBM 3624 offset: the digits of the PIN less those of the natural
// one, modulo 10.
func offsetOf(pin, natural []byte) string {
	out := make([]byte, len(pin))
	for i := range pin {
		out[i] = '0' + (pin[i]-natural[i]+10)%10
	}
	return string(out)
}
