package lds

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
)

// SignatureSize is the length of a holder's signature: r ‖ s on P-256.
const SignatureSize = 64

// Sign has the chip sign a SHA-256 with one of the holder's keys: MANAGE SECURITY
// ENVIRONMENT: SET with the key's reference, then PERFORM SECURITY OPERATION:
// COMPUTE DIGITAL SIGNATURE (ISO/IEC 7816-8:2021 clauses 5.4.2 and 5.2). The PIN must
// have been verified since the last signature. It belongs inside secure messaging.
// The answer is r ‖ s.
func Sign(ctx context.Context, card apdu.Card, reference byte, hash []byte) ([]byte, error) {
	if len(hash) != sha256.Size {
		return nil, fmt.Errorf("lds: a hash of %d bytes cannot be signed, it has %d", len(hash), sha256.Size)
	}
	set := apdu.Command{INS: 0x22, P1: 0x41, P2: 0xB6, Data: []byte{0x84, 0x01, reference}}
	if _, err := apdu.Must(ctx, card, set); err != nil {
		return nil, fmt.Errorf("the holder's key %02X: %w", reference, err)
	}
	signature, err := apdu.Must(ctx, card, apdu.Command{INS: 0x2A, P1: 0x9E, P2: 0x9A, Data: hash, Ne: apdu.MaxShortNe})
	if err != nil {
		return nil, fmt.Errorf("a signature with the holder's key %02X: %w", reference, err)
	}
	if len(signature) != SignatureSize {
		return nil, fmt.Errorf("%w: a signature of %d bytes", ErrMalformed, len(signature))
	}
	return signature, nil
}

// A record file is an elementary file that is written while the card is in use: a
// discretionary data object (tag 53, ISO/IEC 7816-4:2020 clause 11.3.3) with a
// length of three bytes, and zeros where nothing is written.
const (
	recordHeader = 4
	recordTag    = 0x53
	recordLength = 0x82 // two bytes of length follow
	updateBlock  = 192  // fits a short command with any secure messaging
)

// MaxRecord is the longest content of a record file in bytes: it has 1024.
const MaxRecord = 1024 - recordHeader

// ErrNoRecord says that a record file is empty.
var ErrNoRecord = errors.New("lds: nothing is written in the file")

// ReadRecordFile reads a record file; [ErrNoRecord] where nothing is written, also
// after a write that was cut off.
func ReadRecordFile(ctx context.Context, card apdu.Card, fid uint16) ([]byte, error) {
	head, err := Reader{Card: card}.Files(ctx, File{ID: fid, Size: recordHeader})
	if err != nil {
		return nil, err
	}
	h := head[0]
	if len(h) == recordHeader && h[0] == 0 {
		return nil, ErrNoRecord
	}
	if len(h) != recordHeader || h[0] != recordTag || h[1] != recordLength {
		return nil, fmt.Errorf("%w: file %04X", ErrMalformed, fid)
	}
	n := int(h[2])<<8 | int(h[3])
	if n == 0 || n > MaxRecord {
		return nil, fmt.Errorf("%w: file %04X says that it has %d bytes", ErrMalformed, fid, n)
	}
	whole, err := Reader{Card: card}.Files(ctx, File{ID: fid, Size: recordHeader + n})
	if err != nil {
		return nil, err
	}
	return whole[0][recordHeader:], nil
}

// WriteRecordFile writes a record file with UPDATE BINARY: the header is cleared
// first and set last, so that a write that is cut off leaves an empty file and never
// half a record. It may be repeated.
func WriteRecordFile(ctx context.Context, card apdu.Card, fid uint16, content []byte) error {
	if len(content) == 0 || len(content) > MaxRecord {
		return fmt.Errorf("lds: %d bytes do not fit file %04X, which takes 1 to %d", len(content), fid, MaxRecord)
	}
	if _, err := apdu.Must(ctx, card, selectFile(fid)); err != nil {
		return &FileError{File: fid, Err: err}
	}
	put := func(offset int, data []byte) error {
		_, err := apdu.Must(ctx, card, apdu.Command{INS: 0xD6, P1: byte(offset >> 8), P2: byte(offset), Data: data})
		if err != nil {
			return &FileError{File: fid, Err: err}
		}
		return nil
	}
	if err := put(0, make([]byte, recordHeader)); err != nil {
		return err
	}
	for at := 0; at < len(content); at += updateBlock {
		if err := put(recordHeader+at, content[at:min(at+updateBlock, len(content))]); err != nil {
			return err
		}
	}
	return put(0, []byte{recordTag, recordLength, byte(len(content) >> 8), byte(len(content))})
}
