// Package gp is the host side of GlobalPlatform: it opens secure channels to
// security domains, builds and reads the commands of card content
// management, and loads personal data and keys.
//
// It implements Secure Channel Protocol '03' with AES-128, AES-192 and
// AES-256 keys in S8 and S16 mode (GlobalPlatform Card Specification 2.3.1,
// GPC_SPE_034, and its Amendment D 1.1.2, GPC_SPE_014), and Secure Channel
// Protocol '02' with explicit initiation (GPC_SPE_034 appendix E). It does not
// care where keys live: a Cipher or DESCipher may be a few bytes in memory or an
// object in a hardware module. It is not a card: the software card of this project has an
// implementation of its own, so that the two judge each other.
package gp

import (
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
)

// Cipher does AES under one key, which may live in a token. A Cipher that
// also is an io.Closer is closed with the session that holds it. A Cipher
// serves one caller at a time unless its implementation says otherwise.
type Cipher interface {
	// KeySize is 16, 24 or 32 bytes.
	KeySize() int
	// EncryptECB enciphers blocks, any multiple of 16 bytes, each alone.
	EncryptECB(ctx context.Context, blocks []byte) ([]byte, error)
	// EncryptCBC enciphers data, a multiple of 16 bytes, from a 16-byte iv.
	EncryptCBC(ctx context.Context, iv, data []byte) ([]byte, error)
	// DecryptCBC reverses EncryptCBC.
	DecryptCBC(ctx context.Context, iv, data []byte) ([]byte, error)
	// CMAC is the 16-byte AES-CMAC of data (NIST SP 800-38B, RFC 4493).
	CMAC(ctx context.Context, data []byte) ([]byte, error)
}

// StaticKeys are the three keys of one card and key version.
type StaticKeys interface {
	// KeySize is 16, 24 or 32 bytes, the same for all three keys.
	KeySize() int
	// ENC is Key-ENC. A session uses it only to recompute a pseudo-random
	// card challenge (Amendment D 6.2.2.1).
	ENC() Cipher
	// DEK is Key-DEK, under which keys and sensitive data travel inside
	// commands (Amendment D 6.2.8).
	DEK() Cipher
	// DeriveSession makes a session key of KeySize bytes with the KDF of
	// Amendment D 4.1.5 (NIST SP 800-108 in counter mode with CMAC): kind
	// DeriveSENC from Key-ENC, DeriveSMAC and DeriveSRMAC from Key-MAC.
	// kdfContext is host challenge ‖ card challenge, 16 bytes in S8 mode and 32
	// in S16 mode. DerivationData makes the CMAC input of each block.
	DeriveSession(ctx context.Context, kind byte, kdfContext []byte) (Cipher, error)
}

// Channel protects commands and checks responses. A line needs no more of a
// session than this; SCP03 has it, and so has a session whose keys are in
// another process. It is not safe for concurrent use.
type Channel interface {
	// Wrap protects a batch of commands, ready to send in this order.
	Wrap(ctx context.Context, commands []apdu.Command) ([][]byte, error)
	// Unwrap checks and opens responses, in the order in which their commands
	// were wrapped. It may be given fewer than were wrapped: the rest stays
	// expected.
	Unwrap(ctx context.Context, responses [][]byte) ([]apdu.Response, error)
	// Close forgets the session keys.
	Close()
}

// Level is the security level of a session, P1 of EXTERNAL AUTHENTICATE
// (Amendment D table 7-6).
type Level byte

// The levels of both protocols.
const (
	LevelNone          Level = 0x00 // authenticated, commands travel as they are
	LevelCMAC          Level = 0x01 // commands carry a C-MAC
	LevelCENC          Level = 0x03 // and their data is enciphered
	LevelCMACRMAC      Level = 0x11 // C-MAC and R-MAC
	LevelCENCRMAC      Level = 0x13 // C-MAC, C-DECRYPTION and R-MAC
	LevelRMAC          Level = 0x10 // SCP02 alone: R-MAC
	LevelFull          Level = 0x33 // SCP03 alone: C-MAC, C-DECRYPTION, R-MAC and R-ENCRYPTION
	levelBitCMAC       Level = 0x01
	levelBitCENC       Level = 0x02
	levelBitRMAC       Level = 0x10
	levelBitREncipher  Level = 0x20
	blockSize                = 16 // bytes of an AES block
	iBitPseudoRandom         = 0x10
	iBitRMAC                 = 0x20
	iBitREncipher            = 0x40
	iBitS16                  = 0x01
	sequenceCounterLen       = 3
)

// Mode is how many bytes challenges, cryptograms, C-MACs and R-MACs have. The
// card fixes it: bit 0x01 of i.
type Mode int

// The modes of SCP03.
const (
	S8  Mode = 8
	S16 Mode = 16
)

// ModeOf is the mode that a card with the options i wants. It has to be known
// before INITIALIZE UPDATE, which carries a host challenge of that length.
func ModeOf(i byte) Mode {
	if i&iBitS16 != 0 {
		return S16
	}
	return S8
}

// String is "S8" or "S16".
func (m Mode) String() string { return fmt.Sprintf("S%d", int(m)) }

// Valid reports whether SCP03 knows the level.
func (l Level) Valid() bool {
	switch l {
	case LevelNone, LevelCMAC, LevelCENC, LevelCMACRMAC, LevelCENCRMAC, LevelFull:
		return true
	}
	return false
}

// CMAC reports whether commands carry a MAC.
func (l Level) CMAC() bool { return l&levelBitCMAC != 0 }

// CENC reports whether command data is enciphered.
func (l Level) CENC() bool { return l&levelBitCENC != 0 }

// RMAC reports whether responses carry a MAC.
func (l Level) RMAC() bool { return l&levelBitRMAC != 0 }

// RENC reports whether response data is enciphered.
func (l Level) RENC() bool { return l&levelBitREncipher != 0 }

// String is the level's two hexadecimal digits.
func (l Level) String() string { return fmt.Sprintf("%02X", byte(l)) }

// What a session can fail of. A session that has returned one of the
// response errors is over.
var (
	// ErrCardCryptogram: the card does not hold the keys it is taken to hold.
	// EXTERNAL AUTHENTICATE must not be sent: the card counts failures.
	ErrCardCryptogram = errors.New("the card's cryptogram is wrong: its keys are not the expected ones")
	// ErrCardChallenge: a card that says its challenge is pseudo-random sent
	// another one than its counter and keys give.
	ErrCardChallenge = errors.New("the card's pseudo-random challenge is not the one its counter gives")
	// ErrResponseMAC: a response without its R-MAC, or with a wrong one.
	ErrResponseMAC = errors.New("the response's MAC is missing or wrong")
	// ErrResponseData: a response that cannot be deciphered, or data where
	// the standard allows none.
	ErrResponseData = errors.New("the response's data is not what the secure channel allows")
	// ErrKCV: a key check value from the card is not that of the key sent.
	ErrKCV = errors.New("the card's key check value is not that of the key")
	// ErrUnsupported: a protocol, mode or level that the card or this package
	// does not offer.
	ErrUnsupported = errors.New("secure channel option not supported")
	// ErrClosed: the session has ended.
	ErrClosed = errors.New("the secure channel is closed")
	// ErrMalformed: an answer that is not laid out as the standard says.
	ErrMalformed = errors.New("malformed GlobalPlatform answer")
)
