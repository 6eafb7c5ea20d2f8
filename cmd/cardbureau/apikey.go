package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"cardbureau/api"
	"github.com/google/uuid"

	"cardbureau/personalization/bureau"
)

type apiKeyCommand struct {
	Revoke apiKeyRevoke `cmd:"" help:"End a key: it opens nothing any more."`
	Create apiKeyCreate `cmd:"" help:"Make a bearer key; it is printed once and kept as a digest only."`
}

type apiKeyRevoke struct {
	ID       string `arg:"" help:"Identifier of the key, as create --json printed it and the log names it."`
	Operator string `help:"Who revokes, for the audit." default:"${user}"`
}

func (apiKeyRevoke) Example() string {
	return "cardbureau api-key revoke 0198c0de-7a11-7000-8000-000000000001 --data /srv/bureau"
}

func (c apiKeyRevoke) Run(ctx context.Context, g *globals) error {
	id, err := uuid.Parse(c.ID)
	if err != nil {
		return &exitError{exitUsage, fmt.Sprintf("%q is no identifier of a key", c.ID)}
	}
	b, actor, err := openAs(ctx, g, c.Operator, "cli")
	if err != nil {
		return err
	}
	defer b.Close()
	if err := b.Store.RevokeAPIKey(ctx, id, actor); err != nil {
		return fmt.Errorf("API key %s: %w", id, err)
	}
	if g.JSON {
		return printJSON(map[string]string{"id": id.String(), "state": "revoked"})
	}
	fmt.Printf("API key %s is revoked\n", id)
	return nil
}

type apiKeyCreate struct {
	Name     string   `arg:"" help:"Who uses the key, as the audit names it."`
	Scope    []string `help:"What it may do: records, orders, metrics, bank:accounts, bank:verify, bank:status, bank:pan, operator:callbacks." default:"records,orders"`
	Operator string   `help:"Who makes the key, for the audit." default:"${user}"`
}

func (apiKeyCreate) Example() string {
	return "cardbureau api-key create registry-north --scope records --data /srv/bureau"
}

func (c apiKeyCreate) Run(ctx context.Context, g *globals) error {
	if strings.TrimSpace(c.Name) == "" {
		return &exitError{exitUsage, "the name of whoever uses the key is missing"}
	}
	for _, scope := range c.Scope {
		if !slices.Contains([]string{api.ScopeRecords, api.ScopeOrders, api.ScopeMetrics, api.ScopeBankAccounts, api.ScopeBankVerify, api.ScopeBankStatus, api.ScopeBankPAN, api.ScopeOperator}, scope) {
			return &exitError{exitUsage, fmt.Sprintf("--scope: there is no scope %q: take records, orders, metrics, bank:accounts, bank:verify, bank:status, bank:pan or operator:callbacks", scope)}
		}
	}
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger(), NoVault: true})
	if err != nil {
		return err
	}
	defer b.Close()
	actor, err := b.Actor(ctx, "operator", c.Operator, "cli")
	if err != nil {
		return err
	}
	key, secret, err := b.Store.CreateAPIKey(ctx, c.Name, c.Scope, actor)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(map[string]any{"id": key.ID.String(), "name": key.Name, "scopes": key.Scopes, "key": secret})
	}
	fmt.Fprintln(os.Stderr, "This key is shown once. Whoever has it can do what its scopes say.")
	fmt.Println(secret)
	return nil
}
