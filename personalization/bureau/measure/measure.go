// Package measure runs a bureau's whole thread on software cards in this
// process and says what a card costs: processor time, round trips to chip,
// token and database, memory; each beside the floor under it, measured in the
// same run. It is a benchmark, not a test: nothing fails for being slow.
package measure

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/feeder"
	"cardbureau/cardio/virtual"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/intake"
	"cardbureau/personalization/line"
	"cardbureau/personalization/line/rehearsal"
	"cardbureau/personalization/payment"
	"cardbureau/personalization/record/sample"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// Options say how much is measured.
type Options struct {
	Cards   int // at least 1
	Readers int // in-process readers
	// Product is what is made; empty: identity.
	Product string
	// Pool is how many of the cards find their RSA key made ahead.
	Pool int
	// Bits is the length of those keys; 0: the scheme's.
	Bits  int
	Agent []string
	Dir   string // empty: a temporary folder that is removed
	// Tell is told what is being done; nil: nobody.
	Tell func(string)
}

// CPU is processor time in milliseconds a card, by process.
type CPU struct {
	Host     float64 `json:"host"`     // this process: line, preparation, proof, and the software chips
	Agent    float64 `json:"agent"`    // the HSM agent with the token
	Database float64 `json:"database"` // PostgreSQL
}

// Total is all of it.
func (c CPU) Total() float64 { return c.Host + c.Agent + c.Database }

// Phase is one part of the thread.
type Phase struct {
	Name       string             `json:"name"`
	PerSecond  float64            `json:"cardsPerSecond"`
	CPU        CPU                `json:"cpuMillisecondsACard"`
	Statements map[string]float64 `json:"statementsACard"`
	Operations float64            `json:"hsmOperationsACard"` // calls into the PKCS#11 module
	Calls      float64            `json:"agentCallsACard"`
}

// Wire is what went over the card's contacts, a card.
type Wire struct {
	APDUs      float64 `json:"apdus"`
	Sent       float64 `json:"bytesSent"`
	Received   float64 `json:"bytesReceived"`
	LeastAPDUs float64 `json:"leastApdus"` // to carry the content once in and once out
	LeastBytes float64 `json:"leastBytes"` // the content itself, once in and once out
}

// Floors are the bare costs under a card's own.
type Floors struct {
	InProcessAPDUs float64 `json:"inProcessApdusPerSecond"` // SELECT on the chip, no reader
	PCSCAPDUs      float64 `json:"pcscApdusPerSecond"`      // the same through pcscd; 0: not measured
	PCSCNote       string  `json:"pcscNote,omitempty"`
	SQLMicros      float64 `json:"sqlMicroseconds"`   // one SELECT on one connection
	AgentMicros    float64 `json:"agentMicroseconds"` // one call that makes one HMAC in the token
	// RSAKeys is what a card's RSA key costs to make, by its length; only of a product
	// with a bank account.
	RSAKeys []KeyCost `json:"rsaKeys,omitempty"`
}

// KeyCost is processor time in milliseconds of the agent for one key.
type KeyCost struct {
	Bits int     `json:"bits"`
	CPU  float64 `json:"cpuMilliseconds"`
}

// Result is a whole run.
type Result struct {
	Cards      int     `json:"cards"`
	Bank       bool    `json:"bank,omitempty"` // the product has a bank account
	Readers    int     `json:"readers"`
	Intake     Phase   `json:"intake"`
	Prepare    Phase   `json:"preparation"`
	Line       Phase   `json:"line"`
	Chips      float64 `json:"chipMillisecondsACard"` // processor time of the software chips alone, within Line's host time
	Wire       Wire    `json:"wire"`
	Floors     Floors  `json:"floors"`
	ResidentMB float64 `json:"residentMiB"` // greatest, this process and the agent
	InToken    bool    `json:"sessionKeysInToken"`
}

// CPUACard is the processor time of a card from record to proof.
func (r *Result) CPUACard() float64 {
	return r.Intake.CPU.Total() + r.Prepare.CPU.Total() + r.Line.CPU.Total()
}

// counter counts what goes over the contacts.
type counter struct {
	card                  *virtual.Chip
	apdus, sent, received *atomic.Int64
	busy                  *atomic.Int64 // nanoseconds inside the chip
}

func (c *counter) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	runtime.LockOSThread() // the time is this thread's
	start := threadTime()
	out, err := c.card.Transmit(ctx, command)
	c.busy.Add(int64(threadTime() - start))
	runtime.UnlockOSThread()
	c.apdus.Add(1)
	c.sent.Add(int64(len(command)))
	c.received.Add(int64(len(out)))
	return out, err
}

// run is a measurement under way.
type run struct {
	o     Options
	b     *bureau.Bureau
	actor store.Actor
	tell  func(string)
}

// Run measures.
func Run(ctx context.Context, o Options) (*Result, error) {
	r := &run{o: o, tell: o.Tell}
	if r.tell == nil {
		r.tell = func(string) {}
	}
	dir := o.Dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "cb-bench-"); err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
	}
	r.tell("making a bureau: database, token, keys")
	open := bureau.Options{Agent: o.Agent}
	if _, err := bureau.Create(ctx, dir, bureau.CreateRequest{Product: o.Product}, open); err != nil {
		return nil, err
	}
	b, err := bureau.Open(ctx, dir, open)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	r.b = b
	if r.actor, err = b.Actor(ctx, "program", "bench", "bench"); err != nil {
		return nil, err
	}
	return r.measure(ctx)
}

func (r *run) measure(ctx context.Context) (*Result, error) {
	out := &Result{Cards: r.o.Cards, Bank: len(r.b.Schemes()) > 0, Readers: r.o.Readers}
	r.tell("drawing people and signing their records")
	records, err := r.records(ctx)
	if err != nil {
		return nil, err
	}
	chip := r.b.Profiles.ProductChip(r.b.Profiles.Products[r.b.Config.Rules[0].Name])
	if err := r.bank(ctx); err != nil {
		return nil, err
	}
	tray, err := rehearsal.NewTray(ctx, r.b.Vault, chip, 1, r.o.Cards)
	if err != nil {
		return nil, err
	}
	if _, err := r.b.Store.ImportBlanks(ctx, tray.List(chip.Name, "0001"), r.actor); err != nil {
		return nil, err
	}
	r.tell("intake")
	if out.Intake, err = r.phase(ctx, "intake", func() error { return r.takeIn(ctx, records) }); err != nil {
		return nil, err
	}
	r.tell("preparation")
	if out.Prepare, err = r.phase(ctx, "preparation", func() error { return r.prepare(ctx) }); err != nil {
		return nil, err
	}
	r.tell("line")
	if err := r.line(ctx, tray, out); err != nil {
		return nil, err
	}
	if out.Wire.LeastAPDUs, out.Wire.LeastBytes, err = r.least(ctx, tray.Bin(feeder.Issued)[0].Serial); err != nil {
		return nil, err
	}
	stats, err := r.b.Vault.Stats(ctx)
	if err != nil {
		return nil, err
	}
	out.InToken = stats.DeriveInToken
	out.ResidentMB = float64(resident()+stats.Resident) / (1 << 20)
	r.tell("floors")
	if out.Floors, err = r.floors(ctx, tray.Bin(feeder.Issued)[0].Chip); err == nil && out.Bank {
		out.Floors.RSAKeys, err = r.keyCosts(ctx)
	}
	return out, err
}

// bank fills the pool of keys ahead.
func (r *run) bank(ctx context.Context) error {
	for _, s := range r.b.Schemes() {
		if s.Authenticates(payment.XDA) {
			continue
		}
		if r.o.Bits > 0 {
			s.ICCKey.Bits = r.o.Bits
			if r.o.Bits > 1640 { // GENERATE AC answers in 256 bytes (EMV Book 2, annex D1.2)
				s.Authentication = []string{payment.SDA, payment.DDA}
			}
		}
		r.tell(fmt.Sprintf("filling the pool with %d RSA keys of %d bits", r.o.Pool, s.ICCKey.Bits))
		if err := r.b.FillPool(ctx, s.ICCKey.Bits, s.ICCKey.Exponent, r.o.Pool, nil); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) records(ctx context.Context) ([]byte, error) {
	var out bytes.Buffer
	o := sample.Options{N: r.o.Cards, Seed: 1, Audience: r.b.Config.Audience, IssuedAt: time.Now().Add(-time.Hour)}
	if len(r.b.Schemes()) > 0 {
		o.Bank = func(int) bool { return true }
	}
	for _, payload := range sample.Payloads(o) {
		jws, err := r.b.Vault.SignTestRecord(ctx, payload)
		if err != nil {
			return nil, err
		}
		out.WriteString(jws)
		out.WriteByte('\n')
	}
	return out.Bytes(), nil
}

func (r *run) takeIn(ctx context.Context, records []byte) error {
	return r.b.Intake().AcceptAll(ctx, bytes.NewReader(records), 0, r.actor, func(a intake.Answer) error {
		if a.Status != intake.Accepted {
			return fmt.Errorf("record %s was not accepted: %s %s", a.RecordID, a.Status, a.Code)
		}
		return nil
	})
}

// prepare makes all images and waits for the last one.
func (r *run) prepare(ctx context.Context) error {
	if _, err := r.b.Store.ReleaseLot(ctx, store.LotRequest{Name: "bench", Actor: r.actor}); err != nil {
		return err
	}
	jobs, err := r.b.StartPreparation(ctx, 0)
	if err != nil {
		return err
	}
	defer jobs.Stop(context.WithoutCancel(ctx))
	for {
		counts, err := r.b.Store.OrderCounts(ctx, uuid.Nil)
		if err != nil {
			return err
		}
		if counts[store.OrderReleased] == r.o.Cards {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond): // asking costs as much as a statement of a card
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *run) line(ctx context.Context, tray *rehearsal.Tray, out *Result) error {
	var apdus, sent, received, busy atomic.Int64
	var trouble atomic.Pointer[string]
	l, closeLine, err := r.b.Line(ctx, r.actor, func(e line.Event) {
		if e.Kind == line.Finished && e.Outcome != store.OutcomeIssued {
			s := e.Reason + ": " + e.Detail
			trouble.Store(&s)
		}
	})
	if err != nil {
		return err
	}
	var slots []line.Slot
	for i := range r.o.Readers {
		reader := rehearsal.NewReader(fmt.Sprintf("reader %d", i+1), tray)
		reader.Wrap = func(c *virtual.Chip) apdu.Card {
			return &counter{card: c, apdus: &apdus, sent: &sent, received: &received, busy: &busy}
		}
		slots = append(slots, reader.Slot())
	}
	var sum line.Summary
	out.Line, err = r.phase(ctx, "line", func() error {
		var err error
		sum, err = l.Run(ctx, slots)
		return err
	})
	if cerr := closeLine(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if sum.Issued != r.o.Cards {
		detail := "no reason was given"
		if s := trouble.Load(); s != nil {
			detail = *s
		}
		return fmt.Errorf("only %d of %d cards were issued: %s", sum.Issued, r.o.Cards, detail)
	}
	n := float64(r.o.Cards)
	out.Wire.APDUs, out.Wire.Sent, out.Wire.Received = float64(apdus.Load())/n, float64(sent.Load())/n, float64(received.Load())/n
	out.Chips = float64(busy.Load()) / 1e6 / n
	return nil
}

// phase measures what fn costs, a card.
func (r *run) phase(ctx context.Context, name string, fn func() error) (Phase, error) {
	before, err := r.snapshot(ctx)
	if err != nil {
		return Phase{}, err
	}
	start := time.Now()
	if err := fn(); err != nil {
		return Phase{}, fmt.Errorf("%s: %w", name, err)
	}
	elapsed := time.Since(start)
	after, err := r.snapshot(ctx)
	if err != nil {
		return Phase{}, err
	}
	n := float64(r.o.Cards)
	p := Phase{
		Name: name, PerSecond: n / elapsed.Seconds(),
		CPU: CPU{
			Host:     (after.host - before.host).Seconds() * 1000 / n,
			Agent:    (after.agent - before.agent).Seconds() * 1000 / n,
			Database: (after.database - before.database).Seconds() * 1000 / n,
		},
		Statements: map[string]float64{},
		Operations: float64(after.operations-before.operations) / n,
		Calls:      float64(after.calls-before.calls-1) / n, // the snapshot itself is one
	}
	for role, v := range after.statements {
		if d := v - before.statements[role]; d > 0 {
			p.Statements[role] = float64(d) / n
		}
	}
	return p, nil
}

// snapshot is where the counters stand.
type snapshot struct {
	host, agent, database time.Duration
	statements            map[string]int64
	operations, calls     uint64
}

func (r *run) snapshot(ctx context.Context) (snapshot, error) {
	stats, err := r.b.Vault.Stats(ctx)
	if err != nil {
		return snapshot{}, err
	}
	s := snapshot{host: processTime(), agent: time.Duration(stats.CPU), database: treeTime(r.b.DatabasePID()), statements: r.b.Store.Statements()}
	s.operations, s.calls = total(stats)
	return s, nil
}

func total(s vault.Stats) (operations, calls uint64) {
	for _, n := range s.Operations {
		operations += n
	}
	for _, n := range s.Calls {
		calls += n
	}
	return operations, calls
}
