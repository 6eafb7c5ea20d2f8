package gp

import (
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
)

// DGI is one data grouping: a 2-byte identifier and at most 65,535 bytes
// (GPC_SPE_034 11.11.2.3 with the EMV Card Personalization Specification
// 2.0).
type DGI struct {
	ID    uint16
	Value []byte
}

// StoreDataOptions say how a sequence of STORE DATA is built.
type StoreDataOptions struct {
	// Enciphered says that each value is enciphered under the DEK (P1 b7 b6 =
	// 11): a whole number of 16-byte blocks.
	Enciphered bool
	// MaxData is the number of data bytes a block carries, 1 to 255; see
	// MaxPlainData.
	MaxData int
}

// maxBlocks is what the block number, P2 from 00 to FF, can count.
const maxBlocks = 256

// ErrTooLong marks data that one STORE DATA sequence cannot carry.
var ErrTooLong = errors.New("too much data for one STORE DATA sequence")

// AppendDGI appends a data grouping: identifier, length in one byte or as FF
// and two, value. The value must not exceed 65,535 bytes.
func AppendDGI(dst []byte, d DGI) []byte {
	dst = append(dst, byte(d.ID>>8), byte(d.ID))
	if n := len(d.Value); n < 0xFF {
		dst = append(dst, byte(n))
	} else {
		dst = append(dst, 0xFF, byte(n>>8), byte(n))
	}
	return append(dst, d.Value...)
}

// StoreData packs data groupings as one stream into STORE DATA commands
// (GPC_SPE_034 11.11): P1 says DGI format, encipherment and, on the last one,
// the end; P2 counts from 00. A grouping may cross from one block into the
// next. One sequence carries at most 256 blocks: ErrTooLong beyond that.
func StoreData(dgis []DGI, o StoreDataOptions) ([]apdu.Command, error) {
	if len(dgis) == 0 {
		return nil, errors.New("gp: a STORE DATA sequence of nothing")
	}
	if o.MaxData < 1 || o.MaxData > apdu.MaxShortData {
		return nil, fmt.Errorf("gp: STORE DATA blocks of %d bytes", o.MaxData)
	}
	size := 0
	for _, d := range dgis {
		size += len(d.Value) + 5
	}
	stream := make([]byte, 0, size)
	for _, d := range dgis {
		if len(d.Value) > 0xFFFF {
			return nil, fmt.Errorf("%w: DGI %04X has %d bytes", ErrTooLong, d.ID, len(d.Value))
		}
		if o.Enciphered && len(d.Value)%blockSize != 0 {
			return nil, fmt.Errorf("gp: enciphered DGI %04X has %d bytes, no whole number of AES blocks", d.ID, len(d.Value))
		}
		stream = AppendDGI(stream, d)
	}
	n := (len(stream) + o.MaxData - 1) / o.MaxData
	if n > maxBlocks {
		return nil, fmt.Errorf("%w: %d bytes take %d blocks of %d", ErrTooLong, len(stream), n, o.MaxData)
	}
	const (
		lastBlock  = 0x80
		enciphered = 0x60
		dgiFormat  = 0x08
	)
	p1 := byte(dgiFormat)
	if o.Enciphered {
		p1 |= enciphered
	}
	out := make([]apdu.Command, n)
	for i := range out {
		end := min((i+1)*o.MaxData, len(stream))
		out[i] = apdu.Command{CLA: 0x80, INS: 0xE2, P1: p1, P2: byte(i), Data: stream[i*o.MaxData : end : end]}
	}
	out[n-1].P1 |= lastBlock
	return out, nil
}
