package main

import (
	"context"
	"fmt"

	"cardbureau/personalization/bureau"
	"cardbureau/personalization/store"
)

type lotCommand struct {
	Release lotRelease `cmd:"" help:"Release orders, so that the line may make their cards."`
}

type lotRelease struct {
	Name     string `arg:"" help:"Name of the lot, as it stands on its manifest."`
	Office   string `help:"Only orders for this office (AB-1234)."`
	Phase    string `help:"Only orders of this phase (permit kind)."`
	Operator string `help:"Who releases, for the audit." default:"${user}"`
}

func (lotRelease) Example() string {
	return `cardbureau lot release "amayesh week 12" --phase amayesh --data /srv/bureau`
}

func (c lotRelease) Run(ctx context.Context, g *globals) error {
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger(), NoVault: true})
	if err != nil {
		return err
	}
	defer b.Close()
	actor, err := b.Actor(ctx, "operator", c.Operator, "cli")
	if err != nil {
		return err
	}
	lot, err := b.Store.ReleaseLot(ctx, store.LotRequest{Name: c.Name, Office: c.Office, Phase: c.Phase, Actor: actor})
	if err != nil {
		return err
	}
	if err := warnIssuer(b); err != nil {
		return err
	}
	if g.JSON {
		return printJSON(map[string]any{"lot": lot.ID.String(), "name": lot.Name, "orders": lot.Orders, "ready": lot.Ready})
	}
	fmt.Printf("Lot %q: %d orders released, %d of them ready for the line\n", lot.Name, lot.Orders, lot.Ready)
	return nil
}
