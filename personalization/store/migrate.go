package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// schema is where all tables are, River's with them, so that a server can be
// shared with other programs.
const schema = "cardbureau"

//go:embed migrations/*.sql
var migrationFiles embed.FS

// schemaVersion is the number of the newest migration.
var schemaVersion = sync.OnceValue(func() int64 {
	names, _ := fs.Glob(migrationFiles, "migrations/*.sql")
	var newest int64
	for _, n := range names {
		number, _, _ := strings.Cut(strings.TrimPrefix(n, "migrations/"), "_")
		if v, err := strconv.ParseInt(number, 10, 64); err == nil && v > newest {
			newest = v
		}
	}
	return newest
})

// migrateLock is the advisory lock that lets one process migrate at a time.
const migrateLock = 1667393074

// Migrate makes roles and schema and brings them to this program's version. It
// may run at every start and in several processes at once. Migrations only go
// forward. The address's user must own the database, or be allowed to create
// schemas in it, and be allowed to create roles where they are not there yet.
func Migrate(ctx context.Context, url string) error { return migrateTo(ctx, url, math.MaxInt64) }

// migrateTo is Migrate as far as a version.
func migrateTo(ctx context.Context, url string, version int64) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return errors.New("the database's address cannot be understood (postgres://user@host/database)")
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connecting to the database: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(migrateLock)); err != nil {
		return dbError("waiting for another migration", err)
	}
	if err := makeRoles(ctx, conn); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+schema+" AUTHORIZATION "+roleOwner); err != nil {
		return dbError("making the schema", err)
	}

	pool, err := pgxpool.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("connecting to the database: %w", err)
	}
	pool.MaxConns = 2
	pool.ConnConfig.RuntimeParams["role"] = roleOwner
	pool.ConnConfig.RuntimeParams["search_path"] = schema
	owner, err := pgxpool.NewWithConfig(ctx, pool)
	if err != nil {
		return fmt.Errorf("connecting to the database: %w", err)
	}
	defer owner.Close()
	river, err := rivermigrate.New(riverpgxv5.New(owner), nil)
	if err != nil {
		return fmt.Errorf("migrating the job queue: %w", err)
	}
	if _, err := river.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrating the job queue: %w", err)
	}
	return migrateSchema(ctx, stdlib.OpenDBFromPool(owner), version)
}

func migrateSchema(ctx context.Context, db *sql.DB, version int64) error {
	defer db.Close()
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	if _, err := provider.UpTo(ctx, version); err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	return nil
}

// makeRoles makes the roles that are missing and lets the address's user take
// them on.
func makeRoles(ctx context.Context, conn *pgx.Conn) error {
	for _, role := range roles {
		var exists, member bool
		err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role).Scan(&exists)
		if err != nil {
			return dbError("looking for roles", err)
		}
		if !exists {
			if _, err := conn.Exec(ctx, "CREATE ROLE "+role+" NOLOGIN"); err != nil {
				return dbError("making role "+role+" (the address's user needs CREATEROLE, or somebody makes the roles beforehand)", err)
			}
		}
		if err := conn.QueryRow(ctx, "SELECT pg_has_role(current_user, $1, 'USAGE')", role).Scan(&member); err != nil {
			return dbError("looking for roles", err)
		}
		if !member {
			if _, err := conn.Exec(ctx, "GRANT "+role+" TO CURRENT_USER"); err != nil {
				return dbError("taking on role "+role, err)
			}
		}
	}
	return nil
}
