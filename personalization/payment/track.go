package payment

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Lengths of tracks in characters, sentinels and LRC not counted (ISO/IEC 7813
// sections 6 and 7, ISO/IEC 4909 section 6).
const (
	MaxTrack1 = 76
	MaxTrack2 = 37
	MaxTrack3 = 104
)

// ErrTrack means that a track's text is not of its format. The sentence shows
// none of it.
var ErrTrack = errors.New("the track is not valid")

// Tracks are the contents of a magnetic stripe without sentinels and LRC; an
// empty one is not written. They hold the verification value, so they print as
// nothing, and Zero forgets them.
type Tracks struct {
	One   []byte `cbor:"1,keyasint,omitempty"`
	Two   []byte `cbor:"2,keyasint,omitempty"`
	Three []byte `cbor:"3,keyasint,omitempty"`
}

// String shows nothing.
func (t Tracks) String() string { return "tracks (redacted)" }

// GoString is String.
func (t Tracks) GoString() string { return t.String() }

// LogValue shows nothing.
func (t Tracks) LogValue() slog.Value { return slog.StringValue(t.String()) }

// Zero overwrites the tracks.
func (t *Tracks) Zero() {
	clear(t.One)
	clear(t.Two)
	clear(t.Three)
}

// Equal compares in constant time.
func (t Tracks) Equal(o Tracks) bool {
	return subtle.ConstantTimeCompare(t.One, o.One)&subtle.ConstantTimeCompare(t.Two, o.Two)&subtle.ConstantTimeCompare(t.Three, o.Three) == 1
}

// Verification are the values that tracks carry for the bank to check: CVV, 3
// digits; PVKI and PVV, 1 and 4 digits, or empty; PIN offset, 4 to 12 digits, or
// empty.
type Verification struct {
	CVV    string
	PVKI   string
	PVV    string
	Offset string
}

// String shows nothing.
func (v Verification) String() string { return "verification values (redacted)" }

// GoString is String.
func (v Verification) GoString() string { return v.String() }

// discretionary is the discretionary data of tracks 1 and 2: PVKI and PVV, zeros
// where there are none, CVV, and the offset.
func (v Verification) discretionary() string {
	pvki, pvv := v.PVKI, v.PVV
	if pvki == "" {
		pvki, pvv = "0", "0000"
	}
	return pvki + pvv + v.CVV + v.Offset
}

// MakeTracks makes the tracks that the scheme's stripe has.
func MakeTracks(s *Scheme, c Card, v Verification) (Tracks, error) {
	if err := c.check(s); err != nil {
		return Tracks{}, err
	}
	if len(v.CVV) != 3 || !digits(v.CVV) || !digits(v.PVV) || !digits(v.Offset) {
		return Tracks{}, fmt.Errorf("%w: a verification value is not of digits", ErrTrack)
	}
	var t Tracks
	if s.Stripe.has(1) {
		// Three zeros stand between the offset's place and the CVV in some layouts; the
		// scheme has none, so that chip and stripe share one.
		t.One = []byte("B" + string(c.PAN) + "^" + c.Name + "^" + c.YYMM() + s.ServiceCode + v.discretionary())
	}
	if s.Stripe.has(2) {
		t.Two = []byte(string(c.PAN) + "=" + c.YYMM() + s.ServiceCode + v.discretionary())
	}
	if s.Stripe.has(3) {
		t.Three = []byte(track3(s, c))
	}
	if len(t.One) > MaxTrack1 || len(t.Two) > MaxTrack2 || len(t.Three) > MaxTrack3 {
		return Tracks{}, fmt.Errorf("%w: with this name, service code and offset it is too long", ErrTrack)
	}
	return t, nil
}

// track3 is a track by ISO/IEC 4909, without what it lets be left out: format
// code, PAN, separator, country where the PAN begins with 59, currency and
// exponent, amounts and cycle (not used), retry count, PIN control parameters,
// interchange control, account types and restrictions, expiry, card sequence
// number, and separators for the card security number, both subsidiary accounts
// and the check digits.
func track3(s *Scheme, c Card) string {
	country := ""
	if strings.HasPrefix(string(c.PAN), "59") {
		country = s.Country
	}
	return "01" + string(c.PAN) + "=" + country + s.Currency + fmt.Sprint(s.Exponent) +
		"0000" + "0000" + "0000" + "00" + // amount a cycle, amount left, beginning and length of the cycle
		"0" + "000000" + // tries and PIN control: the PIN is checked by the bank or the chip
		"0" + "00" + "00" + "00" + // no interchange, no type or restriction of the three accounts
		c.YYMM() + fmt.Sprint(c.Sequence%10) +
		"===" + "1" + "="
}

// Track is a parsed track 1 or 2.
type Track struct {
	PAN           PAN
	Name          string // track 1
	YYMM          string
	ServiceCode   string
	Discretionary string
}

// String shows the truncated PAN.
func (t Track) String() string { return "track of " + t.PAN.String() }

// GoString is String.
func (t Track) GoString() string { return t.String() }

// ParseTrack1 reads a track 1 of format code B (ISO/IEC 7813 section 6), without
// sentinels.
func ParseTrack1(text string) (Track, error) {
	if len(text) > MaxTrack1 || !strings.HasPrefix(text, "B") || !ascii(text) {
		return Track{}, fmt.Errorf("%w: track 1 begins with B and has at most %d characters", ErrTrack, MaxTrack1)
	}
	parts := strings.Split(text[1:], "^")
	if len(parts) != 3 || len(parts[1]) < 2 || len(parts[1]) > maxName {
		return Track{}, fmt.Errorf("%w: track 1 has a PAN, a name of 2 to %d characters and further data", ErrTrack, maxName)
	}
	t, err := rest(parts[0], parts[2])
	t.Name = parts[1]
	return t, err
}

// ParseTrack2 reads a track 2 (ISO/IEC 7813 section 7), without sentinels.
func ParseTrack2(text string) (Track, error) {
	pan, data, ok := strings.Cut(text, "=")
	if !ok || len(text) > MaxTrack2 || !digits(data) {
		return Track{}, fmt.Errorf("%w: track 2 has a PAN, a separator and digits, at most %d characters", ErrTrack, MaxTrack2)
	}
	return rest(pan, data)
}

func ascii(text string) bool {
	for _, c := range text {
		if c < ' ' || c > '_' {
			return false
		}
	}
	return true
}

func rest(pan, data string) (Track, error) {
	if len(pan) < 12 || len(pan) > 19 || !digits(pan) {
		return Track{}, fmt.Errorf("%w: its PAN has 12 to 19 digits", ErrTrack)
	}
	if len(data) < 7 || !digits(data[:7]) || data[2:4] < "01" || data[2:4] > "12" {
		return Track{}, fmt.Errorf("%w: expiry, YYMM, and service code are missing", ErrTrack)
	}
	return Track{PAN: PAN(pan), YYMM: data[:4], ServiceCode: data[4:7], Discretionary: data[7:]}, nil
}

// track2Equivalent is tag 57: track 2 with D for the separator, padded with F to
// whole bytes.
func track2Equivalent(s *Scheme, c Card, v Verification) ([]byte, error) {
	text := string(c.PAN) + "D" + c.YYMM() + s.ServiceCode + v.discretionary()
	if len(text) > MaxTrack2 {
		return nil, fmt.Errorf("%w: track 2 is too long", ErrTrack)
	}
	if len(text)%2 == 1 {
		text += "F"
	}
	return unhex(text), nil
}

// ErrDiffers means that chip and stripe do not say the same of a card.
var ErrDiffers = errors.New("chip and stripe disagree")

// Compare holds a stripe that was read against the chip's track 2 equivalent
// data and cardholder name: PAN, name, expiry and service code are the same. The
// verification values (CVV and iCVV) are of different service codes and still the same
// on one card in a thousand, so that they tell nothing here: that the stripe has its
// own is for the comparison with the prepared tracks.
func Compare(t Tracks, equivalent []byte, name string) error {
	text := strings.TrimRight(fmt.Sprintf("%X", equivalent), "F")
	chip, err := ParseTrack2(strings.Replace(text, "D", "=", 1))
	if err != nil {
		return fmt.Errorf("track 2 equivalent data: %w", err)
	}
	for n, text := range map[int][]byte{1: t.One, 2: t.Two} {
		if len(text) == 0 {
			continue
		}
		parse := map[int]func(string) (Track, error){1: ParseTrack1, 2: ParseTrack2}[n]
		stripe, err := parse(string(text))
		switch {
		case err != nil:
			return fmt.Errorf("track %d: %w", n, err)
		case stripe.PAN != chip.PAN:
			return fmt.Errorf("%w: track %d has another PAN", ErrDiffers, n)
		case stripe.YYMM != chip.YYMM || stripe.ServiceCode != chip.ServiceCode:
			return fmt.Errorf("%w: track %d has another expiry or service code", ErrDiffers, n)
		case n == 1 && stripe.Name != name:
			return fmt.Errorf("%w: track 1 has another name", ErrDiffers)
		}
	}
	if len(t.Three) > 0 && !strings.HasPrefix(string(t.Three), "01"+string(chip.PAN)+"=") {
		return fmt.Errorf("%w: track 3 has another PAN", ErrDiffers)
	}
	return nil
}

// check checks a card against the scheme.
func (c Card) check(s *Scheme) error {
	if err := CheckPAN(string(c.PAN), s.BIN); err != nil {
		return err
	}
	if err := checkName(c.Name); err != nil {
		return err
	}
	if c.Sequence > 99 {
		return fmt.Errorf("a PAN sequence number is 0 to 99, not %d", c.Sequence)
	}
	if !c.Expiry.After(c.Effective) {
		return fmt.Errorf("a card expires after it becomes valid")
	}
	return nil
}
