package main

import (
	"context"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	"cardbureau/cardio/emv/ecsdsa"
	"cardbureau/personalization/bureau"
)

type hsmCommand struct {
	Keys   hsmKeys   `cmd:"" help:"List the keys: role, version, check value, extractable or not."`
	Export hsmExport `cmd:"" help:"Print a certificate or public key."`
	Import hsmImport `cmd:"" help:"Bring a key in by its components, each typed by another custodian."`
	Block  hsmBlock  `cmd:"" help:"Bring a key in as a TR-31 key block of the bank, or make one for it."`
	Agent  hsmAgent  `cmd:"" hidden:"" help:"The process that holds the PKCS#11 module; other commands start it."`
}

// hsmAgent is only listed here: main hands "hsm agent" to the vault before
// anything else is parsed.
type hsmAgent struct{}

func (hsmAgent) Run() error { return nil }

type hsmKeys struct{}

func (hsmKeys) Example() string { return "cardbureau hsm keys --data /srv/bureau" }

func (hsmKeys) Run(ctx context.Context, g *globals) error {
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger(), NoStore: true})
	if err != nil {
		return err
	}
	defer b.Close()
	keys, err := b.Vault.Keys(ctx)
	if err != nil {
		return err
	}
	if g.JSON {
		for _, k := range keys {
			if err := printJSON(k); err != nil {
				return err
			}
		}
		return nil
	}
	fmt.Printf("%-22s %-8s %-9s %-7s %-16s %s\n", "ROLE", "VERSION", "TYPE", "KCV", "EXTRACTABLE", "")
	for _, k := range keys {
		extractable, mark := "no", ""
		if k.Extractable {
			extractable = "yes"
		}
		if k.NeverExtractable {
			extractable = "never"
		}
		if k.Development {
			mark = "development key"
		}
		fmt.Printf("%-22s %-8s %-9s %-7s %-16s %s\n", k.Role, k.Version, k.Type, k.KCV, extractable, mark)
	}
	return nil
}

type hsmExport struct {
	What string `arg:"" help:"csca, csca-crl, document-signer, intake-key, emv-issuer (the issuer's RSA key, for the scheme's authority), emv-issuer-p256 or emv-issuer-p521 (its key of an elliptic curve)." enum:"csca,csca-crl,document-signer,intake-key,emv-issuer,emv-issuer-p256,emv-issuer-p521"`
	DER  bool   `help:"Certificates in DER instead of PEM." name:"der"`
}

func (hsmExport) Example() string {
	return "cardbureau hsm export csca --data /srv/bureau > csca.pem"
}

func (c hsmExport) Run(ctx context.Context, g *globals) error {
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger(), NoStore: true, NoVault: !strings.HasPrefix(c.What, "emv-issuer")})
	if err != nil {
		return err
	}
	defer b.Close()
	if c.What == "emv-issuer" {
		modulus, exponent, err := b.Vault.IssuerKey(ctx)
		if err != nil {
			return err
		}
		return printJSON(map[string]string{"modulus": fmt.Sprintf("%X", modulus), "exponent": fmt.Sprintf("%X", exponent)})
	}
	if suite, ok := map[string]ecsdsa.Suite{"emv-issuer-p256": ecsdsa.SuiteP256, "emv-issuer-p521": ecsdsa.SuiteP521}[c.What]; ok {
		key, err := b.Vault.IssuerECC(ctx, suite)
		if err != nil {
			return err
		}
		return printJSON(map[string]string{"suite": fmt.Sprintf("%02X", byte(key.Suite)), "x": fmt.Sprintf("%X", key.X)})
	}
	if c.What == "intake-key" {
		jwk, err := b.IntakeKey()
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(jwk)
		return err
	}
	der, err := b.Certificate(c.What)
	if err != nil {
		return err
	}
	if c.DER {
		_, err = os.Stdout.Write(der)
		return err
	}
	kind := "CERTIFICATE"
	if c.What == "csca-crl" {
		kind = "X509 CRL"
	}
	return pem.Encode(os.Stdout, &pem.Block{Type: kind, Bytes: der})
}
