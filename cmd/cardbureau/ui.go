package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"cardbureau/personalization/line"
	"cardbureau/personalization/store"
)

// What a command prints goes through here: a progress bar with a line a reader
// on a terminal, plain lines otherwise, JSON where it was asked for. Results go
// to standard output, what goes on meanwhile to standard error.

// printJSON prints one value as one line.
func printJSON(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

// progress shows the line at work.
type progress struct {
	mu      sync.Mutex
	out     io.Writer
	live    bool // redraw on a terminal
	quiet   bool // JSON: only who comes and goes, a line each
	total   int
	done    int
	start   time.Time
	width   int
	drawn   int // lines on the screen
	readers map[string]string
}

func newProgress(total int, quiet bool) *progress {
	p := &progress{out: os.Stderr, total: total, quiet: quiet, start: time.Now(), readers: map[string]string{}}
	if fd := int(os.Stderr.Fd()); term.IsTerminal(fd) && !quiet {
		p.live = true
		p.width = 80
		if w, _, err := term.GetSize(fd); err == nil && w > 20 {
			p.width = w
		}
	}
	return p
}

// event shows what happened on a reader.
func (p *progress) event(e line.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	comesOrGoes := e.Kind == line.Joined || e.Kind == line.Left || e.Kind == line.Deserted
	if p.quiet {
		if comesOrGoes {
			_ = writeJSON(p.out, e)
		}
		return
	}
	if e.Kind == line.Finished && e.Outcome == store.OutcomeIssued {
		p.done++
	}
	text := describe(e)
	said := text
	if e.Reader != "" {
		said = e.Reader + ": " + text
		p.readers[e.Reader] = text
	}
	if e.Kind == line.Left {
		delete(p.readers, e.Reader)
	}
	if p.live {
		if comesOrGoes || e.Kind == line.Finished && e.Outcome != store.OutcomeIssued {
			p.erase()
			fmt.Fprintln(p.out, said)
		}
		p.draw()
		return
	}
	switch {
	case comesOrGoes:
		fmt.Fprintln(p.out, said)
	case e.Kind == line.Finished:
		fmt.Fprintf(p.out, "[%d/%d] %s\n", p.done, p.total, said)
	}
}

// describe is an event in words.
func describe(e line.Event) string {
	switch e.Kind {
	case line.Waiting:
		return "waiting for a blank"
	case line.Present:
		return "card present"
	case line.Claimed:
		return "blank " + e.Serial + " becomes card " + e.Card
	case line.Working:
		return "card " + e.Card + ": " + e.Step
	case line.Stopped:
		if e.Detail != "" {
			return "stopped: " + e.Detail
		}
		return "done"
	case line.Joined:
		return "joined the line"
	case line.Left:
		return "left the line: " + e.Detail
	case line.Deserted:
		return "No reader is left: plug one in, or end with Ctrl-C"
	}
	switch e.Outcome {
	case store.OutcomeIssued:
		return fmt.Sprintf("card %s issued and proven in %d ms", e.Card, e.Took.Milliseconds())
	case store.OutcomeClean:
		return fmt.Sprintf("blank %s was left untouched (%s): %s", e.Serial, e.Reason, e.Detail)
	case store.OutcomeInDoubt:
		return fmt.Sprintf("blank %s is in doubt (%s): %s. Put it aside; see cardbureau stock count", e.Serial, e.Reason, e.Detail)
	case store.OutcomeQuarantined, store.OutcomeSpoiled:
		return fmt.Sprintf("blank %s is quarantined (%s): %s. Put it aside; see cardbureau stock count", e.Serial, e.Reason, e.Detail)
	}
	return "refused: " + e.Detail
}

func (p *progress) erase() {
	if p.drawn > 0 {
		fmt.Fprintf(p.out, "\x1b[%dA\x1b[J", p.drawn)
		p.drawn = 0
	}
}

func (p *progress) draw() {
	p.erase()
	var b strings.Builder
	elapsed := time.Since(p.start)
	rate := 0.0
	if p.done > 0 {
		rate = float64(p.done) / elapsed.Hours()
	}
	const barWidth = 30
	filled := 0
	if p.total > 0 {
		filled = min(barWidth, barWidth*p.done/p.total)
	}
	fmt.Fprintf(&b, "[%s%s] %d/%d cards, %.0f cards/h, %s\n", strings.Repeat("█", filled), strings.Repeat("·", barWidth-filled),
		p.done, p.total, rate, elapsed.Truncate(time.Second))
	names := make([]string, 0, len(p.readers))
	for n := range p.readers {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		b.WriteString(cutTo("  "+n+"  "+p.readers[n], p.width-1) + "\n")
	}
	p.drawn = 1 + len(names)
	io.WriteString(p.out, b.String())
}

// cutTo shortens a line to what the terminal shows.
func cutTo(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

func writeJSON(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

// logger writes what operators of the machine may need to standard error. It
// is silent unless CARDBUREAU_LOG names a level.
func logger() *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(os.Getenv("CARDBUREAU_LOG"))); err != nil {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
