package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"cardbureau/cardio/virtual/nvm"
	"cardbureau/cardio/virtual/rack"
	"cardbureau/cardio/virtual/usim"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/simoperator"
	"cardbureau/personalization/store"
)

type virtualSIMs struct {
	Count   int    `arg:"" help:"How many."`
	Network string `help:"Simulated operator: 43211 or 43235." default:"43211"`
	Blank   bool   `help:"Blanks that the operator has delegated, as sysmocom-sja2: cardbureau sim program writes them behind the usual ADM1, 88888888."`
	SJA5    bool   `help:"Blanks as sysmocom-sja5, which have TUAK." name:"sja5"`
}

func (virtualSIMs) Example() string {
	return "cardbureau virtual sims 3 --network 43235 --data /tmp/rehearsal"
}

// soldSIM is a software SIM in the rack, with the number that goes with it.
type soldSIM struct {
	SIM    string `json:"sim"` // ICCID: its name in the rack
	Number string `json:"number"`
	IMSI   string `json:"imsi,omitempty"` // of a blank: to be programmed

	network string
}

func (c virtualSIMs) Run(ctx context.Context, g *globals) error {
	if c.Count < 1 || c.Count > 1000 {
		return &exitError{exitUsage, "1 to 1000 SIMs are made at a time"}
	}
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger()})
	if err != nil {
		return err
	}
	defer b.Close()
	if err := needDevelopment(b.Config); err != nil {
		return err
	}
	company, err := simoperator.OpenCompany(b.SimulatedOperators(), c.Network)
	if err != nil {
		return err
	}
	if err := c.plan(ctx, b); err != nil {
		return err
	}
	for range c.Count {
		sim, number, err := company.Sell()
		if err != nil {
			return err
		}
		profile := usim.Profile{
			ICCID: sim.ICCID.Digits(), IMSI: sim.IMSI.Digits(), MSISDN: number.Digits(), SPN: "Rehearsal", ACC: 1, K: usim.Secret(sim.K), OPc: usim.Secret(sim.OPc), PIN1Disabled: true,
		}
		s := soldSIM{SIM: sim.ICCID.Digits(), Number: number.Digits()}
		if c.Blank || c.SJA5 {
			profile = usim.Profile{Kind: usim.DelegatedBlank, ICCID: sim.ICCID.Digits(), PIN1Disabled: true}
			if c.SJA5 {
				profile.Kind = usim.DelegatedSJA5
			}
			s.IMSI = sim.IMSI.Digits()
		}
		err = rack.NewCard(virtualFolder(b.Dir), rack.SIMs, sim.ICCID.Digits(), func(m *nvm.Memory) error { return usim.Manufacture(m, profile) })
		sim.K.Zero()
		sim.OPc.Zero()
		if err != nil {
			return err
		}
		if g.JSON {
			err = printJSON(s)
		} else {
			_, err = fmt.Printf("SIM %s, number %s %s\n", s.SIM, s.Number, s.IMSI)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// plan puts the simulated operators and their prefixes into force.
func (c virtualSIMs) plan(ctx context.Context, b *bureau.Bureau) error {
	companies, err := simoperator.Companies(b.SimulatedOperators())
	if err != nil {
		return err
	}
	var all []*simoperator.Company
	for _, company := range companies {
		all = append(all, company)
	}
	now := time.Now()
	plan, err := simoperator.CompaniesPlan(now.UnixMilli(), now, all...)
	if err != nil {
		return err
	}
	service, err := b.Pairing(nil)
	if err != nil {
		return err
	}
	actor, err := b.Actor(ctx, "program", "simulated operators", "cli")
	if err != nil {
		return err
	}
	_, err = service.TakePlan(ctx, plan, actor)
	if errors.Is(err, store.ErrStale) {
		return nil // another one founded it meanwhile
	}
	return err
}

type virtualOperator struct {
	Network string `arg:"" help:"Simulated operator: 43211 or 43235."`
	Refuse  string `help:"Refuse to put subscriptions into service, with this code; none: do so again." placeholder:"CODE"`
	Forget  string `help:"Forget the counter of a SIM, by its ICCID, as a centre does that was restored from an old copy: the SIM will want a resynchronization." placeholder:"ICCID"`
	Replay  string `help:"Give the last challenge of a SIM, by its ICCID, once more at the next pairing, as someone who recorded it would." placeholder:"ICCID"`
	Notice  string `help:"Print a signed notice about a pairing." placeholder:"PAIRING"`
	Event   string `help:"What the notice says: activated, refused, suspended, resumed, swap, swap-stopped, closed." enum:"activated,refused,suspended,resumed,swap,swap-stopped,closed" default:"suspended"`
}

func (virtualOperator) Example() string {
	return "cardbureau virtual operator 43211 --notice 0198c0de-7a11-7000-8000-000000000001 --event swap --data /tmp/rehearsal"
}

func (c virtualOperator) Run(ctx context.Context, g *globals) error {
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger(), NoStore: true, NoVault: true})
	if err != nil {
		return err
	}
	defer b.Close()
	if err := needDevelopment(b.Config); err != nil {
		return err
	}
	company, err := simoperator.OpenCompany(b.SimulatedOperators(), c.Network)
	if err != nil {
		return err
	}
	for digits, do := range map[string]func(pairing.ICCID) error{c.Forget: company.Forget, c.Replay: company.Replay} {
		if digits == "" {
			continue
		}
		iccid, err := pairing.ParseICCID(digits)
		if err != nil {
			return &exitError{exitUsage, err.Error()}
		}
		return do(iccid)
	}
	if c.Notice == "" {
		return company.Refuse(c.Refuse)
	}
	id, err := uuid.Parse(c.Notice)
	if err != nil {
		return &exitError{exitUsage, fmt.Sprintf("%q is no pairing", c.Notice)}
	}
	notice, err := company.Notice(id, c.Event)
	if err != nil {
		return err
	}
	_, err = fmt.Println(string(notice))
	return err
}
