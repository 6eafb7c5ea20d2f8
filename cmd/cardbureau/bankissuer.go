package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"cardbureau/personalization/bureau"
	"cardbureau/personalization/vault"
)

type bankIssuer struct {
	File     string `arg:"" help:"JSON: rid, caIndex, caModulus, caExponent, certificate (90), remainder (92), exponent (9F32), expires; and ecc: rid, caIndex, caSuite, caKey, suite, certificate (90), expires; both with caExpires if known. Bytes in base64; either of both may be left out." type:"existingfile"`
	BIN      string `help:"Only payment schemes with this BIN; without it, every scheme under the authority." name:"bin"`
	Operator string `help:"Who takes it in, for the audit." default:"${user}"`
}

func (bankIssuer) Example() string {
	return "cardbureau bank issuer certificate.json --data /srv/bureau"
}

func (c bankIssuer) Run(ctx context.Context, g *globals) error {
	raw, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	var info vault.IssuerInfo
	if err := json.Unmarshal(raw, &info); err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger()})
	if err != nil {
		return err
	}
	defer b.Close()
	actor, err := b.Actor(ctx, "operator", c.Operator, "cli")
	if err != nil {
		return err
	}
	if err := b.SetIssuer(ctx, info, c.BIN, time.Now()); err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if info.Certificate != nil {
		if err := b.Store.Audit(ctx, actor, "issuer.certified", info.Expires, ""); err != nil {
			return err
		}
		fmt.Printf("The issuer's certificate holds until %s/%s; cards are made under it from now on.\n", info.Expires[:2], info.Expires[2:])
	}
	for _, e := range info.ECC {
		if err := b.Store.Audit(ctx, actor, "issuer.certified", e.Expires, ""); err != nil {
			return err
		}
		fmt.Printf("The issuer's certificate of an elliptic curve key holds until %s-%s-%s; cards with XDA are made under it from now on.\n", e.Expires[:4], e.Expires[4:6], e.Expires[6:])
	}
	return warnIssuer(b)
}

// warnIssuer says which cards would outlast the issuer's certificates.
func warnIssuer(b *bureau.Bureau) error {
	ends, err := b.IssuerEnds(time.Now())
	for _, sentence := range ends {
		fmt.Fprintln(os.Stderr, "cardbureau: warning:", sentence)
	}
	return err
}
