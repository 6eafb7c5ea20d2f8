// Package sod is passive authentication: it takes the document security
// object EF.SOD apart, verifies its signature, follows it to a country signing
// certificate that the caller trusts, and compares the hashes of data groups (ICAO
// Doc 9303-11 section 5.1, 9303-10 section 4.6.2, 9303-12 sections 6 and 7,
// 8th edition).
//
// It has certificates of its own because crypto/x509 refuses what 9303-12
// prescribes: elliptic-curve keys with explicit parameters. It is no
// general certificate verifier: a chain has one link, from a document signer to a CSCA.
package sod

import (
	"bytes"
	"crypto"
	"crypto/subtle"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	"cardbureau/cardio/tlv"
)

var (
	// ErrMalformed marks bytes that are not what they should be.
	ErrMalformed = errors.New("sod: malformed")
	// ErrSignature marks a signature that does not verify.
	ErrSignature = errors.New("the signature does not verify")
	// ErrUntrusted says that no trusted CSCA certificate issued the signer's.
	ErrUntrusted = errors.New("no trusted CSCA issued the document signer's certificate")
	// ErrExpired marks a certificate outside its validity.
	ErrExpired = errors.New("a certificate is outside its validity")
	// ErrRevoked says that the CSCA revoked the document signer.
	ErrRevoked = errors.New("the document signer's certificate is revoked")
	// ErrRevocation says that revocation cannot be checked.
	ErrRevocation = errors.New("there is no current revocation list")
	// ErrUsage marks a certificate that may not be used for this.
	ErrUsage = errors.New("a certificate may not be used for this")
	// ErrUnsupported marks an algorithm or key that this package does not know.
	ErrUnsupported = errors.New("not supported")
)

// HashError says that a data group is not the one that was signed: its hash
// differs, or the EF.SOD has none for it.
type HashError struct {
	DG      int
	Missing bool // the EF.SOD does not list the data group
}

func (e *HashError) Error() string {
	if e.Missing {
		return fmt.Sprintf("EF.SOD has no hash of DG%d", e.DG)
	}
	return fmt.Sprintf("DG%d is not the one that was signed: its hash differs from EF.SOD's", e.DG)
}

// SOD is a document security object taken apart, not verified.
type SOD struct {
	HashAlgorithm  crypto.Hash
	Hashes         map[int][]byte // by data group, 1 to 16
	LDSVersion     string         // "0108"; empty in version 0 objects
	UnicodeVersion string         // "040000"; the same
	// Signer is the document signer's certificate that the object carries.
	Signer *Certificate
	// SigningTime is a signed attribute; zero when it is absent.
	SigningTime time.Time

	content       []byte // LDSSecurityObject, DER
	digest        crypto.Hash
	messageDigest []byte
	contentType   asn1.ObjectIdentifier
	signedAttrs   []byte // as SET OF, what is signed
	algorithm     pkix.AlgorithmIdentifier
	signature     []byte
}

var (
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidSecurityObj   = asn1.ObjectIdentifier{2, 23, 136, 1, 1, 1}
	oidContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningTime   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
)

type signedData struct {
	Version          int
	DigestAlgorithms asn1.RawValue
	Content          struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"explicit,optional,tag:0"`
	}
	Certificates asn1.RawValue `asn1:"optional,tag:0"`
	CRLs         asn1.RawValue `asn1:"optional,tag:1"`
	SignerInfos  asn1.RawValue
}

type signerInfo struct {
	Version         int
	SID             asn1.RawValue
	DigestAlgorithm pkix.AlgorithmIdentifier
	SignedAttrs     asn1.RawValue `asn1:"optional,tag:0"`
	Algorithm       pkix.AlgorithmIdentifier
	Signature       []byte
	UnsignedAttrs   asn1.RawValue `asn1:"optional,tag:1"`
}

type securityObject struct {
	Version       int
	HashAlgorithm pkix.AlgorithmIdentifier
	Hashes        []struct {
		Number int
		Value  []byte
	}
	VersionInfo struct {
		LDS     string `asn1:"printable"`
		Unicode string `asn1:"printable"`
	} `asn1:"optional"`
}

// Parse takes EF.SOD apart: tag 77 around a CMS SignedData (RFC 5652) in DER
// with one signer, who signs attributes, and the signer's certificate within.
func Parse(file []byte) (*SOD, error) {
	object, rest, err := tlv.Next(file)
	if err != nil || object.Tag != 0x77 || len(rest) != 0 {
		return nil, fmt.Errorf("%w: EF.SOD is no single data object 77", ErrMalformed)
	}
	var outer struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"explicit,tag:0"`
	}
	if err := whole(object.Value, &outer); err != nil || !outer.Type.Equal(oidSignedData) {
		return nil, fmt.Errorf("%w: EF.SOD holds no SignedData", ErrMalformed)
	}
	var signed signedData
	if err := whole(outer.Content.Bytes, &signed); err != nil {
		return nil, fmt.Errorf("%w: SignedData: %v", ErrMalformed, err)
	}
	s := &SOD{contentType: signed.Content.Type}
	if !s.contentType.Equal(oidSecurityObj) {
		return nil, fmt.Errorf("%w: the signed content is of type %v, not an LDS security object", ErrMalformed, s.contentType)
	}
	if err := whole(signed.Content.Content.Bytes, &s.content); err != nil {
		return nil, fmt.Errorf("%w: the signed content is missing", ErrMalformed)
	}
	if err := s.parseHashes(); err != nil {
		return nil, err
	}
	return s, s.parseSigner(signed)
}

func (s *SOD) parseHashes() error {
	var o securityObject
	if err := whole(s.content, &o); err != nil {
		return fmt.Errorf("%w: LDS security object: %v", ErrMalformed, err)
	}
	var err error
	if s.HashAlgorithm, err = hashByOID(o.HashAlgorithm.Algorithm); err != nil {
		return err
	}
	s.Hashes = make(map[int][]byte, len(o.Hashes))
	for _, h := range o.Hashes {
		if h.Number < 1 || h.Number > 16 || len(h.Value) != s.HashAlgorithm.Size() || s.Hashes[h.Number] != nil {
			return fmt.Errorf("%w: the hash of data group %d", ErrMalformed, h.Number)
		}
		s.Hashes[h.Number] = h.Value
	}
	if len(s.Hashes) == 0 {
		return fmt.Errorf("%w: the LDS security object lists no hashes", ErrMalformed)
	}
	s.LDSVersion, s.UnicodeVersion = o.VersionInfo.LDS, o.VersionInfo.Unicode
	return nil
}

func (s *SOD) parseSigner(signed signedData) error {
	var infos []signerInfo
	if _, err := asn1.UnmarshalWithParams(signed.SignerInfos.FullBytes, &infos, "set"); err != nil || len(infos) != 1 {
		return fmt.Errorf("%w: there must be one signer", ErrMalformed)
	}
	info := infos[0]
	var err error
	if s.digest, err = hashByOID(info.DigestAlgorithm.Algorithm); err != nil {
		return err
	}
	s.algorithm, s.signature = info.Algorithm, info.Signature
	if len(info.SignedAttrs.FullBytes) == 0 {
		return fmt.Errorf("%w: the signer signs no attributes", ErrMalformed)
	}
	s.signedAttrs = bytes.Clone(info.SignedAttrs.FullBytes)
	s.signedAttrs[0] = 0x31 // signed as SET OF (RFC 5652 section 5.4)
	if err := s.parseAttributes(); err != nil {
		return err
	}
	for rest := signed.Certificates.Bytes; len(rest) > 0; {
		var raw asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &raw); err != nil {
			return fmt.Errorf("%w: the certificates: %v", ErrMalformed, err)
		}
		c, err := ParseCertificate(raw.FullBytes)
		if err != nil {
			continue // attribute certificates and the like are no signer's
		}
		if c.is(info.SID) {
			s.Signer = c
			return nil
		}
	}
	return fmt.Errorf("%w: the signer's certificate is not in EF.SOD", ErrMalformed)
}

func (s *SOD) parseAttributes() error {
	var attributes []struct {
		Type   asn1.ObjectIdentifier
		Values []asn1.RawValue `asn1:"set"`
	}
	if _, err := asn1.UnmarshalWithParams(s.signedAttrs, &attributes, "set"); err != nil {
		return fmt.Errorf("%w: the signed attributes: %v", ErrMalformed, err)
	}
	var signedType asn1.ObjectIdentifier
	for _, a := range attributes {
		if len(a.Values) != 1 {
			return fmt.Errorf("%w: a signed attribute has %d values", ErrMalformed, len(a.Values))
		}
		value := a.Values[0].FullBytes
		var err error
		switch {
		case a.Type.Equal(oidContentType):
			err = whole(value, &signedType)
		case a.Type.Equal(oidMessageDigest):
			err = whole(value, &s.messageDigest)
		case a.Type.Equal(oidSigningTime):
			err = whole(value, &s.SigningTime)
		}
		if err != nil {
			return fmt.Errorf("%w: a signed attribute: %v", ErrMalformed, err)
		}
	}
	if !signedType.Equal(s.contentType) || s.messageDigest == nil {
		return fmt.Errorf("%w: the signed attributes lack the content's type or digest", ErrMalformed)
	}
	return nil
}

// CheckHash compares a data group file with its hash. The error is a
// *HashError. It means nothing before Verify.
func (s *SOD) CheckHash(dg int, file []byte) error {
	want := s.Hashes[dg]
	if want == nil {
		return &HashError{DG: dg, Missing: true}
	}
	h := s.HashAlgorithm.New()
	h.Write(file)
	if subtle.ConstantTimeCompare(h.Sum(nil), want) != 1 {
		return &HashError{DG: dg}
	}
	return nil
}

// checkSignature verifies the signer's signature over the content.
func (s *SOD) checkSignature() error {
	h := s.digest.New()
	h.Write(s.content)
	if subtle.ConstantTimeCompare(h.Sum(nil), s.messageDigest) != 1 {
		return fmt.Errorf("%w: the signed digest is not the content's", ErrSignature)
	}
	return s.Signer.key.verify(s.algorithm, s.digest, s.signedAttrs, s.signature)
}

// whole unmarshals DER and refuses trailing bytes.
func whole(der []byte, v any) error {
	rest, err := asn1.Unmarshal(der, v)
	if err == nil && len(rest) != 0 {
		err = errors.New("trailing bytes")
	}
	return err
}
