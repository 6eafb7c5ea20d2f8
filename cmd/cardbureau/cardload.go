package main

import (
	"context"
	"crypto"
	"fmt"
	"os"
	"strings"

	"cardbureau/cardio/gp"
	"cardbureau/cardio/gp/cap"
	"cardbureau/cardio/gp/content"
	"cardbureau/personalization/manage"
)

// dapFlag is a DAP block that its authority made: AID=SIGNATURE.
type dapFlag cap.DAP

// UnmarshalText reads the AID of the security domain and the signature.
func (d *dapFlag) UnmarshalText(text []byte) error {
	aid, signature, ok := strings.Cut(string(text), "=")
	var domain aidFlag
	var value hexFlag
	if !ok || domain.UnmarshalText([]byte(aid)) != nil || value.UnmarshalText([]byte(signature)) != nil || len(value) == 0 {
		return fmt.Errorf("%q is no DAP block: the security domain's AID, =, and the signature in hexadecimal", text)
	}
	d.Domain, d.Signature = domain, value
	return nil
}

type contentLoad struct {
	File       string    `arg:"" help:"CAP file, or its components one after another (IJC)." type:"existingfile"`
	Hash       string    `help:"Hash in INSTALL [for load]: none, sha1, sha256, sha384, sha512." enum:"none,sha1,sha256,sha384,sha512" default:"none"`
	Expect     []hexFlag `help:"Load only a load file data block with this hash, SHA-1 to SHA-512; may be repeated." placeholder:"HEX"`
	SD         aidFlag   `name:"sd" help:"Security domain that it goes to; without it the issuer's." placeholder:"AID"`
	Token      hexFlag   `help:"Load token, where the card wants one." placeholder:"HEX"`
	DAP        []dapFlag `name:"dap" help:"DAP block of a security domain; may be repeated." placeholder:"AID=HEX"`
	Descriptor bool      `help:"Also load the Descriptor component."`
	Custom     bool      `help:"Also load custom components."`
	Extended   bool      `help:"The card takes the extended CAP format."`
	Memory     uint32    `help:"Bytes of non-volatile memory to ask for, tag C6; 0 asks for none." placeholder:"N"`
	contentChange
}

func (contentLoad) Example() string {
	return `cardbureau card content load passport.cap --hash sha256 --data /srv/bureau`
}

var hashNames = map[string]crypto.Hash{"none": 0, "sha1": crypto.SHA1, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}

func (c contentLoad) Run(ctx context.Context, g *globals) error {
	f, err := readCAP(c.File)
	if err != nil {
		return err
	}
	o := content.LoadOptions{
		Domain: c.SD, Hash: hashNames[c.Hash], Token: c.Token, Extended: c.Extended,
		Block: cap.BlockOptions{Descriptor: c.Descriptor, Custom: c.Custom}, Parameters: gp.LoadParameters{Code: gp.Quota(c.Memory)},
	}
	if o.Hash == 0 && (len(c.Token) > 0 || len(c.DAP) > 0) {
		return &exitError{exitUsage, "a token or a DAP block is over a hash: say which one with --hash"}
	}
	for _, h := range c.Expect {
		o.Allowed = append(o.Allowed, h)
	}
	for _, d := range c.DAP {
		o.DAPs = append(o.DAPs, cap.DAP(d))
	}
	if !g.JSON {
		describeCAP(c.File, f)
	}
	return c.change(ctx, g, func(card *manage.Card, inv *content.Inventory) (*content.Plan, error) {
		o.MaxData = card.MaxData
		if err := content.CheckHash(f, o.Block, card.AllowedHashes(f.Package.AID)); err != nil {
			return nil, fmt.Errorf("the applet profiles allow other files of this package: %w", err)
		}
		return inv.PlanLoad(f, o)
	})
}

// describeCAP says what is in a file before it is loaded.
func describeCAP(name string, f *cap.File) {
	line := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	text := fmt.Sprintf("%s: package %s version %v, CAP format %v", name, content.AID(f.Package.AID), f.Package.Version, f.Format)
	if f.Name != "" {
		text += ", " + strings.ReplaceAll(f.Name, "/", ".")
	}
	if v := f.JavaCard(); v != "" {
		text += ", for Java Card " + v
	}
	line("%s", text)
	for _, a := range f.Applets {
		line("  applet %s", content.AID(a))
	}
	for _, p := range f.Imports {
		who := cap.PackageName(p.AID)
		if who == "" {
			who = content.AID(p.AID)
		}
		line("  needs %s version %v", who, p.Version)
	}
}
