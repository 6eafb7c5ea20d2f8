package usim

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Kind says who programs a card.
type Kind byte

// Kinds.
const (
	// OperatorIssued is a finished SIM: its keys are in no file.
	OperatorIssued Kind = iota
	// DelegatedBlank has key files behind ADM1, laid out as on sysmocom's SJA2:
	// ADF.USIM AF20, AF22 and AF30, DF.SYSTEM A515 with 6F20 to 6F23.
	DelegatedBlank
	// DelegatedSJA5 is DelegatedBlank as on SJA5: AF20 has room for keys of TUAK.
	DelegatedSJA5
)

// ErrProfile marks personal data that no SIM can hold.
var ErrProfile = errors.New("usim: the profile cannot be put on a SIM")

// Secret is a key, a PIN or an unblock key. It prints as [redacted].
type Secret string

const redacted = "[redacted]"

// String hides the value.
func (Secret) String() string { return redacted }

// Format hides the value from every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the value.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Profile is what Manufacture puts on a card. Only ICCID is needed: a blank with
// nothing else takes the defaults, and nothing of a subscriber.
type Profile struct {
	Kind  Kind
	ICCID string // 18 to 20 digits, check digit included
	ATR   []byte // DefaultATR, or SJA2ATR or SJA5ATR of a blank, when nil

	IMSI      string // 6 to 15 digits; empty: not yet programmed
	MNCDigits int    // 2 or 3, for EF.AD and the home network; 2 when 0
	MSISDN    string // with + when international
	SPN       string // at most 16 characters of the GSM default alphabet
	ACC       uint16 // access control class, a bit a class

	K, OPc Secret // 16 bytes each; both or none. For TUAK 16 or 32, and TOPc, 32
	// TUAK has the card authenticate by TUAK; nil: by MILENAGE.
	TUAK *TUAK
	// R and C are parameters of MILENAGE; nil: those of TS 35.206.
	R []byte   // 5 bytes, bits
	C [][]byte // 5 times 16 bytes
	// INDBits, Delta and AgeLimit are as in TS 33.102 annex C.2: the last two in
	// units of SEQ. 5, 2^28 and none when zero.
	INDBits         int
	Delta, AgeLimit uint64
	// SQN is the highest sequence number that the card has accepted, in its IND.
	SQN uint64

	PIN1, PIN2 Secret // 4 to 8 digits; 0000 and 5678 when empty
	PUK1, PUK2 Secret // 8 digits; 11111111 and 22222222 when empty
	ADM1       Secret // 8 bytes; 88888888 when empty
	// PIN1Disabled: the card asks for no PIN1, as operators here deliver them.
	PIN1Disabled bool

	// Variant is in what the card differs from most.
	Variant Variant

	// ISIM adds the application for IMS, with IMPI, home domain and IMPU.
	ISIM               bool
	IMPI, Domain, IMPU string

	// Proactive are toolkit commands (BER-TLV with tag D0) that the card asks the
	// terminal to fetch, one after the other, once it had TERMINAL PROFILE.
	Proactive [][]byte
}

// TUAK is what an operator chooses of TUAK (TS 35.231 clause 5.1) and a card can do:
// MAC has 8 bytes.
type TUAK struct {
	RES  int // 4, 8 or 16 bytes
	Keys int // CK and IK: 16 or 32 bytes each
	// Permutations are how often Keccak-f runs, 1 to 255.
	Permutations int
}

// file is what stands before TOPc in a key file.
func (t *TUAK) file(k int) []byte {
	b := []byte{configOPc | algorithmTUAK, 0, byte(t.Permutations)}
	if k == 32 {
		b[0] |= configShortRES
	}
	for n := t.RES; n > 4; n /= 2 {
		b[1]++
	}
	if t.Keys == 32 {
		b[1] |= 0x40
	}
	return b
}

// fits says whether K and TOPc are keys for it.
func (t *TUAK) fits(k, topc Secret) bool {
	return (len(k) == 16 || len(k) == 32) && len(topc) == 32 && (t.RES == 4 || t.RES == 8 || t.RES == 16) &&
		(t.Keys == 16 || t.Keys == 32) && t.Permutations >= 1 && t.Permutations <= 255
}

func (p Profile) defaults() Profile {
	for _, d := range []struct {
		value    *Secret
		fallback Secret
	}{{&p.PIN1, "0000"}, {&p.PIN2, "5678"}, {&p.PUK1, "11111111"}, {&p.PUK2, "22222222"}, {&p.ADM1, "88888888"}} {
		if *d.value == "" {
			*d.value = d.fallback
		}
	}
	if p.MNCDigits == 0 {
		p.MNCDigits = 2
	}
	if p.INDBits == 0 {
		p.INDBits = 5
	}
	if p.Delta == 0 {
		p.Delta = usualDelta
	}
	if p.ATR == nil {
		p.ATR = DefaultATR
		switch p.Kind {
		case DelegatedBlank:
			p.ATR = SJA2ATR
		case DelegatedSJA5:
			p.ATR = SJA5ATR
		}
	}
	if p.R == nil {
		p.R = []byte{64, 0, 32, 64, 96}
	}
	if p.C == nil {
		for _, last := range []byte{0, 1, 2, 4, 8} {
			c := make([]byte, 16)
			c[15] = last
			p.C = append(p.C, c)
		}
	}
	return p
}

func (p Profile) check() error {
	fail := func(format string, a ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrProfile}, a...)...)
	}
	switch {
	case p.Kind > DelegatedSJA5:
		return fail("there is no kind %d", p.Kind)
	case !digits(p.ICCID, 18, 20):
		return fail("an ICCID has 18 to 20 digits")
	case p.IMSI != "" && !digits(p.IMSI, 6, 15):
		return fail("an IMSI has 6 to 15 digits")
	case p.MNCDigits != 2 && p.MNCDigits != 3:
		return fail("a mobile network code has 2 or 3 digits")
	case p.MSISDN != "" && !digits(strings.TrimPrefix(p.MSISDN, "+"), 3, 20):
		return fail("a number has 3 to 20 digits")
	case !plainText(p.SPN, 16):
		return fail("a service provider name has at most 16 letters, digits and spaces")
	case p.TUAK != nil && (!p.TUAK.fits(p.K, p.OPc) || p.Kind == DelegatedBlank):
		return fail("for TUAK K has 16 or 32 bytes and TOPc 32, and SJA2 does not have it")
	case p.TUAK == nil && (len(p.K) != len(p.OPc) || len(p.K) != 0 && len(p.K) != 16):
		return fail("K and OPc have 16 bytes")
	case p.Kind == OperatorIssued && len(p.K) == 0:
		return fail("an operator's SIM has keys")
	case !digits(string(p.PIN1), 4, 8) || !digits(string(p.PIN2), 4, 8):
		return fail("a PIN has 4 to 8 digits")
	case !digits(string(p.PUK1), 8, 8) || !digits(string(p.PUK2), 8, 8):
		return fail("an unblock key has 8 digits")
	case len(p.ADM1) != pinSize:
		return fail("ADM1 has 8 bytes")
	case p.INDBits < 1 || p.INDBits > 5:
		return fail("IND has 1 to 5 bits")
	case p.SQN >= 1<<48 || p.Delta >= 1<<43 || p.AgeLimit >= 1<<43:
		return fail("sequence numbers have 48 bits")
	case len(p.R) != 5 || len(p.C) != 5:
		return fail("MILENAGE has five r and five c")
	case p.ISIM && (p.IMPI == "" || max(len(p.IMPI), len(p.Domain), len(p.IMPU)) > maxIdentity):
		return fail("an ISIM has a private identity, and its files hold %d bytes of each", maxIdentity)
	case !p.Variant.sound():
		return fail("PIN1 has a reference from 01 to 08, and SELECT returns by P2 00, 04 or 0C")
	case len(p.ATR) < 2 || len(p.ATR) > 33:
		return fail("an answer to reset has 2 to 33 bytes")
	}
	for i := range p.C {
		if len(p.C[i]) != 16 || p.R[i] > 127 {
			return fail("c%d or r%d", i+1, i+1)
		}
	}
	for _, c := range p.Proactive {
		if len(c) < 2 || c[0] != tagProactive || len(c) > 255 {
			return fail("a toolkit command begins with D0 and has at most 255 bytes")
		}
	}
	return nil
}

// DefaultATR is the answer to reset of an operator's SIM: T=0, the global
// interface byte of a UICC for classes A, B and C, historical bytes of TS 102
// 221 clause 6.3.3 that name the maker "CBSIM1".
var DefaultATR = withCheck(
	0x3B, 0x9F, 0x96, 0x80, 0x1F, 0xC7, 0x80, 0x31, 0xE0, 0x73, 0xFE, 0x21, 0x13,
	0x67, 'C', 'B', 'S', 'I', 'M', '1', 0x00)

// SJA2ATR is that of a sysmoISIM-SJA2, so that tools know a blank by it.
var SJA2ATR = []byte{
	0x3B, 0x9F, 0x96, 0x80, 0x1F, 0x87, 0x80, 0x31, 0xE0, 0x73, 0xFE, 0x21, 0x1B,
	0x67, 0x4A, 0x4C, 0x75, 0x30, 0x34, 0x05, 0x4B, 0xA9,
}

// SJA5ATR is that of a sysmoISIM-SJA5.
var SJA5ATR = []byte{
	0x3B, 0x9F, 0x96, 0x80, 0x1F, 0x87, 0x80, 0x31, 0xE0, 0x73, 0xFE, 0x21, 0x1B,
	0x67, 0x4A, 0x35, 0x75, 0x30, 0x35, 0x02, 0x51, 0xCC,
}

// withCheck appends TCK (ISO/IEC 7816-3 clause 8.2.5).
func withCheck(atr ...byte) []byte {
	var sum byte
	for _, b := range atr[1:] {
		sum ^= b
	}
	return append(atr, sum)
}
