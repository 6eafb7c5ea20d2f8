package bureau

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/personalization/custody"
	"cardbureau/personalization/record"
	"cardbureau/personalization/vault"
)

// CreateRequest says what a new data folder is for.
type CreateRequest struct {
	Production  bool
	Audience    string // the bureau's name in records
	State       string // issuing state, 3 letters; empty: UTO, or IRN in production
	DatabaseURL string // empty: a private cluster
	Module      string // PKCS#11 module; empty: SoftHSM with a token in the data folder
	Token       string // token label
	PINFile     string // of another module's token
	// Certificates are needed in production.
	Certificates Certificates
	// Custodians are JWK files: two of them sign the trust file and the profiles.
	// Needed in production.
	Custodians []string
	// Product is the product profile that every record becomes until the
	// configuration says otherwise; empty: identity.
	Product string
}

// Created is what was made, all of it public.
type Created struct {
	Dir         string `json:"dir"`
	Config      string `json:"config"`
	Environment string `json:"environment"`
	CSCA        string `json:"csca"`          // certificate file
	Signer      string `json:"signer"`        // certificate file
	IntakeKey   string `json:"intakeKey"`     // JWK file
	Trust       string `json:"trust"`         // trust file
	Existed     bool   `json:"alreadyExists"` // the folder was complete before
}

// Create makes a data folder: configuration, token and keys, database. It may
// be run again after it was interrupted: what is there stays as it is.
func Create(ctx context.Context, dir string, r CreateRequest, o Options) (*Created, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	for _, d := range []string{dir, filepath.Join(dir, certFolder), filepath.Join(dir, "secrets"), filepath.Join(dir, "run")} {
		mode := os.FileMode(0o700)
		if d == dir {
			mode = 0o711 // an unprivileged user runs the private database server inside
		}
		if err := os.MkdirAll(d, mode); err != nil {
			return nil, fmt.Errorf("the data folder cannot be made: %w", err)
		}
	}
	out := &Created{Dir: dir, Config: filepath.Join(dir, ConfigName)}
	out.Existed = exists(out.Config)
	if !out.Existed {
		if err := writeConfig(out.Config, &r); err != nil {
			return nil, err
		}
	}
	cfg, err := LoadConfig(dir)
	if err != nil {
		return nil, err
	}
	if out.Existed {
		if err := r.agrees(cfg); err != nil {
			return nil, fmt.Errorf("%s: %w: change it there, not here", out.Config, err)
		}
	}
	out.Environment = cfg.Environment
	v, err := startVault(ctx, dir, cfg, o)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	if err := provision(ctx, dir, cfg, v, out); err != nil {
		return nil, err
	}
	if err := errors.Join(provisionBank(ctx, dir, cfg, v), provisionPairing(ctx, dir, v)); err != nil {
		return nil, fmt.Errorf("the public keys of bindings and pairings: %w", err)
	}
	b := &Bureau{Dir: dir, Config: cfg, Log: o.Log}
	defer b.Close()
	if err := b.openStore(ctx); err != nil || !cfg.Development() {
		return out, err
	}
	return out, b.addTestRange(ctx)
}

func writeConfig(name string, r *CreateRequest) error {
	if r.Production && (r.Certificates.Contact == "" || len(r.Certificates.CRLs) == 0) {
		return errors.New("production certificates name whom to ask and where revocations are found: give --contact and --crl")
	}
	if r.Production && len(r.Custodians) < custody.Needed {
		return fmt.Errorf("in production %d custodians sign the trust file: give the files of their public keys (JWK) with --custodian", custody.Needed)
	}
	if r.State == "" {
		r.State = "UTO"
		if r.Production {
			r.State = "IRN"
		}
	}
	if r.Audience == "" {
		r.Audience = "bureau-1"
	}
	if r.Product == "" {
		r.Product = defaultProduct
	}
	if r.Token == "" {
		r.Token = "cardbureau"
	}
	softHSM := ""
	if r.Module == "" {
		if r.Production {
			return errors.New("production needs an HSM: name its module with --pkcs11-module")
		}
		softHSM = "softhsm"
	}
	text := ConfigText(r.Production, r.Audience, r.State, r.DatabaseURL, softHSM, r.Module, r.Token, r.PINFile, r.Certificates, r.Custodians, r.Product)
	// A configuration with a mistake is not left behind.
	if _, err := parseConfig([]byte(text)); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o600)
}

// agrees refuses what contradicts a configuration that is there already. What
// was left empty contradicts nothing.
func (r *CreateRequest) agrees(c *Config) error {
	for _, f := range []struct{ what, want, have string }{
		{"audience", r.Audience, c.Audience}, {"state", r.State, c.State}, {"database.url", r.DatabaseURL, c.Database.URL},
		{"hsm.module", r.Module, c.HSM.Module}, {"hsm.token", r.Token, c.HSM.Token}, {"hsm.pin-file", r.PINFile, c.HSM.PINFile},
		{"certificates.country", r.Certificates.Country, c.Certificates.Country},
		{"certificates.organization", r.Certificates.Organization, c.Certificates.Organization},
		{"certificates.contact", r.Certificates.Contact, c.Certificates.Contact},
		{"certificates.crls", quoted(r.Certificates.CRLs), quoted(c.Certificates.CRLs)},
		{"records.custodians", quoted(r.Custodians), quoted(c.Records.Custodians)},
		{"the first product", r.Product, c.Rules[0].Name},
	} {
		if f.want != "" && f.want != f.have {
			return fmt.Errorf("%s is already %q", f.what, f.have)
		}
	}
	if r.Production && c.Development() {
		return errors.New("environment is already development")
	}
	return nil
}

// provision makes the keys that are missing and writes what is public of them.
func provision(ctx context.Context, dir string, cfg *Config, v *vault.Client, out *Created) error {
	c := cfg.Certificates
	req := vault.ProvisionRequest{
		Development: cfg.Development(), State: cfg.State,
		Country: c.Country, Organization: c.Organization, Contact: c.Contact, CRLs: c.CRLs,
	}
	if cfg.Development() {
		req.Vendors = []string{"virtual"} // of the software blanks
	}
	p, err := v.Provision(ctx, req)
	if err != nil {
		return fmt.Errorf("make keys: %w", err)
	}
	certs := filepath.Join(dir, certFolder)
	for _, w := range []struct {
		name, kind string
		der        []byte
	}{
		{cscaName, "CERTIFICATE", p.CSCA}, {signerName, "CERTIFICATE", p.DocumentSigner}, {crlName, "X509 CRL", p.CSCACRL},
	} {
		if err := writePublic(certs, w.name, w.kind, w.der); err != nil {
			return err
		}
	}
	out.CSCA, out.Signer = filepath.Join(certs, cscaName+".pem"), filepath.Join(certs, signerName+".pem")
	out.IntakeKey = filepath.Join(dir, intakeKeyName)
	if err := os.WriteFile(out.IntakeKey, append(p.IntakeJWK, '\n'), 0o644); err != nil {
		return err
	}
	out.Trust = cfg.Records.Trust
	if !filepath.IsAbs(out.Trust) {
		out.Trust = filepath.Join(dir, out.Trust)
	}
	if exists(out.Trust) || !cfg.Development() {
		return nil // in production the custodians bring it
	}
	return writeTrust(out.Trust, p)
}

// writeTrust makes the trust file of a new development folder: the test
// registry.
func writeTrust(name string, p vault.Provisioned) error {
	trust := record.Trust{Keys: []record.TrustKey{}}
	if p.RegistryJWK != nil {
		var jwk jose.JSONWebKey
		if err := json.Unmarshal(p.RegistryJWK, &jwk); err != nil {
			return fmt.Errorf("the test registry's key: %w", err)
		}
		now := time.Now().UTC().Truncate(time.Second)
		trust.Keys = append(trust.Keys, record.TrustKey{
			KeyID: p.RegistryKID, Algorithm: string(jose.ES256), JWK: jwk,
			NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(1, 0, 0), Permits: []string{record.AnyPermit},
		})
	}
	b, err := json.MarshalIndent(trust, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(b, '\n'), 0o600)
}
