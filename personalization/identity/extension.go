package identity

import (
	"encoding/asn1"
	"fmt"
	"net/url"
	"strings"

	"cardbureau/cardio/tlv"
)

var (
	oidCountry      = asn1.ObjectIdentifier{2, 5, 4, 6}
	oidOrganization = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidUnit         = asn1.ObjectIdentifier{2, 5, 4, 11}
	oidCommonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidLocality     = asn1.ObjectIdentifier{2, 5, 4, 7}

	oidSubjectKeyIdentifier   = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage               = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidPrivateKeyUsagePeriod  = asn1.ObjectIdentifier{2, 5, 29, 16}
	oidSubjectAltName         = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidIssuerAltName          = asn1.ObjectIdentifier{2, 5, 29, 18}
	oidBasicConstraints       = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidCRLNumber              = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidCRLDistributionPoints  = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidAuthorityKeyIdentifier = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidDocumentTypeList       = asn1.ObjectIdentifier{2, 23, 136, 1, 1, 6, 2}
)

// Bits of KeyUsage, most significant first in the first octet (RFC 5280, 4.2.1.3).
const (
	digitalSignature byte = 0x80
	keyCertSign      byte = 0x04
	crlSign          byte = 0x02
)

// extension leaves critical out when false: DER does not encode defaults.
func extension(id asn1.ObjectIdentifier, critical bool, value []byte) []byte {
	if critical {
		return sequence(oid(id), []byte{0x01, 0x01, 0xFF}, octets(value))
	}
	return sequence(oid(id), octets(value))
}

func authorityKeyIdentifier(id []byte) []byte {
	return extension(oidAuthorityKeyIdentifier, false, sequence(implicit(0, id)))
}

func subjectKeyIdentifier(id []byte) []byte {
	return extension(oidSubjectKeyIdentifier, false, octets(id))
}

func keyUsage(usage byte) []byte {
	unused := byte(0)
	for usage>>unused&1 == 0 {
		unused++
	}
	return extension(oidKeyUsage, true, tlv.Encode(0x03, []byte{unused, usage}))
}

// privateKeyUsagePeriod has both ends, GeneralizedTime whatever the year
// (RFC 3280, 4.2.1.4).
func privateKeyUsagePeriod(v Validity) []byte {
	return extension(oidPrivateKeyUsagePeriod, false, sequence(
		implicit(0, generalized(v.NotBefore)),
		implicit(1, generalized(v.KeyNotAfter))))
}

func subjectAltName(names []byte) []byte { return extension(oidSubjectAltName, false, names) }

func issuerAltName(names []byte) []byte { return extension(oidIssuerAltName, false, names) }

// basicConstraintsCA says cA TRUE, pathLenConstraint 0.
func basicConstraintsCA() []byte {
	return extension(oidBasicConstraints, true, sequence([]byte{0x01, 0x01, 0xFF}, number(0)))
}

// crlDistributionPoints has one point with every URI as a name of the same CRL;
// no reasons, no cRLIssuer.
func crlDistributionPoints(uris []string) []byte {
	var names []byte
	for _, uri := range uris {
		names = append(names, implicit(6, []byte(uri))...)
	}
	return extension(oidCRLDistributionPoints, false,
		sequence(sequence(explicit(0, explicit(0, names)))))
}

// documentTypeList is version 0 and the SET OF document types, in DER's order
// (Doc 9303-12, 7.1.1.6).
func documentTypeList(types []string) ([]byte, error) {
	if len(types) == 0 {
		return nil, fmt.Errorf("%w: a document signer needs a document type", ErrCertificate)
	}
	parts := make([][]byte, 0, len(types))
	for _, t := range types {
		if len(t) < 1 || len(t) > 2 || !upper(t) {
			return nil, fmt.Errorf("%w: a document type has one or two letters", ErrCertificate)
		}
		parts = append(parts, printable(t))
	}
	return extension(oidDocumentTypeList, false, sequence(number(0), setOf(parts))), nil
}

// name is the distinguished name C, O, OU, CN, all PrintableString.
func (a Authority) name(commonName string) ([]byte, error) {
	if !printableText(commonName) {
		return nil, fmt.Errorf("%w: commonName must be there and printable", ErrCertificate)
	}
	parts := [][]byte{attribute(oidCountry, a.Country)}
	if a.Organization != "" {
		parts = append(parts, attribute(oidOrganization, a.Organization))
	}
	if a.Unit != "" {
		parts = append(parts, attribute(oidUnit, a.Unit))
	}
	parts = append(parts, attribute(oidCommonName, commonName))
	return sequence(parts...), nil
}

func attribute(id asn1.ObjectIdentifier, value string) []byte {
	return set(sequence(oid(id), printable(value)))
}

// alternativeNames is GeneralNames: the contact, and a directory name whose
// localityName is the ICAO code as in the MRZ (Doc 9303-12, 7.1.1.2).
func (a Authority) alternativeNames() []byte {
	contact := implicit(1, []byte(a.Contact)) // rfc822Name
	if strings.Contains(a.Contact, "://") {
		contact = implicit(6, []byte(a.Contact)) // uniformResourceIdentifier
	}
	return sequence(contact, explicit(4, sequence(attribute(oidLocality, a.State))))
}

func (a Authority) check() error {
	switch {
	case len(a.Country) != 2 || !upper(a.Country):
		return fmt.Errorf("%w: countryName is two upper-case letters", ErrCertificate)
	case len(a.State) < 1 || len(a.State) > 3 || !upper(a.State):
		return fmt.Errorf("%w: the State is an ICAO code of one to three letters", ErrCertificate)
	case a.Organization != "" && !printableText(a.Organization):
		return fmt.Errorf("%w: organizationName is not printable", ErrCertificate)
	case a.Unit != "" && !printableText(a.Unit):
		return fmt.Errorf("%w: organizationalUnitName is not printable", ErrCertificate)
	case !contactable(a.Contact):
		return fmt.Errorf("%w: the contact is an e-mail address or an http(s) URI", ErrCertificate)
	case len(a.CRLs) == 0:
		return fmt.Errorf("%w: there is no CRL distribution point", ErrCertificate)
	}
	for _, uri := range a.CRLs {
		if !locator(uri, "http", "https", "ldap") {
			return fmt.Errorf("%w: a CRL distribution point is an http, https or ldap URI", ErrCertificate)
		}
	}
	return nil
}

func contactable(s string) bool {
	if locator(s, "http", "https") {
		return true
	}
	at := strings.IndexByte(s, '@')
	return at > 0 && at < len(s)-1 && at == strings.LastIndexByte(s, '@') && ia5(s)
}

func locator(s string, schemes ...string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || !ia5(s) {
		return false
	}
	for _, scheme := range schemes {
		if u.Scheme == scheme {
			return true
		}
	}
	return false
}

func ia5(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= 0x20 || s[i] >= 0x7F {
			return false
		}
	}
	return true
}

func upper(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return true
}

// printableText is a PrintableString of 1 to 64 characters (X.680, 41.4; the
// upper bound is X.520's).
func printableText(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') &&
			!strings.ContainsRune(" '()+,-./:=?", rune(c)) {
			return false
		}
	}
	return true
}
