package store

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// owner runs a statement as the owner of the schema, who can do most.
func (b *bench) owner(sql string) error {
	b.t.Helper()
	config, err := pgx.ParseConfig(b.url)
	b.must(err)
	config.RuntimeParams["role"] = roleOwner
	config.RuntimeParams["search_path"] = schema
	conn, err := pgx.ConnectConfig(b.ctx, config)
	b.must(err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(b.ctx, sql)
	return err
}

func TestAuditChain(t *testing.T) {
	b := newBench(t)
	empty, err := b.AuditVerify(b.ctx)
	b.must(err)
	if empty.Rows != 0 || len(empty.Head) != 32 {
		t.Fatalf("empty chain: %+v", empty)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 5 {
				if err := b.Audit(b.ctx, b.ali, "card.inspected", "x", "تست"); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	full, err := b.AuditVerify(b.ctx)
	b.must(err)
	if full.Rows != 40 {
		t.Fatalf("%d rows", full.Rows)
	}
	for _, sql := range []string{"UPDATE audit SET reason = ''", "DELETE FROM audit", "TRUNCATE audit CASCADE", "DELETE FROM audit_link"} {
		if err := b.owner(sql); err == nil {
			t.Errorf("%s was carried out", sql)
		}
	}
	for _, tc := range []struct {
		sql string
		at  int64
	}{
		{"UPDATE audit SET reason = 'other' WHERE id = (SELECT audit_id FROM audit_link WHERE position = 20)", 20},
		{"UPDATE audit_link SET hash = sha256('x') WHERE position = 15", 15},
		{"DELETE FROM audit_link WHERE position = 10", 10},
		{"DELETE FROM audit_link WHERE position > 38", 0},
	} {
		sql := "BEGIN; SET LOCAL session_replication_role = origin; ALTER TABLE audit DISABLE TRIGGER never_changed; " +
			"ALTER TABLE audit_link DISABLE TRIGGER never_changed; " + tc.sql +
			"; ALTER TABLE audit ENABLE TRIGGER never_changed; ALTER TABLE audit_link ENABLE TRIGGER never_changed; COMMIT"
		b.must(b.ownerOrSuper(sql))
		var broken *ErrAuditBroken
		if _, err := b.AuditVerify(b.ctx); !errors.As(err, &broken) || tc.at != 0 && broken.Position != tc.at {
			t.Errorf("after %s: %v", tc.sql, err)
		}
	}
}

// ownerOrSuper runs a statement as superuser in the test's database: one who
// can do everything is still found out.
func (b *bench) ownerOrSuper(sql string) error {
	conn, err := adminConn(b)
	b.must(err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(b.ctx, sql)
	return err
}

func adminConn(b *bench) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(b.url)
	b.must(err)
	config.User = superUser
	config.RuntimeParams["search_path"] = schema
	return pgx.ConnectConfig(b.ctx, config)
}

// TestRoles: what each role must not be able to do.
func TestRoles(t *testing.T) {
	b := newBench(t)
	b.accept(b.request(1))
	denied := func(name string, q interface {
		Exec(context.Context, string, ...any) (pgconn.CommandTag, error)
	}, sql string) {
		t.Helper()
		var pg *pgconn.PgError
		if _, err := q.Exec(b.ctx, sql); !errors.As(err, &pg) || pg.Code != "42501" {
			t.Errorf("%s: %s: %v", name, sql, err)
		}
	}
	for _, table := range []string{"person", "person_key", "record", "image", "api_key"} {
		sql := "SELECT * FROM cardbureau." + table
		denied("intake", b.intake, sql)
		denied("line", b.line, sql)
		denied("desk", b.desk, sql)
		denied("audit", b.Store.audit, sql)
		denied("auditor", b.auditor, sql)
	}
	denied("line", b.line, "UPDATE card_order SET state = 'issued'")
	denied("line", b.line, "SELECT shift_doubts(NULL)")
	denied("line", b.line, "SELECT settle_doubt(NULL, '', '', NULL, NULL, '')")
	denied("intake", b.intake, "SELECT claim_order(NULL, 1, '', '', NULL, NULL, '')")
	denied("intake", b.intake, "SELECT doubts()")
	denied("desk", b.desk, "SELECT finish_attempt(NULL, 1, '', '', false, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '')")
	denied("auditor", b.auditor, "SELECT audit_append(NULL, '', '', '', '')")
	denied("audit", b.Store.audit, "SELECT * FROM audit")
}

func TestAPIKeys(t *testing.T) {
	b := newBench(t)
	key, token, err := b.CreateAPIKey(b.ctx, "registry", []string{"records:write"}, b.ali)
	b.must(err)
	got, err := b.AuthenticateAPIKey(b.ctx, token)
	b.must(err)
	if got.ID != key.ID || got.Actor != key.Actor || len(got.Scopes) != 1 || got.Scopes[0] != "records:write" {
		t.Fatalf("key: %+v", got)
	}
	if _, _, err := b.CreateAPIKey(b.ctx, "registry", nil, b.ali); err == nil {
		t.Fatal("a name twice")
	}
	if _, err := b.AuthenticateAPIKey(b.ctx, token+"x"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("another token: %v", err)
	}
	b.must(b.RevokeAPIKey(b.ctx, key.ID, b.ali))
	if _, err := b.AuthenticateAPIKey(b.ctx, token); !errors.Is(err, ErrNotFound) {
		t.Fatalf("a revoked key: %v", err)
	}
	if err := b.RevokeAPIKey(b.ctx, key.ID, b.ali); !errors.Is(err, ErrNotFound) {
		t.Fatalf("revoked twice: %v", err)
	}
}

func TestActorIsOne(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	ids := map[any]bool{}
	race(func(int) {
		id, err := b.Actor(b.ctx, "operator", "new")
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Error(err)
		}
		ids[id] = true
	})
	if len(ids) != 1 {
		t.Fatalf("%d actors of one name", len(ids))
	}
}

// TestServerRestart: what a line does when its server is restarted under it.
func TestServerRestart(t *testing.T) {
	dir := t.TempDir()
	c := start(t, dir)
	ctx := context.Background()
	if err := Migrate(ctx, c.URL()); err != nil {
		t.Fatal(err)
	}
	b := openBench(t, c.URL())
	b.blanks(3)
	b.released(1, 3)
	st := b.station()
	for n := range 3 {
		claim := b.claim(st, n)
		if n == 1 {
			// An immediate end of all connections, as a crash of one backend makes it.
			conn, err := pgx.Connect(ctx, c.url(superUser, databaseName))
			b.must(err)
			_, err = conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = '"+databaseUser+"'")
			b.must(err)
			conn.Close(ctx)
		}
		b.must(st.Journal(b.ctx, claim.AttemptID, claim.Fence, []Step{{1, "x", StepDone, 0x9000, time.Now()}}))
		b.must(st.Finish(b.ctx, finish(claim, OutcomeIssued)))
	}
	if c := b.balanced(); c.Issued != 3 {
		t.Fatalf("counts: %+v", c)
	}
}
