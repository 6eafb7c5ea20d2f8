// Package pinblock is the PIN blocks of ISO 9564-1: how a PIN and, but for format
// 2, the account it belongs to become 8 bytes (formats 0 to 3) that a key
// enciphers, or 16 bytes (format 4) that AES enciphers in two steps.
//
// It knows no keys but the block cipher that it is given for format 4. PINs are
// digits in byte slices, so that they can be overwritten; no error shows one.
package pinblock

import (
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
)

// Errors. They show nothing of PIN, PAN or block.
var (
	ErrPIN    = errors.New("a PIN has 4 to 12 digits")
	ErrPAN    = errors.New("a PIN block needs a PAN of 13 to 19 digits")
	ErrBlock  = errors.New("the PIN block is not valid for this account and format")
	ErrFormat = errors.New("the PIN block format is 0, 1, 2, 3 or 4")
)

// Size is the length of the clear blocks of formats 0 to 3, in bytes.
const Size = 8

// SizeAES is the length of a block of format 4, in bytes.
const SizeAES = 16

// Encode makes a clear block of format 0, 1, 2 or 3. pan is not used by formats 1
// and 2; random gives the fill of formats 1 and 3.
func Encode(format int, pin []byte, pan string, random io.Reader) ([]byte, error) {
	if err := check(pin); err != nil {
		return nil, err
	}
	n := nibbles{byte(format), byte(len(pin))}
	for _, c := range pin {
		n = append(n, c-'0')
	}
	switch format {
	case 0, 2:
		for len(n) < 16 {
			n = append(n, 0x0F)
		}
	case 1, 3:
		var err error
		if n, err = n.fill(16, format == 3, random); err != nil {
			return nil, err
		}
	default:
		return nil, ErrFormat
	}
	out := n.pack()
	clear(n)
	if format == 0 || format == 3 {
		if err := mix(out, pan); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Decode opens a clear block of format 0, 1, 2 or 3. It is ErrBlock where its
// control, length, digits or fill are not as the format has them: with the wrong
// PAN that is nearly always so.
func Decode(format int, block []byte, pan string) (pin []byte, err error) {
	if format < 0 || format > 3 {
		return nil, ErrFormat
	}
	if len(block) != Size {
		return nil, ErrBlock
	}
	b := append([]byte{}, block...)
	defer clear(b)
	if format == 0 || format == 3 {
		if err := mix(b, pan); err != nil {
			return nil, err
		}
	}
	n := unpack(b)
	defer clear(n)
	if int(n[0]) != format || n[1] < 4 || n[1] > 12 {
		return nil, ErrBlock
	}
	length := int(n[1])
	pin = make([]byte, length)
	for i := range pin {
		if n[2+i] > 9 {
			clear(pin)
			return nil, ErrBlock
		}
		pin[i] = '0' + n[2+i]
	}
	for _, v := range n[2+length:] {
		if (format == 0 || format == 2) && v != 0x0F || format == 3 && v < 0x0A {
			clear(pin)
			return nil, ErrBlock
		}
	}
	return pin, nil
}

// EncodeAES makes an enciphered block of format 4 (ISO 9564-1:2017, 9.4.2): key
// is AES under the PIN encryption key.
func EncodeAES(key cipher.Block, pin []byte, pan string, random io.Reader) ([]byte, error) {
	if err := check(pin); err != nil {
		return nil, err
	}
	account, err := panField(pan)
	if err != nil {
		return nil, err
	}
	n := nibbles{4, byte(len(pin))}
	for _, c := range pin {
		n = append(n, c-'0')
	}
	for len(n) < 16 {
		n = append(n, 0x0A)
	}
	block := n.pack()
	clear(n)
	fill := make([]byte, 8)
	if _, err := io.ReadFull(random, fill); err != nil {
		return nil, err
	}
	block = append(block, fill...)
	key.Encrypt(block, block)
	for i := range block {
		block[i] ^= account[i]
	}
	key.Encrypt(block, block)
	return block, nil
}

// DecodeAES opens an enciphered block of format 4.
func DecodeAES(key cipher.Block, block []byte, pan string) (pin []byte, err error) {
	account, err := panField(pan)
	if err != nil {
		return nil, err
	}
	if len(block) != SizeAES {
		return nil, ErrBlock
	}
	b := make([]byte, SizeAES)
	defer clear(b)
	key.Decrypt(b, block)
	for i := range b {
		b[i] ^= account[i]
	}
	key.Decrypt(b, b)
	n := unpack(b[:8])
	defer clear(n)
	if n[0] != 4 || n[1] < 4 || n[1] > 12 {
		return nil, ErrBlock
	}
	length := int(n[1])
	pin = make([]byte, length)
	for i := range pin {
		if n[2+i] > 9 {
			clear(pin)
			return nil, ErrBlock
		}
		pin[i] = '0' + n[2+i]
	}
	for _, v := range n[2+length:] {
		if v != 0x0A {
			clear(pin)
			return nil, ErrBlock
		}
	}
	return pin, nil
}

// panField is the PAN of format 4: how many digits it has beyond 12, and the
// digits, zeros behind.
func panField(pan string) ([]byte, error) {
	if len(pan) < 12 || len(pan) > 19 || !digits(pan) {
		return nil, fmt.Errorf("%w, format 4 of 12 too", ErrPAN)
	}
	n := nibbles{byte(len(pan) - 12)}
	for i := range len(pan) {
		n = append(n, pan[i]-'0')
	}
	for len(n) < 32 {
		n = append(n, 0)
	}
	return n.pack(), nil
}

// mix adds the account field, four zeros and the twelve rightmost digits of the
// PAN without its check digit.
func mix(block []byte, pan string) error {
	if len(pan) < 13 || len(pan) > 19 || !digits(pan) {
		return ErrPAN
	}
	n := nibbles{0, 0, 0, 0}
	for _, c := range []byte(pan[len(pan)-13 : len(pan)-1]) {
		n = append(n, c-'0')
	}
	for i, b := range n.pack() {
		block[i] ^= b
	}
	return nil
}

func check(pin []byte) error {
	if len(pin) < 4 || len(pin) > 12 || !digits(string(pin)) {
		return ErrPIN
	}
	return nil
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// nibbles are four bits each.
type nibbles []byte

func (n nibbles) pack() []byte {
	out := make([]byte, len(n)/2)
	for i := range out {
		out[i] = n[2*i]<<4 | n[2*i+1]
	}
	return out
}

func unpack(b []byte) nibbles {
	out := make(nibbles, 0, 2*len(b))
	for _, v := range b {
		out = append(out, v>>4, v&0x0F)
	}
	return out
}

// fill adds random nibbles: any, or letters alone (A to F).
func (n nibbles) fill(size int, letters bool, random io.Reader) (nibbles, error) {
	one := make([]byte, 1)
	for len(n) < size {
		if _, err := io.ReadFull(random, one); err != nil {
			return nil, err
		}
		v := one[0] & 0x0F
		if letters {
			if v < 0x0A {
				continue // drawn again, so that each letter is as likely
			}
		}
		n = append(n, v)
	}
	return n, nil
}
