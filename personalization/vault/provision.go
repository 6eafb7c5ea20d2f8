package vault

import (
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"cardbureau/hsm"
	"cardbureau/personalization/identity"
)

const (
	cscaKeyYears         = 3
	defaultDocumentYears = 10
	crlLife              = 90 * 24 * time.Hour // the longest that Doc 9303-12 4.1.5 allows
	// signerRenewal is how long before the end of its use a document signer
	// gets a successor at the next provisioning.
	signerRenewal = 7 * 24 * time.Hour
	// clockSkew dates certificates back a little: another machine's clock may
	// be behind.
	clockSkew = 5 * time.Minute
)

// lockMaking makes sure that one process at a time makes keys.
func (s *Service) lockMaking(ctx context.Context) (unlock func(), err error) {
	s.making.Lock()
	if s.lockPath == "" {
		return s.making.Unlock, nil
	}
	defer func() {
		if err != nil {
			s.making.Unlock()
		}
	}()
	f, err := os.OpenFile(s.lockPath, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the making of keys: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close(); s.making.Unlock() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock the making of keys: %w", err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Service) provision(ctx context.Context, in *ProvisionRequest) (*Provisioned, error) {
	authority, err := in.authority()
	if err != nil {
		return nil, err
	}
	unlock, err := s.lockMaking(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := s.checkPurpose(ctx, in.Development); err != nil {
		return nil, err
	}
	if err := s.makeKeys(ctx, in); err != nil {
		return nil, err
	}
	out := &Provisioned{}
	ca, err := s.ensureCSCA(ctx, in, authority)
	if err != nil {
		return nil, fmt.Errorf("country signing certificate: %w", err)
	}
	out.CSCA = ca.der
	if out.CSCACRL, err = ca.crl(s.now()); err != nil {
		return nil, fmt.Errorf("certificate revocation list: %w", err)
	}
	if out.DocumentSigner, err = s.ensureSigner(ctx, in, authority, ca); err != nil {
		return nil, fmt.Errorf("document signer certificate: %w", err)
	}
	out.IntakeKID = RoleIntake + "/1"
	if out.IntakeJWK, err = s.jwk(ctx, out.IntakeKID, "enc", "ECDH-ES+A256KW"); err != nil {
		return nil, err
	}
	if in.Development {
		out.RegistryKID = RoleTestRegistry + "/1"
		if out.RegistryJWK, err = s.jwk(ctx, out.RegistryKID, "sig", "ES256"); err != nil {
			return nil, err
		}
	}
	s.signerMu.Lock()
	s.signer = nil
	s.signerMu.Unlock()
	return out, nil
}

func (r *ProvisionRequest) authority() (identity.Authority, error) {
	a := identity.Authority{Country: r.Country, State: r.State, Organization: r.Organization, Contact: r.Contact, CRLs: r.CRLs}
	if a.Country == "" {
		a.Country = map[string]string{"UTO": "UT", "IRN": "IR"}[r.State]
	}
	if r.Development {
		a.Unit = "Development"
		if a.Organization == "" {
			a.Organization = "Card Bureau"
		}
		if a.Contact == "" {
			a.Contact = "pki@cardbureau.invalid"
		}
		if len(a.CRLs) == 0 {
			a.CRLs = []string{"http://cardbureau.invalid/" + r.State + ".crl"}
		}
	}
	if a.State == "" || a.Country == "" || a.Contact == "" || len(a.CRLs) == 0 {
		return a, fmt.Errorf("%w: certificates need state, country, contact and the CRL's address", ErrRequest)
	}
	return a, nil
}

// checkPurpose keeps development keys and real ones in tokens of their own.
func (s *Service) checkPurpose(ctx context.Context, development bool) error {
	all, err := s.token.List(ctx)
	if err != nil {
		return err
	}
	for _, k := range all {
		switch {
		case k.Development && !development:
			return fmt.Errorf("%w: the token holds the development key %s; use another token", ErrDevelopment, k.Label)
		case !k.Development && development:
			return fmt.Errorf("%w: the token holds the key %s, which is not one; use another token", ErrDevelopment, k.Label)
		}
	}
	return nil
}

// makeKeys makes what is missing and leaves alone what is there.
func (s *Service) makeKeys(ctx context.Context, in *ProvisionRequest) error {
	options := func(use hsm.Use) hsm.KeyOptions {
		return hsm.KeyOptions{Use: use, Development: in.Development}
	}
	ec := func(curve elliptic.Curve, use hsm.ECUse) func(string) error {
		return func(l string) error { return s.token.GenerateEC(ctx, l, curve, use, options(0)) }
	}
	master := func(l string) error { return s.token.GenerateAES(ctx, l, 32, options(hsm.UseDerive)) }
	wanted := []struct {
		role string
		make func(label string) error
	}{
		{RoleCSCA, ec(elliptic.P384(), hsm.ECSign)},
		{RoleIntake, ec(elliptic.P256(), hsm.ECAgree)},
		{RolePersonRef, func(l string) error { return s.token.GenerateHMAC(ctx, l, options(0)) }},
		{RoleCardMasterIssuer, master},
	}
	if in.Development {
		wanted = append(wanted, struct {
			role string
			make func(string) error
		}{RoleTestRegistry, ec(elliptic.P256(), hsm.ECSign)})
		vendors := in.Vendors
		if vendors == nil {
			vendors = []string{DefaultVendor}
		}
		for _, v := range vendors {
			wanted = append(wanted, struct {
				role string
				make func(string) error
			}{RoleCardMaster + v, master})
		}
		if s.token.Capabilities().Has(hsm.CanDES3) {
			master := func(l string) error { return s.token.GenerateDES3(ctx, l, 16, options(hsm.UseDerive)) }
			for _, role := range append([]string{"issuer"}, vendors...) {
				wanted = append(wanted, struct {
					role string
					make func(string) error
				}{RoleCardMaster + role + RoleDES3, master})
			}
		}
	}
	for _, w := range wanted {
		l, err := roleLabel(w.role, "1")
		if err != nil {
			return err
		}
		if err := w.make(l); err != nil && !errors.Is(err, hsm.ErrKeyExists) {
			return err
		}
	}
	if err := s.makeBankKeys(ctx, in); err != nil {
		return err
	}
	if err := s.makeSIMKeys(ctx, in); err != nil {
		return err
	}
	if err := s.makePairingKeys(ctx, in); err != nil {
		return err
	}
	return s.ensureKEK(ctx, s.now().UTC().Format(epochFormat), in.Development)
}

func (s *Service) jwk(ctx context.Context, kid, use, alg string) ([]byte, error) {
	l, err := label(kid)
	if err != nil {
		return nil, err
	}
	k, err := s.token.EC(ctx, l)
	if err != nil {
		return nil, err
	}
	return jwkOf(k, kid, use, alg)
}

// authorityKey is the country signing CA.
type authorityKey struct {
	der []byte
	key *hsm.ECKey
}

func (s *Service) ensureCSCA(ctx context.Context, in *ProvisionRequest, authority identity.Authority) (authorityKey, error) {
	l, err := roleLabel(RoleCSCA, "1")
	if err != nil {
		return authorityKey{}, err
	}
	ca := authorityKey{}
	if ca.key, err = s.token.EC(ctx, l); err != nil {
		return ca, err
	}
	if ca.der, err = s.token.Certificate(ctx, l); err != nil {
		return ca, err
	}
	if ca.der != nil {
		c, err := identity.ParseCertificate(ca.der)
		if err == nil && c.State != authority.State {
			err = fmt.Errorf("%w: the token's certificates are for the state %s", ErrRequest, c.State)
		}
		return ca, err
	}
	ca.der, err = identity.NewCSCA(rand.Reader, identity.CSCARequest{
		Authority:  authority,
		CommonName: "CSCA " + authority.State,
		Validity:   identity.CSCAValidity(s.now().UTC().Add(-clockSkew).Truncate(time.Second), cscaKeyYears, in.documentYears()),
		Key:        ca.key,
	})
	if err != nil {
		return ca, err
	}
	return ca, s.store(ctx, l, ca.der)
}

func (r *ProvisionRequest) documentYears() int {
	if r.DocumentYears > 0 {
		return r.DocumentYears
	}
	return defaultDocumentYears
}

func (s *Service) store(ctx context.Context, l string, der []byte) error {
	c, err := identity.ParseCertificate(der)
	if err != nil {
		return err
	}
	return s.token.StoreCertificate(ctx, l, c.Subject, der)
}

// crl lists nothing: no document signer of this token has been revoked. Its
// number is the time, so that it grows without being kept.
func (ca authorityKey) crl(now time.Time) ([]byte, error) {
	now = now.UTC().Truncate(time.Second)
	return identity.NewCRL(rand.Reader, identity.CRLRequest{
		CSCA: ca.der, CSCAKey: ca.key, Number: uint64(now.Unix()), ThisUpdate: now, NextUpdate: now.Add(crlLife),
	})
}

// ensureSigner returns the newest document signer's certificate. One whose use
// ends soon gets a successor with a key of its own.
func (s *Service) ensureSigner(ctx context.Context, in *ProvisionRequest, authority identity.Authority, ca authorityKey) ([]byte, error) {
	versions, err := s.token.Versions(ctx, RoleDocumentSigner)
	if err != nil {
		return nil, err
	}
	version := 1
	if n := len(versions); n > 0 {
		if version, err = strconv.Atoi(versions[n-1]); err != nil {
			return nil, fmt.Errorf("%w: the document signer's version %q is no number", ErrRequest, versions[n-1])
		}
		l, err := roleLabel(RoleDocumentSigner, versions[n-1])
		if err != nil {
			return nil, err
		}
		der, err := s.token.Certificate(ctx, l)
		if err != nil {
			return nil, err
		}
		if der != nil {
			c, err := identity.ParseCertificate(der)
			if err != nil {
				return nil, err
			}
			if s.now().Add(signerRenewal).Before(c.KeyNotAfter) {
				return der, nil
			}
			version++
		}
	}
	return s.newSigner(ctx, in, authority, ca, version)
}

func (s *Service) newSigner(ctx context.Context, in *ProvisionRequest, authority identity.Authority, ca authorityKey, version int) ([]byte, error) {
	l, err := roleLabel(RoleDocumentSigner, strconv.Itoa(version))
	if err != nil {
		return nil, err
	}
	// The key may be there from a process that was killed before it had a
	// certificate.
	err = s.token.GenerateEC(ctx, l, elliptic.P256(), hsm.ECSign, hsm.KeyOptions{Development: in.Development})
	if err != nil && !errors.Is(err, hsm.ErrKeyExists) {
		return nil, err
	}
	key, err := s.token.EC(ctx, l)
	if err != nil {
		return nil, err
	}
	types := in.DocumentTypes
	if types == nil {
		types = []string{"IR"}
	}
	issuer, err := identity.ParseCertificate(ca.der)
	if err != nil {
		return nil, err
	}
	from := s.now().UTC().Add(-clockSkew).Truncate(time.Second)
	if from.Before(issuer.KeyNotBefore) {
		from = issuer.KeyNotBefore
	}
	der, err := identity.NewDocumentSigner(rand.Reader, identity.DocumentSignerRequest{
		CSCA:          ca.der,
		CSCAKey:       ca.key,
		Authority:     authority,
		CommonName:    fmt.Sprintf("Document Signer %s %d", authority.State, version),
		PublicKey:     key.Public(),
		Validity:      identity.SignerValidity(from, in.documentYears()),
		DocumentTypes: types,
	})
	if err != nil {
		return nil, err
	}
	return der, s.store(ctx, l, der)
}
