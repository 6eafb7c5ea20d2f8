package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"sort"
	"strings"

	"cardbureau/personalization/bureau/measure"
)

type benchCommand struct {
	Cards      int    `help:"How many cards." default:"200"`
	Readers    int    `help:"How many in-process readers." default:"4"`
	Product    string `help:"Product that is made." default:"identity"`
	Pool       int    `help:"How many RSA keys are made ahead, of a product with a bank account; -1: one a card." default:"-1"`
	Bits       int    `help:"Length of those keys in bits; 0: as the payment scheme says." default:"0"`
	CPUProfile string `help:"Write a CPU profile of this process." name:"cpuprofile" type:"path" placeholder:"FILE"`
}

func (benchCommand) Example() string { return "cardbureau bench --cards 200" }

func (c benchCommand) Run(ctx context.Context, g *globals) error {
	if c.Cards < 1 || c.Readers < 1 {
		return &exitError{exitUsage, "bench needs at least one card and one reader"}
	}
	if c.CPUProfile != "" {
		f, err := os.Create(c.CPUProfile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	r, err := measure.Run(ctx, measure.Options{Cards: c.Cards, Readers: c.Readers, Product: c.Product, Pool: c.pool(), Bits: c.Bits, Tell: func(s string) {
		fmt.Fprintln(os.Stderr, "bench:", s)
	}})
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(r)
	}
	printBench(os.Stdout, r)
	return nil
}

// printBench sets each cost beside its floor.
func printBench(w io.Writer, r *measure.Result) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p("%d cards on %d in-process readers; session keys in the token: %v", r.Cards, r.Readers, r.InToken)
	p("")
	p("%-12s %9s %28s %9s %8s %8s  %s", "a card", "cards/s", "CPU-ms host + agent + db", "CPU-ms", "HSM ops", "calls", "SQL statements")
	for _, ph := range []measure.Phase{r.Intake, r.Prepare, r.Line} {
		p("%-12s %9.0f %14.2f + %5.2f + %4.2f %9.2f %8.1f %8.1f  %s", ph.Name, ph.PerSecond, ph.CPU.Host, ph.CPU.Agent, ph.CPU.Database,
			ph.CPU.Total(), ph.Operations, ph.Calls, statements(ph.Statements))
	}
	aim := 15
	if r.Bank {
		aim = 25
	}
	p("%-12s %9s %28s %9.2f  (aim: at most %d; of the line's, %.2f are the software chips)", "together", "", "", r.CPUACard(), aim, r.Chips)
	p("")
	f := r.Floors
	p("APDUs a card    %6.0f, least for its content %6.0f: ratio %.2f", r.Wire.APDUs, r.Wire.LeastAPDUs, r.Wire.APDUs/r.Wire.LeastAPDUs)
	p("bytes a card    %6.0f, least for its content %6.0f: ratio %.2f", r.Wire.Sent+r.Wire.Received, r.Wire.LeastBytes, (r.Wire.Sent+r.Wire.Received)/r.Wire.LeastBytes)
	p("chip exchange   %6.2f ms a card would take its %.0f APDUs raw in process (%.0f/s)", r.Wire.APDUs/f.InProcessAPDUs*1000, r.Wire.APDUs, f.InProcessAPDUs)
	if f.PCSCAPDUs > 0 {
		p("through pcscd   %6.0f APDUs/s raw, so at least %.1f ms a card: at most %.0f cards/s a reader", f.PCSCAPDUs, r.Wire.APDUs/f.PCSCAPDUs*1000, f.PCSCAPDUs/r.Wire.APDUs)
	} else {
		p("through pcscd   not measured: %s", f.PCSCNote)
	}
	n := 0.0
	for _, ph := range []measure.Phase{r.Intake, r.Prepare, r.Line} {
		for _, v := range ph.Statements {
			n += v
		}
	}
	calls := r.Intake.Calls + r.Prepare.Calls + r.Line.Calls
	p("SQL             %6.1f statements a card; bare, at %.0f µs each, %.2f ms", n, f.SQLMicros, n*f.SQLMicros/1000)
	p("HSM             %6.1f calls of the agent a card; bare, at %.0f µs each, %.2f ms", calls, f.AgentMicros, calls*f.AgentMicros/1000)
	for _, k := range f.RSAKeys {
		p("RSA key         %6.1f CPU-ms to make one of %d bits", k.CPU, k.Bits)
	}
	p("memory          %6.0f MiB resident at most, host and agent (aim: 200)", r.ResidentMB)
}

func statements(m map[string]float64) string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	sort.Strings(names)
	var parts []string
	for _, n := range names {
		parts = append(parts, fmt.Sprintf("%s %.1f", n, m[n]))
	}
	return strings.Join(parts, ", ")
}

func (c benchCommand) pool() int {
	if c.Pool < 0 {
		return c.Cards
	}
	return c.Pool
}
