package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha1" //nolint:gosec // key identifiers of RFC 5280, 4.2.1.2 (1)
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"
)

// ErrCertificate marks a certificate request or a certificate that does not
// satisfy the profile of Doc 9303-12.
var ErrCertificate = errors.New("identity: certificate outside the profile")

const (
	serialSize   = 16 // bytes of a serial number; the profile allows 20
	signerKeyUse = 3  // months that a document signer may sign (Doc 9303-12, 4.1.1)
)

// Authority is the issuing State as its certificates name it.
type Authority struct {
	Country      string   // countryName, two upper-case letters: "UT", "IR" (see the package comment)
	State        string   // ICAO code as in the MRZ, localityName of the alternative names: "UTO", "IRN", "D"
	Organization string   // organizationName, printable; may be empty
	Unit         string   // organizationalUnitName, printable; may be empty
	Contact      string   // whom to ask: an e-mail address or an http(s) URI
	CRLs         []string // where the CSCA's CRL is found: http, https or ldap URIs, at least one
}

// Validity is how long a key signs and how long its certificate counts.
type Validity struct {
	NotBefore   time.Time // certificate and private key
	KeyNotAfter time.Time // the private key signs nothing after this
	NotAfter    time.Time // the certificate
}

// CSCAValidity is the validity of a CSCA whose key is used for keyYears (3 to 5
// are recommended): long enough for a document signer that it certifies on the
// last day and for the longest document that one signs on its last
// (Doc 9303-12, table 1).
func CSCAValidity(from time.Time, keyYears, documentYears int) Validity {
	key := from.AddDate(keyYears, 0, 0)
	return Validity{from, key, key.AddDate(documentYears, signerKeyUse, 0)}
}

// SignerValidity is the validity of a document signer: three months of use and
// then the longest validity of a document (Doc 9303-12, 4.1.1).
func SignerValidity(from time.Time, documentYears int) Validity {
	key := from.AddDate(0, signerKeyUse, 0)
	return Validity{from, key, key.AddDate(documentYears, 0, 0)}
}

func (v Validity) check() error {
	if !v.NotBefore.Before(v.KeyNotAfter) || v.KeyNotAfter.After(v.NotAfter) {
		return fmt.Errorf("%w: key use and validity are out of order", ErrCertificate)
	}
	return nil
}

// CSCARequest asks for a self-signed country signing certificate.
type CSCARequest struct {
	Authority  Authority
	CommonName string // printable
	Validity   Validity
	Key        crypto.Signer // ECDSA on P-256 or P-384
}

// NewCSCA issues a self-signed country signing CA certificate, DER
// (Doc 9303-12, 7.1, column "CSCA self-signed root"): about 1,000 bytes with
// P-384. rand feeds the serial number and the signature.
func NewCSCA(rand io.Reader, r CSCARequest) ([]byte, error) {
	if err := r.Authority.check(); err != nil {
		return nil, err
	}
	if err := r.Validity.check(); err != nil {
		return nil, err
	}
	s, public, err := suiteOf(r.Key.Public())
	if err != nil {
		return nil, err
	}
	name, err := r.Authority.name(r.CommonName)
	if err != nil {
		return nil, err
	}
	alternative := r.Authority.alternativeNames()
	info, point, err := s.publicKeyInfo(public)
	if err != nil {
		return nil, err
	}
	id := keyID(point)
	return issue(rand, s, r.Key, template{
		issuer: name, subject: name, validity: r.Validity, publicKey: info,
		extensions: [][]byte{
			authorityKeyIdentifier(id),
			subjectKeyIdentifier(id),
			keyUsage(keyCertSign | crlSign),
			privateKeyUsagePeriod(r.Validity),
			subjectAltName(alternative),
			issuerAltName(alternative),
			basicConstraintsCA(),
			crlDistributionPoints(r.Authority.CRLs),
		},
	})
}

// DocumentSignerRequest asks a CSCA for a document signer certificate.
type DocumentSignerRequest struct {
	CSCA          []byte        // the issuer's certificate, DER
	CSCAKey       crypto.Signer // its private key
	Authority     Authority     // of the same country and State as the CSCA
	CommonName    string        // printable
	PublicKey     crypto.PublicKey
	Validity      Validity
	DocumentTypes []string // document codes that it may sign, 1 or 2 letters: "IR"
}

// NewDocumentSigner issues a document signer certificate, DER (Doc 9303-12,
// 7.1, column "Document Signer"): about 950 bytes with P-256. It refuses a key
// use of more than three months, a start outside the CSCA's own key use, and a
// certificate that would outlive the CSCA's.
func NewDocumentSigner(rand io.Reader, r DocumentSignerRequest) ([]byte, error) {
	csca, err := ParseCertificate(r.CSCA)
	if err != nil {
		return nil, fmt.Errorf("CSCA: %w", err)
	}
	s, err := csca.signsWith(r.CSCAKey)
	if err != nil {
		return nil, err
	}
	if err := r.Authority.check(); err != nil {
		return nil, err
	}
	if err := r.checkAgainst(csca); err != nil {
		return nil, err
	}
	types, err := documentTypeList(r.DocumentTypes)
	if err != nil {
		return nil, err
	}
	name, err := r.Authority.name(r.CommonName)
	if err != nil {
		return nil, err
	}
	own, public, err := suiteOf(r.PublicKey)
	if err != nil {
		return nil, err
	}
	info, point, err := own.publicKeyInfo(public)
	if err != nil {
		return nil, err
	}
	return issue(rand, s, r.CSCAKey, template{
		issuer: csca.Subject, subject: name, validity: r.Validity, publicKey: info,
		extensions: [][]byte{
			authorityKeyIdentifier(csca.SubjectKeyID),
			subjectKeyIdentifier(keyID(point)),
			keyUsage(digitalSignature),
			privateKeyUsagePeriod(r.Validity),
			subjectAltName(r.Authority.alternativeNames()),
			issuerAltName(csca.subjectAltName),
			crlDistributionPoints(r.Authority.CRLs),
			types,
		},
	})
}

func (r DocumentSignerRequest) checkAgainst(csca *Certificate) error {
	v := r.Validity
	if err := v.check(); err != nil {
		return err
	}
	switch {
	case !csca.CA:
		return fmt.Errorf("%w: the issuer is no CSCA", ErrCertificate)
	case csca.Country != r.Authority.Country:
		return fmt.Errorf("%w: countryName differs from the CSCA's", ErrCertificate)
	case csca.State != r.Authority.State:
		return fmt.Errorf("%w: the State differs from the CSCA's", ErrCertificate)
	case v.KeyNotAfter.After(v.NotBefore.AddDate(0, signerKeyUse, 0)):
		return fmt.Errorf("%w: a document signer signs for at most %d months", ErrCertificate, signerKeyUse)
	case v.NotBefore.Before(csca.NotBefore) || v.NotBefore.After(csca.KeyNotAfter):
		return fmt.Errorf("%w: the CSCA's key is not in use at that time", ErrCertificate)
	case v.NotAfter.After(csca.NotAfter):
		return fmt.Errorf("%w: it would outlive the CSCA's certificate", ErrCertificate)
	}
	return nil
}

// template is a certificate without its serial number and signature.
type template struct {
	issuer, subject []byte // Name, DER
	validity        Validity
	publicKey       []byte // SubjectPublicKeyInfo, DER
	extensions      [][]byte
}

func issue(rand io.Reader, s *suite, key crypto.Signer, t template) ([]byte, error) {
	serial, err := serialNumber(rand)
	if err != nil {
		return nil, err
	}
	tbs := sequence(
		explicit(0, number(2)), // v3
		bigNumber(serial),
		s.algorithm(),
		t.issuer,
		sequence(timeValue(t.validity.NotBefore), timeValue(t.validity.NotAfter)),
		t.subject,
		t.publicKey,
		explicit(3, sequence(t.extensions...)),
	)
	return signed(rand, s, key, tbs)
}

// signed is the outer SEQUENCE of a certificate or a CRL. What the key made is
// verified, so that nothing leaves that its own key does not answer for.
func signed(rand io.Reader, s *suite, key crypto.Signer, tbs []byte) ([]byte, error) {
	signature, err := s.sign(rand, key, tbs)
	if err != nil {
		return nil, err
	}
	public, ok := key.Public().(*ecdsa.PublicKey)
	if !ok || !s.verify(public, tbs, signature) {
		return nil, errors.New("identity: the key's signature does not verify with its public key")
	}
	return sequence(tbs, s.algorithm(), bitString(signature)), nil
}

// serialNumber draws a positive serial number of exactly serialSize octets.
func serialNumber(rand io.Reader) (*big.Int, error) {
	b := make([]byte, serialSize)
	if _, err := io.ReadFull(rand, b); err != nil {
		return nil, fmt.Errorf("identity: no randomness: %w", err)
	}
	b[0] = b[0]&0x7F | 0x40 // positive, and no leading zero octet to drop
	return new(big.Int).SetBytes(b), nil
}

// keyID is the SHA-1 of the public key's bits (RFC 5280, 4.2.1.2, method 1).
func keyID(point []byte) []byte {
	id := sha1.Sum(point) //nolint:gosec // an identifier, not a security function
	return id[:]
}

// signsWith finds the suite of a certificate's key and checks that the private
// key belongs to it.
func (c *Certificate) signsWith(key crypto.Signer) (*suite, error) {
	s, public, err := suiteOf(key.Public())
	if err != nil {
		return nil, err
	}
	point, err := public.Bytes()
	if err != nil {
		return nil, fmt.Errorf("identity: public key: %w", err)
	}
	if !bytes.Equal(point, c.point) {
		return nil, errors.New("identity: the private key does not belong to the certificate")
	}
	return s, nil
}
