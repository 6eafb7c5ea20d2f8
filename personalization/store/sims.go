package store

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Errors of SIMs whose keys the bureau has.
var (
	ErrBatchDiffers = errors.New("a file of this batch with other content was taken in before")
	ErrSIMKnown     = errors.New("a SIM of the file is known from another batch, or stands in it twice")
)

// SIMBatch is a vendor's file.
type SIMBatch struct {
	ID     uuid.UUID // NewID()
	Name   string    // the vendor's own, unique
	Digest []byte    // SHA-256 of the file
	SIMs   int
}

// SIMKey is a SIM whose key the bureau has.
type SIMKey struct {
	ID       uuid.UUID // NewID()
	ICCIDRef []byte    // 32 bytes
	Batch    string    // of the batch that it came with
	Sealed   []byte    // the keys, under a key of the token, bound to ICCID and batch
}

// simsAtOnce is how many SIMs go to the database in one statement.
const simsAtOnce = 500

// ImportSIMs takes a batch in, whole or not at all: an error of sims, or another
// number of them than the batch says, leaves nothing behind. already says that the
// same file was taken in before; sims is then not read. [ErrBatchDiffers],
// [ErrSIMKnown].
func (s *Store) ImportSIMs(ctx context.Context, b SIMBatch, sims iter.Seq2[SIMKey, error], a Actor) (already bool, err error) {
	err = pgx.BeginFunc(ctx, s.desk, func(tx pgx.Tx) error {
		var word string
		if err := tx.QueryRow(ctx, "SELECT add_sim_batch($1, $2, $3, $4, $5, $6)", b.ID, b.Name, b.Digest, b.SIMs, a.ID, a.Through).Scan(&word); err != nil {
			return dbError("taking a SIM batch in", err)
		}
		switch word {
		case "already":
			already = true
			return nil
		case "differs":
			return ErrBatchDiffers
		}
		n, err := addSIMs(ctx, tx, b.ID, sims)
		if err == nil && n != b.SIMs {
			err = fmt.Errorf("%w: the batch has %d SIMs and says %d", ErrSIMKnown, n, b.SIMs)
		}
		return err
	})
	return already, err
}

func addSIMs(ctx context.Context, tx pgx.Tx, batch uuid.UUID, sims iter.Seq2[SIMKey, error]) (n int, err error) {
	var ids []uuid.UUID
	var refs, sealed [][]byte
	flush := func() error {
		var added int
		if err := tx.QueryRow(ctx, "SELECT add_sims($1, $2, $3, $4)", batch, ids, refs, sealed).Scan(&added); err != nil {
			return dbError("storing SIMs", err)
		}
		if added != len(ids) {
			return ErrSIMKnown
		}
		n += added
		ids, refs, sealed = ids[:0], refs[:0], sealed[:0]
		return nil
	}
	for k, err := range sims {
		if err != nil {
			return n, err
		}
		ids, refs, sealed = append(ids, k.ID), append(refs, k.ICCIDRef), append(sealed, k.Sealed)
		if len(ids) == simsAtOnce {
			if err := flush(); err != nil {
				return n, err
			}
		}
	}
	if len(ids) == 0 {
		return n, nil
	}
	return n, flush()
}

const simSQL = "SELECT id, batch, sealed, sqn FROM lock_sim($1)"

// SIMKeyOf reads a SIM's sealed keys; [ErrNotFound].
func (s *Store) SIMKeyOf(ctx context.Context, iccidRef []byte) (SIMKey, error) {
	scan := func(row pgx.CollectableRow) (k SIMKey, err error) {
		var last int64
		k.ICCIDRef = iccidRef
		err = row.Scan(&k.ID, &k.Batch, &k.Sealed, &last)
		return k, err
	}
	return one(ctx, s.desk, "reading a SIM's keys", scan, simSQL, iccidRef)
}

// NextSQN takes a SIM's next sequence number: none is given twice. next makes it of
// the last one given, and may use the SIM's sealed keys; when it fails, none is
// taken. [ErrNotFound].
func (s *Store) NextSQN(ctx context.Context, iccidRef []byte, next func(k SIMKey, last uint64) (uint64, error)) (k SIMKey, sqn uint64, err error) {
	err = pgx.BeginFunc(ctx, s.desk, func(tx pgx.Tx) error {
		var last int64
		k.ICCIDRef = iccidRef
		if err := tx.QueryRow(ctx, simSQL, iccidRef).Scan(&k.ID, &k.Batch, &k.Sealed, &last); err != nil {
			return dbError("reading a SIM's sequence number", err)
		}
		if sqn, err = next(k, uint64(last)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SELECT set_sqn($1, $2)", k.ID, int64(sqn)); err != nil {
			return dbError("noting a SIM's sequence number", err)
		}
		return nil
	})
	return k, sqn, err
}
