package bureau_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"cardbureau/personalization/bureau"
	"cardbureau/personalization/intake"
	"cardbureau/personalization/line"
	"cardbureau/personalization/line/rehearsal"
	"cardbureau/personalization/record/sample"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault/vaulttest"
)

func TestMain(m *testing.M) {
	status := vaulttest.Run(m)
	if made != "" {
		os.RemoveAll(made)
	}
	os.Exit(status)
}

// agent is this test binary as HSM agent.
func agent(t testing.TB) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{"env", "CARDBUREAU_TEST_HSM_AGENT=1", exe}
}

// open makes a development bureau in a folder of its own.
func open(t testing.TB) *bureau.Bureau { return openFor(t, "identity") }

// openFor is open with the product that records become.
func openFor(t testing.TB, product string) *bureau.Bureau {
	t.Helper()
	dir := folder(t, product)
	o := bureau.Options{Agent: agent(t)}
	b, err := bureau.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// made is a data folder as Create leaves it, of which every test gets a copy: its
// keys and tables take longer to make than most tests to run.
var made string

// folder is a data folder for a product.
func folder(t testing.TB, product string) string {
	t.Helper()
	if made == "" {
		dir, err := os.MkdirTemp("", "cb-bureau-")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bureau.Create(t.Context(), dir, bureau.CreateRequest{Product: "identity"}, bureau.Options{Agent: agent(t)}); err != nil {
			os.RemoveAll(dir)
			t.Fatal(err)
		}
		made = dir
	}
	parent, err := os.MkdirTemp("", "cb-bureau-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(parent) })
	if err := os.Chmod(parent, 0o711); err != nil { // the database's user goes through it
		t.Fatal(err)
	}
	dir := filepath.Join(parent, "d")
	if out, err := exec.Command("cp", "-a", made, dir).CombinedOutput(); err != nil {
		t.Fatalf("copy the data folder: %v\n%s", err, out)
	}
	config := filepath.Join(dir, bureau.ConfigName)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	const was = `name = "identity"`
	if bytes.Count(text, []byte(was)) != 1 {
		t.Fatalf("%s does not say %s once", config, was)
	}
	text = bytes.Replace(text, []byte(was), fmt.Appendf(nil, "name = %q", product), 1)
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// records are n signed records of invented people.
func records(t testing.TB, b *bureau.Bureau, n int) []byte { return recordsOf(t, b, n, 1) }

// recordsOf is records; other seeds make other people.
func recordsOf(t testing.TB, b *bureau.Bureau, n int, seed uint64) []byte {
	t.Helper()
	var out bytes.Buffer
	o := sample.Options{N: n, Seed: seed, Audience: b.Config.Audience, IssuedAt: time.Now().Add(-time.Hour)}
	o.Bank = func(int) bool { return len(b.Schemes()) > 0 }
	for _, payload := range sample.Payloads(o) {
		jws, err := b.Vault.SignTestRecord(t.Context(), payload)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString(jws + "\n")
	}
	return out.Bytes()
}

// accept takes records in.
func accept(t testing.TB, b *bureau.Bureau, in []byte, actor store.Actor) (answers []intake.Answer) {
	t.Helper()
	err := b.Intake().AcceptAll(t.Context(), bytes.NewReader(in), 0, actor, func(a intake.Answer) error {
		answers = append(answers, a)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return answers
}

// takeIn accepts records and releases their orders.
func takeIn(t testing.TB, b *bureau.Bureau, in []byte) []intake.Answer {
	t.Helper()
	actor, err := b.Actor(t.Context(), "operator", "test", "test")
	if err != nil {
		t.Fatal(err)
	}
	answers := accept(t, b, in, actor)
	var orders []uuid.UUID
	for _, a := range answers {
		if a.OK() {
			orders = append(orders, uuid.MustParse(a.OrderID))
		}
	}
	if _, err := b.Store.ReleaseLot(t.Context(), store.LotRequest{Name: fmt.Sprintf("test %d", len(orders)), Orders: orders, Actor: actor}); err != nil {
		t.Fatal(err)
	}
	return answers
}

func TestFromRecordsToProvenCards(t *testing.T) {
	b := open(t)
	ctx := t.Context()
	const n = 6
	in := records(t, b, n)
	for i, a := range takeIn(t, b, in) {
		if a.Status != intake.Accepted {
			t.Fatalf("record %d: %+v", i+1, a)
		}
	}
	jobs, err := b.StartPreparation(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer jobs.Stop(context.WithoutCancel(ctx))
	actor, err := b.Actor(ctx, "operator", "test", "test")
	if err != nil {
		t.Fatal(err)
	}
	chip := b.Profiles.Chips["virtual-gp"]
	tray, err := rehearsal.NewTray(ctx, b.Vault, chip, 1, n+1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Store.ImportBlanks(ctx, tray.List(chip.Name, "0001"), actor); err != nil {
		t.Fatal(err)
	}
	var problems []string
	l, closeLine, err := b.Line(ctx, actor, func(e line.Event) {
		if e.Kind == line.Finished && e.Outcome != store.OutcomeIssued {
			j, _ := json.Marshal(e)
			problems = append(problems, string(j))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	sum, err := l.Run(ctx, []line.Slot{rehearsal.NewReader("A", tray).Slot(), rehearsal.NewReader("B", tray).Slot()})
	if err := errors.Join(err, closeLine()); err != nil {
		t.Fatal(err)
	}
	if sum.Issued != n || len(problems) > 0 {
		t.Fatalf("%+v\n%s", sum, strings.Join(problems, "\n"))
	}
	counts, err := b.Store.Counts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if counts.Issued != n || counts.OnHand != 1 || counts.Balance() != nil {
		t.Errorf("stock: %+v", counts)
	}
	if _, err := b.Store.AuditVerify(ctx); err != nil {
		t.Error(err)
	}
	// The same records again are known, and change nothing.
	for _, a := range accept(t, b, in, actor) {
		if a.Status != intake.AlreadyKnown {
			t.Errorf("again: %+v", a)
		}
	}
}
