package sod

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"cardbureau/cardio/lds/proof"
)

// Trust is what passive authentication believes: CSCA certificates that
// arrived by a way the caller trusts, and the CRLs of those CSCAs. It is safe
// for concurrent use. It remembers which document signers it has verified, for
// one signer signs many documents.
type Trust struct {
	cscas []*Certificate
	crls  []*CRL

	mu    sync.Mutex
	known map[[sha256.Size]byte]*Certificate // document signer → its CSCA
}

// maxKnown bounds the memory of verified document signers.
const maxKnown = 1024

// NewTrust trusts CSCA certificates. It refuses one that is no CA.
func NewTrust(cscas ...*Certificate) (*Trust, error) {
	for _, c := range cscas {
		if !c.CA || !c.may(usageCertSign) {
			return nil, fmt.Errorf("%w: %s is no CSCA certificate", ErrUsage, c.Subject())
		}
	}
	return &Trust{cscas: cscas, known: map[[sha256.Size]byte]*Certificate{}}, nil
}

// AddCRL adds a revocation list; the CSCA that issued it must be trusted.
func (t *Trust) AddCRL(crl *CRL) error {
	for _, c := range t.cscas {
		if crl.from(c) {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.crls = append(t.crls, crl)
			return nil
		}
	}
	return fmt.Errorf("%w: nor this CRL", ErrUntrusted)
}

// Current reports whether revocation can be checked at a time: every trusted
// CSCA needs a CRL that is not out of date. A reader gets along without; whoever
// issues must not begin. The error matches ErrRevocation.
func (t *Trust) Current(at time.Time) error {
	for _, c := range t.cscas {
		if reason := t.listed(c, at, nil); reason != "" {
			return fmt.Errorf("%w: %s: %s", ErrRevocation, c.Subject(), reason)
		}
	}
	return nil
}

// issuer finds the CSCA that issued a document signer's certificate.
func (t *Trust) issuer(signer *Certificate) (*Certificate, error) {
	id := sha256.Sum256(signer.Raw)
	t.mu.Lock()
	c := t.known[id]
	t.mu.Unlock()
	if c != nil {
		return c, nil
	}
	err := ErrUntrusted
	for _, c := range t.cscas {
		if !sameName(signer.issuer, c.subject) {
			continue
		}
		if len(signer.authorityKeyID) > 0 && len(c.subjectKeyID) > 0 && !bytes.Equal(signer.authorityKeyID, c.subjectKeyID) {
			continue
		}
		if bad := c.key.verify(signer.algorithm, 0, signer.tbs, signer.signature); bad != nil {
			err = fmt.Errorf("%w: %s has the issuer's name, but %w", ErrUntrusted, c.Subject(), bad)
			continue
		}
		t.mu.Lock()
		if len(t.known) >= maxKnown {
			clear(t.known)
		}
		t.known[id] = c
		t.mu.Unlock()
		return c, nil
	}
	return nil, err
}

// Names of the checks that Verify makes, in order.
const (
	CheckSignature   = "sod.signature"    // the document signer signed the hashes
	CheckChain       = "sod.chain"        // a trusted CSCA issued the signer's certificate
	CheckValidity    = "sod.validity"     // both certificates are valid at the time
	CheckUsage       = "sod.usage"        // both may do what they did
	CheckSigningTime = "sod.signing-time" // signed while the signer's key was in use
	CheckRevocation  = "sod.revocation"   // the CSCA did not revoke the signer
)

// Verify does passive authentication but for the hashes (see CheckHash): the
// signature, the way to a trusted CSCA, validity at a time, usage and
// revocation. Every check is in the report, whatever came before it.
func (s *SOD) Verify(trust *Trust, at time.Time) *proof.Report {
	r := &proof.Report{}
	if err := s.checkSignature(); err != nil {
		r.Fail(CheckSignature, err)
	} else if s.digest == crypto.SHA1 {
		r.Pass(CheckSignature, "with SHA-1, as old documents have it")
	} else {
		r.Pass(CheckSignature, "")
	}
	csca, err := trust.issuer(s.Signer)
	if !r.Note(CheckChain, err) {
		r.Note(CheckValidity, valid(at, s.Signer, "document signer"))
		r.Note(CheckUsage, s.usage(nil))
		r.Note(CheckSigningTime, s.signingTime())
		r.Skip(CheckRevocation, "the CSCA is not known")
		return r
	}
	r.Note(CheckValidity, errors.Join(valid(at, s.Signer, "document signer"), valid(at, csca, "CSCA")))
	r.Note(CheckUsage, s.usage(csca))
	if s.SigningTime.IsZero() {
		r.Skip(CheckSigningTime, "EF.SOD does not say when it was signed")
	} else {
		r.Note(CheckSigningTime, s.signingTime())
	}
	trust.revocation(r, s.Signer, csca, at)
	return r
}

func valid(at time.Time, c *Certificate, who string) error {
	switch {
	case at.Before(c.NotBefore):
		return fmt.Errorf("%w: the %s's begins %s", ErrExpired, who, c.NotBefore.Format(time.DateOnly))
	case at.After(c.NotAfter):
		return fmt.Errorf("%w: the %s's ended %s", ErrExpired, who, c.NotAfter.Format(time.DateOnly))
	}
	return nil
}

func (s *SOD) usage(csca *Certificate) error {
	switch {
	case s.Signer.CA:
		return fmt.Errorf("%w: the document signer's is a CA's", ErrUsage)
	case !s.Signer.may(usageDigitalSignature):
		return fmt.Errorf("%w: the document signer's is not for digital signatures", ErrUsage)
	case len(s.Signer.critical) > 0:
		return fmt.Errorf("%w: the document signer's has critical extension %v, which is not understood", ErrUsage, s.Signer.critical[0])
	case csca != nil && len(csca.critical) > 0:
		return fmt.Errorf("%w: the CSCA's has critical extension %v, which is not understood", ErrUsage, csca.critical[0])
	}
	return nil
}

func (s *SOD) signingTime() error {
	c, t := s.Signer, s.SigningTime
	switch {
	case t.IsZero():
	case t.Before(c.NotBefore), t.After(c.NotAfter),
		!c.KeyNotBefore.IsZero() && t.Before(c.KeyNotBefore),
		!c.KeyNotAfter.IsZero() && t.After(c.KeyNotAfter):
		return fmt.Errorf("%w: EF.SOD was signed while the document signer's key was not in use", ErrUsage)
	}
	return nil
}

func (t *Trust) revocation(r *proof.Report, signer, csca *Certificate, at time.Time) {
	revoked := false
	reason := t.listed(csca, at, func(crl *CRL) { revoked = revoked || crl.revoked[signer.Serial.String()] })
	switch {
	case revoked:
		r.Fail(CheckRevocation, ErrRevoked)
	case reason != "":
		r.Skip(CheckRevocation, reason)
	default:
		r.Pass(CheckRevocation, "")
	}
}

// listed shows every CRL of a CSCA's name to look, those out of date too, and
// says why there is none to rely on, "" when there is one.
func (t *Trust) listed(csca *Certificate, at time.Time, look func(*CRL)) string {
	t.mu.Lock()
	crls := t.crls
	t.mu.Unlock()
	reason, current := "no CRL of this CSCA is given", false
	for _, crl := range crls {
		if !sameName(crl.issuer, csca.subject) {
			continue
		}
		if look != nil {
			look(crl)
		}
		if crl.NextUpdate.IsZero() || !at.After(crl.NextUpdate) {
			current = true
		}
		reason = "the CRL of this CSCA is out of date"
	}
	if current {
		return ""
	}
	return reason
}
