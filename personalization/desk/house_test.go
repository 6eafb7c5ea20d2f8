package desk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"cardbureau/cardio/feeder"
	"cardbureau/cardio/virtual"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/desk"
	"cardbureau/personalization/intake"
	"cardbureau/personalization/line"
	"cardbureau/personalization/line/rehearsal"
	"cardbureau/personalization/record"
	"cardbureau/personalization/record/sample"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault/vaulttest"
)

// house is one bureau with its database and its token for all tests; each test has
// cards of its own.
var house struct {
	sync.Once
	*bureau.Bureau
	dir    string
	clerk  store.Actor
	second store.Actor
	people int // made so far
	err    error
}

func TestMain(m *testing.M) {
	status := vaulttest.Run(m)
	if house.Bureau != nil {
		house.Close()
	}
	if house.dir != "" {
		os.RemoveAll(house.dir)
	}
	os.Exit(status)
}

func openHouse() error {
	ctx := context.Background()
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if house.dir, err = os.MkdirTemp("", "cb-desk-"); err != nil {
		return err
	}
	if err := os.Chmod(house.dir, 0o711); err != nil { // the database's user goes through it
		return err
	}
	o := bureau.Options{Agent: []string{"env", "CARDBUREAU_TEST_HSM_AGENT=1", exe}}
	if _, err := bureau.Create(ctx, house.dir+"/d", bureau.CreateRequest{Product: "identity"}, o); err != nil {
		return err
	}
	if house.Bureau, err = bureau.Open(ctx, house.dir+"/d", o); err != nil {
		return err
	}
	if house.clerk, err = house.Actor(ctx, "operator", "karimi", "test"); err != nil {
		return err
	}
	house.second, err = house.Actor(ctx, "operator", "rezai", "test")
	return err
}

// office is a desk of the house, and the cards of one test.
type office struct {
	*desk.Desk
	t     testing.TB
	clerk store.Actor
}

func newOffice(t testing.TB) *office {
	t.Helper()
	house.Do(func() { house.err = openHouse() })
	if house.err != nil {
		t.Fatal(house.err)
	}
	d, err := house.Desk()
	if err != nil {
		t.Fatal(err)
	}
	d.Tries = 100 // tests of the limit set their own
	return &office{d, t, house.clerk}
}

func (o *office) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// is holds an error to what it should be; nil: none.
func (o *office) is(err, want error) {
	o.t.Helper()
	if want == nil && err != nil || !errors.Is(err, want) {
		o.t.Errorf("%v, want %v", err, want)
	}
}

// refuses holds an error to be a refusal with a code.
func (o *office) refuses(err error, code string) {
	o.t.Helper()
	var r *desk.RefusedError
	if !errors.As(err, &r) || r.Code != code || r.Sentence == "" {
		o.t.Errorf("%v, want a refusal with the code %s", err, code)
	}
}

// people are n records of new people, all minors or all adults, with the time of
// now.
func (o *office) people(n int, minors bool) (out []record.Record) {
	o.t.Helper()
	for len(out) < n {
		r := sample.Make(sample.Options{Seed: 7, Audience: house.Config.Audience, IssuedAt: time.Now().Add(-time.Hour)}, house.people)
		house.people++
		if r.Minor(time.Now()) == minors && (r.Person.BirthDate.Known() || !minors) {
			out = append(out, r)
		}
	}
	return out
}

// card is an issued card with its chip. It is a desk.Card.
type card struct {
	*virtual.Chip
	store.Card
	office string // that the record names
	pin    string // the holder's own
}

// Reset resets the chip.
func (c *card) Reset(_ context.Context, cold bool) error {
	if cold {
		c.PowerOff()
		c.PowerOn()
		return nil
	}
	c.Chip.Reset()
	return nil
}

// batches numbers deliveries of blanks.
var batches uint16

// issue takes records in and makes their cards.
func (o *office) issue(people ...record.Record) (out []*card) {
	o.t.Helper()
	ctx := o.t.Context()
	var in bytes.Buffer
	for _, r := range people {
		payload, err := json.Marshal(r)
		o.must(err)
		jws, err := house.Vault.SignTestRecord(ctx, payload)
		o.must(err)
		in.WriteString(jws + "\n")
	}
	var orders []uuid.UUID
	o.must(house.Intake().AcceptAll(ctx, &in, 0, o.clerk, func(a intake.Answer) error {
		if a.Status != intake.Accepted {
			return fmt.Errorf("a record was not accepted: %+v", a)
		}
		orders = append(orders, uuid.MustParse(a.OrderID))
		return nil
	}))
	for i, r := range people {
		if r.NeedsDecision(time.Now()) {
			o.must(house.Store.Decide(ctx, store.Decision{OrderID: orders[i], Proceed: true, Reason: "decided", Approvers: [2]store.Actor{house.clerk, house.second}}))
		}
	}
	batches++
	_, err := house.Store.ReleaseLot(ctx, store.LotRequest{Name: fmt.Sprint("lot ", batches), Orders: orders, Actor: o.clerk})
	o.must(err)
	jobs, err := house.StartPreparation(ctx, 2)
	o.must(err)
	defer jobs.Stop(context.WithoutCancel(ctx))
	chip := house.Profiles.Chips["virtual-gp"]
	tray, err := rehearsal.NewTray(ctx, house.Vault, chip, batches, len(people))
	o.must(err)
	_, err = house.Store.ImportBlanks(ctx, tray.List(chip.Name, fmt.Sprintf("%04d", batches)), o.clerk)
	o.must(err)
	l, done, err := house.Line(ctx, o.clerk, func(line.Event) {})
	o.must(err)
	sum, err := l.Run(ctx, []line.Slot{rehearsal.NewReader("A", tray).Slot()})
	o.must(errors.Join(err, done()))
	if sum.Issued != len(people) {
		o.t.Fatalf("%d cards were issued: %+v", sum.Issued, sum)
	}
	made := map[uuid.UUID]*card{}
	for _, c := range tray.Bin(feeder.Issued) {
		row, err := house.Store.CardBySerial(ctx, c.Serial, "test", o.clerk)
		o.must(err)
		made[row.OrderID] = &card{Chip: c.Chip, Card: row}
	}
	for i, order := range orders {
		made[order].office = people[i].Residence.Office
		out = append(out, made[order])
	}
	return out
}

// holderPIN gives PINs as a holder types them.
type holderPIN struct{ fresh, current string }

func (p holderPIN) New(context.Context) ([]byte, error)     { return []byte(p.fresh), nil }
func (p holderPIN) Current(context.Context) ([]byte, error) { return []byte(p.current), nil }

// seen is a holder whom the clerk has checked.
var seen = desk.HolderCheck{Photo: true, Document: "passport", Guardian: "passport"}

// visit opens a visit, proves the card and checks its holder.
func (o *office) visit(c *card, kind store.VisitKind, h desk.HolderCheck) *desk.Visit {
	o.t.Helper()
	v, err := o.Open(o.t.Context(), c.Number, kind, o.clerk)
	o.must(err)
	o.t.Cleanup(func() { v.Close(context.Background()) })
	o.must(v.Prove(o.t.Context(), c))
	o.must(v.Check(o.t.Context(), h))
	return v
}

// finish signs the receipt and ends a visit. The receipt holds.
func (o *office) finish(v *desk.Visit) {
	o.t.Helper()
	r, err := v.Sign(o.t.Context())
	o.must(err)
	s, err := r.Verify()
	o.must(err)
	if s.Card != v.Number || s.Visit != v.ID() {
		o.t.Errorf("the receipt says %+v", s)
	}
	o.must(v.Finish(o.t.Context(), r))
}

// receive notes that the card lies at the office that it is for.
func (o *office) receive(c *card) {
	o.t.Helper()
	o.must(o.Receive(o.t.Context(), c.Number, c.office, false, o.clerk))
}

// activate hands a card over; it is at the office already.
func (o *office) activate(c *card) {
	o.t.Helper()
	v := o.visit(c, store.VisitActivate, seen)
	c.pin = "753190"
	o.must(v.SetPIN(o.t.Context(), holderPIN{fresh: c.pin}))
	o.finish(v)
}

// active makes a person with an active card.
func (o *office) active() *card {
	o.t.Helper()
	c := o.issue(o.people(1, false)...)[0]
	o.receive(c)
	o.activate(c)
	return c
}

// states compares cards' states.
func (o *office) states(want store.CardState, cards ...*card) {
	o.t.Helper()
	for _, c := range cards {
		now, err := house.Store.CardByNumber(o.t.Context(), c.Number, "test", o.clerk)
		o.must(err)
		if now.State != want {
			o.t.Errorf("card %s is %s, not %s", c.Number, now.State, want)
		}
	}
}
