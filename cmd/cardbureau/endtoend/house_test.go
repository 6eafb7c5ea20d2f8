package endtoend

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"

	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/cardio/virtual/rack"
	"cardbureau/personalization/store"
)

// house is a bureau with a data folder of its own and nothing running.
type house struct {
	t   testing.TB
	dir string
	env []string // of every command

	log  bytes.Buffer // all that commands printed, both streams
	made int          // records made so far
}

// newHouse makes a data folder with n blanks in the stock.
func newHouse(t testing.TB, n int, env ...string) *house {
	t.Helper()
	return newProductHouse(t, n, "identity", env...)
}

// newProductHouse is a house that makes a product.
func newProductHouse(t testing.TB, n int, product string, env ...string) *house {
	t.Helper()
	dir, err := os.MkdirTemp("", "cb-house-")
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, dir: dir, env: env}
	t.Cleanup(func() {
		if t.Failed() && torture {
			t.Logf("the data folder is kept: %s", dir)
			return
		}
		os.RemoveAll(dir)
	})
	// Leftovers of a failed test end before its folder goes.
	t.Cleanup(func() {
		for _, p := range users(dir) {
			if t.Failed() {
				if q, err := os.FindProcess(p.pid); err == nil {
					_ = q.Kill()
				}
			}
		}
	})
	h.must(0, "init", "--product", product)
	var delivery struct{ Delivery string }
	h.json(&delivery, 0, "virtual", "blanks", strconv.Itoa(n))
	h.must(0, "stock", "import", delivery.Delivery)
	return h
}

// start starts a command of the program on the folder.
func (h *house) start(args ...string) *process {
	h.t.Helper()
	return launch(h.t, h.env, program, append(args, "--data", h.dir)...)
}

// finish waits for a command's end and keeps what it printed.
func (h *house) finish(p *process) (stdout []byte, status int) {
	h.t.Helper()
	status = p.wait()
	h.keep(p)
	return p.stdout.bytes(), status
}

// keep keeps what a process printed.
func (h *house) keep(p *process) {
	fmt.Fprintf(&h.log, "\n$ %s\n", p.name)
	h.log.Write(p.stdout.bytes())
	h.log.Write(p.stderr.bytes())
}

// must runs a command that has to end with a status.
func (h *house) must(status int, args ...string) []byte {
	h.t.Helper()
	p := h.start(args...)
	out, got := h.finish(p)
	if got != status {
		h.t.Fatalf("cardbureau %v ended with %d, want %d\n%s%s", args, got, status, out, p.stderr.String())
	}
	return out
}

// json runs a command with --json.
func (h *house) json(v any, status int, args ...string) {
	h.t.Helper()
	out := h.must(status, append(args, "--json")...)
	if err := json.Unmarshal(out, v); err != nil {
		h.t.Fatalf("cardbureau %v: %v\n%s", args, err, out)
	}
}

// records makes signed records of n people who have none yet. What they say
// is not kept as output: it is what must not be found.
func (h *house) records(n int) []byte {
	h.t.Helper()
	p := h.start("virtual", "records", strconv.Itoa(n), "--from", strconv.Itoa(h.made))
	if p.wait() != 0 {
		h.t.Fatalf("records: %s", p.stderr.String())
	}
	h.made += n
	return p.stdout.bytes()
}

// file is a file of records of n new people.
func (h *house) file(n int) string {
	h.t.Helper()
	name := filepath.Join(h.dir, fmt.Sprintf("records-%d.jws", h.made))
	if err := os.WriteFile(name, h.records(n), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return name
}

// readers runs n virtual readers, in a process that no test kills unless it
// says so, and returns their rack.
func (h *house) readers(n int) (*process, rack.Client) {
	h.t.Helper()
	p := h.start("virtual", "run", "--readers", strconv.Itoa(n), "--json")
	p.ready()
	r, err := pcscd.ReadReaders(filepath.Join(h.dir, "run"))
	if err != nil {
		h.t.Fatal(err)
	}
	if len(r.Readers) != n {
		h.t.Fatalf("%d readers run", len(r.Readers))
	}
	return p, rack.Client{Socket: r.Readers[0].Control}
}

// order gives the rack an order.
func (h *house) order(c rack.Client, q rack.Request) rack.Answer {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	a, err := c.Do(ctx, q)
	if err != nil {
		h.t.Fatalf("rack: %s: %v", q.Op, err)
	}
	return a
}

// empty takes out what a line that was killed left in the readers, as a person
// does, and waits until PC/SC has noticed: it looks every 0.4 s, and people are
// not so fast.
func (h *house) empty(c rack.Client) {
	h.t.Helper()
	for _, s := range h.order(c, rack.Request{Op: "status"}).Slots {
		if s.Card != "" {
			h.order(c, rack.Request{Op: "out", Slot: s.Slot, Bin: rack.Doubt})
			h.noticed(s.Reader, false)
		}
	}
}

// insert puts a card into the first reader and waits until PC/SC has noticed.
func (h *house) insert(c rack.Client, card string) {
	h.t.Helper()
	h.empty(c)
	h.order(c, rack.Request{Op: "insert", Card: card})
	h.noticed(h.order(c, rack.Request{Op: "status"}).Slots[0].Reader, true)
}

// noticed waits until a reader says that a card is there, or not.
func (h *house) noticed(reader string, card bool) {
	h.t.Helper()
	eventually(h.t, "the reader notices", func() bool {
		for line := range bytes.Lines(h.must(0, "reader", "list", "--json")) {
			var r struct {
				Reader string
				Card   bool
			}
			if err := json.Unmarshal(line, &r); err == nil && r.Reader == reader && r.Card == card {
				return true
			}
		}
		return false
	})
}

// count is what stock count prints.
type count struct {
	Balanced bool
	Counts   struct {
		Received, Issued, Spoiled, Quarantined, Test, Returned, OnHand, InUse, InDoubt int
	}
	InDoubt []struct{ Attempt, Order, Blank, Reason string }
}

// count counts the stock. Its exit status must fit what it says, and nothing
// may be unaccounted for.
func (h *house) count() count {
	h.t.Helper()
	out, status := h.finish(h.start("stock", "count", "--json"))
	var c count
	if err := json.Unmarshal(out, &c); err != nil {
		h.t.Fatalf("stock count ended with %d: %v\n%s", status, err, out)
	}
	n := c.Counts
	want := 0
	if n.InDoubt+n.Quarantined > 0 {
		want = 4
	}
	if status != want {
		h.t.Errorf("stock count ended with %d, want %d: %s", status, want, out)
	}
	if !c.Balanced || n.Received != n.Issued+n.Spoiled+n.Quarantined+n.Test+n.Returned+n.OnHand+n.InUse+n.InDoubt {
		h.t.Errorf("the stock does not balance: %s", out)
	}
	if len(c.InDoubt) != n.InDoubt {
		h.t.Errorf("%d attempts in doubt are shown: %s", len(c.InDoubt), out)
	}
	return c
}

// issued is what issue prints.
type issued struct {
	Records, Refused, Issued, Proven, Quarantined, InDoubt, NotBlanks int
	Clean                                                             int `json:"untouched"`
	OrdersLeft                                                        map[string]int
	Cards                                                             []string
}

// issue works off what is released and must end with one of the statuses.
func (h *house) issue(args []string, status ...int) issued {
	h.t.Helper()
	p := h.start(append([]string{"issue", "--json"}, args...)...)
	return h.issuing(p, status...)
}

// issuing waits for an issue that runs.
func (h *house) issuing(p *process, status ...int) issued {
	h.t.Helper()
	out, got := h.finish(p)
	var r issued
	if err := json.Unmarshal(out, &r); err != nil || !slices.Contains(status, got) {
		h.t.Fatalf("%s ended with %d, want %v: %v\n%s%s", p.name, got, status, err, out, p.stderr.String())
	}
	return r
}

// database looks into the private cluster, as its owner. While it is open, the
// cluster keeps running.
type database struct {
	t       testing.TB
	conn    *pgx.Conn
	cluster *store.Cluster
}

func (h *house) database() *database {
	h.t.Helper()
	c, err := store.StartCluster(h.t.Context(), store.ClusterOptions{Dir: h.dir})
	if err != nil {
		h.t.Fatal(err)
	}
	conn, err := pgx.Connect(h.t.Context(), c.URL())
	if err == nil {
		_, err = conn.Exec(h.t.Context(), "SET ROLE cb_owner; SET search_path = cardbureau")
	}
	if err != nil {
		c.Close()
		h.t.Fatal(err)
	}
	d := &database{h.t, conn, c}
	h.t.Cleanup(d.close)
	return d
}

func (d *database) close() {
	if d.conn == nil {
		return
	}
	d.conn.Close(context.Background())
	d.conn = nil
	if err := d.cluster.Close(); err != nil {
		d.t.Errorf("close the database: %v", err)
	}
}

// texts asks for one column of text.
func (d *database) texts(sql string, args ...any) []string {
	d.t.Helper()
	rows, err := d.conn.Query(d.t.Context(), sql, args...)
	if err != nil {
		d.t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	return out
}

// text asks for one value.
func (d *database) text(sql string, args ...any) string {
	d.t.Helper()
	out := d.texts(sql, args...)
	if len(out) != 1 {
		d.t.Fatalf("%s: %d rows", sql, len(out))
	}
	return out[0]
}
