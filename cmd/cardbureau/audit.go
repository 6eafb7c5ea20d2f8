package main

import (
	"context"
	"encoding/hex"
	"fmt"

	"cardbureau/personalization/bureau"
)

type auditCommand struct {
	Verify auditVerify `cmd:"" help:"Recompute the chain of audit rows."`
}

type auditVerify struct{}

func (auditVerify) Example() string { return "cardbureau audit verify --data /srv/bureau" }

func (auditVerify) Run(ctx context.Context, g *globals) error {
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger(), NoVault: true})
	if err != nil {
		return err
	}
	defer b.Close()
	r, err := b.Store.AuditVerify(ctx)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(map[string]any{"rows": r.Rows, "head": hex.EncodeToString(r.Head)})
	}
	fmt.Printf("%d audit rows, the chain holds; head %s\n", r.Rows, hex.EncodeToString(r.Head))
	return nil
}
