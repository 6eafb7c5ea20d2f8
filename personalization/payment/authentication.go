package payment

import (
	"fmt"
	"slices"

	"cardbureau/cardio/emv/ecsdsa"
)

// Authentications of a scheme, as its file names them.
const (
	SDA = "sda"
	DDA = "dda"
	CDA = "cda"
	XDA = "xda"
)

// Authenticates reports whether cards offer a way of offline data authentication:
// sda, dda, cda or xda.
func (s *Scheme) Authenticates(how string) bool { return slices.Contains(s.Authentication, how) }

// RID is the registered application provider, 5 bytes, that the authority's keys are
// found by.
func (s *Scheme) RID() []byte { return s.AID[:min(5, len(s.AID))] }

// ICCSuite is the signature algorithm suite of the cards' keys with xda (EMV 4.4
// Book 2, table 48); 0 for RSA keys.
func (s *Scheme) ICCSuite() ecsdsa.Suite {
	switch s.ICCKey.Curve {
	case "P-256":
		return ecsdsa.SuiteP256
	case "P-521":
		return ecsdsa.SuiteP521
	}
	return 0
}

// AIP is the application interchange profile (Book 3, annex C1). A card whose CDOL2
// asks for the issuer authentication data takes no EXTERNAL AUTHENTICATE (Common Core
// Definitions 6.5.4.1).
func (s *Scheme) AIP() []byte {
	aip := byte(0x10 | 0x08) // cardholder verification, terminal risk management
	if entries, _ := parseDOL(s.CDOL2); s.Cryptogram.ARPC != 0 && !entries[0x91] {
		aip |= 0x04 // issuer authentication by EXTERNAL AUTHENTICATE
	}
	for how, bit := range map[string]byte{XDA: 0x80, SDA: 0x40, DDA: 0x20, CDA: 0x01} {
		if s.Authenticates(how) {
			aip |= bit
		}
	}
	return []byte{aip, 0x00}
}

func (s *Scheme) checkAuthentication(bad func(path, format string, args ...any)) {
	for i, how := range s.Authentication {
		if how != SDA && how != DDA && how != CDA && how != XDA {
			bad(fmt.Sprintf("$.authentication[%d]", i), "authentication %q is not known: sda, dda, cda and xda are", how)
		}
	}
	if s.Authenticates(XDA) {
		s.checkXDA(bad)
		return
	}
	if s.Authenticates(CDA) && !s.Authenticates(DDA) {
		bad("$.authentication", "a card with cda has dda too: terminals without cda would not authenticate it")
	}
	if !s.Authenticates(DDA) && !s.Authenticates(SDA) {
		bad("$.authentication", "a card without offline data authentication could not be proven: list sda, dda and cda, or xda")
	}
	if s.ICCKey.Curve != "" {
		bad("$.iccKey.curve", "a curve goes with xda: sda, dda and cda are RSA's")
	}
	bits := s.ICCKey.Bits
	most := 1976 // an ICC certificate under a longer issuer key makes a record of more than 254 bytes (Book 2, annex D1.1)
	if s.Authenticates(CDA) {
		most = 1640 // GENERATE AC answers in 256 bytes (annex D1.2)
	}
	if bits < 1024 || bits > most || bits%8 != 0 {
		bad("$.iccKey.bits", "the ICC key has 1024 to %d bits with these ways of authentication, a multiple of 8 (EMV Book 2 annex D)", most)
	}
	if e := s.ICCKey.Exponent; e != 3 && e != 65537 {
		bad("$.iccKey.exponent", "an exponent is 3 or 65537")
	}
}

// checkXDA: a card gives one certification authority's index and one issuer
// certificate, so its keys are RSA's or elliptic curves', not both, and PINs are
// not enciphered with RSA beside XDA (EMV 4.4 Book 2, sections 12.1 and 13).
func (s *Scheme) checkXDA(bad func(path, format string, args ...any)) {
	if len(s.Authentication) > 1 {
		bad("$.authentication", "xda stands alone: a card has one issuer certificate, of RSA or of elliptic curves (EMV 4.4 Book 2, 12.1)")
	}
	if s.ICCSuite() == 0 {
		bad("$.iccKey.curve", "the ICC key of a card with xda is on P-256 or P-521")
	}
	if s.ICCKey.Bits != 0 {
		bad("$.iccKey.bits", "a card with xda has no RSA key: leave bits out")
	}
	if s.ICCKey.Exponent != 0 {
		bad("$.iccKey.exponent", "a card with xda has no RSA key: leave exponent out")
	}
	for path, code := range map[string]Hex{"$.actionCodes.online": s.ActionCodes.Online, "$.actionCodes.default": s.ActionCodes.Default} {
		if len(code) == 5 && (code[3]&xdaFailed[3] != xdaFailed[3] || code[4]&xdaFailed[4] != xdaFailed[4]) {
			bad(path, "a card whose xda failed would be taken offline: the code has the bits %X (EMV 4.4 Book 3, annex C5)", xdaFailed)
		}
	}
	for i, r := range s.CVMList.Rules {
		if len(r) == 2 && enciphersPIN(r[0]) {
			bad(fmt.Sprintf("$.cvmList.rules[%d]", i), "a card with xda has no key that PINs are enciphered to")
		}
	}
}

// xdaFailed are the bits of the terminal verification results that say how XDA
// failed: its signature, the authority's key, recovering the card's (EMV 4.4 Book 3,
// annex C5).
var xdaFailed = []byte{0, 0, 0, 0x01, 0x06}

// enciphersPIN reports whether a cardholder verification method has the PIN
// enciphered to the chip (Book 3, annex C3: 04 and 05, and whether to go on).
func enciphersPIN(method byte) bool {
	m := method & 0x3F
	return m == 0x04 || m == 0x05
}
