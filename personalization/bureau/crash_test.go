package bureau_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/feeder"
	"cardbureau/cardio/virtual"
	profiles "cardbureau/firmware-profiles"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/line"
	"cardbureau/personalization/line/rehearsal"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/stock"
	"cardbureau/personalization/store"
)

// dying ends the goroutine that works the reader at one APDU, as if the
// process had died there: nothing after it is done, no outcome is committed.
type dying struct {
	card   apdu.Card
	at     int
	before bool // the card never saw the command
	count  *atomic.Int64
}

func (d *dying) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	n := int(d.count.Add(1))
	if n == d.at && d.before {
		runtime.Goexit()
	}
	out, err := d.card.Transmit(ctx, command)
	if n == d.at {
		runtime.Goexit()
	}
	return out, err
}

// works is a bureau with prepared and released orders and a tray of blanks.
type works struct {
	b       *bureau.Bureau
	product string
	trays   uint16
	tray    *rehearsal.Tray
	actor   store.Actor
}

func newWorks(t testing.TB, product string, orders, blanks int) *works {
	t.Helper()
	ctx := t.Context()
	w := &works{b: openFor(t, product), product: product}
	var err error
	if w.actor, err = w.b.Actor(ctx, "operator", "test", "test"); err != nil {
		t.Fatal(err)
	}
	jobs, err := w.b.StartPreparation(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { jobs.Stop(context.Background()) })
	w.take(t, records(t, w.b, orders))
	w.fill(t, blanks)
	return w
}

// more adds orders of other people, and a tray with as many other blanks.
func (w *works) more(t testing.TB, n int) {
	t.Helper()
	w.take(t, recordsOf(t, w.b, n, 2))
	w.fill(t, n)
}

// take takes records in and releases their orders.
func (w *works) take(t testing.TB, records []byte) {
	t.Helper()
	for _, a := range takeIn(t, w.b, records) {
		if !a.OK() {
			t.Fatalf("%+v", a)
		}
	}
}

// fill puts new blanks into a new tray and the stock.
func (w *works) fill(t testing.TB, blanks int) {
	t.Helper()
	ctx := t.Context()
	w.trays++
	chip := w.b.Profiles.ProductChip(w.b.Profiles.Products[w.product])
	var err error
	if w.tray, err = rehearsal.NewTray(ctx, w.b.Vault, chip, w.trays, blanks); err != nil {
		t.Fatal(err)
	}
	if _, err := w.b.Store.ImportBlanks(ctx, w.tray.List(chip.Name, fmt.Sprintf("%04d", w.trays)), w.actor); err != nil {
		t.Fatal(err)
	}
}

// line opens a station; close it to end the process that it stands for.
func (w *works) line(t testing.TB) (*line.Line, func() error) {
	t.Helper()
	l, closeLine, err := w.b.Line(t.Context(), w.actor, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l, closeLine
}

// TestCrashAtEveryAPDU kills the line at every APDU of a card, once before the
// card has executed it and once after: the blank is then in doubt, is not
// tried again by itself, and is finished, on the same blank and with the same
// card number, when a person presents it again. Without CARDBUREAU_TORTURE a
// sample of the APDUs is tried.
func TestCrashAtEveryAPDU(t *testing.T) {
	set, err := profile.Load(profiles.FS)
	if err != nil {
		t.Fatal(err)
	}
	for _, product := range slices.Sorted(maps.Keys(set.Products)) {
		t.Run(product, func(t *testing.T) { crashAtEveryAPDU(t, product) })
	}
}

// crashPoints are the APDUs at which a product's card is crashed, and how many
// there are.
func (w *works) crashPoints(t *testing.T, product string) (points []dying, length int) {
	t.Helper()
	step, last := 17, 10
	length = w.apdusACard(t)
	switch {
	case os.Getenv("CARDBUREAU_TORTURE") != "":
		step = 1
	case strings.HasPrefix(product, "identity-bank-"):
		// Another way of writing what identity-bank has: one crash in the payment
		// application, beside the card without that was counted.
		return []dying{{at: 12}}, length
	case product != "identity": // every APDU of these is torn in package profile
		step, last = 97, 2
	}
	if last == 2 { // applets in the clear take many more commands
		step = max(step, length/2)
	}
	for at := 1; at <= length; at += step {
		points = append(points, dying{at: at, before: true}, dying{at: at})
	}
	// The last commands decide most: the lock and its proof.
	for at := length - last; at <= length; at++ {
		points = append(points, dying{at: at})
	}
	return points, length
}

func crashAtEveryAPDU(t *testing.T, product string) {
	ctx := t.Context()
	w := newWorks(t, product, 1, 1)
	points, length := w.crashPoints(t, product)
	w.more(t, len(points)+1) // one order is always left to be tempted by
	for i, p := range points {
		where := fmt.Sprintf("APDU %d of %d, before=%v", p.at, length, p.before)
		l, die := w.line(t)
		var count atomic.Int64
		reader := rehearsal.NewReader("A", w.tray)
		reader.ContactsOnly = p.at == math.MaxInt // contactless cards are made there too
		reader.Wrap = func(c *virtual.Chip) apdu.Card {
			return &dying{card: c, at: p.at, before: p.before, count: &count}
		}
		if _, err := l.Run(ctx, []line.Slot{stopAfterOne(reader)}); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		if err := die(); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		if int(count.Load()) < p.at {
			continue // a smaller photo: the card was done before
		}
		w.finish(t, where, reader, i+1)
	}
	// Every order has one card, every blank is accounted for.
	counts, err := w.b.Store.Counts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	orders, err := w.b.Store.OrderCounts(ctx, uuid.Nil)
	if err != nil {
		t.Fatal(err)
	}
	if made := 1 + len(points); counts.Issued != made || counts.OnHand != 1 || counts.Balance() != nil || orders[store.OrderIssued] != made {
		t.Errorf("stock %+v, orders %v, want %d issued", counts, orders, made)
	}
	if _, err := w.b.Store.AuditVerify(ctx); err != nil {
		t.Error(err)
	}
}

// finish checks what a crash left behind and has the blank finished.
func (w *works) finish(t *testing.T, where string, reader *rehearsal.Reader, issued int) {
	t.Helper()
	ctx := t.Context()
	card := reader.Card()
	if card == nil {
		t.Fatalf("%s: the reader lost its card", where)
	}
	blank, err := w.b.Store.BlankBySerial(ctx, card.Serial)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	reader.Wrap = nil
	if blank.State == stock.OnHand {
		// Died before the claim: nothing had begun.
		l, closeLine := w.line(t)
		if _, err := l.Run(ctx, []line.Slot{stopAfterOne(reader)}); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		if err := closeLine(); err != nil {
			t.Fatal(err)
		}
	} else {
		if blank.State != stock.InDoubt {
			t.Fatalf("%s: the blank is %s", where, blank.State)
		}
		doubts, err := w.b.Store.InDoubt(ctx)
		if err != nil || len(doubts) != 1 || doubts[0].Serial != card.Serial {
			t.Fatalf("%s: in doubt are %+v, %v", where, doubts, err)
		}
		l, closeLine := w.line(t)
		// By itself the line only puts it aside.
		sum, err := l.Run(ctx, []line.Slot{stopAfterOne(reader)})
		if err != nil || sum.Issued != 0 || sum.Refused != 1 {
			t.Fatalf("%s: presented again, the line made %+v, %v", where, sum, err)
		}
		bin := w.tray.Bin(feeder.Doubt)
		if len(bin) == 0 || bin[len(bin)-1] != card {
			t.Fatalf("%s: the card is not in the bin of doubt", where)
		}
		reader.Insert(card)
		s, err := reader.Present(ctx)
		if err != nil {
			t.Fatal(err)
		}
		e, err := l.Resume(ctx, reader.Name(), s)
		if err != nil || e.Outcome != store.OutcomeIssued {
			t.Fatalf("%s: resumed to %+v, %v", where, e, err)
		}
		s.Close()
		if err := closeLine(); err != nil {
			t.Fatal(err)
		}
	}
	orders, err := w.b.Store.OrderCounts(ctx, uuid.Nil)
	if err != nil || orders[store.OrderIssued] != issued+1 || orders[store.OrderInDoubt] != 0 {
		t.Fatalf("%s: orders are %v, %v", where, orders, err)
	}
	if card.Chip.State() != virtual.Secured {
		t.Fatalf("%s: the card ended as %v", where, card.Chip.State())
	}
}

// stopAfterOne feeds the card that is in the reader and no other.
func stopAfterOne(r *rehearsal.Reader) line.Slot {
	return line.Slot{Reader: r, Feeder: &oneCard{Reader: r}}
}

type oneCard struct {
	*rehearsal.Reader
	fed bool
}

func (o *oneCard) Next(ctx context.Context) error {
	if o.fed {
		return io.EOF
	}
	o.fed = true
	return o.Reader.Next(ctx)
}

// apdusACard counts the APDUs of an undisturbed card.
func (w *works) apdusACard(t *testing.T) int {
	t.Helper()
	l, closeLine := w.line(t)
	var count atomic.Int64
	last := ""
	l.Events = func(e line.Event) {
		if e.Kind == line.Finished {
			last = e.Detail
		}
	}
	reader := rehearsal.NewReader("A", w.tray)
	reader.Wrap = func(c *virtual.Chip) apdu.Card { return &dying{card: c, count: &count} }
	sum, err := l.Run(t.Context(), []line.Slot{reader.Slot()})
	if err != nil || sum.Issued != 1 {
		t.Fatalf("%+v, %v: %s", sum, err, last)
	}
	if err := closeLine(); err != nil {
		t.Fatal(err)
	}
	return int(count.Load())
}
