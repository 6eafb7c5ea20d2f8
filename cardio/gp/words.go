package gp

import "fmt"

// Life cycle states of a security domain (GPC_SPE_034 table 11-5).
const (
	DomainInstalled    byte = 0x03
	DomainSelectable   byte = 0x07
	DomainPersonalized byte = 0x0F
)

// LoadFileLoaded is the one life cycle state of load files (GPC_SPE_034 table
// 11-3).
const LoadFileLoaded byte = 0x01

// CardStateName is a card's life cycle state as the standard spells it.
func CardStateName(state byte) string {
	switch state {
	case CardOpReady:
		return "OP_READY"
	case CardInitialized:
		return "INITIALIZED"
	case CardSecured:
		return "SECURED"
	case CardLocked:
		return "CARD_LOCKED"
	case CardTerminated:
		return "TERMINATED"
	}
	return unnamed(state)
}

// ApplicationStateName is an application's life cycle state as the standard
// spells it. An application may have states of its own beyond SELECTABLE.
func ApplicationStateName(state byte) string {
	switch {
	case state&ApplicationLocked != 0 && state&0x03 == 0x03:
		return "LOCKED"
	case state == ApplicationInstalled:
		return "INSTALLED"
	case state == ApplicationSelectable:
		return "SELECTABLE"
	case state&0x87 == ApplicationSelectable:
		return fmt.Sprintf("SELECTABLE, of its own %02X", state)
	}
	return unnamed(state)
}

// DomainStateName is a security domain's life cycle state as the standard
// spells it.
func DomainStateName(state byte) string {
	if state == DomainPersonalized {
		return "PERSONALIZED"
	}
	return ApplicationStateName(state)
}

// LoadFileStateName is a load file's life cycle state as the standard spells
// it.
func LoadFileStateName(state byte) string {
	if state == LoadFileLoaded {
		return "LOADED"
	}
	return unnamed(state)
}

func unnamed(state byte) string { return fmt.Sprintf("state %02X", state) }

// privilegeNames are in the order of the bits.
var privilegeNames = []struct {
	privilege Privileges
	name      string
}{
	{PrivilegeSecurityDomain, "Security Domain"},
	{0x400000, "DAP Verification"},
	{0x200000, "Delegated Management"},
	{PrivilegeCardLock, "Card Lock"},
	{PrivilegeCardTerminate, "Card Terminate"},
	{PrivilegeCardReset, "Card Reset"},
	{PrivilegeCVM, "CVM Management"},
	{0x010000, "Mandated DAP Verification"},
	{PrivilegeTrustedPath, "Trusted Path"},
	{PrivilegeAuthorizedManagement, "Authorized Management"},
	{PrivilegeTokenVerification, "Token Management"},
	{PrivilegeGlobalDelete, "Global Delete"},
	{PrivilegeGlobalLock, "Global Lock"},
	{PrivilegeGlobalRegistry, "Global Registry"},
	{PrivilegeFinalApplication, "Final Application"},
	{PrivilegeGlobalService, "Global Service"},
	{PrivilegeReceiptGeneration, "Receipt Generation"},
	{PrivilegeCipheredLoadFile, "Ciphered Load File Data Block"},
	{0x000020, "Contactless Activation"},
	{0x000010, "Contactless Self-Activation"},
}

// Names are the privileges as the standard spells them, in the order of their
// bits; bits without a name as a number.
func (p Privileges) Names() []string {
	out := []string{}
	for _, n := range privilegeNames {
		if p.Has(n.privilege) {
			out = append(out, n.name)
			p &^= n.privilege
		}
	}
	if p != 0 {
		out = append(out, fmt.Sprintf("privileges %06X", uint32(p)))
	}
	return out
}

// PrivilegeNamed finds one privilege's bit by its name in Names, also in small
// letters and with hyphens for spaces: "card-reset".
func PrivilegeNamed(name string) (Privileges, bool) {
	for _, n := range privilegeNames {
		if hyphenated(n.name) == hyphenated(name) {
			return n.privilege, true
		}
	}
	return 0, false
}

func hyphenated(s string) string {
	b := []byte(s)
	for i, c := range b {
		switch {
		case c == ' ':
			b[i] = '-'
		case c >= 'A' && c <= 'Z':
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// KeyTypeName is the type of a key's component in words (GPC_SPE_034 table
// 11-16).
func KeyTypeName(t byte) string {
	switch t {
	case 0x80, 0x82, 0x83, 0x84:
		return "3DES"
	case 0x85:
		return "TLS pre-shared key"
	case KeyTypeAES:
		return "AES"
	case 0x90, 0x91:
		return "HMAC"
	case KeyTypeRSAExponent:
		return "RSA public exponent"
	case KeyTypeRSAModulus:
		return "RSA modulus"
	case KeyTypeECPublic:
		return "EC public key"
	case KeyTypeECParameters:
		return "EC key parameter reference"
	}
	return fmt.Sprintf("type %02X", t)
}
