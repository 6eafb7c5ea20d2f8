package bureau

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	profiles "cardbureau/firmware-profiles"
	"cardbureau/personalization/custody"
	"cardbureau/personalization/image"
	"cardbureau/personalization/intake"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/record"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// Options say what a command needs of a bureau.
type Options struct {
	Agent   []string     // argv of the HSM agent; nil: this program's own
	Log     *slog.Logger // nil: silent
	NoVault bool         // no keys are needed
	NoStore bool         // no database is needed
}

// Bureau is an open data folder.
type Bureau struct {
	Dir      string
	Config   *Config
	Profiles *profile.Set
	Store    *store.Store
	Vault    *vault.Client
	Trust    *record.TrustFile
	Log      *slog.Logger

	cluster *store.Cluster
}

// Open opens the data folder: configuration and profiles always, database and
// HSM agent unless told otherwise. Close it.
func Open(ctx context.Context, dir string, o Options) (_ *Bureau, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	b := &Bureau{Dir: dir, Log: o.Log}
	if b.Log == nil {
		b.Log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	if b.Config, err = LoadConfig(dir); err != nil {
		return nil, err
	}
	if b.Profiles, err = b.loadProfiles(); err != nil {
		return nil, err
	}
	for _, r := range b.Config.Rules {
		if b.Profiles.Products[r.Name] == nil {
			return nil, fmt.Errorf("%s: [[product]] names %q, and no product profile has that name", filepath.Join(dir, ConfigName), r.Name)
		}
	}
	if !o.NoVault {
		if err := b.openTrust(); err != nil {
			return nil, err
		}
		if b.Vault, err = startVault(ctx, dir, b.Config, o); err != nil {
			return nil, err
		}
		if err := b.Vault.CheckEnvironment(ctx, b.Config.Development()); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, ConfigName), err)
		}
	}
	if !o.NoStore {
		if err := b.openStore(ctx); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// openTrust reads the trust file, in production after two custodians'
// signatures. Where production has none yet, nobody is trusted.
func (b *Bureau) openTrust() error {
	custodians, err := b.custodians()
	if err != nil {
		return err
	}
	file := b.path(b.Config.Records.Trust)
	if !b.Config.Development() && !exists(file) {
		b.Log.Warn("no trust file: every record is refused until two custodians have signed one", "file", file)
		b.Trust = record.HoldTrust(&record.Trust{})
		return nil
	}
	b.Trust, err = record.OpenTrustFile(file, custodians, func(err error) {
		b.Log.Error("the trust file was changed and cannot be used; the one before stays in force", "error", err)
	})
	return err
}

// custodians are the public keys of those who sign what the bureau believes.
func (b *Bureau) custodians() ([]jose.JSONWebKey, error) { return Custodians(b.Dir, b.Config) }

// Custodians reads the public keys of those who sign what the bureau of a data
// folder believes.
func Custodians(dir string, c *Config) (keys []jose.JSONWebKey, err error) {
	for _, name := range c.Records.Custodians {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("a custodian's public key: %w", err)
		}
		var key jose.JSONWebKey
		if err := json.Unmarshal(text, &key); err != nil || !key.Valid() || !key.IsPublic() {
			return nil, fmt.Errorf("%s is not a custodian's public key as JWK", name)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// path makes a configured path absolute.
func (b *Bureau) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(b.Dir, name)
}

// loadProfiles reads the profiles in use; in production only such as two
// custodians have signed.
func (b *Bureau) loadProfiles() (*profile.Set, error) {
	sources := []fs.FS{profiles.FS}
	if f := b.Config.Profiles.Folder; f != "" {
		if _, err := os.Stat(b.path(f)); err != nil {
			return nil, fmt.Errorf("[profiles] folder: %w", err)
		}
		sources = append(sources, os.DirFS(b.path(f)))
	}
	set, err := profile.Load(sources...)
	if err != nil || b.Config.Development() {
		return set, err
	}
	return set, b.checkSigned(set)
}

func (b *Bureau) checkSigned(set *profile.Set) error {
	name := b.path(b.Config.Profiles.Signature)
	document, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s does not exist: production takes only profiles that two custodians have signed, see cardbureau profile sign", name)
	}
	if err != nil {
		return err
	}
	custodians, err := b.custodians()
	if err != nil {
		return err
	}
	signed, err := custody.Open("list of profiles", document, custodians)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := set.CheckManifest(signed); err != nil {
		return fmt.Errorf("%s: %w: look at them, and have them signed again with cardbureau profile sign", name, err)
	}
	return nil
}

// openStore connects to the database, starting the private cluster if that is
// what the configuration says.
func (b *Bureau) openStore(ctx context.Context) error {
	url, err := b.databaseURL(ctx)
	if err != nil {
		return err
	}
	if err := store.Migrate(ctx, url); err != nil {
		return err
	}
	b.Store, err = store.Open(ctx, url, store.Options{Logger: b.Log})
	return err
}

func (b *Bureau) databaseURL(ctx context.Context) (string, error) {
	if b.Config.Database.URL != "" {
		return b.Config.Database.URL, nil
	}
	var err error
	if b.cluster, err = store.StartCluster(ctx, store.ClusterOptions{Dir: b.Dir, Logger: b.Log, Waiting: os.Stderr}); err != nil {
		return "", err
	}
	return b.cluster.URL(), nil
}

// startVault starts the HSM agent as a process of its own.
func startVault(ctx context.Context, dir string, c *Config, o Options) (*vault.Client, error) {
	command := o.Agent
	if command == nil {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("this program cannot find itself to start the HSM agent: %w", err)
		}
		command = []string{self, "hsm", "agent"}
	}
	inDir := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	args := []string{"--lock", filepath.Join(dir, "run", "keys.lock"), "--sessions", strconv.Itoa(c.HSM.Sessions),
		"--hang-after", time.Duration(c.HSM.Timeout).String(), "--token-label", c.HSM.Token}
	if c.HSM.Module != "" {
		args = append(args, "--module", c.HSM.Module)
	}
	switch {
	case c.HSM.SoftHSM != "":
		args = append(args, "--softhsm", inDir(c.HSM.SoftHSM))
	case c.HSM.PINFile != "":
		args = append(args, "--pin-file", inDir(c.HSM.PINFile))
	default:
		args = append(args, "--pin-env", pinVariable)
	}
	log := func(line string) {
		if o.Log != nil {
			o.Log.Warn("hsm agent", "says", line)
		}
	}
	return vault.Start(ctx, vault.Options{Command: append(command, args...), Log: log, StartTimeout: 2 * time.Duration(c.HSM.Timeout)})
}

// pinVariable may hold the token's PIN instead of a file.
const pinVariable = "CARDBUREAU_TOKEN_PIN"

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// Close stops what Open started.
func (b *Bureau) Close() error {
	var errs []error
	if b.Store != nil {
		b.Store.Close()
	}
	if b.Vault != nil {
		errs = append(errs, b.Vault.Close())
	}
	if b.cluster != nil {
		errs = append(errs, b.cluster.Close())
	}
	return errors.Join(errs...)
}

// Actor finds or makes the actor that the audit names for this process.
func (b *Bureau) Actor(ctx context.Context, kind, name, through string) (store.Actor, error) {
	name = strings.ToLower(strings.Join(strings.Fields(name), " "))
	if name == "" {
		return store.Actor{}, errors.New("the name of whoever does this is missing")
	}
	id, err := b.Store.Actor(ctx, kind, name)
	return store.Actor{ID: id, Through: through}, err
}

// Verifier checks records as this bureau's configuration says.
func (b *Bureau) Verifier() *record.Verifier {
	c := &b.Config.Records
	return &record.Verifier{
		TrustNow: b.Trust.Now, Opener: opener{b.Vault}, Audience: b.Config.Audience,
		RequireJWE: c.RequireJWE, MaxPhoto: b.maxPhoto(), Rules: c.rules(),
	}
}

// opener tells the verifier which of the vault's errors are the input's fault.
type opener struct{ vault *vault.Client }

func (o opener) OpenJWE(ctx context.Context, compact string) ([]byte, error) {
	b, err := o.vault.OpenJWE(ctx, compact)
	if errors.Is(err, vault.ErrJWE) {
		err = fmt.Errorf("%w: %w", record.ErrJWE, err)
	}
	return b, err
}

// maxPhoto is the greatest photo that every product takes.
func (b *Bureau) maxPhoto() int {
	least := record.MaxPhoto
	for _, r := range b.Config.Rules {
		least = min(least, b.Profiles.Products[r.Name].Photo.MaxBytes)
	}
	return least
}

// Intake is the service that takes records in.
func (b *Bureau) Intake() *intake.Service {
	return &intake.Service{Verifier: b.Verifier(), Rules: b.Config.Rules, Store: b.Store, Vault: b.Vault}
}

// StartPreparation begins to make card images of accepted orders, ahead of
// the line. Stop the jobs before Close.
func (b *Bureau) StartPreparation(ctx context.Context, workers int) (*store.Jobs, error) {
	actor, err := b.Actor(ctx, "program", "preparation", "job")
	if err != nil {
		return nil, err
	}
	if err := b.needsIssuer(); err != nil {
		return nil, err
	}
	issuer, err := b.Issuer()
	if err != nil {
		return nil, err
	}
	p := &image.Preparer{
		Store: b.Store, Vault: b.Vault, Verifier: b.Verifier(), Profiles: b.Profiles,
		State: b.Config.State, Actor: actor, Issuer: issuer, IssuerName: b.Config.Audience,
	}
	return b.Store.StartJobs(ctx, store.JobOptions{Prepare: p.Prepare, Workers: workers, Actor: actor, Logger: b.Log})
}

// Names of files in the data folder.
const (
	certFolder    = "certificates"
	cscaName      = "csca"
	signerName    = "document-signer"
	crlName       = "csca-crl"
	intakeKeyName = "intake-key.jwk"
)

// Certificate reads a certificate that init wrote: "csca" or
// "document-signer". It is public.
func (b *Bureau) Certificate(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(b.Dir, certFolder, name+".der"))
}

// CSCAs reads every country signing certificate that cards may hang on.
func (b *Bureau) CSCAs() ([][]byte, error) {
	der, err := b.Certificate(cscaName)
	if err != nil {
		return nil, fmt.Errorf("the country signing certificate: %w", err)
	}
	return [][]byte{der}, nil
}

// writePublic writes DER and PEM forms of something public.
func writePublic(dir, name, kind string, der []byte) error {
	if err := os.WriteFile(filepath.Join(dir, name+".der"), der, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".pem"), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644)
}

// IntakeKey reads the public key that records are enciphered to, as JWK.
func (b *Bureau) IntakeKey() ([]byte, error) { return os.ReadFile(filepath.Join(b.Dir, intakeKeyName)) }

// DatabasePID is the private cluster's process, 0 with a server of others.
func (b *Bureau) DatabasePID() int {
	if b.cluster == nil {
		return 0
	}
	return b.cluster.PID()
}
