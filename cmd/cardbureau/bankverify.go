package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/personalization/binding"
)

type bankBindings struct {
	Out   string `help:"Folder for the files." required:"" type:"path"`
	Limit int    `help:"How many." default:"1000"`
}

func (bankBindings) Example() string {
	return "cardbureau bank bindings --out bindings --data /srv/bureau"
}

func (c bankBindings) Run(ctx context.Context, g *globals) error {
	b, s, _, err := openBank(ctx, g, "bank")
	if err != nil {
		return err
	}
	defer b.Close()
	if err := os.MkdirAll(c.Out, 0o700); err != nil {
		return err
	}
	events, err := s.Events(ctx, 0, 1000)
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.Type != "issued" || c.Limit == 0 {
			continue
		}
		token, err := hex.DecodeString(e.PANToken)
		if err != nil {
			return err
		}
		card, err := b.Store.CardByPANToken(ctx, token, byte(e.Sequence))
		if err != nil {
			return err
		}
		name := filepath.Join(c.Out, e.Ref.String()+".cose")
		if err := os.WriteFile(name, card.Binding, 0o600); err != nil {
			return err
		}
		fmt.Println(name)
		c.Limit--
	}
	return nil
}

type bankVerify struct {
	JWKS  string   `help:"File with the bureau's public keys." required:"" type:"existingfile" name:"jwks"`
	Files []string `arg:"" optional:"" help:"Bindings as the card holds them (COSE)." type:"existingfile"`
	JWS   string   `help:"A binding as JWS." name:"jws"`
}

func (bankVerify) Example() string {
	return "cardbureau bank verify --jwks bank-jwks.json binding.cose"
}

// bankVerified is the answer about one binding.
type bankVerified struct {
	Name        string `json:"name"`
	Valid       bool   `json:"valid"`
	Reason      string `json:"reason,omitempty"`
	PANToken    string `json:"panToken,omitempty"`
	Last4       string `json:"last4,omitempty"`
	Sequence    int    `json:"panSequence,omitempty"`
	Rule        string `json:"rule,omitempty"`
	Until       string `json:"until,omitempty"`
	StatusIndex int64  `json:"statusIndex,omitempty"`
	Card        string `json:"card,omitempty"`
}

func (c bankVerify) Run(_ context.Context, g *globals) error {
	if (len(c.Files) == 0) == (c.JWS == "") {
		return &exitError{exitUsage, "give binding files, or one binding with --jws"}
	}
	raw, err := os.ReadFile(c.JWKS)
	if err != nil {
		return err
	}
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(raw, &keys); err != nil || len(keys.Keys) == 0 {
		return &exitError{exitUsage, fmt.Sprintf("%s is no set of public keys (JWKS)", c.JWKS)}
	}
	var list []bankVerified
	note := func(name string, p *binding.Payload, err error) {
		v := bankVerified{Name: name, Valid: err == nil}
		if err != nil {
			v.Reason = err.Error()
		} else {
			v.PANToken, v.Last4, v.Sequence, v.Rule, v.Until = hex.EncodeToString(p.PANToken), p.Last4, p.Sequence, p.Rule, p.Until
			v.StatusIndex, v.Card = p.StatusIndex, hex.EncodeToString(p.Card)
		}
		list = append(list, v)
	}
	if c.JWS != "" {
		p, err := binding.VerifyJWS(strings.TrimSpace(c.JWS), keys)
		note("jws", p, err)
	}
	for _, name := range c.Files {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		p, err := binding.VerifyCOSE(b, keys)
		note(filepath.Base(name), p, err)
	}
	bad := 0
	for _, v := range list {
		if !v.Valid {
			bad++
		}
		switch {
		case g.JSON:
			if err := printJSON(v); err != nil {
				return err
			}
		case v.Valid:
			fmt.Printf("%s: valid, account ending in %s (sequence number %d), rule %s, card until %s, status index %d\n", v.Name, v.Last4, v.Sequence, v.Rule, v.Until, v.StatusIndex)
		default:
			fmt.Printf("%s: NOT VALID: %s\n", v.Name, v.Reason)
		}
	}
	if bad > 0 {
		return &exitError{exitFailed, fmt.Sprintf("%d of %d bindings are not valid", bad, len(list))}
	}
	return nil
}

// batchID reads a batch's identifier.
