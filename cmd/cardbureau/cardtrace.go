package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"cardbureau/cardio/trace"
)

type cardTrace struct {
	File    string `arg:"" help:"Trace that a command wrote with --trace; - for standard input." placeholder:"FILE"`
	Summary bool   `help:"Print the sums alone."`
}

func (cardTrace) Example() string { return "cardbureau card trace inspect.jsonl" }

// traceReport is what card trace says with --json.
type traceReport struct {
	trace.Header
	trace.Summary
}

func (c cardTrace) Run(g *globals) error {
	in := io.Reader(os.Stdin)
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	t, err := trace.NewReader(in)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	r := traceReport{Header: t.Header()}
	if !g.JSON {
		printHeader(os.Stdout, r.Header)
	}
	for {
		e, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
		r.Add(e)
		if !g.JSON && !c.Summary {
			printEvent(os.Stdout, e)
		}
	}
	r.Done()
	if g.JSON {
		return printJSON(r)
	}
	printSums(os.Stdout, r.Summary)
	return nil
}

func printHeader(w io.Writer, h trace.Header) {
	reader := h.Reader
	if reader == "" {
		reader = "a card"
	}
	fmt.Fprintf(w, "Trace of %s, begun %s, %s\n", reader, h.Started.UTC().Format("2006-01-02 15:04:05 UTC"), h.Mode)
	if h.Mode == trace.Full {
		fmt.Fprintln(w, "It holds every byte, keys and personal data with them: keep it as you keep those.")
	}
}

// printEvent prints an event as a line, what is inside it below.
func printEvent(w io.Writer, e trace.Event) {
	at := fmt.Sprintf("%4d %11.6f ", e.N, time.Duration(e.At*1000).Seconds())
	const margin = "                 "
	switch e.Kind {
	case trace.CardIn:
		fmt.Fprintf(w, "%scard, ATR %s\n", at, e.ATR)
	case trace.Reset:
		how := "warm"
		if e.Cold {
			how = "cold"
		}
		fmt.Fprintf(w, "%s%s reset, ATR %s\n", at, how, e.ATR)
	case trace.Exchange:
		fmt.Fprintf(w, "%s%s\n", at, commandText(*e.Command))
		if e.Inside != nil {
			fmt.Fprintf(w, "%sinside: %s\n", margin, commandText(*e.Inside))
		}
		answer := map[string]string{trace.InDoubt: "no answer: in doubt", trace.NotSent: "not sent"}[e.Error]
		if e.Error == "" {
			answer = answerText(e.Answer)
		}
		fmt.Fprintf(w, "%s→ %s (%.3f ms)\n", margin, answer, float64(e.Took)/1000)
	case trace.Opened:
		fmt.Fprintf(w, "%sinside the answer to %d: %s\n", at, e.Of, answerText(e.Answer))
	}
}

func commandText(c trace.Command) string {
	s := c.Header
	if s == "" {
		s = "no command APDU"
	}
	if c.Name != "" {
		s += " " + c.Name
	}
	if c.Channel > 0 {
		s += fmt.Sprintf(", channel %d", c.Channel)
	}
	if c.Secured {
		s += ", secured"
	}
	if c.Lc > 0 {
		s += fmt.Sprintf(", %d bytes %s", c.Lc, partsText(c.Data))
	}
	if c.Ne > 0 {
		s += fmt.Sprintf(", asks for %d", c.Ne)
	}
	return s
}

func answerText(a trace.Answer) string {
	if a.Length == 0 {
		return a.SW
	}
	return fmt.Sprintf("%s, %d bytes %s", a.SW, a.Length, partsText(a.Response))
}

// partsText writes shown bytes as they are, and others as their number with the
// beginning of their digest.
func partsText(parts trace.Parts) string {
	var out []string
	for _, p := range parts {
		if p.Hex != "" {
			out = append(out, p.Hex)
		} else {
			out = append(out, fmt.Sprintf("[%d: %s]", p.Length, p.Digest[:8]))
		}
	}
	return strings.Join(out, " ")
}

func printSums(w io.Writer, s trace.Summary) {
	ms := func(us int64) float64 { return float64(us) / 1000 }
	fmt.Fprintf(w, "%s, %s, %s: %d bytes sent, %d received, %.1f ms in the card of %.1f ms; %d secured, %d without an answer\n",
		counted(s.Cards, "card"), counted(s.Resets, "reset"), counted(s.APDUs, "APDU"), s.Sent, s.Received, ms(s.CardTime), ms(s.Time), s.Secured, s.Failed)
	if len(s.Commands) == 0 {
		return
	}
	fmt.Fprintf(w, "%-4s %-32s %8s %10s %10s %12s\n", "INS", "", "APDUs", "sent", "received", "ms")
	for _, t := range s.Commands {
		fmt.Fprintf(w, "%-4s %-32s %8d %10d %10d %12.1f\n", t.INS, t.Name, t.APDUs, t.Sent, t.Received, ms(t.Time))
	}
}
