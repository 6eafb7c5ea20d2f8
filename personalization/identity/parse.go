package identity

import (
	"crypto/ecdsa"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Certificate is what this package needs to know of a certificate of its own
// making: to sign under it, to issue below it, to warn before it ends. It
// verifies no signature; the terminal side (cardio/lds) does.
type Certificate struct {
	Raw           []byte // DER
	Serial        *big.Int
	Issuer        []byte // Name, DER
	Subject       []byte // Name, DER
	Country       string // countryName of the subject
	State         string // localityName of the subject's alternative names
	CommonName    string // of the subject
	NotBefore     time.Time
	NotAfter      time.Time
	KeyNotBefore  time.Time // private key usage period
	KeyNotAfter   time.Time
	PublicKey     *ecdsa.PublicKey
	SubjectKeyID  []byte
	CA            bool
	DocumentTypes []string // of a document signer

	point          []byte // public key, uncompressed
	subjectAltName []byte // GeneralNames, DER
}

// ParseCertificate reads a certificate of this package's profile: EC key with
// explicit parameters of P-256 or P-384, which crypto/x509 refuses. Errors
// match ErrCertificate.
func ParseCertificate(der []byte) (*Certificate, error) {
	c := &Certificate{Raw: der}
	in := cryptobyte.String(der)
	var outer, tbs, version, algorithm, issuer, validity, subject, info, extensions, list cryptobyte.String
	c.Serial = new(big.Int)
	explicit0, explicit3 := cbasn1.Tag(0).ContextSpecific().Constructed(), cbasn1.Tag(3).ContextSpecific().Constructed()
	if !in.ReadASN1(&outer, cbasn1.SEQUENCE) || !in.Empty() ||
		!outer.ReadASN1(&tbs, cbasn1.SEQUENCE) ||
		!tbs.ReadASN1(&version, explicit0) ||
		!tbs.ReadASN1Integer(c.Serial) ||
		!tbs.ReadASN1(&algorithm, cbasn1.SEQUENCE) ||
		!tbs.ReadASN1Element(&issuer, cbasn1.SEQUENCE) ||
		!tbs.ReadASN1(&validity, cbasn1.SEQUENCE) ||
		!tbs.ReadASN1Element(&subject, cbasn1.SEQUENCE) ||
		!tbs.ReadASN1(&info, cbasn1.SEQUENCE) ||
		!tbs.ReadASN1(&extensions, explicit3) || !tbs.Empty() ||
		!extensions.ReadASN1(&list, cbasn1.SEQUENCE) || !extensions.Empty() {
		return nil, fmt.Errorf("%w: it is not a version 3 certificate", ErrCertificate)
	}
	c.Issuer, c.Subject = issuer, subject
	var err error
	if c.PublicKey, c.point, err = parsePublicKeyInfo(info); err != nil {
		return nil, err
	}
	if !readTime(&validity, &c.NotBefore) || !readTime(&validity, &c.NotAfter) {
		return nil, fmt.Errorf("%w: its validity is unreadable", ErrCertificate)
	}
	if c.Country, err = nameAttribute(c.Subject, oidCountry); err != nil {
		return nil, err
	}
	if c.CommonName, err = nameAttribute(c.Subject, oidCommonName); err != nil {
		return nil, err
	}
	return c, c.parseExtensions(list)
}

func (c *Certificate) parseExtensions(list cryptobyte.String) error {
	for !list.Empty() {
		var ext, value cryptobyte.String
		var id asn1.ObjectIdentifier
		if !list.ReadASN1(&ext, cbasn1.SEQUENCE) || !ext.ReadASN1ObjectIdentifier(&id) ||
			!ext.SkipOptionalASN1(cbasn1.BOOLEAN) || !ext.ReadASN1(&value, cbasn1.OCTET_STRING) {
			return fmt.Errorf("%w: an extension is unreadable", ErrCertificate)
		}
		if err := c.parseExtension(id, value); err != nil {
			return err
		}
	}
	return nil
}

func (c *Certificate) parseExtension(id asn1.ObjectIdentifier, value cryptobyte.String) error {
	ok := true
	var inner cryptobyte.String
	switch {
	case id.Equal(oidSubjectKeyIdentifier):
		ok = value.ReadASN1Bytes(&c.SubjectKeyID, cbasn1.OCTET_STRING)
	case id.Equal(oidBasicConstraints):
		ok = value.ReadASN1(&inner, cbasn1.SEQUENCE) && inner.ReadASN1Boolean(&c.CA)
	case id.Equal(oidPrivateKeyUsagePeriod):
		ok = value.ReadASN1(&inner, cbasn1.SEQUENCE) &&
			readGeneralized(&inner, 0, &c.KeyNotBefore) && readGeneralized(&inner, 1, &c.KeyNotAfter)
	case id.Equal(oidSubjectAltName):
		c.subjectAltName = append([]byte(nil), value...)
		ok = value.ReadASN1(&inner, cbasn1.SEQUENCE) && c.parseState(inner)
	case id.Equal(oidDocumentTypeList):
		ok = value.ReadASN1(&inner, cbasn1.SEQUENCE) && c.parseTypes(inner)
	}
	if !ok {
		return fmt.Errorf("%w: extension %v is unreadable", ErrCertificate, id)
	}
	return nil
}

// parseState finds the directory name among the general names.
func (c *Certificate) parseState(names cryptobyte.String) bool {
	for !names.Empty() {
		var value cryptobyte.String
		var tag cbasn1.Tag
		if !names.ReadAnyASN1(&value, &tag) {
			return false
		}
		if tag == cbasn1.Tag(4).ContextSpecific().Constructed() {
			state, err := nameAttribute(value, oidLocality)
			if err != nil {
				return false
			}
			c.State = state
		}
	}
	return true
}

func (c *Certificate) parseTypes(in cryptobyte.String) bool {
	var types, one cryptobyte.String
	if !in.SkipASN1(cbasn1.INTEGER) || !in.ReadASN1(&types, cbasn1.SET) {
		return false
	}
	for !types.Empty() {
		if !types.ReadASN1(&one, cbasn1.PrintableString) {
			return false
		}
		c.DocumentTypes = append(c.DocumentTypes, string(one))
	}
	return true
}

// nameAttribute finds the first value of an attribute in a Name.
func nameAttribute(name []byte, id asn1.ObjectIdentifier) (string, error) {
	in := cryptobyte.String(name)
	var rdns cryptobyte.String
	if in.ReadASN1(&rdns, cbasn1.SEQUENCE) {
		for !rdns.Empty() {
			var rdn, pair, value cryptobyte.String
			var got asn1.ObjectIdentifier
			var tag cbasn1.Tag
			if !rdns.ReadASN1(&rdn, cbasn1.SET) || !rdn.ReadASN1(&pair, cbasn1.SEQUENCE) ||
				!pair.ReadASN1ObjectIdentifier(&got) || !pair.ReadAnyASN1(&value, &tag) {
				break
			}
			if got.Equal(id) {
				return string(value), nil
			}
		}
	}
	return "", fmt.Errorf("%w: attribute %v of a name is missing or unreadable", ErrCertificate, id)
}

func readTime(in *cryptobyte.String, out *time.Time) bool {
	if in.PeekASN1Tag(cbasn1.UTCTime) {
		return in.ReadASN1UTCTime(out)
	}
	return in.ReadASN1GeneralizedTime(out)
}

// readGeneralized reads an implicitly tagged GeneralizedTime that may be absent.
func readGeneralized(in *cryptobyte.String, tag uint8, out *time.Time) bool {
	var value cryptobyte.String
	var present bool
	if !in.ReadOptionalASN1(&value, &present, cbasn1.Tag(tag).ContextSpecific()) {
		return false
	}
	if !present {
		return true
	}
	t, err := time.Parse("20060102150405Z", string(value))
	*out = t
	return err == nil
}
