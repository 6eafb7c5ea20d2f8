package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"

	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/personalization/pairing/simoperator"
	"cardbureau/personalization/profile"
)

// How many cards the demo hands over, and how many of them it pairs.
const (
	handedOver = 8
	pairedSIMs = 6
)

// demoDesk is what the demo's desk did.
type demoDesk struct{ activated, paired int }

// pairable reports whether a product's cards sign for their holders.
func pairable(set *profile.Set, p *profile.Product) bool { return set.Writes(p, "secret.pairing-key") }

// serveHolders is an office's day: cards are received, handed over, and paired with SIMs
// of both operators.
func (d *demo) serveHolders(ctx context.Context, cards []string, pairs bool) (out demoDesk, err error) {
	cards = cards[:min(handedOver, len(cards))]
	d.say("An office receives %d cards and hands them over; each holder sets a PIN.", len(cards))
	text, err := d.do(ctx, append([]string{"desk", "receive", "--office", "demo-office", "--moved"}, cards...)...)
	if err != nil {
		return out, err
	}
	fmt.Fprintf(os.Stderr, "%d cards received\n", bytes.Count(text, []byte(": received")))
	r, err := pcscd.ReadReaders(filepath.Join(d.dir, "run"))
	if err != nil {
		return out, err
	}
	var sims []soldSIM
	pins := map[string]string{}
	for _, card := range cards {
		if pins[card], err = demoPIN(); err != nil {
			return out, err
		}
		if _, err := d.quiet(ctx, "virtual", "put", card); err != nil {
			return out, err
		}
		var a deskAnswer
		err := d.desk(ctx, &a, pins[card]+"\n", "desk", "activate", card, "--reader", r.Readers[0].Name, "--photo", "--document", "passport", "--guardian", "passport", "--pin", "-", "--json")
		if err != nil {
			return out, err
		}
		if a.Result == "active" {
			out.activated++
		}
	}
	if !pairs || len(r.Readers) < 2 {
		return out, nil
	}
	d.say("%d of them are paired with SIMs of both operators: both chips answer in one session.", min(pairedSIMs, len(cards)))
	networks := []string{simoperator.MCI, simoperator.Irancell}
	for _, network := range networks {
		text, err := d.do(ctx, "virtual", "sims", fmt.Sprint(pairedSIMs/len(networks)-1), "--network", network, "--json")
		if err != nil {
			return out, err
		}
		blank, err := d.do(ctx, "virtual", "sims", "1", "--network", network, "--blank", "--json")
		if err != nil {
			return out, err
		}
		for _, line := range bytes.Split(bytes.TrimSpace(append(text, blank...)), []byte("\n")) {
			var s soldSIM
			if err := json.Unmarshal(line, &s); err != nil {
				return out, err
			}
			s.network = network
			sims = append(sims, s)
		}
	}
	for i, s := range sims[:min(len(sims), len(cards))] {
		card := cards[i]
		for slot, name := range []string{card, s.SIM} {
			if _, err := d.quiet(ctx, "virtual", "put", name, "--slot", fmt.Sprint(slot+1)); err != nil {
				return out, err
			}
		}
		args := []string{
			"desk", "pair", card, "--network", s.network, "--reader", r.Readers[0].Name, "--sim-reader", r.Readers[1].Name,
			"--photo", "--document", "passport", "--guardian", "passport", "--pin", "-", "--json",
		}
		if s.IMSI != "" { // a delegated blank: programmed first, and the bureau is its centre
			var done struct{ Written int }
			err := d.desk(ctx, &done, s.IMSI+"\n88888888\n", "sim", "program", s.SIM, "--kind", "sysmocom-sja2", "--reader", r.Readers[1].Name, "--json")
			if err != nil {
				return out, err
			}
			args = append(args, "--own")
		}
		var p paired
		if err := d.desk(ctx, &p, pins[card]+"\n"+s.Number+"\n", args...); err != nil {
			return out, err
		}
		if p.State == "active" && p.OnCard && p.Receipt != nil {
			out.paired++
		}
	}
	for slot := range 2 {
		if _, err := d.quiet(ctx, "virtual", "put", "--slot", fmt.Sprint(slot+1)); err != nil {
			return out, err
		}
	}
	return out, nil
}

// desk runs a command of the desk with what a holder types.
func (d *demo) desk(ctx context.Context, into any, typed string, args ...string) error {
	d.show(args)
	cmd := d.command(ctx, args...)
	cmd.Stdin = strings.NewReader(typed)
	text, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("cardbureau %s %s: %w", args[0], args[1], err)
	}
	return json.Unmarshal(text, into)
}

// demoPIN draws a PIN that the desk takes: no run of digits, no date.
func demoPIN() (string, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(100))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("97%02d86", n), nil
}
