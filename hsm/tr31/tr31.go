// Package tr31 reads and writes key blocks (ASC X9 TR-31:2018, now ANSI X9.143) of the
// versions whose keys are derived from the key block protection key: B (triple DES)
// and D (AES). The older versions A and C are refused: the standard deprecates them, and
// their keys are variants of the protection key, which would have to leave the token.
//
// The protection key stays where it is: deriving takes CMACs by it alone, which a
// PKCS#11 token makes. The derived keys live in memory for the time of one call.
package tr31

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Errors. None of them holds a part of a key.
var (
	ErrFormat  = errors.New("this is no key block of TR-31")
	ErrVersion = errors.New("key blocks of this version are not taken: B (triple DES) and D (AES) are")
	ErrMAC     = errors.New("the key block's MAC is wrong: it was altered, or another key protects it")
	ErrKBPK    = errors.New("the key block's version does not fit the key block protection key")
)

// CMAC makes a CMAC by the key block protection key: 8 bytes by a triple DES key, 16
// by an AES key.
type CMAC func(data []byte) ([]byte, error)

// Protection is a key block protection key. Bytes is its length: 16 or 24 of triple
// DES, 16, 24 or 32 of AES.
type Protection struct {
	AES   bool
	Bytes int
	CMAC  CMAC
}

// Header is a key block's header (TR-31:2018, table 4), which is protected but not
// enciphered.
type Header struct {
	Version       byte   // 'B' or 'D'
	Usage         string // two characters: C0 card verification, E0 to E6 EMV master keys, K0 key encryption, P0 PIN encryption, V0 to V2 PIN verification
	Algorithm     byte   // T triple DES, A AES
	Mode          byte   // of use: E, D, B, G, V, C, N, X
	KeyVersion    string // two characters, 00: none
	Exportability byte   // E, N or S
	Optional      []Block
}

// Block is an optional block: an identifier of two characters, and text.
type Block struct{ ID, Value string }

// Key is a key block that was opened. Value is the secret.
type Key struct {
	Header
	Value []byte
}

// Zero overwrites the key.
func (k *Key) Zero() { clear(k.Value) }

// String shows the header alone.
func (k Key) String() string {
	return fmt.Sprintf("key block %c, usage %s, algorithm %c, %d bits", k.Version, k.Usage, k.Algorithm, 8*len(k.Value))
}

// GoString shows the header alone.
func (k Key) GoString() string { return k.String() }

// Format shows the header alone, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

const (
	headerSize = 16
	maxBlock   = 9992 // characters, a multiple of 8 in four digits
	maxKey     = 512  // bytes
)

// suite is what a version works with.
type suite struct {
	block int // bytes, of the cipher and the MAC
	new   func(key []byte) (cipher.Block, error)
}

func suiteOf(version byte, p Protection) (s suite, err error) {
	switch version {
	case 'B':
		s = suite{des.BlockSize, newTripleDES}
	case 'D':
		s = suite{aes.BlockSize, aes.NewCipher}
	default:
		return s, ErrVersion
	}
	if p.AES != (version == 'D') {
		return s, ErrKBPK
	}
	return s, nil
}

func newTripleDES(key []byte) (cipher.Block, error) {
	if len(key) == 16 {
		key = append(append(make([]byte, 0, 24), key...), key[:8]...)
		defer clear(key)
	}
	return des.NewTripleDESCipher(key)
}

// Purposes of derived keys (TR-31:2018, section 5.3.2.1).
const (
	encryption     = 0
	authentication = 1
)

// derive makes a key from the protection key: CMACs over counter, purpose, separator,
// algorithm and length (TR-31:2018, section 5.3.2).
func (p Protection) derive(s suite, purpose byte) ([]byte, error) {
	var algorithm byte
	switch {
	case p.AES && (p.Bytes == 16 || p.Bytes == 24 || p.Bytes == 32):
		algorithm = byte(p.Bytes / 8) // 2, 3, 4
	case !p.AES && p.Bytes == 16:
		algorithm = 0
	case !p.AES && p.Bytes == 24:
		algorithm = 1
	default:
		return nil, ErrKBPK
	}
	var key []byte
	for counter := byte(1); len(key) < p.Bytes; counter++ {
		data := []byte{counter, 0, purpose, 0, 0, algorithm, byte(p.Bytes * 8 >> 8), byte(p.Bytes * 8)}
		mac, err := p.CMAC(data)
		if err != nil {
			return nil, fmt.Errorf("derive from the key block protection key: %w", err)
		}
		if len(mac) != s.block {
			return nil, ErrKBPK
		}
		key = append(key, mac...)
	}
	return key[:p.Bytes], nil
}

// Unwrap opens a key block. ErrFormat, ErrVersion, ErrKBPK, ErrMAC, and errors of the
// token.
func Unwrap(p Protection, block string) (k Key, err error) {
	k.Header, err = parse(block)
	if err != nil {
		return Key{}, err
	}
	s, err := suiteOf(k.Version, p)
	if err != nil {
		return Key{}, err
	}
	head := block[:k.Header.size()]
	body, err := hex.DecodeString(block[len(head):])
	if err != nil || len(body) < 2*s.block || len(body)%s.block != 0 || len(head)%s.block != 0 {
		return Key{}, ErrFormat
	}
	mac := body[len(body)-s.block:]
	plain := body[:len(body)-s.block]
	defer clear(plain)
	kbek, err := p.derive(s, encryption)
	defer clear(kbek)
	if err != nil {
		return Key{}, err
	}
	c, err := s.new(kbek)
	if err != nil {
		return Key{}, ErrKBPK
	}
	cipher.NewCBCDecrypter(c, mac).CryptBlocks(plain, plain)
	want, err := p.mac(s, head, plain)
	if err != nil {
		return Key{}, err
	}
	if subtle.ConstantTimeCompare(want, mac) != 1 {
		return Key{}, ErrMAC
	}
	n := int(binary.BigEndian.Uint16(plain))
	if n == 0 || n%8 != 0 || n/8 > len(plain)-2 || n/8 > maxKey {
		return Key{}, ErrFormat
	}
	k.Value = append([]byte{}, plain[2:2+n/8]...)
	return k, nil
}

// Wrap makes a key block. The key is padded with random bytes to the longest key of
// its algorithm, so that the block does not tell its length.
func Wrap(p Protection, h Header, key []byte, random io.Reader) (string, error) {
	s, err := suiteOf(h.Version, p)
	if err != nil {
		return "", err
	}
	if len(key) == 0 || len(key) > maxKey {
		return "", ErrFormat
	}
	longest := map[byte]int{'T': 24, 'A': 32}[h.Algorithm]
	n := max(len(key), longest) + 2
	n += (s.block - n%s.block) % s.block
	plain := binary.BigEndian.AppendUint16(make([]byte, 0, n), uint16(8*len(key)))
	plain = append(plain, key...)
	pad := plain[len(plain):n]
	if _, err := io.ReadFull(random, pad); err != nil {
		return "", err
	}
	plain = plain[:n]
	defer clear(plain)
	head, err := h.text(s, n)
	if err != nil {
		return "", err
	}
	mac, err := p.mac(s, head, plain)
	if err != nil {
		return "", err
	}
	kbek, err := p.derive(s, encryption)
	defer clear(kbek)
	if err != nil {
		return "", err
	}
	c, err := s.new(kbek)
	if err != nil {
		return "", ErrKBPK
	}
	out := make([]byte, n, n+len(mac))
	cipher.NewCBCEncrypter(c, mac).CryptBlocks(out, plain)
	return head + strings.ToUpper(hex.EncodeToString(append(out, mac...))), nil
}

// mac is the CMAC over header and key data.
func (p Protection) mac(s suite, head string, plain []byte) ([]byte, error) {
	kbak, err := p.derive(s, authentication)
	defer clear(kbak)
	if err != nil {
		return nil, err
	}
	c, err := s.new(kbak)
	if err != nil {
		return nil, ErrKBPK
	}
	text := append([]byte(head), plain...)
	defer clear(text)
	return cmac(c, text), nil
}

// size is the header's length in characters, with its optional blocks.
func (h Header) size() int {
	n := headerSize
	for _, b := range h.Optional {
		n += 4 + len(b.Value)
	}
	return n
}

// text writes a header, with a padding block where the cipher asks for one.
func (h Header) text(s suite, key int) (string, error) {
	if len(h.Usage) != 2 || len(h.KeyVersion) != 2 || len(h.Optional) > 98 {
		return "", ErrFormat
	}
	for _, b := range h.Optional {
		if len(b.ID) != 2 || b.ID == "PB" || len(b.Value) > 251 {
			return "", ErrFormat
		}
	}
	if over := h.size() % s.block; over != 0 {
		fill := s.block - over
		if fill < 4 {
			fill += s.block
		}
		h.Optional = append(append([]Block{}, h.Optional...), Block{"PB", strings.Repeat("0", fill-4)})
	}
	var b strings.Builder
	total := h.size() + 2*(key+s.block)
	if total > maxBlock {
		return "", ErrFormat
	}
	fmt.Fprintf(&b, "%c%04d%s%c%c%s%c%02d00", h.Version, total, h.Usage, h.Algorithm, h.Mode, h.KeyVersion, h.Exportability, len(h.Optional))
	for _, o := range h.Optional {
		fmt.Fprintf(&b, "%s%02X%s", o.ID, 4+len(o.Value), o.Value)
	}
	if !printable(b.String()) {
		return "", ErrFormat
	}
	return b.String(), nil
}

// Parse reads the header of a key block, which no key is needed for.
func Parse(block string) (Header, error) { return parse(block) }

func parse(block string) (h Header, err error) {
	if len(block) < headerSize || len(block) > maxBlock || !printable(block) {
		return h, ErrFormat
	}
	total, err1 := number(block[1:5])
	count, err2 := number(block[12:14])
	if err1 != nil || err2 != nil || total != len(block) {
		return h, ErrFormat
	}
	h = Header{Version: block[0], Usage: block[5:7], Algorithm: block[7], Mode: block[8], KeyVersion: block[9:11], Exportability: block[11]}
	rest := block[headerSize:]
	for range count {
		if len(rest) < 4 {
			return h, ErrFormat
		}
		n, err := strconv.ParseUint(rest[2:4], 16, 8)
		if err != nil || n < 4 || int(n) > len(rest) { // 00 would announce a long block
			return h, ErrFormat
		}
		h.Optional = append(h.Optional, Block{rest[:2], rest[4:n]})
		rest = rest[n:]
	}
	return h, nil
}

func number(digits string) (int, error) {
	if strings.Trim(digits, "0123456789") != "" {
		return 0, ErrFormat
	}
	return strconv.Atoi(digits)
}

func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x20 || c > 0x7E {
			return false
		}
	}
	return true
}
