package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"

	"cardbureau/cardio/feeder"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/intake"
	"cardbureau/personalization/line"
	"cardbureau/personalization/store"
)

type issueCommand struct {
	File     string   `arg:"" optional:"" help:"Signed records, one compact JWS or JWE a line; - for standard input. Without a file the line works off what is released already." placeholder:"FILE"`
	Reader   []string `help:"Use only readers of this name, pattern with * and ?, or serial number (repeatable)." placeholder:"NAME"`
	Operator string   `help:"Who works the line, for the audit." default:"${user}"`
	Trace    string   `help:"Write what goes to the cards and comes back, without secrets, into this folder, a file a reader; see card trace." type:"path" placeholder:"FOLDER"`
	Summary  string   `help:"Write the JSON summary to this file too." type:"path" placeholder:"FILE"`
}

func (issueCommand) Example() string { return "cardbureau issue records.jws --data /srv/bureau" }

// issueResult is the summary of a run.
type issueResult struct {
	Records       int            `json:"records"`
	Refused       int            `json:"refused"`
	AlreadyKnown  int            `json:"alreadyKnown"`
	Waiting       int            `json:"waiting"` // accepted, but for a decision of people
	Issued        int            `json:"issued"`
	Proven        int            `json:"proven"`
	BankProven    int            `json:"bankProven,omitempty"`    // of them with a payment application
	StripesProven int            `json:"stripesProven,omitempty"` // of them with a stripe that was read back
	Spoiled       int            `json:"spoiled"`
	Quarantined   int            `json:"quarantined"`
	InDoubt       int            `json:"inDoubt"`
	Clean         int            `json:"untouched"`
	NotBlanks     int            `json:"notBlanks"`
	Failed        int            `json:"failed"`               // orders whose image can never be made
	Left          map[string]int `json:"ordersLeft,omitempty"` // open orders by state
	CardsPerHour  int            `json:"cardsPerHour"`
	Stopped       bool           `json:"stopped,omitempty"` // by the operator
	Seconds       float64        `json:"seconds"`
	Cards         []string       `json:"cards,omitempty"` // numbers of the cards made, the first hundred

	failedBefore  int
	readersFailed bool // the line ended by an error of its readers
}

func (c issueCommand) Run(ctx context.Context, g *globals) error {
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger()})
	if err != nil {
		return err
	}
	defer b.Close()
	res, err := c.issue(ctx, b, g)
	if res != nil {
		if g.JSON {
			err = errors.Join(err, printJSON(res))
		} else {
			res.print(os.Stdout)
		}
		if c.Summary != "" {
			b, _ := json.MarshalIndent(res, "", "  ")
			err = errors.Join(err, os.WriteFile(c.Summary, append(b, '\n'), 0o600))
		}
		switch status := res.status(); {
		case err == nil && status != exitDone:
			return &exitError{status: status}
		case err != nil && status == exitInDoubt:
			return &exitError{status, err.Error()} // in doubt outranks failed
		}
	}
	return err
}

func (c issueCommand) issue(ctx context.Context, b *bureau.Bureau, g *globals) (*issueResult, error) {
	for _, rule := range b.Config.Rules {
		warnPlaintext(os.Stderr, b.Profiles, b.Profiles.Products[rule.Name])
	}
	actor, err := b.Actor(ctx, "operator", c.Operator, "cli")
	if err != nil {
		return nil, err
	}
	jobs, err := b.StartPreparation(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer stopJobs(jobs)
	before, err := b.Store.OrderCounts(ctx, uuid.Nil)
	if err != nil {
		return nil, err
	}
	res := &issueResult{failedBefore: before[store.OrderFailed]}
	if c.File != "" {
		orders, err := c.takeIn(ctx, b, actor, g, res)
		if err != nil {
			return res, err
		}
		if len(orders) > 0 {
			if _, err := b.Store.ReleaseLot(ctx, store.LotRequest{Name: "issue " + time.Now().UTC().Format("2006-01-02 15:04:05"), Orders: orders, Actor: actor}); err != nil {
				return res, fmt.Errorf("release the lot: %w", err)
			}
		}
	}
	return res, c.work(ctx, b, actor, g, res)
}

// takeIn takes the file's records in and returns the orders that may be made.
func (c issueCommand) takeIn(ctx context.Context, b *bureau.Bureau, actor store.Actor, g *globals, res *issueResult) ([]uuid.UUID, error) {
	in := io.Reader(os.Stdin)
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	var orders []uuid.UUID
	err := b.Intake().AcceptAll(ctx, in, b.Config.Records.MaxLine, actor, func(a intake.Answer) error {
		res.Records++
		switch {
		case !a.OK():
			res.Refused++
		case a.Status == intake.AlreadyKnown:
			res.AlreadyKnown++
		}
		if !a.OK() {
			report := fmt.Sprintf("line %d", a.Line)
			if a.RecordID != "" {
				report += ", record " + a.RecordID
			}
			if g.JSON {
				return writeJSON(os.Stderr, a)
			}
			fmt.Fprintf(os.Stderr, "%s: refused (%s): %s\n", report, a.Code, a.Detail)
			return nil
		}
		switch store.OrderState(a.State) {
		case store.OrderConflict, store.OrderAwaitingDecision:
			res.Waiting++
			if g.JSON {
				return writeJSON(os.Stderr, a)
			}
			fmt.Fprintf(os.Stderr, "line %d, record %s: order %s waits for a decision (%s)\n", a.Line, a.RecordID, a.OrderID, a.State)
		case store.OrderAccepted, store.OrderPrepared:
			id, err := uuid.Parse(a.OrderID)
			if err != nil {
				return err
			}
			orders = append(orders, id)
		}
		return nil
	})
	return orders, err
}

// work runs the line until every released order is done or blanks run out.
func (c issueCommand) work(ctx context.Context, b *bureau.Bureau, actor store.Actor, g *globals, res *issueResult) error {
	start := time.Now()
	// Whoever looks puts the attempts of dead processes in doubt, also where no
	// line starts.
	if _, err := b.Store.MarkAbandoned(ctx); err != nil {
		return err
	}
	before, err := res.count(ctx, b)
	if err != nil {
		return err
	}
	if before[store.OrderReleased]+before[store.OrderAccepted] == 0 {
		return nil // nothing to make: readers are not needed for that
	}
	readers, err := b.Readers(ctx, c.Reader, tell(g))
	if err != nil {
		res.readersFailed = true
		return noService(err)
	}
	defer readers.Close()
	slots, more := readers.Slots(), line.Joining(readers)
	if c.Trace != "" {
		var end func()
		if slots, more, end, err = traceReaders(c.Trace, readers); err != nil {
			return err
		}
		defer end()
	}
	show := newProgress(before[store.OrderReleased]+before[store.OrderAccepted], g.JSON)
	var mu sync.Mutex
	l, closeLine, err := b.Line(ctx, actor, func(e line.Event) {
		show.event(e)
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == line.Finished && e.Outcome == store.OutcomeIssued && len(res.Cards) < 100 {
			res.Cards = append(res.Cards, e.Card)
		}
	})
	if err != nil {
		return err
	}
	sum, runErr := l.RunJoining(ctx, slots, more)
	closeErr := closeLine()
	res.Issued, res.Proven, res.Quarantined, res.InDoubt, res.Clean, res.NotBlanks = sum.Issued, sum.Issued, sum.Quarantined, sum.InDoubt, sum.Clean, sum.Refused
	res.BankProven, res.StripesProven = sum.Banked, sum.Striped
	res.Stopped = ctx.Err() != nil
	res.Seconds = time.Since(start).Seconds()
	if res.Issued > 0 && res.Seconds > 0 {
		res.CardsPerHour = int(float64(res.Issued) / res.Seconds * 3600)
	}
	res.readersFailed = runErr != nil
	_, err = res.count(context.WithoutCancel(ctx), b)
	return errors.Join(runErr, closeErr, err)
}

// count notes which orders are open now and which failed since the run began.
func (r *issueResult) count(ctx context.Context, b *bureau.Bureau) (map[store.OrderState]int, error) {
	now, err := b.Store.OrderCounts(ctx, uuid.Nil)
	if err != nil {
		return nil, err
	}
	r.Left = map[string]int{}
	r.Failed = max(0, now[store.OrderFailed]-r.failedBefore)
	for state, n := range now {
		if state.Open() && n > 0 {
			r.Left[string(state)] = n
		}
	}
	return now, nil
}

// status is the exit status that the result asks for: in doubt before failed
// before refused.
func (r *issueResult) status() int {
	switch {
	case r.InDoubt > 0 || r.Quarantined > 0:
		return exitInDoubt
	case r.Left[string(store.OrderReleased)] > 0 || r.Left[string(store.OrderAccepted)] > 0 || r.Failed > 0:
		return exitFailed
	case r.Refused > 0:
		return exitRefused
	}
	return exitDone
}

func (r *issueResult) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d refused, %d known already; %s issued and proven", counted(r.Records, "record"), r.Refused, r.AlreadyKnown, counted(r.Issued, "card"))
	if r.CardsPerHour > 0 {
		fmt.Fprintf(w, " in %.1f s (%d an hour)", r.Seconds, r.CardsPerHour)
	}
	fmt.Fprintf(w, "; %d quarantined, %d in doubt\n", r.Quarantined, r.InDoubt)
	switch n := r.Left[string(store.OrderReleased)]; {
	case n > 0 && r.Stopped:
		fmt.Fprintf(w, "Stopped with %s left: run cardbureau issue again\n", counted(n, "released order"))
	case n > 0 && r.readersFailed:
		fmt.Fprintf(w, "Released and not made: %s. Mend what is said of the readers below and run cardbureau issue again; the records are in\n", counted(n, "order"))
	case n > 0:
		fmt.Fprintf(w, "Waiting for blanks: %s. Load more and run cardbureau issue again\n", counted(n, "released order"))
	}
	if n := r.Left[string(store.OrderAccepted)]; n > 0 {
		fmt.Fprintf(w, "Without a card image yet: %s. Run cardbureau issue again; with CARDBUREAU_LOG=info it says what preparation waits for\n", counted(n, "order"))
	}
	if n := r.Left[string(store.OrderPrepared)]; n > 0 {
		fmt.Fprintf(w, "In no lot: %s. See cardbureau lot release\n", counted(n, "order"))
	}
	if r.Failed > 0 {
		fmt.Fprintf(w, "Failed, so that no card can be made: %s. See cardbureau order queue --failed\n", counted(r.Failed, "order"))
	}
	if n := r.Waiting; n > 0 {
		fmt.Fprintf(w, "Waiting for a decision: %s. See cardbureau order queue\n", counted(n, "record"))
	}
	if n := r.Left[string(store.OrderInDoubt)]; n > r.InDoubt {
		fmt.Fprintf(w, "In doubt: %s. See cardbureau stock count\n", counted(n, "order"))
	}
}

func stopJobs(j *store.Jobs) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := j.Stop(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "cardbureau: preparation did not stop cleanly:", err)
	}
}

// tell says to the person at a reader what to do with cards.
func tell(g *globals) func(feeder.Request) {
	if g.JSON {
		return nil
	}
	return func(r feeder.Request) {
		switch r.TakeOut {
		case "":
			fmt.Fprintf(os.Stderr, "%s: put a blank in\n", r.Reader)
		case feeder.Unused:
			fmt.Fprintf(os.Stderr, "%s: take the card out, back to the blanks\n", r.Reader)
		default:
			fmt.Fprintf(os.Stderr, "%s: take the card out, to the bin %s\n", r.Reader, r.TakeOut)
		}
	}
}
