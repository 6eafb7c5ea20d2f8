package bureau

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/hsm/simkeys"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/simoperator"
	"cardbureau/personalization/vault"
)

// PairingKeysFile has the public keys that pairing records are verified with, a JWK
// set.
const PairingKeysFile = "pairing-jwks.json"

// PairingKeys reads the public keys that pairing records are verified with.
func (b *Bureau) PairingKeys() (jose.JSONWebKeySet, error) { return readKeys(b.Dir, PairingKeysFile) }

// provisionPairing writes what is public of pairing's keys.
func provisionPairing(ctx context.Context, dir string, v *vault.Client) error {
	raw, err := v.PairingJWK(ctx)
	if err != nil {
		return err
	}
	out, err := json.MarshalIndent(map[string]any{"keys": []json.RawMessage{raw}}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, PairingKeysFile), append(out, '\n'), 0o644)
}

// SimulatedOperators is the folder of simulated operators, in development.
func (b *Bureau) SimulatedOperators() string { return filepath.Join(b.Dir, "virtual", "operators") }

// Networks are the operators that this bureau reaches: in development those that are
// simulated in its data folder.
func (b *Bureau) Networks() (map[string]pairing.Network, error) {
	out := map[string]pairing.Network{}
	if !b.Config.Development() {
		return out, nil
	}
	companies, err := simoperator.Companies(b.SimulatedOperators())
	if err != nil {
		return nil, err
	}
	for code, c := range companies {
		out[code] = c.Network()
	}
	return out, nil
}

// SIMCentre is the bureau's own authentication centre.
func (b *Bureau) SIMCentre() *pairing.OwnCentre {
	forms := map[string]simkeys.Form{}
	for profile, form := range b.Config.SIM.Forms {
		forms[profile] = simkeys.Form(form)
	}
	return &pairing.OwnCentre{Store: b.Store, Vault: b.Vault, Forms: forms}
}

// Pairing is the service that pairs cards and SIMs, with the operators that this
// process reaches. Without any it takes operators' notices.
func (b *Bureau) Pairing(networks map[string]pairing.Network) (*pairing.Service, error) {
	custodians, err := b.custodians()
	if err != nil {
		return nil, err
	}
	return &pairing.Service{
		Store: b.Store, Vault: b.Vault, Networks: networks, Own: b.SIMCentre(), Custodians: custodians,
		Issuer: strings.ToUpper(b.Config.Audience), Status: b.Config.SIM.Status, SIMs: b.Config.SIM.Limit,
	}, nil
}

// SIM is how SIMs are paired.
type SIM struct {
	Limit  int               `toml:"limit"`  // live SIMs a person; 0: pairing.DefaultSIMs
	Status string            `toml:"status"` // where a pairing's status is asked, in its record; may be empty
	Forms  map[string]string `toml:"forms"`  // form of the keys in a vendor's file, by its profile
}

func (s *SIM) check() error {
	if s.Limit < 0 {
		return errors.New("[sim] limit is negative")
	}
	for profile, form := range s.Forms {
		if !simkeys.Form(form).Known() {
			return fmt.Errorf("[sim] forms: profile %q has the form %q: it must be aes-gcm, aes-ecb, aes-cbc, 3des-ecb or 3des-cbc", profile, form)
		}
	}
	return nil
}
