package virtual

import (
	"bytes"
	"encoding/binary"
	"slices"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// Privileges that INSTALL gives (GPC_SPE_034 v2.3.1 section 6.6): those that
// only security domains can have, and those for every application. Token
// Verification, Receipt Generation and Final Application are the issuer
// security domain's alone here; Ciphered Load File Data Block and contactless
// activation this card does not know.
const (
	securityDomainOnly = PrivilegeDAP | PrivilegeDelegated | PrivilegeMandatedDAP | PrivilegeAuthorizedManagement
	domainPrivileges   = PrivilegeSecurityDomain | securityDomainOnly | applicationPrivileges

	applicationPrivileges = PrivilegeCardLock | PrivilegeCardTerminate | PrivilegeCardReset | PrivilegeCVM | PrivilegeTrustedPath |
		PrivilegeGlobalDelete | PrivilegeGlobalLock | PrivilegeGlobalRegistry | PrivilegeGlobalService
)

// parsePrivileges reads 1 or 3 bytes and checks that they go together and that
// this card gives them to an application of a module.
func parsePrivileges(b []byte, domainModule bool) (uint32, bool) {
	var p uint32
	switch len(b) {
	case 1:
		p = uint32(b[0]) << 16
	case 3:
		p = uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
	default:
		return 0, false
	}
	if domainModule != (p&PrivilegeSecurityDomain != 0) {
		return 0, false
	}
	allowed := applicationPrivileges
	if domainModule {
		allowed = domainPrivileges
	}
	switch {
	case p&^allowed != 0,
		p&PrivilegeMandatedDAP != 0 && p&PrivilegeDAP == 0,
		p&PrivilegeDelegated != 0 && p&PrivilegeAuthorizedManagement != 0:
		return 0, false
	}
	return p, true
}

// authorized checks that the selected security domain may change the card's
// content (GPC_SPE_034 v2.3.1 sections 9.1.3 and 9.2): of its own authority
// with Authorized Management, or with a token with Delegated Management. signed
// is what a token signs: P1, P2, length and data of the command up to the
// token. confirm says that a receipt is due.
func (c *Chip) authorized(p1, p2 byte, signed, token []byte) (confirm bool, sw apdu.StatusWord) {
	p := c.reg.privilegesOf(c.selected)
	if len(token) == 0 {
		if p&PrivilegeAuthorizedManagement == 0 {
			return false, apdu.SWConditionsOfUseNotSatisfied
		}
		return false, apdu.SWSuccess
	}
	if c.reg.extraPrivileges&PrivilegeTokenVerification == 0 || p&(PrivilegeDelegated|PrivilegeAuthorizedManagement) == 0 {
		return false, apdu.SWConditionsOfUseNotSatisfied
	}
	key, ok := c.reg.single(tokenKeyVersion, 0)
	if !ok {
		return false, apdu.SWConditionsOfUseNotSatisfied
	}
	// The length is coded as Lc is: one byte, or three beyond 255.
	message := []byte{p1, p2, byte(len(signed))}
	if n := len(signed); n > apdu.MaxShortData {
		message = []byte{p1, p2, 0, byte(n >> 8), byte(n)}
	}
	if !key.verifies(append(message, signed...), token) {
		return false, apdu.SWSecurityStatusNotSatisfied
	}
	return true, apdu.SWSuccess
}

// confirmation is the answer to a command that changed the card's content: 00,
// or a receipt where one is due and the issuer security domain makes them
// (GPC_SPE_034 v2.3.1 section 11.1.6 and appendix C.5). parts are what was
// done, each with a length before it.
func (c *Chip) confirmation(due bool, parts ...[]byte) ([]byte, apdu.StatusWord) {
	key, ok := c.reg.single(receiptKeyVersion, 0)
	if !due || !ok || c.reg.extraPrivileges&PrivilegeReceiptGeneration == 0 {
		return []byte{0x00}, apdu.SWSuccess
	}
	c.reg.confirmations++
	counter := binary.BigEndian.AppendUint16(nil, c.reg.confirmations)
	c.reg.space.Set("confirmations", counter)
	unique := append(bytes.Clone(c.reg.space.Get(dataKey42)), c.reg.space.Get(dataKey45)...)
	confirmed := field(field(nil, counter), unique)
	signed := bytes.Clone(confirmed)
	for _, p := range parts {
		signed = append(tlv.AppendLength(signed, len(p)), p...)
	}
	answer := append(field(nil, key.mac(signed)), confirmed...)
	return append(tlv.AppendLength(nil, len(answer)), answer...), apdu.SWSuccess
}

// manages says whether the selected security domain manages what is
// associated with a domain: its own hierarchy.
func (c *Chip) manages(domain *application) bool { return c.reg.within(domain, c.selected) }

// taken says whether an AID stands in the registry as application, load file
// or issuer security domain.
func (r *registry) taken(aid []byte) bool {
	return bytes.Equal(aid, r.isd) || r.application(aid) != nil || r.loadFile(aid) != nil
}

// defaultTaken says whether another application than a is selected by default.
func (r *registry) defaultTaken(a *application) bool {
	return slices.ContainsFunc(r.apps, func(o *application) bool { return o != a && o.isDefault() })
}

func validAID(aid []byte) bool { return len(aid) >= 5 && len(aid) <= 16 }
