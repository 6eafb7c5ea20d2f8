package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The database roles. They are made by [Migrate] without login: a connection
// takes one on and can do what that part of the program does, and no more.
const (
	roleOwner   = "cb_owner"   // owns the schema; migrations only
	roleIntake  = "cb_intake"  // takes records in
	roleLine    = "cb_line"    // prepares images and makes cards
	roleDesk    = "cb_desk"    // stock, lots, decisions, cards
	roleBank    = "cb_bank"    // the bank's questions
	roleAudit   = "cb_audit"   // appends to the audit
	roleAuditor = "cb_auditor" // reads the audit
)

var roles = []string{roleOwner, roleIntake, roleLine, roleDesk, roleBank, roleAudit, roleAuditor}

// Options of [Open].
type Options struct {
	Logger   *slog.Logger // nil: silent
	MaxConns int          // connections of each role's pool; 0: 8
}

// Store is an open database with one pool of connections a role. It is safe
// for concurrent use.
type Store struct {
	url     string
	log     *slog.Logger
	counter counter

	intake, line, desk, bank, audit, auditor *pgxpool.Pool
}

// Open connects to a database that [Migrate] has brought to this program's
// schema. The address is one of [Cluster.URL] or a server's
// (postgres://user:password@host/database).
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	s := &Store{url: url, log: o.Logger}
	if s.log == nil {
		s.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if o.MaxConns == 0 {
		o.MaxConns = 8
	}
	for _, p := range []struct {
		pool **pgxpool.Pool
		role string
		max  int
	}{
		{&s.intake, roleIntake, o.MaxConns},
		{&s.line, roleLine, o.MaxConns},
		{&s.desk, roleDesk, min(o.MaxConns, 4)},
		{&s.bank, roleBank, min(o.MaxConns, 4)},
		{&s.audit, roleAudit, min(o.MaxConns, 2)},
		{&s.auditor, roleAuditor, min(o.MaxConns, 2)},
	} {
		pool, err := s.pool(ctx, p.role, p.max)
		if err != nil {
			s.Close()
			return nil, err
		}
		*p.pool = pool
	}
	if err := s.checkSchema(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// pool makes a pool whose connections act in one role.
func (s *Store) pool(ctx context.Context, role string, max int) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(s.url)
	if err != nil {
		return nil, errors.New("the database's address cannot be understood (postgres://user@host/database)") // err may hold the password
	}
	c.MaxConns = int32(max)
	c.ConnConfig.RuntimeParams["role"] = role
	c.ConnConfig.RuntimeParams["search_path"] = schema
	c.ConnConfig.RuntimeParams["application_name"] = "cardbureau " + role[len("cb_"):]
	c.ConnConfig.RuntimeParams["timezone"] = "UTC"
	c.ConnConfig.Tracer = s.counter.tracer(role[len("cb_"):])
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	return pool, nil
}

func (s *Store) checkSchema(ctx context.Context) error {
	var version int64
	err := s.line.QueryRow(ctx, "SELECT max(version_id) FROM goose_db_version WHERE is_applied").Scan(&version)
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "22023" || pg.Code == "42704"): // no such table or role
		return errors.New("the database has not been set up (cardbureau init)")
	case err != nil:
		return fmt.Errorf("connecting to the database: %w", err)
	case version > schemaVersion():
		return fmt.Errorf("the database has schema %d, which is newer than this program's %d", version, schemaVersion())
	case version < schemaVersion():
		return fmt.Errorf("the database has schema %d and this program needs %d (cardbureau init brings it up)", version, schemaVersion())
	}
	return nil
}

// Close closes all connections.
func (s *Store) Close() {
	for _, p := range []*pgxpool.Pool{s.intake, s.line, s.desk, s.bank, s.audit, s.auditor} {
		if p != nil {
			p.Close()
		}
	}
}

// Statements counts the statements sent to the server since Open, by role;
// those of River's client count as "jobs".
func (s *Store) Statements() map[string]int64 { return s.counter.read() }

// Actor finds or makes the identifier of an actor. Kind is "operator" (a
// person), "api-key", "station" or "program".
func (s *Store) Actor(ctx context.Context, kind, name string) (uuid.UUID, error) {
	return one(ctx, s.audit, "finding an actor", pgx.RowTo[uuid.UUID], "SELECT actor_id($1, $2, $3)", NewID(), kind, name)
}

// dbError says what was being done. PostgreSQL's detail, which may quote
// values, is not part of its error text and never gets here.
func dbError(doing string, err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	return fmt.Errorf("database: %s: %w", doing, err)
}

// again reports whether a transaction failed for a reason that goes away by
// itself: a deadlock, a serialization failure, a lost race for a unique key.
func again(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "40P01" || pg.Code == "40001" || pg.Code == "23505"
	}
	return false
}

// lost reports whether the connection failed, so that nobody knows whether the
// statement was carried out.
func lost(err error) bool {
	var (
		pg      *pgconn.PgError
		network net.Error
		connect *pgconn.ConnectError
	)
	switch {
	case err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &pg):
		return strings.HasPrefix(pg.Code, "57P") || strings.HasPrefix(pg.Code, "08") // the server is going down or coming up
	case pgconn.SafeToRetry(err), errors.As(err, &network), errors.As(err, &connect):
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// attempts is how often a statement is sent, with growing pauses of about five
// seconds together: a server that restarts is back by then.
const attempts = 12

// repeat runs a statement that may safely be carried out twice, again when its
// answer was lost or it lost a race.
func repeat(ctx context.Context, f func() error) error {
	pause := 5 * time.Millisecond
	for i := 1; ; i++ {
		err := f()
		if i == attempts || ctx.Err() != nil || !lost(err) && !again(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Second)
	}
}

// list runs a question, again when its answer was lost, and scans each row.
func list[T any](ctx context.Context, pool *pgxpool.Pool, doing string, scan pgx.RowToFunc[T], sql string, args ...any) (out []T, err error) {
	err = repeat(ctx, func() error {
		rows, err := pool.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, scan)
		return err
	})
	if err != nil {
		return nil, dbError(doing, err)
	}
	return out, nil
}

// one is list for one row; no row is ErrNotFound.
func one[T any](ctx context.Context, pool *pgxpool.Pool, doing string, scan pgx.RowToFunc[T], sql string, args ...any) (T, error) {
	all, err := list(ctx, pool, doing, scan, sql, args...)
	if err == nil && len(all) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		var zero T
		return zero, err
	}
	return all[0], nil
}

// outcomeError is the error that the word of a function in the database means.
func outcomeError(word string) error {
	switch word {
	case "done":
		return nil
	case "not-found":
		return ErrNotFound
	case "stale":
		return ErrStale
	case "number-taken":
		return ErrCardNumberTaken
	case "wrong-state":
		return ErrWrongState
	case "two-people":
		return ErrTwoPeople
	case "fenced":
		return ErrFenced
	case "unlisted":
		return ErrUnlistedBlank
	case "no-order":
		return ErrNoOrder
	case "station-closed":
		return ErrStationClosed
	}
	return fmt.Errorf("database: unexpected answer %q", word)
}

// counter counts statements by role.
type counter struct{ intake, line, desk, bank, audit, auditor, jobs atomic.Int64 }

func (c *counter) of(role string) *atomic.Int64 {
	switch role {
	case "intake":
		return &c.intake
	case "line":
		return &c.line
	case "desk":
		return &c.desk
	case "bank":
		return &c.bank
	case "audit":
		return &c.audit
	case "auditor":
		return &c.auditor
	}
	return &c.jobs
}

func (c *counter) tracer(role string) pgx.QueryTracer { return tracer{c.of(role)} }

func (c *counter) read() map[string]int64 {
	m := map[string]int64{}
	for _, r := range []string{"intake", "line", "desk", "bank", "audit", "auditor", "jobs"} {
		m[r] = c.of(r).Load()
	}
	return m
}

// tracer implements pgx's query and batch tracers.
type tracer struct{ n *atomic.Int64 }

func (t tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	t.n.Add(1)
	return ctx
}
func (tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (t tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}
func (t tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) { t.n.Add(1) }
func (tracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)       {}
