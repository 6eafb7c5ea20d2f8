package sod

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// Certificate is an X.509 certificate of the ICAO profile (9303-12 section
// 7.1), taken apart, not verified.
type Certificate struct {
	Raw                 []byte // DER
	Serial              *big.Int
	NotBefore, NotAfter time.Time
	CA                  bool
	// KeyNotBefore and KeyNotAfter are the private key's usage period; zero
	// when the certificate does not limit it.
	KeyNotBefore, KeyNotAfter time.Time
	// DocumentTypes are the document codes that a document signer may sign
	// ("P", "IR"); nil when not limited.
	DocumentTypes []string
	// State is the localityName of the subject's alternative names: the
	// issuing State as in the MRZ; empty when absent.
	State string

	tbs             []byte
	issuer, subject []byte // Name, DER
	key             publicKey
	subjectKeyID    []byte
	authorityKeyID  []byte
	usage           asn1.BitString
	hasUsage        bool
	critical        []asn1.ObjectIdentifier // critical and not understood
	algorithm       pkix.AlgorithmIdentifier
	signature       []byte
}

// Bits of KeyUsage (RFC 5280 section 4.2.1.3).
const (
	usageDigitalSignature = 0
	usageCertSign         = 5
	usageCRLSign          = 6
)

type tbsCertificate struct {
	Raw       asn1.RawContent
	Version   int `asn1:"optional,explicit,default:0,tag:0"`
	Serial    *big.Int
	Algorithm pkix.AlgorithmIdentifier
	Issuer    asn1.RawValue
	Validity  struct{ NotBefore, NotAfter time.Time }
	Subject   asn1.RawValue
	PublicKey asn1.RawValue

	IssuerID   asn1.BitString   `asn1:"optional,tag:1"`
	SubjectID  asn1.BitString   `asn1:"optional,tag:2"`
	Extensions []pkix.Extension `asn1:"optional,explicit,tag:3"`
}

// ParseCertificate takes one DER certificate apart. A key that is not
// supported is an error here already.
func ParseCertificate(der []byte) (*Certificate, error) {
	var outer struct {
		TBS       tbsCertificate
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if err := whole(der, &outer); err != nil {
		return nil, fmt.Errorf("%w: a certificate: %v", ErrMalformed, err)
	}
	t := outer.TBS
	c := &Certificate{Raw: der, Serial: t.Serial, NotBefore: t.Validity.NotBefore, NotAfter: t.Validity.NotAfter,
		tbs: t.Raw, issuer: t.Issuer.FullBytes, subject: t.Subject.FullBytes,
		algorithm: outer.Algorithm, signature: outer.Signature.RightAlign()}
	if !t.Algorithm.Algorithm.Equal(outer.Algorithm.Algorithm) {
		return nil, fmt.Errorf("%w: a certificate names two signature algorithms", ErrMalformed)
	}
	var err error
	if c.key, err = parseKey(t.PublicKey.FullBytes); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	var seen []asn1.ObjectIdentifier
	for _, e := range t.Extensions {
		if slices.ContainsFunc(seen, e.Id.Equal) {
			return nil, fmt.Errorf("%w: a certificate has extension %v twice", ErrMalformed, e.Id)
		}
		seen = append(seen, e.Id)
		if err := c.extension(e); err != nil {
			return nil, fmt.Errorf("%w: certificate extension %v", ErrMalformed, e.Id)
		}
	}
	return c, nil
}

// ParseCertificates reads certificates from PEM, or from DER one after
// another, as a file of trusted CSCAs holds them.
func ParseCertificates(b []byte) ([]*Certificate, error) {
	var out []*Certificate
	add := func(der []byte) error {
		c, err := ParseCertificate(der)
		if err == nil {
			out = append(out, c)
		}
		return err
	}
	if bytes.Contains(b, []byte("-----BEGIN")) {
		for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" {
				continue
			}
			if err := add(block.Bytes); err != nil {
				return nil, err
			}
		}
	} else {
		for len(b) > 0 {
			var raw asn1.RawValue
			rest, err := asn1.Unmarshal(b, &raw)
			if err != nil {
				return nil, fmt.Errorf("%w: a certificate: %v", ErrMalformed, err)
			}
			if err := add(raw.FullBytes); err != nil {
				return nil, err
			}
			b = rest
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: there is no certificate", ErrMalformed)
	}
	return out, nil
}

func (c *Certificate) extension(e pkix.Extension) error {
	switch e.Id.String() {
	case "2.5.29.14":
		return whole(e.Value, &c.subjectKeyID)
	case "2.5.29.35":
		var id struct {
			KeyID  []byte        `asn1:"optional,tag:0"`
			Issuer asn1.RawValue `asn1:"optional,tag:1"`
			Serial *big.Int      `asn1:"optional,tag:2"`
		}
		err := whole(e.Value, &id)
		c.authorityKeyID = id.KeyID
		return err
	case "2.5.29.15":
		c.hasUsage = true
		return whole(e.Value, &c.usage)
	case "2.5.29.19":
		var basic struct {
			CA      bool `asn1:"optional"`
			PathLen int  `asn1:"optional,default:-1"`
		}
		err := whole(e.Value, &basic)
		c.CA = basic.CA
		return err
	case "2.5.29.16":
		var period struct {
			NotBefore time.Time `asn1:"optional,tag:0,generalized"`
			NotAfter  time.Time `asn1:"optional,tag:1,generalized"`
		}
		err := whole(e.Value, &period)
		c.KeyNotBefore, c.KeyNotAfter = period.NotBefore, period.NotAfter
		return err
	case "2.23.136.1.1.6.2":
		var list struct {
			Version int
			Types   []asn1.RawValue `asn1:"set"`
		}
		err := whole(e.Value, &list)
		for _, t := range list.Types {
			c.DocumentTypes = append(c.DocumentTypes, string(t.Bytes))
		}
		return err
	case "2.5.29.17":
		return c.altName(e.Value)
	case "2.5.29.18", "2.5.29.31", "2.5.29.32": // issuer's other names, CRL points, policies: nothing to decide by
		return nil
	}
	if e.Critical {
		c.critical = append(c.critical, e.Id)
	}
	return nil
}

// altName finds the State in a directoryName (9303-12 section 7.1.1.2).
func (c *Certificate) altName(der []byte) error {
	var names []asn1.RawValue
	if err := whole(der, &names); err != nil {
		return err
	}
	for _, n := range names {
		var rdn pkix.RDNSequence
		if n.Class != asn1.ClassContextSpecific || n.Tag != 4 || whole(n.Bytes, &rdn) != nil {
			continue
		}
		for _, set := range rdn {
			for _, a := range set {
				if v, ok := a.Value.(string); ok && a.Type.Equal(asn1.ObjectIdentifier{2, 5, 4, 7}) {
					c.State = v
				}
			}
		}
	}
	return nil
}

// Subject is the certificate's name, "C=UT,O=…,CN=…".
func (c *Certificate) Subject() string {
	var rdn pkix.RDNSequence
	if whole(c.subject, &rdn) != nil {
		return "(unreadable name)"
	}
	var name pkix.Name
	name.FillFromRDNSequence(&rdn)
	return name.String()
}

// is reports that a SignerIdentifier means this certificate.
func (c *Certificate) is(sid asn1.RawValue) bool {
	if sid.Class == asn1.ClassContextSpecific && sid.Tag == 0 {
		return len(c.subjectKeyID) > 0 && bytes.Equal(sid.Bytes, c.subjectKeyID)
	}
	var id struct {
		Issuer asn1.RawValue
		Serial *big.Int
	}
	return whole(sid.FullBytes, &id) == nil && id.Serial.Cmp(c.Serial) == 0 && sameName(id.Issuer.FullBytes, c.issuer)
}

// may reports a bit of KeyUsage; a certificate without the extension may
// everything.
func (c *Certificate) may(bit int) bool { return !c.hasUsage || c.usage.At(bit) == 1 }

// sameName compares names the way issuers spell them: string types, case and
// runs of blanks do not count (RFC 5280 section 7.1).
func sameName(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, okX := flatten(a)
	y, okY := flatten(b)
	return okX && okY && slices.Equal(x, y)
}

func flatten(der []byte) ([]string, bool) {
	var rdn pkix.RDNSequence
	if whole(der, &rdn) != nil {
		return nil, false
	}
	var out []string
	for _, set := range rdn {
		var one []string
		for _, a := range set {
			v, ok := a.Value.(string)
			if !ok {
				return nil, false
			}
			one = append(one, a.Type.String()+"="+strings.ToLower(strings.Join(strings.Fields(v), " ")))
		}
		slices.Sort(one)
		out = append(out, strings.Join(one, "+"))
	}
	return out, true
}
