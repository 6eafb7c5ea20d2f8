// Package script makes the commands of issuer scripts, with which an issuer
// changes a payment card after it was handed out (EMV 4.3 Book 3, section 6.5), in
// secure messaging of format 1 or 2 (Book 2, section 9), and the templates that
// carry them (Book 3, section 10.10).
//
// It has no keys: who derives the session keys MACs and enciphers through Keys. It
// sends nothing: emv.Application.RunScript does.
package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// Keys are the card's session keys for scripts of one transaction, wherever they
// are. The session keys' diversification is over the ARQC (Book 2, section 9.2.1).
type Keys interface {
	// MAC is the MAC under the session key for integrity, 8 bytes: ISO/IEC 9797-1
	// algorithm 3, or the left half of a CMAC. It pads: data comes without.
	MAC(ctx context.Context, data []byte) ([]byte, error)
	// MACPadded is the same over data that has its padding, whole blocks, and adds
	// none (Book 2, section 9.2.3). It gives the whole MAC: 8 bytes, of a CMAC 16.
	MACPadded(ctx context.Context, data []byte) ([]byte, error)
	// Encipher is CBC with a zero initial vector under the session key for
	// confidentiality. It pads, with 80 and zeros, always: data comes without.
	Encipher(ctx context.Context, data []byte) ([]byte, error)
}

// Format is the format of secure messaging.
type Format byte

// Formats (Book 2, section 9.1).
const (
	// Format1 is ISO/IEC 7816-4's: data objects 81 or 87, and 8E; class 0C or 8C.
	// Cards of the Common Core Definitions have it.
	Format1 Format = 1
	// Format2 is data and MAC without tags; class 04 or 84.
	Format2 Format = 2
)

// ErrCommand means that a command cannot be made so.
var ErrCommand = errors.New("the script command cannot be made")

// Session makes the commands of one transaction's scripts, in the order in which
// the card gets them: the MACs of format 1 are chained.
type Session struct {
	Keys   Keys
	Format Format
	AES    bool   // the card has AES keys: blocks of 16 bytes
	ATC    []byte // 2 bytes
	ARQC   []byte // 8 bytes
	// MACLength is how much of a MAC travels in format 1, 4 to 8 bytes; 0: 8.
	MACLength int

	chain []byte // the MAC before
}

// Command is a command before it is secured.
type Command struct {
	CLA, INS, P1, P2 byte // CLA 80, or 00 for commands of ISO/IEC 7816
	Data             []byte
	Encipher         bool // of PIN CHANGE/UNBLOCK
}

// String shows the header alone.
func (c Command) String() string { return fmt.Sprintf("%02X%02X%02X%02X", c.CLA, c.INS, c.P1, c.P2) }

// GoString is String.
func (c Command) GoString() string { return c.String() }

// Format is String for every verb: data may be a PIN.
func (c Command) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(c.String())) }

// ApplicationBlock blocks the selected application (Book 3, section 6.5.1).
func ApplicationBlock() Command { return Command{CLA: 0x80, INS: 0x1E} }

// ApplicationUnblock unblocks it (section 6.5.2).
func ApplicationUnblock() Command { return Command{CLA: 0x80, INS: 0x18} }

// CardBlock blocks the card for good (section 6.5.3).
func CardBlock() Command { return Command{CLA: 0x80, INS: 0x16} }

// PINUnblock resets the PIN try counter (section 6.5.10, P2 00).
func PINUnblock() Command { return Command{CLA: 0x80, INS: 0x24} }

// PINChange sets another PIN, which unblocks it too (section 6.5.10; P2 is the
// card's, 01 or 02). block is the PIN block of format 2, 8 bytes, and goes
// enciphered.
func PINChange(p2 byte, block []byte) Command {
	return Command{CLA: 0x80, INS: 0x24, P2: p2, Data: block, Encipher: true}
}

// PutData replaces a data object (ISO/IEC 7816-4; value without tag and length).
func PutData(tag tlv.Tag, value []byte) Command {
	return Command{INS: 0xDA, P1: byte(tag >> 8), P2: byte(tag), Data: value}
}

// UpdateRecord replaces a record, template and all (ISO/IEC 7816-4).
func UpdateRecord(sfi, number byte, record []byte) Command {
	return Command{INS: 0xDC, P1: number, P2: sfi<<3 | 4, Data: record}
}

// block is the size of a block.
func (s *Session) block() int {
	if s.AES {
		return 16
	}
	return 8
}

// pad is padding method 2 of ISO/IEC 9797-1.
func (s *Session) pad(b []byte) []byte {
	out := append(bytes.Clone(b), 0x80)
	return append(out, make([]byte, (s.block()-len(out)%s.block())%s.block())...)
}

// Secure makes the next command as the card gets it.
func (s *Session) Secure(ctx context.Context, c Command) ([]byte, error) {
	if len(s.ATC) != 2 || len(s.ARQC) != 8 || c.CLA != 0x80 && c.CLA != 0 {
		return nil, fmt.Errorf("%w: it needs a transaction counter of 2 bytes, an ARQC of 8, and class 80 or 00", ErrCommand)
	}
	data := c.Data
	if c.Encipher && len(data) > 0 {
		var err error
		if data, err = s.Keys.Encipher(ctx, data); err != nil {
			return nil, fmt.Errorf("encipher script command %v: %w", c, err)
		}
		if want := len(s.pad(c.Data)); len(data) != want {
			return nil, fmt.Errorf("%w: %d bytes came back enciphered, not %d", ErrCommand, len(data), want)
		}
	}
	switch s.Format {
	case Format1:
		return s.format1(ctx, c, data)
	case Format2:
		return s.format2(ctx, c, data)
	}
	return nil, fmt.Errorf("%w: there is no format %d", ErrCommand, s.Format)
}

// format1 is Book 2, sections 9.2.1.1 and 9.2.3: the MAC is over the chaining
// value, first the ARQC and then the whole MAC before, the padded header, and the
// data object, padded, where there is one. Nothing else is padded.
func (s *Session) format1(ctx context.Context, c Command, data []byte) ([]byte, error) {
	n := s.MACLength
	if n == 0 {
		n = 8
	}
	if n < 4 || n > 8 {
		return nil, fmt.Errorf("%w: a MAC of %d bytes", ErrCommand, n)
	}
	out := apdu.Command{CLA: c.CLA | 0x0C, INS: c.INS, P1: c.P1, P2: c.P2}
	var body []byte
	switch {
	case len(data) == 0:
	case c.Encipher:
		body = tlv.Encode(0x87, []byte{0x01}, data)
	default:
		body = tlv.Encode(0x81, data)
	}
	chain := s.chain
	if chain == nil {
		chain = s.ARQC
	}
	message := append(bytes.Clone(chain), make([]byte, s.block()-len(chain))...)
	message = append(message, s.pad([]byte{out.CLA, out.INS, out.P1, out.P2})...)
	if len(body) > 0 {
		message = append(message, s.pad(body)...)
	}
	mac, err := s.Keys.MACPadded(ctx, message)
	if err != nil {
		return nil, fmt.Errorf("MAC of script command %v: %w", c, err)
	}
	if len(mac) != s.block() {
		return nil, fmt.Errorf("%w: a MAC of %d bytes came back", ErrCommand, len(mac))
	}
	out.Data = append(body, tlv.Encode(0x8E, mac[:n])...)
	b, err := short(c, out)
	if err == nil {
		s.chain = mac
	}
	return b, err
}

// format2 is Book 2, section 9.2.2.2 and 9.2.3: the MAC is over header with its
// Lc, transaction counter, ARQC and data.
func (s *Session) format2(ctx context.Context, c Command, data []byte) ([]byte, error) {
	out := apdu.Command{CLA: c.CLA | 0x04, INS: c.INS, P1: c.P1, P2: c.P2}
	message := []byte{out.CLA, out.INS, out.P1, out.P2, byte(len(data) + 8)}
	message = append(append(append(message, s.ATC...), s.ARQC...), data...)
	mac, err := s.mac(ctx, c, message)
	if err != nil {
		return nil, err
	}
	out.Data = append(bytes.Clone(data), mac...)
	return short(c, out)
}

func (s *Session) mac(ctx context.Context, c Command, message []byte) ([]byte, error) {
	mac, err := s.Keys.MAC(ctx, message)
	if err != nil {
		return nil, fmt.Errorf("MAC of script command %v: %w", c, err)
	}
	if len(mac) != 8 {
		return nil, fmt.Errorf("%w: a MAC of %d bytes came back", ErrCommand, len(mac))
	}
	return mac, nil
}

func short(c Command, out apdu.Command) ([]byte, error) {
	if len(out.Data) > apdu.MaxShortData {
		return nil, fmt.Errorf("%w: %v has %d bytes of data, and a command carries 255", ErrCommand, c, len(out.Data))
	}
	return out.Bytes()
}

// Template tags of scripts.
const (
	Before tlv.Tag = 0x71 // before the second GENERATE AC
	After  tlv.Tag = 0x72 // after it
)

// MaxTemplate is the length of all scripts of a message, template and all, that
// every terminal must take (Book 3, section 10.10).
const MaxTemplate = 128

// Template puts secured commands into a script. id is the issuer's identifier, 4
// bytes, or nil.
func Template(tag tlv.Tag, id []byte, commands ...[]byte) ([]byte, error) {
	if tag != Before && tag != After || id != nil && len(id) != 4 || len(commands) == 0 {
		return nil, fmt.Errorf("%w: a script is template 71 or 72 with an identifier of 4 bytes, or none, and commands", ErrCommand)
	}
	var b []byte
	if id != nil {
		b = tlv.Append(b, 0x9F18, id)
	}
	for _, c := range commands {
		b = tlv.Append(b, 0x86, c)
	}
	out := tlv.Encode(tag, b)
	if len(out) > MaxTemplate {
		return nil, fmt.Errorf("%w: the script has %d bytes, and terminals take %d", ErrCommand, len(out), MaxTemplate)
	}
	return out, nil
}
