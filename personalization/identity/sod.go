package identity

import (
	"crypto"
	"encoding/asn1"
	"fmt"
	"io"
	"slices"
	"time"

	"cardbureau/cardio/tlv"
)

var (
	oidSignedData        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidContentType       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningTime       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	oidLDSSecurityObject = asn1.ObjectIdentifier{2, 23, 136, 1, 1, 1}
)

// SODSigner makes document security objects with one document signer. It may
// be used by several goroutines if the key may.
type SODSigner struct {
	certificate *Certificate
	key         crypto.Signer
	suite       *suite
}

// NewSODSigner pairs a document signer certificate (DER) with its private key
// and refuses a key that does not belong to it.
func NewSODSigner(certificate []byte, key crypto.Signer) (*SODSigner, error) {
	c, err := ParseCertificate(certificate)
	if err != nil {
		return nil, fmt.Errorf("document signer: %w", err)
	}
	if c.CA {
		return nil, fmt.Errorf("%w: a CSCA signs no documents", ErrCertificate)
	}
	s, err := c.signsWith(key)
	if err != nil {
		return nil, err
	}
	return &SODSigner{c, key, s}, nil
}

// Certificate is the document signer's certificate.
func (d *SODSigner) Certificate() *Certificate { return d.certificate }

// Sign builds EF.SOD over the SHA-256 hashes of the data groups (Doc 9303-10,
// 4.6.2): tag 77 around a CMS SignedData of version 3 (RFC 5652) whose content
// is an LDSSecurityObject of version 1; the certificate is embedded, the signer
// is named by issuer and serial number. About 1,500 bytes. It refuses to sign
// outside the period in which the signer's key may be used.
func (d *SODSigner) Sign(rand io.Reader, hashes map[int][]byte, at time.Time) ([]byte, error) {
	c := d.certificate
	if at.Before(c.KeyNotBefore) || at.After(c.KeyNotAfter) {
		return nil, fmt.Errorf("%w: the document signer's key is not in use at that time", ErrCertificate)
	}
	content, err := ldsSecurityObject(hashes)
	if err != nil {
		return nil, err
	}
	h := d.suite.hash.New()
	h.Write(content)
	attributes := setOf([][]byte{
		cmsAttribute(oidContentType, oid(oidLDSSecurityObject)),
		cmsAttribute(oidSigningTime, timeValue(at)),
		cmsAttribute(oidMessageDigest, octets(h.Sum(nil))),
	})
	signature, err := d.suite.sign(rand, d.key, attributes) // as SET OF (RFC 5652, 5.4)
	if err != nil {
		return nil, err
	}
	embedded := append([]byte(nil), attributes...)
	embedded[0] = 0xA0 // [0] IMPLICIT in SignerInfo
	digest := sequence(oid(d.suite.digest))
	signerInfo := sequence(
		number(1), // issuerAndSerialNumber
		sequence(c.Issuer, bigNumber(c.Serial)),
		digest,
		embedded,
		d.suite.algorithm(),
		octets(signature),
	)
	signedData := sequence(
		number(3), // the content is not id-data
		set(digest),
		sequence(oid(oidLDSSecurityObject), explicit(0, octets(content))),
		explicit(0, c.Raw), // certificates [0] IMPLICIT SET OF one
		set(signerInfo),
	)
	return tlv.Encode(0x77, sequence(oid(oidSignedData), explicit(0, signedData))), nil
}

// ldsSecurityObject is LDSSecurityObject version 1 with the hashes in the
// order of the data groups and the versions of LDS and Unicode
// (Doc 9303-10, 4.6.2.3).
func ldsSecurityObject(hashes map[int][]byte) ([]byte, error) {
	if hashes[1] == nil || hashes[2] == nil {
		return nil, fmt.Errorf("%w: DG1 and DG2 are mandatory", ErrDataGroup)
	}
	numbers := make([]int, 0, len(hashes))
	for n := range hashes {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	var list []byte
	for _, n := range numbers {
		if _, err := dataGroupTag(n); err != nil {
			return nil, err
		}
		if len(hashes[n]) != crypto.SHA256.Size() {
			return nil, fmt.Errorf("%w: the hash of DG%d has %d bytes, SHA-256 has 32", ErrDataGroup, n, len(hashes[n]))
		}
		list = append(list, sequence(number(int64(n)), octets(hashes[n]))...)
	}
	return sequence(
		number(1),
		sequence(oid(oidSHA256)),
		sequence(list),
		sequence(printable(LDSVersion), printable(UnicodeVersion)),
	), nil
}

func cmsAttribute(id asn1.ObjectIdentifier, value []byte) []byte {
	return sequence(oid(id), set(value))
}
