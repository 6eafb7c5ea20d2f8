// Package apdu is the language between a host and a chip: command and
// response APDUs, status words, chaining, and the one exchange primitive that
// everything above is built on.
//
// It follows ISO/IEC 7816-4:2020 (structure, chaining, status words) and
// ISO/IEC 7816-3:2006 clause 12 (how APDUs travel over T=0). It knows nothing
// of readers (see cardio/pcsc), secure messaging or applications.
package apdu

import (
	"context"
	"errors"
	"fmt"
)

// Card is anything that answers command APDUs: a reader with a chip in it, a
// relay, or a software chip. Transmit sends one complete command APDU and
// returns the complete response, data followed by SW1 SW2. An error means
// that no valid response is known: whether the chip executed the command is
// then in doubt, unless the error says otherwise.
type Card interface {
	Transmit(ctx context.Context, command []byte) ([]byte, error)
}

// Limits of the two length encodings (ISO/IEC 7816-4 clause 5.2).
const (
	MaxShortData    = 255   // bytes of command data with a one-byte Lc
	MaxExtendedData = 65535 // bytes of command data with a three-byte Lc
	MaxShortNe      = 256   // bytes of response data that Le = 00 asks for
	MaxExtendedNe   = 65536 // bytes of response data that Le = 0000 asks for
)

// Command is a command APDU (ISO/IEC 7816-4 clause 5.1). Ne is the greatest
// number of response bytes expected: 0 sends no Le field.
type Command struct {
	CLA, INS, P1, P2 byte
	Data             []byte
	Ne               int
	// Extended forces the extended length encoding also where the short one
	// would do.
	Extended bool
}

// Bytes encodes the command, short where it fits and extended otherwise.
// It fails when data or Ne exceed what the extended encoding can carry.
func (c Command) Bytes() ([]byte, error) {
	if len(c.Data) > MaxExtendedData {
		return nil, fmt.Errorf("apdu: %d bytes of command data, at most %d fit", len(c.Data), MaxExtendedData)
	}
	if c.Ne < 0 || c.Ne > MaxExtendedNe {
		return nil, fmt.Errorf("apdu: Ne %d is outside 0…%d", c.Ne, MaxExtendedNe)
	}
	out := make([]byte, 0, 4+3+len(c.Data)+3)
	out = append(out, c.CLA, c.INS, c.P1, c.P2)
	if c.Extended || len(c.Data) > MaxShortData || c.Ne > MaxShortNe {
		if len(c.Data) == 0 && c.Ne == 0 {
			return out, nil
		}
		out = append(out, 0)
		if n := len(c.Data); n > 0 {
			out = append(out, byte(n>>8), byte(n))
			out = append(out, c.Data...)
		}
		if c.Ne > 0 {
			out = append(out, byte(c.Ne>>8), byte(c.Ne)) // 65536 becomes 0000
		}
		return out, nil
	}
	if n := len(c.Data); n > 0 {
		out = append(out, byte(n))
		out = append(out, c.Data...)
	}
	if c.Ne > 0 {
		out = append(out, byte(c.Ne)) // 256 becomes 00
	}
	return out, nil
}

// String shows the header and the lengths, never the data.
func (c Command) String() string {
	return fmt.Sprintf("%02X%02X%02X%02X Lc=%d Ne=%d", c.CLA, c.INS, c.P1, c.P2, len(c.Data), c.Ne)
}

// ErrMalformed marks bytes that are no APDU.
var ErrMalformed = errors.New("apdu: malformed")

// Parse decodes a command APDU. Data aliases b. It is strict: every byte must
// be accounted for by one of the seven cases of ISO/IEC 7816-4 clause 5.2.
func Parse(b []byte) (Command, error) {
	if len(b) < 4 {
		return Command{}, fmt.Errorf("%w: %d bytes, a header has 4", ErrMalformed, len(b))
	}
	c := Command{CLA: b[0], INS: b[1], P1: b[2], P2: b[3]}
	body := b[4:]
	short := func(le byte) int {
		if le == 0 {
			return MaxShortNe
		}
		return int(le)
	}
	switch {
	case len(body) == 0: // case 1
	case len(body) == 1: // case 2 short
		c.Ne = short(body[0])
	case body[0] != 0: // case 3 or 4 short
		n := int(body[0])
		switch len(body) {
		case 1 + n:
		case 2 + n:
			c.Ne = short(body[1+n])
		default:
			return Command{}, fmt.Errorf("%w: Lc says %d, %d bytes follow", ErrMalformed, n, len(body)-1)
		}
		c.Data = body[1 : 1+n]
	case len(body) == 3: // case 2 extended
		c.Extended = true
		c.Ne = extendedNe(body[1], body[2])
	case len(body) < 3:
		return Command{}, fmt.Errorf("%w: a length field of %d bytes", ErrMalformed, len(body))
	default: // case 3 or 4 extended
		c.Extended = true
		n := int(body[1])<<8 | int(body[2])
		if n == 0 {
			return Command{}, fmt.Errorf("%w: extended Lc is zero", ErrMalformed)
		}
		switch len(body) {
		case 3 + n:
		case 5 + n:
			c.Ne = extendedNe(body[3+n], body[4+n])
		default:
			return Command{}, fmt.Errorf("%w: extended Lc says %d, %d bytes follow", ErrMalformed, n, len(body)-3)
		}
		c.Data = body[3 : 3+n]
	}
	return c, nil
}

func extendedNe(hi, lo byte) int {
	if n := int(hi)<<8 | int(lo); n != 0 {
		return n
	}
	return MaxExtendedNe
}

// Chain splits a command whose data is longer than limit into a command chain
// (ISO/IEC 7816-4 clause 5.3.3): all but the last carry CLA bit 0x10 and no
// Le. A command that fits is returned alone.
func Chain(c Command, limit int) []Command {
	if limit <= 0 || len(c.Data) <= limit {
		return []Command{c}
	}
	var out []Command
	for rest := c.Data; len(rest) > 0; {
		part := c
		part.Data, rest = cut(rest, limit)
		if len(rest) > 0 {
			part.CLA |= 0x10
			part.Ne = 0
		}
		out = append(out, part)
	}
	return out
}

func cut(b []byte, n int) (head, tail []byte) {
	if len(b) <= n {
		return b, nil
	}
	return b[:n:n], b[n:]
}
