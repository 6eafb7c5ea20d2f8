package vault

import (
	"encoding/binary"

	"github.com/google/uuid"
)

// AAD is what a sealed column is bound to: table, column, row, person and
// version. A value that is moved to another row, column or person, or put back
// from an older version, does not open. Every part is preceded by its length
// or has a fixed one.
func AAD(table, column string, row, person uuid.UUID, version int) []byte {
	out := make([]byte, 0, 64)
	for _, s := range []string{"cardbureau sealed 1", table, column} {
		out = binary.BigEndian.AppendUint16(out, uint16(len(s)))
		out = append(out, s...)
	}
	out = append(out, row[:]...)
	out = append(out, person[:]...)
	return binary.BigEndian.AppendUint32(out, uint32(version))
}
