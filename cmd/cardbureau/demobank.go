package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// demoBank is what the bank has verified.
type demoBank struct{ bindings, arqcs int }

// accounts has the test bank open the accounts that half of the records did not
// bring.
func (d *demo) accounts(ctx context.Context, ready []byte, waiting, cards int) error {
	d.say("The records from the API brought no account: their orders wait for the bank, which now opens them.")
	if _, err := d.do(ctx, "bank", "pool", "fill", fmt.Sprint(cards)); err != nil {
		return err
	}
	deadline := time.Now().Add(time.Minute)
	for {
		out, err := d.quiet(ctx, "bank", "awaiting", "--json")
		if err != nil {
			return err
		}
		if bytes.Count(out, []byte("\n")) >= waiting {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("only %d orders wait for the bank", bytes.Count(out, []byte("\n")))
		}
		time.Sleep(100 * time.Millisecond)
	}
	message, err := d.do(ctx, "virtual", "accounts")
	if err != nil {
		return err
	}
	key, err := d.do(ctx, "api-key", "create", "demo bank", "--scope", "bank:accounts,bank:verify,bank:status")
	if err != nil {
		return err
	}
	d.key = strings.TrimSpace(string(key))
	var server struct{ URL string }
	if err := json.Unmarshal(ready, &server); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "$ curl %s/v1/bank/assignments --header 'Authorization: Bearer …' --header 'Content-Type: application/jose' --data-binary @accounts.jwe\n", server.URL)
	var answer struct {
		Answers []struct{ Status, Code string }
	}
	if err := d.ask(ctx, server.URL+"/v1/bank/assignments", bytes.TrimSpace(message), &answer); err != nil {
		return err
	}
	for _, a := range answer.Answers {
		if a.Status != "done" {
			return fmt.Errorf("the bureau refused an account: %s", a.Code)
		}
	}
	fmt.Fprintf(os.Stderr, "%d accounts assigned\n", len(answer.Answers))
	return nil
}

// quiet runs a command that is not shown.
func (d *demo) quiet(ctx context.Context, args ...string) ([]byte, error) {
	out, err := d.command(ctx, args...).Output()
	if err != nil {
		return out, fmt.Errorf("cardbureau %s: %w", strings.Join(args[:2], " "), err)
	}
	return out, nil
}

// ask posts a message of the bank.
func (d *demo) ask(ctx context.Context, url string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+d.key)
	req.Header.Set("Content-Type", "application/jose")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the API answered %s: %s", res.Status, text)
	}
	return json.Unmarshal(text, into)
}

// askBank is the bank's side: files, bindings offline, cryptograms through the API.
func (d *demo) askBank(ctx context.Context, ready []byte, issued *issueOutcome) (out demoBank, err error) {
	d.say("The bank's files: what was issued, and the reconciliation.")
	for _, args := range [][]string{
		{"bank", "files", "issue", "--out", filepath.Join(d.dir, "issued.csv")},
		{"bank", "reconcile", "--out", filepath.Join(d.dir, "reconciliation.csv")},
	} {
		text, err := d.do(ctx, args...)
		if err != nil {
			return out, err
		}
		os.Stderr.Write(text)
	}
	d.say("Three bindings are verified offline, three cryptograms through the API.")
	names, err := d.do(ctx, "bank", "bindings", "--out", filepath.Join(d.dir, "bindings"), "--limit", fmt.Sprint(samples))
	if err != nil {
		return out, err
	}
	args := append([]string{"bank", "verify", "--jwks", filepath.Join(d.dir, "bank-jwks.json")}, strings.Fields(string(names))...)
	text, err := d.do(ctx, args...)
	if err != nil {
		return out, err
	}
	os.Stderr.Write(text)
	out.bindings = bytes.Count(text, []byte(": valid,"))
	var server struct{ URL string }
	if err := json.Unmarshal(ready, &server); err != nil {
		return out, err
	}
	for _, card := range issued.Cards[:min(samples, len(issued.Cards))] {
		args := []string{"virtual", "pay", card, "--url", server.URL, "--json"}
		d.show(args)
		cmd := d.command(ctx, args...)
		cmd.Env = append(os.Environ(), "CARDBUREAU_API_KEY="+d.key)
		text, err := cmd.Output()
		if err != nil {
			return out, fmt.Errorf("cardbureau virtual pay: %w", err)
		}
		var p paid
		if err := json.Unmarshal(text, &p); err != nil {
			return out, err
		}
		fmt.Fprintf(os.Stderr, "card %s: cryptogram verified: %v, response code %s (not activated yet)\n", p.Card, p.Verified, p.ResponseCode)
		if p.Verified {
			out.arqcs++
		}
	}
	return out, nil
}
