package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"cardbureau/personalization/bureau"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

type hsmImport struct {
	Role       string   `arg:"" help:"Role: kek.bank, kek.bank-des, imk.ac, imk.smi, imk.smc, imk.dn (with -aes for AES), cvk, pvk, zpk, or cmk.<vendor>."`
	Version    string   `help:"Version of the key." default:"1"`
	Custodians []string `help:"Who brings a component, in their order; two or more people." name:"custodian" required:"" placeholder:"NAME"`
	Components []string `help:"File with a component and its check value, hexadecimal, in the custodians' order; without it, each types theirs." name:"component" type:"existingfile" placeholder:"FILE"`
	KCV        string   `help:"Check value of the whole key, hexadecimal." name:"kcv" required:""`
}

func (hsmImport) Example() string {
	return "cardbureau hsm import kek.bank --custodian amini --custodian rahmani --kcv 1A2B3C --data /srv/bureau"
}

func (c hsmImport) Run(ctx context.Context, g *globals) error {
	if len(c.Custodians) < 2 || !different(c.Custodians) {
		return &exitError{exitUsage, "a key comes in by two components or more, each brought by another person: name them with --custodian"}
	}
	if len(c.Components) != 0 && len(c.Components) != len(c.Custodians) {
		return &exitError{exitUsage, fmt.Sprintf("%d custodians bring %d components: each brings one", len(c.Custodians), len(c.Components))}
	}
	whole, err := unhexed("--kcv", c.KCV)
	if err != nil {
		return err
	}
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger()})
	if err != nil {
		return err
	}
	defer b.Close()
	people, err := actors(ctx, b, c.Custodians)
	if err != nil {
		return err
	}
	req := vault.ImportRequest{Role: c.Role, Version: c.Version, KCV: whole, Development: b.Config.Development()}
	defer func() {
		for _, s := range req.Components {
			s.Zero()
		}
	}()
	for i, name := range c.Custodians {
		component, kcv, err := c.component(i, name)
		if err != nil {
			return err
		}
		req.Components, req.ComponentKCVs = append(req.Components, component), append(req.ComponentKCVs, kcv)
	}
	key, err := b.Vault.ImportComponents(ctx, req)
	if err != nil {
		return fmt.Errorf("key %s/%s did not come in: %w", c.Role, c.Version, err)
	}
	return told(ctx, g, b, key, "key.imported", people)
}

// component reads one custodian's part, from a file or from the keyboard.
func (c hsmImport) component(i int, name string) (vault.Secret, []byte, error) {
	var text []byte
	if len(c.Components) > 0 {
		var err error
		if text, err = os.ReadFile(c.Components[i]); err != nil {
			return nil, nil, err
		}
	} else {
		fd := int(os.Stdin.Fd())
		if !term.IsTerminal(fd) {
			return nil, nil, &exitError{exitUsage, "components are typed on a terminal, or come in files named with --component"}
		}
		fmt.Fprintf(os.Stderr, "%s: component %d, hexadecimal, a space, its check value: ", name, i+1)
		var err error
		text, err = term.ReadPassword(fd)
		fmt.Fprintln(os.Stderr)
		if err != nil {
			return nil, nil, err
		}
	}
	defer clear(text)
	return parseComponent(fmt.Sprintf("component %d", i+1), text)
}

// parseComponent reads a component, in groups of digits, and its check value. No part
// of a component becomes a string, which nobody could overwrite.
func parseComponent(what string, text []byte) (vault.Secret, []byte, error) {
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return nil, nil, &exitError{exitUsage, what + ": a component and its check value are needed"}
	}
	last := len(fields) - 1
	kcv, err := unhexed(what+"'s check value", string(fields[last]))
	if err != nil {
		return nil, nil, err
	}
	digits := bytes.Join(fields[:last], nil)
	defer clear(digits)
	component := make(vault.Secret, hex.DecodedLen(len(digits)))
	if _, err := hex.Decode(component, digits); err != nil {
		component.Zero()
		return nil, nil, notHex(what)
	}
	return component, kcv, nil
}

func notHex(what string) error {
	return &exitError{exitUsage, what + " is not in hexadecimal digits, two a byte"}
}

// unhexed reads hexadecimal digits; an error repeats none of them.
func unhexed(what, text string) ([]byte, error) {
	b, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(b) == 0 {
		return nil, notHex(what)
	}
	return b, nil
}

func different(names []string) bool {
	seen := map[string]bool{}
	for _, n := range names {
		n = strings.ToLower(strings.Join(strings.Fields(n), " "))
		if n == "" || seen[n] {
			return false
		}
		seen[n] = true
	}
	return true
}

func actors(ctx context.Context, b *bureau.Bureau, names []string) (out []store.Actor, err error) {
	for _, n := range names {
		a, err := b.Actor(ctx, "operator", n, "cli")
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// told prints what became of a key and writes it into the audit, once for each person.
// It prints first: the bank's copy of a key that was made exists nowhere else.
func told(ctx context.Context, g *globals, b *bureau.Bureau, key vault.ImportedKey, action string, people []store.Actor) error {
	kcv := fmt.Sprintf("%X", key.KCV)
	if err := printKey(g, key, kcv); err != nil {
		return err
	}
	for _, a := range people {
		if err := b.Store.Audit(ctx, a, action, key.Label, "kcv-"+strings.ToLower(kcv)); err != nil {
			return fmt.Errorf("key %s is in the token (check value %s), but the audit has no row of it: %w", key.Label, kcv, err)
		}
	}
	return nil
}

func printKey(g *globals, key vault.ImportedKey, kcv string) error {
	cmac, version := "", ""
	if len(key.CMAC) > 0 {
		cmac = fmt.Sprintf("%X", key.CMAC)
	}
	if key.BankVersion != "00" {
		version = key.BankVersion
	}
	if g.JSON {
		return printJSON(map[string]string{"key": key.Label, "kcv": kcv, "cmac": cmac, "bankVersion": version, "block": key.Block})
	}
	values := "check value " + kcv
	if cmac != "" {
		values += ", by CMAC " + cmac
	}
	if version != "" {
		values += "; the bank's version " + version
	}
	if key.Block != "" {
		if _, err := fmt.Println(key.Block); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "Key %s, %s: the block above is the bank's copy.\n", key.Label, values)
		return nil
	}
	_, err := fmt.Printf("Key %s is in the token, %s\n", key.Label, values)
	return err
}

type hsmBlock struct {
	Role       string   `arg:"" help:"Role of the key in the block; see hsm import."`
	File       string   `arg:"" optional:"" help:"The bank's TR-31 key block; - for standard input." default:"-"`
	Version    string   `help:"Version of the key." default:"1"`
	KEK        string   `help:"Key that protects the block: kek.bank/1, kek.bank-des/1." name:"kek" required:""`
	KCV        string   `help:"Check value that the bank has told, hexadecimal." name:"kcv"`
	Make       bool     `help:"Make the key here, and print the bank's copy as a block."`
	Custodians []string `help:"Who does it; two people." name:"custodian" required:"" placeholder:"NAME"`
}

func (hsmBlock) Example() string {
	return "cardbureau hsm block imk.ac block.txt --kek kek.bank/1 --kcv 1A2B3C --custodian amini --custodian rahmani --data /srv/bureau"
}

func (c hsmBlock) Run(ctx context.Context, g *globals) error {
	if len(c.Custodians) != 2 || !different(c.Custodians) {
		return &exitError{exitUsage, "a key comes in, or is made, before two people: name them with --custodian"}
	}
	req := vault.BlockRequest{Role: c.Role, Version: c.Version, KEK: c.KEK}
	var err error
	if c.Make && (c.KCV != "" || c.File != "-") {
		return &exitError{exitUsage, "a key that is made here has no block of the bank and no check value yet: leave out the file and --kcv, or --make"}
	}
	if c.KCV != "" {
		if req.KCV, err = unhexed("--kcv", c.KCV); err != nil {
			return err
		}
	}
	if !c.Make {
		if req.Block, err = c.read(); err != nil {
			return err
		}
	}
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger()})
	if err != nil {
		return err
	}
	defer b.Close()
	people, err := actors(ctx, b, c.Custodians)
	if err != nil {
		return err
	}
	req.Development = b.Config.Development()
	key, err := b.Vault.KeyBlock(ctx, req)
	if err != nil {
		return fmt.Errorf("key %s/%s: %w", c.Role, c.Version, err)
	}
	action := "key.imported"
	if c.Make {
		action = "key.made-for-bank"
	}
	return told(ctx, g, b, key, action, people)
}

// maxBlockFile is more than any key block has.
const maxBlockFile = 64 << 10

func (c hsmBlock) read() (string, error) {
	in := io.Reader(os.Stdin)
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxBlockFile))
	if err != nil {
		return "", err
	}
	block := strings.TrimSpace(string(text))
	if block == "" || slices.Contains([]byte(block), '\n') {
		return "", &exitError{exitUsage, "a file with one key block is needed, on one line"}
	}
	return block, nil
}
