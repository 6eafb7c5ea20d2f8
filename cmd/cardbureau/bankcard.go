package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

type bankPANs struct {
	Day      string `help:"The bank's business day, YYYY-MM-DD; empty: today." placeholder:"DAY"`
	Out      string `help:"The file; it must not be there yet." required:"" type:"path"`
	Operator string `help:"Who writes it, for the audit." default:"${user}"`
}

func (bankPANs) Example() string {
	return "cardbureau bank files pans --day 2026-11-25 --out pans.jwe --data /srv/bureau"
}

func (c bankPANs) Run(ctx context.Context, g *globals) error {
	day, err := fileOptions{Day: c.Day}.day()
	if err != nil {
		return err
	}
	b, s, actor, err := openBank(ctx, g, c.Operator)
	if err != nil {
		return err
	}
	defer b.Close()
	var sequence, cards int
	err = create(c.Out, func(w *bytes.Buffer) error {
		var text string
		if text, sequence, cards, err = s.PANs(ctx, dayOr(day, s), actor); err == nil {
			w.WriteString(text)
		}
		return err
	})
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(map[string]any{"file": c.Out, "sequence": sequence, "cards": cards})
	}
	fmt.Printf("%s: list number %d, %d PANs, enciphered to the bank's key\n", c.Out, sequence, cards)
	return nil
}

type bankCard struct {
	Token    string `arg:"" help:"PAN token, 32 hexadecimal digits."`
	Sequence byte   `arg:"" optional:"" help:"PAN sequence number." default:"1"`
	Operator string `help:"Who asks, for the audit; [bank] pan-viewers says who sees first six and last four digits." default:"${user}"`
}

func (bankCard) Example() string {
	return "cardbureau bank card 0f3a6c… 1 --operator amini --data /srv/bureau"
}

func (c bankCard) Run(ctx context.Context, g *globals) error {
	token, err := hex.DecodeString(c.Token)
	if err != nil || len(token) != 16 {
		return &exitError{exitUsage, "a PAN token has 32 hexadecimal digits: the issuing result and events name it"}
	}
	b, s, actor, err := openBank(ctx, g, c.Operator)
	if err != nil {
		return err
	}
	defer b.Close()
	v, err := s.Status(ctx, token, c.Sequence)
	if err != nil {
		return fmt.Errorf("PAN token %s: %w", c.Token, err)
	}
	if slices.ContainsFunc(b.Config.Bank.PANViewers, func(n string) bool { return strings.EqualFold(strings.TrimSpace(n), strings.TrimSpace(c.Operator)) }) {
		if v.PAN, err = s.Masked(ctx, token, c.Sequence); err != nil {
			return err
		}
		if err := b.Store.Audit(ctx, actor, "pan.shown", c.Token, "first-six-last-four"); err != nil {
			return err
		}
	}
	if g.JSON {
		return printJSON(v)
	}
	pan := v.PAN
	if pan == "" {
		pan = "…" + v.Last4
	}
	fmt.Printf("%s  sequence %d  %s  until %s  status index %d\n", pan, c.Sequence, v.State, v.Expires, v.StatusIndex)
	return nil
}
