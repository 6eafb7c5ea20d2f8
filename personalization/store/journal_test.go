package store

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// stepsOf lists what is written down of an attempt, "name event" in order.
func stepsOf(t *testing.T, url string, attempt uuid.UUID) []string {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `SELECT s.name || ' ' || s.event FROM `+schema+`.attempt_journal j,
		unnest(j.seq, j.name, j.event, j.status, j.at) AS s (seq, name, event, status, at) WHERE j.attempt_id = $1 ORDER BY s.seq`, attempt)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func steps(event Event, from, to int) (out []Step) {
	for n := from; n <= to; n++ {
		out = append(out, Step{Seq: n, Name: string(rune('a' + n - 1)), Event: event, At: time.Unix(int64(n), 0)})
	}
	return out
}

// TestJournalOverlaps: what was written before stays as it was, and nothing that is new
// is lost, however batches overlap.
func TestJournalOverlaps(t *testing.T) {
	b := newBench(t)
	b.blanks(1)
	b.released(1, 1)
	st := b.station()
	c := b.claim(st, 0)
	for _, batch := range [][]Step{
		steps(StepIntent, 3, 4),
		steps(StepIntent, 3, 4),                                 // its answer was lost
		steps(StepDone, 3, 5),                                   // begins as one before, and is longer
		steps(StepDone, 2, 3),                                   // ends in one before
		steps(StepFailed, 1, 7),                                 // around all of them
		steps(StepFailed, 4, 4),                                 // within
		append(steps(StepDone, 9, 9), steps(StepDone, 8, 8)...), // in no order
		nil,
	} {
		b.must(st.Journal(b.ctx, c.AttemptID, c.Fence, batch))
	}
	f := finish(c, OutcomeInDoubt)
	f.Steps = append(steps(StepFailed, 9, 9), steps(StepFailed, 10, 10)...)
	b.must(st.Finish(b.ctx, f))
	want := []string{"a failed", "b done", "c intent", "d intent", "e done", "f failed", "g failed", "h done", "i done", "j failed"}
	if got := stepsOf(t, cluster.url(superUser, databaseOf(t, b.url)), c.AttemptID); !slices.Equal(got, want) {
		t.Errorf("journal %q, want %q", got, want)
	}
	doubts, err := b.InDoubt(b.ctx)
	b.must(err)
	if len(doubts) != 1 || doubts[0].LastStep != "j failed" {
		t.Errorf("doubts: %+v", doubts)
	}
}

// TestJournalAgainAtOnce: a batch that is sent again while the first time is not
// committed yet waits for it, and is there once.
func TestJournalAgainAtOnce(t *testing.T) {
	b := newBench(t)
	b.blanks(1)
	b.released(1, 1)
	st := b.station()
	c := b.claim(st, 0)
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() { errs <- st.Journal(b.ctx, c.AttemptID, c.Fence, steps(StepIntent, 1, 4)) }()
	}
	for range cap(errs) {
		b.must(<-errs)
	}
	want := []string{"a intent", "b intent", "c intent", "d intent"}
	if got := stepsOf(t, cluster.url(superUser, databaseOf(t, b.url)), c.AttemptID); !slices.Equal(got, want) {
		t.Errorf("journal %q, want %q", got, want)
	}
}

func databaseOf(t *testing.T, url string) string {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return config.Database
}

// TestJournalConverted takes a journal of a row a step, as migration 26 leaves it, to
// one of a row a batch.
func TestJournalConverted(t *testing.T) {
	ctx := context.Background()
	admin(t, "CREATE DATABASE converted OWNER "+databaseUser)
	t.Cleanup(func() { admin(t, "DROP DATABASE converted WITH (FORCE)") })
	if err := migrateTo(ctx, cluster.url(databaseUser, "converted"), 26); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, cluster.url(superUser, "converted"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	one, two, none := NewID(), NewID(), NewID()
	run := func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(ctx, sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	run("SET search_path = " + schema)
	run("SET session_replication_role = replica") // what attempts refer to is of no matter here
	for n, id := range []uuid.UUID{one, two, none} {
		resumes := any(nil)
		if id == two {
			resumes = one
		}
		run(`INSERT INTO attempt (id, order_id, image_id, blank_id, session_id, reader, fence, resumes)
			VALUES ($1, gen_random_uuid(), gen_random_uuid(), $2, 1, '', $2, $3)`, id, n+1, resumes)
	}
	run("SET session_replication_role = origin")
	run(`INSERT INTO attempt_step (attempt_id, seq, name, event, status, at) VALUES
		($1, 10, 'j', 'failed', 27010, 'epoch'), ($1, 2, 'b', 'intent', 0, 'epoch'), ($2, 1, 'a', 'done', 36864, 'epoch'), ($1, 9, 'i', 'done', 36864, 'epoch')`, one, two)
	if err := Migrate(ctx, cluster.url(databaseUser, "converted")); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[uuid.UUID][]string{one: {"b intent", "i done", "j failed"}, two: {"a done"}, none: nil} {
		if got := stepsOf(t, cluster.url(superUser, "converted"), id); !slices.Equal(got, want) {
			t.Errorf("journal %q, want %q", got, want)
		}
	}
	rows, err := conn.Query(ctx, "SELECT seq, name, event, status, at FROM attempt_steps($1)", two)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Step])
	if err != nil || len(got) != 3 || got[2] != (Step{10, "j", StepFailed, 27010, got[2].At}) || got[2].At.Unix() != 0 {
		t.Errorf("what a resumed attempt reads: %+v, %v", got, err)
	}
	run("SELECT write_steps($1, '{10,11}', '{x,k}', '{done,done}', '{0,0}', '{now,now}')", one)
	if got := stepsOf(t, cluster.url(superUser, "converted"), one); !slices.Equal(got, []string{"b intent", "i done", "j failed", "k done"}) {
		t.Errorf("written after the conversion: %q", got)
	}
}
