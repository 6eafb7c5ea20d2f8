package payment

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Hex is a byte string written as hexadecimal digits.
type Hex []byte

// UnmarshalYAML reads hexadecimal digits; spaces are allowed.
func (h *Hex) UnmarshalYAML(n ast.Node) error {
	text := n.GetToken().Value
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		return fmt.Errorf("%q is not an even number of hexadecimal digits: put it in quotes, two digits a byte", text)
	}
	*h = b
	return nil
}

// String is upper-case hexadecimal.
func (h Hex) String() string { return strings.ToUpper(hex.EncodeToString(h)) }

// Scheme is what is the same of all cards of a payment product. Its values are
// public: keys are named by role and version and stay in the token.
type Scheme struct {
	Kind  string `yaml:"kind"`
	Name  string `yaml:"name"`
	Title string `yaml:"title"`

	AID      Hex    `yaml:"aid"`   // 5 to 16 bytes; the first five are the RID that the CA key belongs to
	Label    string `yaml:"label"` // tag 50, 1 to 16 characters
	Language string `yaml:"language"`
	Priority int    `yaml:"priority"` // tag 87, 1 to 15

	BIN         string `yaml:"bin"`         // issuer identification number, 6 or 8 digits
	BankCode    string `yaml:"bankCode"`    // in IBANs, 3 digits
	Country     string `yaml:"country"`     // ISO 3166-1 numeric
	Currency    string `yaml:"currency"`    // ISO 4217 numeric
	Exponent    int    `yaml:"exponent"`    // of the currency
	ServiceCode string `yaml:"serviceCode"` // ISO/IEC 7813, 3 digits; begins with 2 or 6: there is a chip
	// Range names the range of PANs from which the next one is taken where the bank
	// gives none.
	Range string `yaml:"range"`
	// Expiry is lifetime, the card's own expiry, or residence, that of the holder's
	// permit where it is earlier: the older practice.
	Expiry string `yaml:"expiry"`
	// MinAge is the age from which the application is made; 0: from birth, with an
	// account that the guardian has opened.
	MinAge int `yaml:"minAge"`

	Authentication []string `yaml:"authentication"` // sda, dda, cda; or xda alone
	CA             struct {
		Index byte `yaml:"index"` // certification authority public key index, tag 8F
	} `yaml:"ca"`
	ICCKey struct {
		Bits     int `yaml:"bits"`
		Exponent int `yaml:"exponent"` // 3 or 65537
		// Curve is P-256 or P-521: of a card with xda, which has no RSA key.
		Curve string `yaml:"curve"`
	} `yaml:"iccKey"`

	Cryptogram struct {
		CCI       Hex    `yaml:"cci"`       // common core identifier: A5 3DES, A6 AES (Book 3, C7.2)
		DKI       Hex    `yaml:"dki"`       // derivation key index: which version of the issuer's master keys
		Option    string `yaml:"option"`    // A, B: how ICC master keys are derived (Book 2, A1.4); AES has its own, C
		ARPC      int    `yaml:"arpc"`      // method 1 or 2 (Book 2, 8.2)
		Scripts   int    `yaml:"scripts"`   // secure messaging format 1 or 2 (Book 2, 9)
		MasterKey string `yaml:"masterKey"` // version of the master keys in the token
	} `yaml:"cryptogram"`
	// Keys are the versions of the verification keys in the token; empty: 1.
	Keys struct {
		CVK string `yaml:"cvk"` // CVV, iCVV, CVV2
		PVK string `yaml:"pvk"` // PVV, IBM 3624 offset
	} `yaml:"keys"`

	Usage   Hex `yaml:"usage"` // 9F07, application usage control, 2 bytes
	CVMList struct {
		X     int64 `yaml:"x"`
		Y     int64 `yaml:"y"`
		Rules []Hex `yaml:"rules"` // 2 bytes each
	} `yaml:"cvmList"`
	ActionCodes struct {
		Denial  Hex `yaml:"denial"`  // 9F0E, 5 bytes
		Online  Hex `yaml:"online"`  // 9F0F
		Default Hex `yaml:"default"` // 9F0D
	} `yaml:"actionCodes"`
	CDOL1   Hex `yaml:"cdol1"`
	CDOL2   Hex `yaml:"cdol2"`
	DDOL    Hex `yaml:"ddol"`
	Offline struct {
		Lower byte `yaml:"lower"` // 9F14, consecutive offline transactions
		Upper byte `yaml:"upper"` // 9F23
	} `yaml:"offline"`

	PIN struct {
		Length int    `yaml:"length"` // 4 to 12 digits
		Tries  int    `yaml:"tries"`  // 1 to 15
		Method string `yaml:"method"` // random, ibm3624
		// PVKI is the index of the PIN verification key on the stripe, 1 to 6; 0: the
		// stripe has no PVV.
		PVKI   int  `yaml:"pvki"`
		Offset bool `yaml:"offset"` // the stripe has the IBM 3624 offset
	} `yaml:"pin"`
	Stripe Stripe `yaml:"stripe"`

	// Contactless is the product's choice: the application is offered over the
	// contactless interface too.
	Contactless bool `yaml:"-"`
}

// Stripe is what the magnetic stripe has.
type Stripe struct {
	Tracks     []int  `yaml:"tracks"`     // 1, 2, 3; none: the card has no stripe
	Coercivity string `yaml:"coercivity"` // high, low
}

func (s Stripe) has(track int) bool { return slices.Contains(s.Tracks, track) }

// Written reports whether cards of the scheme have a stripe.
func (s Stripe) Written() bool { return len(s.Tracks) > 0 }

// AES reports whether the cards' application keys are AES keys.
func (s *Scheme) AES() bool { return len(s.Cryptogram.CCI) == 1 && s.Cryptogram.CCI[0] == 0xA6 }

// Check tells every mistake; path is where it stands, as in $.pin.length.
func (s *Scheme) Check(bad func(path, format string, args ...any)) {
	s.checkIdentity(bad)
	s.checkKeys(bad)
	s.checkRisk(bad)
	s.checkPIN(bad)
}

func (s *Scheme) checkIdentity(bad func(path, format string, args ...any)) {
	if n := len(s.AID); n < 5 || n > 16 {
		bad("$.aid", "an AID has 5 to 16 bytes, this one has %d", n)
	}
	if n := len(s.Label); n < 1 || n > 16 || !ascii(strings.ToUpper(s.Label)) {
		bad("$.label", "the application label has 1 to 16 letters, digits and spaces")
	}
	if len(s.Language)%2 != 0 || len(s.Language) > 8 || strings.Trim(s.Language, "abcdefghijklmnopqrstuvwxyz") != "" {
		bad("$.language", "language is one to four codes of two letters, as faen")
	}
	if s.Priority < 1 || s.Priority > 15 {
		bad("$.priority", "the application priority is 1 to 15")
	}
	for path, f := range map[string]struct {
		text string
		size []int
	}{
		"$.bin": {s.BIN, []int{6, 8}}, "$.bankCode": {s.BankCode, []int{3}}, "$.country": {s.Country, []int{3}},
		"$.currency": {s.Currency, []int{3}}, "$.serviceCode": {s.ServiceCode, []int{3}},
	} {
		if !digits(f.text) || !slices.Contains(f.size, len(f.text)) {
			bad(path, "%s must be %v digits", strings.TrimPrefix(path, "$."), f.size)
		}
	}
	if s.Exponent < 0 || s.Exponent > 9 {
		bad("$.exponent", "an exponent is 0 to 9")
	}
	if s.ServiceCode != "" && s.ServiceCode[0] != '2' && s.ServiceCode[0] != '6' {
		bad("$.serviceCode", "a card with a chip has a service code that begins with 2 or 6 (ISO/IEC 7813)")
	}
	if s.Expiry != "lifetime" && s.Expiry != "residence" {
		bad("$.expiry", "expiry is lifetime or residence, not %q", s.Expiry)
	}
	if s.MinAge < 0 || s.MinAge > 25 {
		bad("$.minAge", "minAge is 0 to 25 years")
	}
	if s.Range == "" {
		bad("$.range", "name the range of PANs that the bank has delegated")
	}
}

func (s *Scheme) checkKeys(bad func(path, format string, args ...any)) {
	s.checkAuthentication(bad)
	c := s.Cryptogram
	if len(c.CCI) != 1 || c.CCI[0] != 0xA5 && c.CCI[0] != 0xA6 {
		bad("$.cryptogram.cci", "cci is A5 (3DES) or A6 (AES)")
	}
	if len(c.DKI) != 1 {
		bad("$.cryptogram.dki", "dki has 1 byte")
	}
	if want := map[bool][]string{false: {"A", "B"}, true: {"C"}}[s.AES()]; !slices.Contains(want, c.Option) {
		bad("$.cryptogram.option", "option is %s with these keys", strings.Join(want, " or "))
	}
	if c.ARPC != 1 && c.ARPC != 2 {
		bad("$.cryptogram.arpc", "arpc is method 1 or 2")
	}
	if c.Scripts != 1 && c.Scripts != 2 {
		bad("$.cryptogram.scripts", "scripts are in format 1 or 2")
	}
	if c.MasterKey == "" {
		bad("$.cryptogram.masterKey", "name the version of the master keys in the token")
	}
}

func (s *Scheme) checkRisk(bad func(path, format string, args ...any)) {
	for path, f := range map[string]struct {
		b Hex
		n int
	}{
		"$.usage": {s.Usage, 2}, "$.actionCodes.denial": {s.ActionCodes.Denial, 5},
		"$.actionCodes.online": {s.ActionCodes.Online, 5}, "$.actionCodes.default": {s.ActionCodes.Default, 5},
	} {
		if len(f.b) != f.n {
			bad(path, "it has %d bytes, this one has %d", f.n, len(f.b))
		}
	}
	for i, r := range s.CVMList.Rules {
		if len(r) != 2 {
			bad(fmt.Sprintf("$.cvmList.rules[%d]", i), "a rule has 2 bytes: method and condition (EMV Book 3 annex C3)")
		}
	}
	if len(s.CVMList.Rules) == 0 || len(s.CVMList.Rules) > 120 {
		bad("$.cvmList.rules", "list at least one cardholder verification rule")
	}
	for path, dol := range map[string]Hex{"$.cdol1": s.CDOL1, "$.cdol2": s.CDOL2, "$.ddol": s.DDOL} {
		if path == "$.ddol" && s.Authenticates(XDA) {
			if len(dol) > 0 {
				bad(path, "a ddol is for dda: a card with xda answers no INTERNAL AUTHENTICATE")
			}
			continue
		}
		entries, err := parseDOL(dol)
		if err != nil {
			bad(path, "%v", err)
			continue
		}
		if !entries[0x9F37] {
			bad(path, "the unpredictable number, 9F37, is missing (EMV Book 2, 6.5 and 8.1)")
		}
		if path == "$.cdol2" && !entries[0x8A] {
			bad(path, "the authorization response code, 8A, is missing")
		}
	}
	if s.Offline.Lower > s.Offline.Upper {
		bad("$.offline", "the lower limit is above the upper one")
	}
}

func (s *Scheme) checkPIN(bad func(path, format string, args ...any)) {
	p := s.PIN
	if p.Length < 4 || p.Length > 12 {
		bad("$.pin.length", "a PIN has 4 to 12 digits (ISO 9564-1)")
	}
	if p.Tries < 1 || p.Tries > 15 {
		bad("$.pin.tries", "tries are 1 to 15")
	}
	if p.Method != "random" && p.Method != "ibm3624" {
		bad("$.pin.method", "method is random or ibm3624")
	}
	if p.PVKI < 0 || p.PVKI > 6 {
		bad("$.pin.pvki", "pvki is 1 to 6, or 0 for a stripe without PVV")
	}
	if p.Offset && p.Method != "ibm3624" {
		bad("$.pin.offset", "an offset goes with method ibm3624")
	}
	for i, n := range s.Stripe.Tracks {
		if n < 1 || n > 3 {
			bad(fmt.Sprintf("$.stripe.tracks[%d]", i), "a stripe has tracks 1, 2 and 3")
		}
	}
	if c := s.Stripe.Coercivity; s.Stripe.Written() && c != "high" && c != "low" {
		bad("$.stripe.coercivity", "coercivity is high or low")
	}
}

// parseDOL lists the tags of a data object list (Book 3, section 5.4).
func parseDOL(dol []byte) (map[int]bool, error) {
	out := map[int]bool{}
	for len(dol) > 0 {
		tag, n := int(dol[0]), 1
		if dol[0]&0x1F == 0x1F {
			if len(dol) < 2 || dol[1]&0x80 != 0 {
				return nil, fmt.Errorf("a data object list is tags of one or two bytes, each with a length")
			}
			tag, n = tag<<8|int(dol[1]), 2
		}
		if len(dol) <= n {
			return nil, fmt.Errorf("the last tag of a data object list has no length")
		}
		out[tag] = true
		dol = dol[n+1:]
	}
	return out, nil
}
