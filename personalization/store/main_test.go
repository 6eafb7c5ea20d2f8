package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"cardbureau/personalization/stock"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// cluster is started once a test binary; each test has a database of its own
// in it, copied from a migrated one.
var cluster *Cluster

func TestMain(m *testing.M) {
	if what := os.Getenv("STORE_TEST_CHILD"); what != "" {
		child(what)
		os.Exit(1)
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "store-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if cluster, err = StartCluster(ctx, ClusterOptions{Dir: dir}); err != nil {
		panic(err)
	}
	defer cluster.Close()
	if err := Migrate(ctx, cluster.URL()); err != nil {
		panic(err)
	}
	return m.Run()
}

var databases atomic.Int64

// newURL makes a database for one test.
func newURL(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("t%d", databases.Add(1))
	admin(t, "CREATE DATABASE "+name+" TEMPLATE "+databaseName+" OWNER "+databaseUser)
	t.Cleanup(func() { admin(t, "DROP DATABASE "+name+" WITH (FORCE)") })
	return cluster.url(databaseUser, name)
}

func admin(t testing.TB, sql string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, cluster.url(superUser, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatal(err)
	}
}

// bench is a store on its own database with two operators and helpers that
// make what a test needs.
type bench struct {
	*Store
	t       testing.TB
	ctx     context.Context
	url     string
	ali     Actor
	zahra   Actor
	program Actor
}

func newBench(t testing.TB) *bench {
	t.Helper()
	return openBench(t, newURL(t))
}

func openBench(t testing.TB, url string) *bench {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	s, err := Open(ctx, url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	b := &bench{Store: s, t: t, ctx: ctx, url: url}
	b.ali, b.zahra, b.program = b.actor("operator", "ali"), b.actor("operator", "zahra"), b.actor("program", "test")
	return b
}

func (b *bench) actor(kind, name string) Actor {
	b.t.Helper()
	id, err := b.Actor(b.ctx, kind, name)
	b.must(err)
	return Actor{ID: id, Through: "test"}
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func digest(parts ...any) []byte {
	sum := sha256.Sum256([]byte(fmt.Sprint(parts...)))
	return sum[:]
}

// request is a record of person n, not yet known.
func (b *bench) request(n int) AcceptRequest {
	return AcceptRequest{
		PersonID: NewID(), PersonRef: digest("person", n), Key: DataKey{Epoch: "2026-01", Wrapped: []byte("wrapped")},
		IdentityDigest: digest("identity", n),
		RecordRow:      NewID(), RecordID: uuid.NewString(), Revision: 1, Digest: digest("record", n), KeyID: "registry-1",
		Sealed: []byte("sealed record"), ExpiresAt: time.Now().Add(24 * time.Hour),
		Product: "id", Office: "o1", Phase: "p1", Reason: "first", State: OrderAccepted, Actor: b.program,
	}
}

func (b *bench) accept(r AcceptRequest) uuid.UUID {
	b.t.Helper()
	res, err := b.AcceptRecord(b.ctx, r)
	b.must(err)
	return res.OrderID
}

var numbers atomic.Int64

func cardNumber() string { return fmt.Sprintf("C%08d", numbers.Add(1)) }

// prepare makes and saves an image as a preparation job does.
func (b *bench) prepare(order uuid.UUID) Image {
	b.t.Helper()
	p, err := b.OrderForPreparation(b.ctx, order)
	b.must(err)
	im := Image{ID: NewID(), Version: p.Version, CardNumber: cardNumber(), Profile: "id 1",
		Content: []byte("content"), Secrets: []byte("secrets")}
	b.must(b.SaveImage(b.ctx, order, p.Generation, im, b.program))
	return im
}

// released makes n released orders, of persons first … first+n-1.
func (b *bench) released(first, n int) []uuid.UUID {
	b.t.Helper()
	var ids []uuid.UUID
	for i := range n {
		id := b.accept(b.request(first + i))
		b.prepare(id)
		ids = append(ids, id)
	}
	lot, err := b.ReleaseLot(b.ctx, LotRequest{Name: "lot", Orders: ids, Actor: b.ali})
	b.must(err)
	if lot.Ready != n {
		b.t.Fatalf("released %d of %d", lot.Ready, n)
	}
	return ids
}

func serial(n int) string { return fmt.Sprintf("4790-0001-%08X", n) }

func (b *bench) blanks(n int) {
	b.t.Helper()
	var list []stock.Blank
	for i := range n {
		list = append(list, stock.Blank{Serial: serial(i), Chip: "virtual", Batch: "b1"})
	}
	_, err := b.ImportBlanks(b.ctx, list, b.ali)
	b.must(err)
}

func (b *bench) station() *Station {
	b.t.Helper()
	st, err := b.OpenStation(b.ctx, "line", b.actor("station", "line"))
	b.must(err)
	b.t.Cleanup(func() { st.Close(context.Background()) })
	return st
}

func (b *bench) claim(st *Station, n int) *Claim {
	b.t.Helper()
	c, err := st.Claim(b.ctx, ClaimRequest{Serial: serial(n), Reader: "reader 0", Products: []string{"id"}})
	b.must(err)
	return c
}

func (b *bench) state(order uuid.UUID) OrderState {
	b.t.Helper()
	o, err := b.Order(b.ctx, order)
	b.must(err)
	return o.State
}

func (b *bench) blankState(n int) stock.State {
	b.t.Helper()
	s, err := b.BlankBySerial(b.ctx, serial(n))
	b.must(err)
	return s.State
}

// balanced checks what must always hold: the stock's sum and the audit chain.
func (b *bench) balanced() stock.Counts {
	b.t.Helper()
	c, err := b.Counts(b.ctx)
	b.must(err)
	b.must(c.Balance())
	_, err = b.AuditVerify(b.ctx)
	b.must(err)
	return c
}

func finish(c *Claim, o Outcome) FinishRequest {
	return FinishRequest{AttemptID: c.AttemptID, Fence: c.Fence, Outcome: o, Evidence: digest("proof")}
}
