package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	profiles "cardbureau/firmware-profiles"
	"cardbureau/personalization/intake"
	"cardbureau/personalization/profile"
)

type demoCommand struct {
	Dir     string `help:"Data folder of the demo; one that a demo made before is replaced." default:"${demo}" type:"path"`
	Records int    `help:"How many records." default:"24"`
	Readers int    `help:"How many virtual readers." default:"2"`
	Seed    uint64 `help:"Seed of the invented people." default:"1"`
	Product string `help:"Product profile that is made: see cardbureau profile list." default:"identity-bank"`
}

func (demoCommand) Example() string { return "cardbureau demo" }

// demoSummary is the demo's last line.
type demoSummary struct {
	Records     int `json:"records"`
	Refused     int `json:"refused"`
	Issued      int `json:"issued"`
	Proven      int `json:"proven"`
	Spoiled     int `json:"spoiled"`
	Quarantined int `json:"quarantined"`
	InDoubt     int `json:"inDoubt"`
	BlanksUsed  int `json:"blanksUsed"`
	// Of products with a bank account.
	BankProven       int `json:"bankProven"`
	StripesProven    int `json:"stripesProven"`
	BindingsVerified int `json:"bindingsVerified"`
	ARQCVerified     int `json:"arqcVerified"`
	// At the desk.
	Activated int     `json:"activated"`
	Paired    int     `json:"paired"`
	Seconds   float64 `json:"seconds"`
}

// spareBlanks are delivered beyond what the records need.
const spareBlanks = 2

// demo runs this program's own commands as an operator would.
type demo struct {
	self string
	dir  string
	json bool
	bank bool   // the product has a bank account
	pair bool   // its cards sign for their holders
	key  string // of the API, for the bank
	kids []*exec.Cmd
}

// samples is how many bindings and cryptograms are verified.
const samples = 3

func (c demoCommand) Run(ctx context.Context, g *globals) error {
	set, err := profile.Load(profiles.FS)
	if err != nil {
		return err
	}
	product := set.Products[c.Product]
	if product == nil {
		return &exitError{exitUsage, fmt.Sprintf("no product is named %q: the demo makes %s", c.Product, strings.Join(slices.Sorted(maps.Keys(set.Products)), ", "))}
	}
	warnPlaintext(os.Stderr, set, product)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	d := &demo{self: self, dir: c.Dir, json: g.JSON}
	if err := d.clear(); err != nil {
		return err
	}
	start := time.Now()
	d.bank, d.pair = product.Payment != "", pairable(set, product)
	sum, err := c.run(ctx, d)
	err = errors.Join(err, d.stop())
	if err != nil {
		return err
	}
	sum.Seconds = float64(time.Since(start).Milliseconds()) / 1000
	if err := printJSON(sum); err != nil {
		return err
	}
	tried := min(samples, c.Records)
	if d.bank && (sum.BankProven != c.Records || sum.StripesProven != c.Records || sum.BindingsVerified != tried || sum.ARQCVerified != tried) {
		return &exitError{exitFailed, fmt.Sprintf("%d payment applications, %d stripes, %d bindings and %d cryptograms were proven", sum.BankProven, sum.StripesProven, sum.BindingsVerified, sum.ARQCVerified)}
	}
	if want := min(handedOver, c.Records); sum.Activated != want || d.pair && c.Readers > 1 && sum.Paired != min(pairedSIMs, want) {
		return &exitError{exitFailed, fmt.Sprintf("%d cards were handed over and %d paired", sum.Activated, sum.Paired)}
	}
	if sum.Proven != c.Records || sum.BlanksUsed != c.Records || sum.Refused+sum.Quarantined+sum.InDoubt+sum.Spoiled > 0 {
		return &exitError{exitFailed, fmt.Sprintf("%d of %d cards were proven", sum.Proven, c.Records)}
	}
	return nil
}

// say tells what happens next.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "\n— "+format+"\n", args...)
}

// command is one of this program's commands on the demo's folder. It is told
// to stop when the demo dies, however it does.
func (d *demo) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.self, append(args, "--data", d.dir)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	cmd.Stderr = os.Stderr
	return cmd
}

func (d *demo) show(args []string) {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = quoted(a)
	}
	fmt.Fprintf(os.Stderr, "$ cardbureau %s\n", strings.Join(words, " "))
}

// quoted is a word as a shell takes it.
func quoted(s string) string {
	if strings.ContainsAny(s, " \t'\"$&;()<>|*?\\`") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

// do runs a command to its end and returns what it printed.
func (d *demo) do(ctx context.Context, args ...string) ([]byte, error) {
	d.show(args)
	out, err := d.command(ctx, args...).Output()
	if err != nil {
		return out, fmt.Errorf("cardbureau %s: %w", strings.Join(args[:min(2, len(args))], " "), err)
	}
	return out, nil
}

// start runs a command in the background and waits for its first line.
func (d *demo) start(ctx context.Context, args ...string) ([]byte, error) {
	d.show(args)
	// Stopped by stop, after the others, and not by a terminal's Ctrl-C.
	cmd := d.command(context.WithoutCancel(ctx), args...)
	cmd.SysProcAttr.Setpgid = true
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d.kids = append(d.kids, cmd)
	first, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("cardbureau %s did not become ready: %w", args[0], err)
	}
	go io.Copy(io.Discard, out)
	return first, nil
}

// stop ends what runs in the background, last started first.
func (d *demo) stop() error {
	var errs []error
	for i := len(d.kids) - 1; i >= 0; i-- {
		cmd := d.kids[i]
		_ = cmd.Process.Signal(syscall.SIGTERM)
		killer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		killer.Stop()
		if err != nil && cmd.ProcessState.ExitCode() > exitFailed {
			errs = append(errs, fmt.Errorf("%s: %w", strings.Join(cmd.Args[1:3], " "), err))
		}
	}
	d.kids = nil
	return errors.Join(errs...)
}

func (c demoCommand) run(ctx context.Context, d *demo) (*demoSummary, error) {
	d.say("A bureau is set up: configuration, a private PostgreSQL, a SoftHSM token with development keys.")
	if out, err := d.do(ctx, "init", "--product", c.Product); err != nil {
		return nil, err
	} else {
		os.Stderr.Write(out)
	}
	d.say("A delivery of software blanks comes in, and goes into the stock.")
	out, err := d.do(ctx, "virtual", "blanks", fmt.Sprint(c.Records+spareBlanks), "--json")
	if err != nil {
		return nil, err
	}
	var delivery struct{ Delivery string }
	if err := json.Unmarshal(out, &delivery); err != nil {
		return nil, err
	}
	if _, err := d.do(ctx, "stock", "import", delivery.Delivery); err != nil {
		return nil, err
	}
	d.say("Virtual readers on a pcscd of our own; the API.")
	if _, err := d.start(ctx, "virtual", "run", "--readers", fmt.Sprint(c.Readers), "--json"); err != nil {
		return nil, err
	}
	ready, err := d.start(ctx, "serve", "--listen", "127.0.0.1:0", "--json")
	if err != nil {
		return nil, err
	}
	d.say("Half of the registry's signed records come through the API, half as a file.")
	half := c.Records / 2
	order := []string{"virtual", "records", fmt.Sprint(c.Records), "--seed", fmt.Sprint(c.Seed)}
	if d.bank {
		order = append(order, "--bank", "half")
	}
	records, err := d.do(ctx, order...)
	if err != nil {
		return nil, err
	}
	lines := bytes.SplitAfter(append(bytes.TrimSpace(records), '\n'), []byte("\n"))
	lines = lines[:len(lines)-1]
	if d.bank { // every second one brings no account: these come through the API
		var with, without [][]byte
		for i, l := range lines {
			if i%2 == 0 {
				with = append(with, l)
			} else {
				without = append(without, l)
			}
		}
		lines, half = append(without, with...), len(without)
	}
	key, err := d.do(ctx, "api-key", "create", "demo registry")
	if err != nil {
		return nil, err
	}
	byAPI, err := post(ctx, ready, strings.TrimSpace(string(key)), bytes.Join(lines[:half], nil))
	if err != nil {
		return nil, err
	}
	file := filepath.Join(d.dir, "records.jws")
	if err := os.WriteFile(file, bytes.Join(lines[half:], nil), 0o600); err != nil {
		return nil, err
	}
	if d.bank {
		if err := d.accounts(ctx, ready, half, c.Records); err != nil {
			return nil, err
		}
	}
	if _, err := d.do(ctx, "lot", "release", "demo, by API"); err != nil {
		return nil, err
	}
	d.say("The line makes the cards, reads each one back, and locks it.")
	issued, err := d.issue(ctx, file)
	if err != nil {
		return nil, err
	}
	out2 := demoBank{}
	if d.bank {
		if out2, err = d.askBank(ctx, ready, issued); err != nil {
			return nil, err
		}
	}
	desk, err := d.serveHolders(ctx, issued.Cards, d.pair)
	if err != nil {
		return nil, err
	}
	d.say("The stock is counted and the shift summary printed.")
	counted, err := d.do(ctx, "stock", "count", "--json")
	if err != nil {
		return nil, err
	}
	var stock struct {
		Balanced bool
		Counts   struct{ Issued, Spoiled, Quarantined, InDoubt, Received, OnHand int }
	}
	if err := json.Unmarshal(counted, &stock); err != nil {
		return nil, err
	}
	sheet := filepath.Join(d.dir, "shift-summary.pdf")
	if _, err := d.do(ctx, "stock", "sheet", "--out", sheet); err != nil {
		return nil, err
	}
	if _, err := d.do(ctx, "audit", "verify"); err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "\nStock: %d received, %d issued, %d on hand; shift summary %s\n", stock.Counts.Received, stock.Counts.Issued, stock.Counts.OnHand, sheet)
	if issued.card != "" {
		fmt.Fprintf(os.Stderr, "Put a card into a reader of your own software:\n  %s virtual insert %s --data %s\n", quoted(d.self), issued.card, quoted(d.dir))
	}
	return &demoSummary{
		Records: byAPI.records + issued.Records, Refused: byAPI.refused + issued.Refused,
		Issued: issued.Issued, Proven: issued.Proven, Spoiled: stock.Counts.Spoiled,
		Quarantined: stock.Counts.Quarantined, InDoubt: stock.Counts.InDoubt,
		BlanksUsed: stock.Counts.Received - stock.Counts.OnHand,
		BankProven: issued.BankProven, StripesProven: issued.StripesProven, BindingsVerified: out2.bindings, ARQCVerified: out2.arqcs,
		Activated: desk.activated, Paired: desk.paired,
	}, nil
}

// issueOutcome is what issue printed, with one card's number.
type issueOutcome struct {
	issueResult
	card string
}

// issue runs the line with its progress on this terminal.
func (d *demo) issue(ctx context.Context, file string) (*issueOutcome, error) {
	summary := filepath.Join(d.dir, "run", "issue.json")
	args := []string{"issue", file, "--summary", summary}
	d.show(args)
	cmd := d.command(ctx, args...)
	cmd.Stdout = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("cardbureau issue: %w", err)
	}
	b, err := os.ReadFile(summary)
	if err != nil {
		return nil, err
	}
	var out issueOutcome
	if err := json.Unmarshal(b, &out.issueResult); err != nil {
		return nil, err
	}
	if len(out.Cards) > 0 {
		out.card = out.Cards[0]
	}
	return &out, nil
}

// taken counts a batch's answers.
type taken struct{ records, refused int }

// post sends records to the API as one batch.
func post(ctx context.Context, ready []byte, key string, records []byte) (taken, error) {
	var server struct{ URL string }
	if err := json.Unmarshal(ready, &server); err != nil || server.URL == "" {
		return taken{}, fmt.Errorf("serve did not say where it listens: %s", ready)
	}
	fmt.Fprintf(os.Stderr, "$ curl %s/v1/records:batch --header 'Authorization: Bearer …' --data-binary @records\n", server.URL)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/v1/records:batch", bytes.NewReader(records))
	if err != nil {
		return taken{}, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/x-ndjson")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return taken{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
		return taken{}, fmt.Errorf("the API answered %s: %s", res.Status, b)
	}
	var t taken
	for dec := json.NewDecoder(res.Body); ; {
		var a intake.Answer
		if err := dec.Decode(&a); errors.Is(err, io.EOF) {
			return t, nil
		} else if err != nil {
			return t, err
		}
		t.records++
		if !a.OK() {
			t.refused++
			fmt.Fprintf(os.Stderr, "line %d: refused (%s): %s\n", a.Line, a.Code, a.Detail)
		}
	}
}
