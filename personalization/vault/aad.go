package vault

import (
	"encoding/binary"

	"github.com/google/uuid"
)

// AAD is what a sealed column is bound to: the additional data of AES-GCM. A
// value that is moved to another table, column, row, person or version does
// not open. Strings are preceded by their length, so that no two inputs give
// the same bytes.
func AAD(table, column string, row, person uuid.UUID, version int) []byte {
	out := make([]byte, 0, 2+len(table)+len(column)+16+16+8)
	out = append(out, byte(len(table)))
	out = append(out, table...)
	out = append(out, byte(len(column)))
	out = append(out, column...)
	out = append(out, row[:]...)
	out = append(out, person[:]...)
	return binary.BigEndian.AppendUint64(out, uint64(version))
}
