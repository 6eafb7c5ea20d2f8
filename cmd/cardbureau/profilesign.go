package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/personalization/bureau"
	"cardbureau/personalization/custody"
	"cardbureau/personalization/profile"
)

type profileSign struct {
	Key string `required:"" help:"The custodian's private key (JWK file with alg). It is read and kept nowhere." type:"path"`
}

func (profileSign) Example() string {
	return "cardbureau profile sign --key custodian-1.jwk --data /srv/cardbureau"
}

func (profileSign) Help() string {
	return `Signs the list of all profiles in use, shipped ones too, each with its SHA-256 digest.
In production nothing is made until two custodians have signed, and after any change of a profile they sign again.`
}

func (c profileSign) Run(g *globals) error {
	cfg, err := bureau.LoadConfig(g.Data)
	if err != nil {
		return err
	}
	set, err := loadProfiles(g)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(c.Key)
	if err != nil {
		return err
	}
	defer clear(text)
	var key jose.JSONWebKey
	if err := json.Unmarshal(text, &key); err != nil {
		return fmt.Errorf("%s is no key as JWK", c.Key)
	}
	payload, err := set.Manifest()
	if err != nil {
		return err
	}
	name := cfg.Profiles.Signature
	if !filepath.IsAbs(name) {
		name = filepath.Join(g.Data, name)
	}
	before, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	signed, err := custody.Sign(before, payload, key)
	if err != nil {
		return err
	}
	if err := replaceFile(name, append(signed, '\n')); err != nil {
		return err
	}
	custodians, err := bureau.Custodians(g.Data, cfg)
	if err != nil {
		return err
	}
	by := custody.Signers(signed, custodians)
	if g.JSON {
		return printJSON(map[string]any{"profiles": len(set.Digests), "custodians": by, "file": name})
	}
	for _, file := range slices.Sorted(maps.Keys(set.Digests)) {
		digest := set.Digests[file]
		fmt.Printf("%X  %s\n", digest[:8], file)
	}
	fmt.Printf("%d files signed; %s carries signatures of %s\n", len(set.Digests), name, counted(by, "custodian"))
	if n := custody.Needed - by; n > 0 {
		fmt.Printf("production needs those of %d more\n", n)
	}
	return nil
}

// replaceFile writes a file whole or not at all.
func replaceFile(name string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

type profileSchema struct{}

func (profileSchema) Example() string { return "cardbureau profile schema > profile.schema.json" }

func (profileSchema) Run(*globals) error {
	b, err := profile.Schema()
	if err == nil {
		_, err = fmt.Println(string(b))
	}
	return err
}
