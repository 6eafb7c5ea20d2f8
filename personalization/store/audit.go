package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// AuditReport is what verifying the chain found.
type AuditReport struct {
	Rows int64  // rows in the chain
	Head []byte // 32 bytes, digest of the last row: written down elsewhere it proves later that nothing before was changed
}

// ErrAuditBroken says where the audit chain does not hold.
type ErrAuditBroken struct {
	Position int64 // in the chain, counted from 1
	Problem  string
}

func (e *ErrAuditBroken) Error() string {
	return fmt.Sprintf("the audit chain is broken at row %d: %s", e.Position, e.Problem)
}

// Audit appends a row that no other method writes: something was done outside
// the database. Subject and reason hold identifiers and stable codes only.
func (s *Store) Audit(ctx context.Context, a Actor, action, subject, reason string) error {
	if _, err := s.audit.Exec(ctx, "SELECT audit_append($1, $2, $3, $4, $5)", a.ID, a.Through, action, subject, reason); err != nil {
		return dbError("writing the audit", err)
	}
	return nil
}

// auditSeed is what the first row is chained to.
const auditSeed = "cardbureau audit 1"

// AuditVerify recomputes the whole chain: SHA-256 of the digest before, then
// position and row number (8 bytes each), time in microseconds since 1970
// (8), actor (16), and through, action, subject and reason, each with its
// length (4). Numbers are big endian. It reads one consistent state and
// answers [*ErrAuditBroken] at the first row that does not fit.
func (s *Store) AuditVerify(ctx context.Context) (AuditReport, error) {
	var report AuditReport
	err := pgx.BeginTxFunc(ctx, s.auditor, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		report, err = verifyChain(ctx, tx)
		return err
	})
	return report, err
}

func verifyChain(ctx context.Context, tx pgx.Tx) (AuditReport, error) {
	rows, err := tx.Query(ctx, `SELECT l.position, l.hash, a.id, a.at, a.actor, a.through, a.action, a.subject, a.reason
		FROM audit_link l LEFT JOIN audit a ON a.id = l.audit_id ORDER BY l.position`)
	if err != nil {
		return AuditReport{}, dbError("reading the audit", err)
	}
	defer rows.Close()
	seed := sha256.Sum256([]byte(auditSeed))
	report := AuditReport{Head: seed[:]}
	var row auditRow
	for rows.Next() {
		var hash []byte
		err := rows.Scan(&row.position, &hash, &row.id, &row.at, &row.actor, &row.through, &row.action, &row.subject, &row.reason)
		report.Rows++
		switch {
		case err != nil:
			return report, &ErrAuditBroken{Position: report.Rows, Problem: "the row it stands for is gone"}
		case row.position != report.Rows:
			return report, &ErrAuditBroken{Position: report.Rows, Problem: "a row is missing"}
		}
		report.Head = row.hash(report.Head)
		if !bytes.Equal(report.Head, hash) {
			return report, &ErrAuditBroken{Position: report.Rows, Problem: "the row was changed"}
		}
	}
	if err := rows.Err(); err != nil {
		return report, dbError("reading the audit", err)
	}
	var (
		position, unchained int64
		head                []byte
	)
	err = tx.QueryRow(ctx, "SELECT position, hash, (SELECT count(*) FROM audit) FROM audit_head").Scan(&position, &head, &unchained)
	if err != nil {
		return report, dbError("reading the audit", err)
	}
	if position != report.Rows || !bytes.Equal(head, report.Head) {
		return report, &ErrAuditBroken{Position: report.Rows + 1, Problem: "rows at the end are missing"}
	}
	if unchained != report.Rows {
		return report, &ErrAuditBroken{Position: report.Rows + 1, Problem: "there are rows outside the chain"}
	}
	return report, nil
}

type auditRow struct {
	position, id                     int64
	at                               time.Time
	actor                            uuid.UUID
	through, action, subject, reason string
}

func (r *auditRow) hash(before []byte) []byte {
	b := append([]byte{}, before...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.position))
	b = binary.BigEndian.AppendUint64(b, uint64(r.id))
	b = binary.BigEndian.AppendUint64(b, uint64(r.at.UnixMicro()))
	b = append(b, r.actor[:]...)
	for _, f := range []string{r.through, r.action, r.subject, r.reason} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	sum := sha256.Sum256(b)
	return sum[:]
}
