package main

import (
	"context"
	"fmt"

	"cardbureau/personalization/bureau"
)

type initCommand struct {
	DatabaseURL  string   `help:"PostgreSQL server to use; without it a private cluster is made in the data folder." name:"database-url" placeholder:"URL"`
	PKCS11Module string   `help:"PKCS#11 module that holds the keys; without it a SoftHSM token is made in the data folder." name:"pkcs11-module" type:"path" placeholder:"FILE"`
	Token        string   `help:"Label of the token; cardbureau when empty."`
	PINFile      string   `help:"File with the token's PIN (mode 0600)." name:"pin-file" type:"path"`
	Audience     string   `help:"Name of this bureau in records; bureau-1 when empty."`
	State        string   `help:"Issuing state, three letters (UTO in development, IRN in production)."`
	Country      string   `help:"Two-letter country code in certificates; UT for UTO and IR for IRN when empty."`
	Organization string   `help:"Organization in certificates."`
	Contact      string   `help:"Whom to ask about certificates: e-mail address or URI. Needed in production."`
	CRL          []string `help:"Where the CSCA's revocation list is published (URI, repeatable). Needed in production." name:"crl"`
	Custodian    []string `help:"Public key of a custodian of the trust file (JWK file, repeatable). Two are needed in production." type:"existingfile"`
	Product      string   `help:"Product profile that records become until the configuration says otherwise; identity when empty."`
	Production   bool     `help:"Production: no test keys, no software cards, encrypted records only."`
}

func (initCommand) Example() string { return "cardbureau init --data /srv/bureau" }

func (c initCommand) Run(ctx context.Context, g *globals) error {
	made, err := bureau.Create(ctx, g.Data, bureau.CreateRequest{
		Production: c.Production, Audience: c.Audience, State: c.State, DatabaseURL: c.DatabaseURL,
		Module: c.PKCS11Module, Token: c.Token, PINFile: c.PINFile,
		Custodians: c.Custodian, Product: c.Product,
		Certificates: bureau.Certificates{Country: c.Country, Organization: c.Organization, Contact: c.Contact, CRLs: c.CRL},
	}, bureau.Options{Log: logger()})
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(made)
	}
	if made.Existed {
		fmt.Printf("%s was there already; what was missing is made\n", made.Dir)
	}
	fmt.Printf("Configuration  %s (%s)\nCSCA           %s\nSigner         %s\nIntake key     %s\nTrust file     %s\n",
		made.Config, made.Environment, made.CSCA, made.Signer, made.IntakeKey, made.Trust)
	if made.Environment == "development" {
		fmt.Println("The keys are development keys: cards made with them are samples.")
	}
	return nil
}
