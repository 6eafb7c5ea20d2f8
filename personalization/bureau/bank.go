package bureau

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	profiles "cardbureau/firmware-profiles"
	"cardbureau/personalization/bank"
	"cardbureau/personalization/payment"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// Files of the bank's side in the data folder. All of them are public.
const (
	IssuerFile      = "emv-issuer.json"     // the issuer's certificate and the authority's key
	BindingKeysFile = "bank-jwks.json"      // what bindings are verified with
	BankIntakeKey   = "bank-intake-key.jwk" // what the bank encrypts its messages to
	bankKeysName    = "bank-keys.json"      // what the bank's messages are verified with
	testRange       = "99"                  // the digits after the BIN of a development range of PANs
)

// BindingKeys reads the public keys that bindings are verified with.
func (b *Bureau) BindingKeys() (keys jose.JSONWebKeySet, err error) {
	return readKeys(b.Dir, BindingKeysFile)
}

// BankKeys reads the public keys that the bank signs its messages with.
func (b *Bureau) BankKeys() (keys jose.JSONWebKeySet, err error) {
	return readKeys(b.Dir, bankKeysName)
}

func readKeys(dir, name string) (keys jose.JSONWebKeySet, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err == nil {
		err = json.Unmarshal(raw, &keys)
	}
	if err != nil {
		return keys, fmt.Errorf("%s: %w", name, err)
	}
	return keys, nil
}

// provisionBank writes what is public of the bank's keys, and in development makes
// a test authority's certificate for the first payment scheme.
func provisionBank(ctx context.Context, dir string, cfg *Config, v *vault.Client) error {
	write := func(name string, value any) error {
		b, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), append(b, '\n'), 0o644)
	}
	set := func(kid string) (jose.JSONWebKeySet, error) {
		raw, err := v.BankJWK(ctx, kid)
		if err != nil {
			return jose.JSONWebKeySet{}, err
		}
		var k jose.JSONWebKey
		err = json.Unmarshal(raw, &k)
		return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{k}}, err
	}
	keys, err := set(vault.BindingKID)
	if err == nil {
		err = write(BindingKeysFile, keys)
	}
	if err != nil {
		return err
	}
	if keys, err = set(vault.BankIntakeKID); err == nil {
		err = write(BankIntakeKey, keys.Keys[0])
	}
	if err != nil || !cfg.Development() {
		return err
	}
	if keys, err = set(vault.BankTestKID); err == nil && !exists(filepath.Join(dir, bankKeysName)) {
		err = write(bankKeysName, keys)
	}
	if err != nil {
		return err
	}
	have, err := readIssuer(dir)
	if err != nil {
		return err
	}
	scheme, err := testScheme()
	if err != nil {
		return err
	}
	info, err := v.TestIssuer(ctx, scheme.AID[:5], scheme.BIN)
	if err != nil {
		return fmt.Errorf("the issuer's test certificate: %w", err)
	}
	return write(IssuerFile, completed(have, info))
}

// completed is a development folder's certificates with those of the test authorities
// that it has not: an older program made fewer.
func completed(have, test vault.IssuerInfo) vault.IssuerInfo {
	ecc := have.ECC
	for _, e := range test.ECC {
		if ecc.For(e.RID, e.CAIndex) == nil {
			ecc = append(ecc, e)
		}
	}
	if have.Certificate == nil {
		have = test
	}
	have.ECC = ecc
	return have
}

// testScheme is the first of the shipped payment schemes.
func testScheme() (*payment.Scheme, error) {
	set, err := profile.Load(profiles.FS)
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(set.Payments))
	return set.Payments[names[0]], nil
}

// addTestRange gives a development bureau a range of PANs.
func (b *Bureau) addTestRange(ctx context.Context) error {
	scheme, err := testScheme()
	if err != nil {
		return err
	}
	actor, err := b.Actor(ctx, "program", "init", "cli")
	if err != nil {
		return err
	}
	r := payment.Range{Prefix: scheme.BIN + testRange, Length: 16}
	err = b.Store.AddRange(ctx, store.Range{Name: scheme.Range, Prefix: r.Prefix, Length: r.Length, Size: r.Size()}, actor)
	if errors.Is(err, store.ErrRangeExists) {
		return nil // another one was added meanwhile
	}
	return err
}

// maxFill is how many keys one call of the agent makes.
const maxFill = 8

// FillPool makes ICC keys of a length until the pool has n, and tells how many it
// has after each call.
func (b *Bureau) FillPool(ctx context.Context, bits, exponent, n int, tell func(have int)) error {
	for {
		counts, err := b.Store.ICCKeyCounts(ctx)
		if err != nil {
			return err
		}
		have := counts[bits]
		if tell != nil {
			tell(have)
		}
		if have >= n {
			return nil
		}
		keys, err := b.Vault.NewICCKeys(ctx, bits, exponent, min(maxFill, n-have))
		if err != nil {
			return err
		}
		rows := make([]store.ICCKey, len(keys))
		for i, k := range keys {
			id, err := uuid.FromBytes(k.ID)
			if err != nil {
				return err
			}
			rows[i] = store.ICCKey{ID: id, Sealed: k.Sealed}
		}
		if err := b.Store.AddICCKeys(ctx, bits, rows); err != nil {
			return err
		}
	}
}

// Bank is the service that answers the bank.
func (b *Bureau) Bank() (*bank.Service, error) {
	bindings, err := b.BindingKeys()
	if err != nil {
		return nil, err
	}
	keys, err := b.BankKeys()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	zone, err := b.Config.bankZone()
	if err != nil {
		return nil, err
	}
	return &bank.Service{
		Store: b.Store, Vault: b.Vault, Profiles: b.Profiles, BankKeys: keys, Bindings: bindings, Name: strings.ToUpper(b.Config.Audience), Zone: zone,
	}, nil
}

// Schemes are the payment schemes of the products in use, sorted by name.
func (b *Bureau) Schemes() (out []*payment.Scheme) {
	seen := map[string]bool{}
	for _, r := range b.Config.Rules {
		if p := b.Profiles.Products[r.Name]; p != nil && p.Payment != "" && !seen[p.Payment] {
			seen[p.Payment] = true
			out = append(out, b.Profiles.Payments[p.Payment])
		}
	}
	slices.SortFunc(out, func(a, b *payment.Scheme) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// bankZone is where the bank's business day begins and ends: in Iran, unless the
// configuration says otherwise.
func (c *Config) bankZone() (*time.Location, error) {
	name := c.Bank.Zone
	if name == "" {
		name = "Asia/Tehran"
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("[bank] time-zone %q is no time zone: write one as Asia/Tehran or UTC", name)
	}
	return zone, nil
}
