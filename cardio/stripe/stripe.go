// Package stripe is magnetic stripes: the bits of tracks 1, 2 and 3 (ISO/IEC
// 7811-2, 7811-6, 7813 and 4909), and serial encoders of the MSR605 class that
// write and read them.
//
// A stripe can be written any number of times: writing again is safe, and what was
// written is only known after it was read back. The package knows nothing of what a
// track says.
package stripe

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
)

// Tracks are the characters of a stripe without sentinels and LRC. An empty one
// is not written, or holds nothing. They print as nothing, and Zero forgets them.
type Tracks struct{ One, Two, Three []byte }

// String shows nothing.
func (t Tracks) String() string { return "tracks (redacted)" }

// GoString is String.
func (t Tracks) GoString() string { return t.String() }

// Format shows nothing, whatever the verb.
func (t Tracks) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.String())) }

// LogValue shows nothing.
func (t Tracks) LogValue() slog.Value { return slog.StringValue(t.String()) }

// Zero overwrites the tracks.
func (t *Tracks) Zero() {
	clear(t.One)
	clear(t.Two)
	clear(t.Three)
}

// Equal compares all tracks in constant time.
func (t Tracks) Equal(o Tracks) bool {
	same := 1
	for n := 1; n <= 3; n++ {
		same &= subtle.ConstantTimeCompare(t.Track(n), o.Track(n))
	}
	return same == 1
}

// Track is track n, 1 to 3.
func (t Tracks) Track(n int) []byte { return [][]byte{t.One, t.Two, t.Three}[n-1] }

func (t *Tracks) set(n int, b []byte) { *[]*[]byte{&t.One, &t.Two, &t.Three}[n-1] = b }

// Bits are the bits of each track as they lie on a stripe, one a byte, 0 or 1; nil:
// the track is not written.
type Bits [3][]byte

// Errors about what stands on a stripe. Their sentences show none of it.
var (
	ErrCharacter = errors.New("the track has a character that it cannot hold")
	ErrLength    = errors.New("the track is too long")
	ErrSentinel  = errors.New("the track has no start or end sentinel")
	ErrParity    = errors.New("a character of the track has the wrong parity")
	ErrLRC       = errors.New("the track's longitudinal redundancy check is wrong")
	ErrDiffers   = errors.New("the stripe does not hold what was written")
)

// Most characters of each track, sentinels and LRC not counted.
var most = [3]int{76, 37, 104}

// LeadingZeros are the clocking bits before a track, in bits.
const LeadingZeros = 25

// code is the character set of a track: bits without parity, the character of value
// zero, and the sentinels (ISO/IEC 7811-2 tables 2 and 3).
type code struct {
	bits       int
	zero       byte
	start, end byte
}

func codeOf(n int) code {
	if n == 1 {
		return code{6, ' ', '%', '?'}
	}
	return code{4, '0', ';', '?'}
}

// Encode makes the bits of track n: leading zeros, start sentinel, characters, end
// sentinel, LRC, trailing zeros. Every character has odd parity and stands with its
// lowest bit first.
func Encode(n int, text []byte) ([]byte, error) {
	c := codeOf(n)
	if len(text) > most[n-1] {
		return nil, fmt.Errorf("track %d: %w: it has %d characters, and %d fit", n, ErrLength, len(text), most[n-1])
	}
	out := make([]byte, LeadingZeros, LeadingZeros*2+(len(text)+3)*(c.bits+1))
	lrc := byte(0)
	put := func(v byte) {
		parity := byte(1)
		for i := range c.bits {
			bit := v >> i & 1
			parity ^= bit
			out = append(out, bit)
		}
		out = append(out, parity)
	}
	for i, ch := range append(append([]byte{c.start}, text...), c.end) {
		v := ch - c.zero
		inside := i > 0 && i <= len(text)
		if ch < c.zero || v >= 1<<c.bits || inside && (ch == c.start || ch == c.end) {
			return nil, fmt.Errorf("track %d: %w", n, ErrCharacter)
		}
		put(v)
		lrc ^= v
	}
	put(lrc)
	return append(out, make([]byte, LeadingZeros)...), nil
}

// Decode reads track n from its bits, swiped in either direction.
func Decode(n int, bits []byte) ([]byte, error) {
	text, err := decode(n, bits)
	if err == nil {
		return text, nil
	}
	back := make([]byte, len(bits))
	for i, b := range bits {
		back[len(bits)-1-i] = b
	}
	if text, again := decode(n, back); again == nil {
		return text, nil
	}
	return nil, fmt.Errorf("track %d: %w", n, err)
}

func decode(n int, bits []byte) (text []byte, err error) {
	c := codeOf(n)
	at := 0
	for at < len(bits) && bits[at] == 0 {
		at++
	}
	lrc := byte(0)
	next := func() (v byte, ok bool) {
		if at+c.bits+1 > len(bits) {
			return 0, false
		}
		ones := byte(0)
		for i := range c.bits + 1 {
			b := bits[at+i] & 1
			ones ^= b
			if i < c.bits {
				v |= b << i
			}
		}
		at += c.bits + 1
		if ones != 1 && err == nil {
			err = ErrParity
		}
		return v, true
	}
	v, ok := next()
	if !ok || v+c.zero != c.start {
		return nil, ErrSentinel
	}
	lrc = v
	for {
		if v, ok = next(); !ok || len(text) > most[n-1] {
			return nil, ErrSentinel
		}
		lrc ^= v
		if v+c.zero == c.end {
			break
		}
		text = append(text, v+c.zero)
	}
	if v, ok = next(); err != nil {
		return nil, err
	}
	if !ok || v != lrc {
		return nil, ErrLRC
	}
	// A track that is read from its wrong end can begin like a whole one: the end
	// sentinel of tracks 2 and 3 is the same in both directions.
	if bytes.IndexByte(bits[at:], 1) >= 0 {
		return nil, ErrSentinel
	}
	return text, nil
}

// EncodeAll makes the bits of all tracks.
func EncodeAll(t Tracks) (b Bits, err error) {
	for n := 1; n <= 3; n++ {
		if len(t.Track(n)) == 0 {
			continue
		}
		if b[n-1], err = Encode(n, t.Track(n)); err != nil {
			return b, err
		}
	}
	return b, nil
}

// DecodeAll reads all tracks that hold something.
func DecodeAll(b Bits) (t Tracks, err error) {
	for n := 1; n <= 3; n++ {
		if blank(b[n-1]) {
			continue
		}
		text, err := Decode(n, b[n-1])
		if err != nil {
			return Tracks{}, err
		}
		t.set(n, text)
	}
	return t, nil
}

func blank(bits []byte) bool {
	for _, b := range bits {
		if b != 0 {
			return false
		}
	}
	return true
}

// pack puts bits into bytes, lowest first, as encoders carry them.
func pack(bits []byte) []byte {
	out := make([]byte, (len(bits)+7)/8)
	for i, b := range bits {
		out[i/8] |= b & 1 << (i % 8)
	}
	return out
}

func unpack(b []byte) []byte {
	out := make([]byte, 8*len(b))
	for i := range out {
		out[i] = b[i/8] >> (i % 8) & 1
	}
	return out
}
