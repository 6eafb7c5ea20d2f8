package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// JobOptions say how preparation runs.
type JobOptions struct {
	// Prepare makes and saves the image of one order. An error is tried again
	// later; ErrWrongState and ErrStale mean that nothing is left to do.
	Prepare func(ctx context.Context, orderID uuid.UUID) error
	Workers int // at once; 0: 2
	Actor   Actor
	Logger  *slog.Logger // nil: silent
}

// Jobs works preparation off in this process, with River. Jobs are what may be
// repeated; cards are not among them.
type Jobs struct {
	client  *river.Client[pgx.Tx]
	pool    *pgxpool.Pool
	session *session
}

// prepareArgs are a job's arguments: identifiers alone. accept_record and
// prepare_again insert the same in the database.
type prepareArgs struct {
	Order      uuid.UUID `json:"order"`
	Generation int       `json:"generation"`
}

// Kind is River's name of the job.
func (prepareArgs) Kind() string { return "prepare-image" }

type prepareWorker struct {
	river.WorkerDefaults[prepareArgs]
	prepare func(ctx context.Context, orderID uuid.UUID) error
	places  chan struct{} // as many as prepare at once
}

// waiting is how many jobs River takes from the queue for each that is worked on:
// asking for them one by one costs about as much as a card's other statements.
const waiting = 8

func (w *prepareWorker) Work(ctx context.Context, job *river.Job[prepareArgs]) error {
	select {
	case w.places <- struct{}{}:
		defer func() { <-w.places }()
	case <-ctx.Done():
		return river.JobSnooze(0) // its turn has not come: that is no attempt
	}
	err := w.prepare(ctx, job.Args.Order)
	if errors.Is(err, ErrWrongState) || errors.Is(err, ErrStale) {
		return nil
	}
	return err
}

// NextRetry: at once enough to ride out a restart of the key agent, slow
// enough not to press on something broken.
func (w *prepareWorker) NextRetry(job *river.Job[prepareArgs]) time.Time {
	pause := 250 * time.Millisecond << min(job.Attempt, 9)
	return time.Now().Add(min(pause, 2*time.Minute))
}

// StartJobs begins to work off preparation jobs, those that dead processes had
// taken with them, until [Jobs.Stop].
func (s *Store) StartJobs(ctx context.Context, o JobOptions) (*Jobs, error) {
	if o.Workers == 0 {
		o.Workers = 2
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	ss, err := s.openSession(ctx, "preparation", o.Actor)
	if err != nil {
		return nil, err
	}
	j := &Jobs{session: ss}
	if j.pool, err = s.jobsPool(ctx); err != nil {
		return nil, errors.Join(err, j.Stop(ctx))
	}
	if _, err := s.line.Exec(ctx, "SELECT rescue_jobs()"); err != nil {
		return nil, errors.Join(dbError("rescuing jobs", err), j.Stop(ctx))
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &prepareWorker{prepare: o.Prepare, places: make(chan struct{}, o.Workers)})
	id, err := ss.current(ctx)
	if err != nil {
		return nil, errors.Join(err, j.Stop(ctx))
	}
	j.client, err = river.NewClient(riverpgxv5.New(j.pool), &river.Config{
		ID:                  fmt.Sprintf("session-%d", id),
		Queues:              map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: waiting * o.Workers}},
		Workers:             workers,
		FetchCooldown:       100 * time.Millisecond,
		FetchPollInterval:   500 * time.Millisecond,
		JobTimeout:          2 * time.Minute,
		ReindexerIndexNames: []string{}, // takes the owner's rights
		Logger:              o.Logger,
		ErrorHandler:        quietErrors{o.Logger},
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the job queue: %w", err), j.Stop(ctx))
	}
	if err := j.client.Start(context.WithoutCancel(ctx)); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the job queue: %w", err), j.Stop(ctx))
	}
	return j, nil
}

func (s *Store) jobsPool(ctx context.Context) (*pgxpool.Pool, error) {
	c := s.line.Config().Copy()
	c.MaxConns = 8
	c.ConnConfig.Tracer = s.counter.tracer("jobs")
	c.ConnConfig.RuntimeParams["application_name"] = "cardbureau jobs"
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	return pool, nil
}

// Stop takes no new jobs and lets running ones finish until ctx ends; then it
// cancels them.
func (j *Jobs) Stop(ctx context.Context) error {
	var err error
	if j.client != nil {
		if err = j.client.Stop(ctx); err != nil {
			hard, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			err = j.client.StopAndCancel(hard)
		}
	}
	if j.pool != nil {
		j.pool.Close()
	}
	_, closed := j.session.close(context.WithoutCancel(ctx))
	return errors.Join(err, closed)
}

// quietErrors keeps errors of jobs in the log to one line each.
type quietErrors struct{ log *slog.Logger }

func (q quietErrors) HandleError(_ context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	q.log.Warn("preparation failed and is tried again", "job", job.ID, "attempt", job.Attempt, "error", err)
	return nil
}

func (q quietErrors) HandlePanic(_ context.Context, job *rivertype.JobRow, _ any, _ string) *river.ErrorHandlerResult {
	q.log.Error("preparation panicked and is tried again", "job", job.ID, "attempt", job.Attempt)
	return nil
}
