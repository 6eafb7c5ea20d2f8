package lds

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
)

// A record file is an elementary file that is written while the card is in use. It
// has places of PlaceSize bytes, one record each: a discretionary data object (tag
// 53, ISO/IEC 7816-4:2020 clause 11.3.3) with a length of three bytes, or zeros where
// nothing is written. A record stays in its place, so that writing one touches no
// other; their order means nothing. A file of one place is one of an older card.
const (
	// PlaceSize is the size of a place in bytes.
	PlaceSize    = 1024
	recordHeader = 4
	recordTag    = 0x53
	recordLength = 0x82 // two bytes of length follow
	updateBlock  = 192  // fits a short command with any secure messaging
	maxPlaces    = (maxOffset + 1) / PlaceSize
)

// MaxRecord is the longest record in bytes.
const MaxRecord = PlaceSize - recordHeader

// ErrNoPlace says that a record file has fewer places than there are records for it.
var ErrNoPlace = errors.New("lds: the card's file has too few places")

// Place is one place of a record file.
type Place struct {
	Record []byte // nil: none
	// Broken: the header is none that is ever written whole, as a card may leave it
	// that lost its power while it was changed. The place counts as free.
	Broken bool
}

// placeLength is the length of the record that a header stands before; 0: none.
func placeLength(h []byte) (n int, broken bool) {
	if bytes.Equal(h, make([]byte, recordHeader)) {
		return 0, false
	}
	if len(h) != recordHeader || h[0] != recordTag || h[1] != recordLength {
		return 0, true
	}
	n = int(h[2])<<8 | int(h[3])
	if n == 0 || n > MaxRecord {
		return 0, true
	}
	return n, false
}

// ParseRecords takes the content of a whole record file apart. Errors match
// ErrMalformed.
func ParseRecords(file []byte) ([]Place, error) {
	if len(file) == 0 || len(file)%PlaceSize != 0 || len(file)/PlaceSize > maxPlaces {
		return nil, fmt.Errorf("%w: a record file of %d bytes", ErrMalformed, len(file))
	}
	var out []Place
	for ; len(file) > 0; file = file[PlaceSize:] {
		n, broken := placeLength(file[:recordHeader])
		p := Place{Broken: broken}
		if n > 0 {
			p.Record = file[recordHeader : recordHeader+n]
		}
		out = append(out, p)
	}
	return out, nil
}

// ReadRecords reads a record file: its places, as many as the card has, which refuses
// to read past the end.
func ReadRecords(ctx context.Context, card apdu.Card, fid uint16) ([]Place, error) {
	f := recordFile{card, fid}
	if err := f.choose(ctx); err != nil {
		return nil, err
	}
	var out []Place
	for len(out) < maxPlaces {
		h, err := f.read(ctx, len(out)*PlaceSize, recordHeader)
		if errors.Is(err, apdu.SWWrongP1P2) || errors.Is(err, apdu.SWEndOfFile) {
			break
		}
		if err != nil {
			return nil, err
		}
		n, broken := placeLength(h)
		p := Place{Broken: broken}
		if n > 0 {
			if p.Record, err = f.read(ctx, len(out)*PlaceSize+recordHeader, n); err != nil {
				return nil, err
			}
		}
		out = append(out, p)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: file %04X has no place", ErrMalformed, fid)
	}
	return out, nil
}

// KeepRecords makes a record file hold want and nothing else, reads it back, and says
// how many places it has. Records that are there already stay untouched, new ones go
// to free places first; only then are others dropped, or before where no place is
// free. Cut off at any command, it leaves each record that was there and is wanted,
// and no half one; it may be repeated. [ErrNoPlace], and then nothing was written.
func KeepRecords(ctx context.Context, card apdu.Card, fid uint16, want [][]byte) (places int, err error) {
	now, err := ReadRecords(ctx, card, fid)
	if err != nil {
		return 0, err
	}
	places = len(now)
	if len(want) > places {
		return places, fmt.Errorf("%w: file %04X has %d, and there are %d records", ErrNoPlace, fid, places, len(want))
	}
	for _, w := range want {
		if len(w) == 0 || len(w) > MaxRecord {
			return places, fmt.Errorf("lds: a record of %d bytes does not fit file %04X, whose places take 1 to %d", len(w), fid, MaxRecord)
		}
	}
	free, drop, missing := sortPlaces(now, want)
	f := recordFile{card, fid}
	for i, w := range missing {
		place := append(free, drop...)[i]
		if err := f.put(ctx, place, w, now[place].Record != nil || now[place].Broken); err != nil {
			return places, err
		}
	}
	for _, place := range drop[max(0, len(missing)-len(free)):] {
		if err := f.clear(ctx, place); err != nil {
			return places, err
		}
	}
	again, err := ReadRecords(ctx, card, fid)
	if err != nil {
		return places, err
	}
	if free, drop, missing := sortPlaces(again, want); len(missing) > 0 || len(drop) > 0 || len(free)+len(want) != places {
		return places, fmt.Errorf("%w: file %04X does not hold what was written", ErrMalformed, fid)
	}
	return places, nil
}

// sortPlaces says which places are free, which hold what is not wanted (or the same
// record again, or nothing that can be read), and which records are in none.
func sortPlaces(now []Place, want [][]byte) (free, drop []int, missing [][]byte) {
	held := make([]bool, len(want))
	for at, p := range now {
		wanted := false
		for i, w := range want {
			if !held[i] && p.Record != nil && bytes.Equal(p.Record, w) {
				held[i], wanted = true, true
				break
			}
		}
		switch {
		case p.Record == nil && !p.Broken:
			free = append(free, at)
		case !wanted:
			drop = append(drop, at)
		}
	}
	for i, w := range want {
		if !held[i] {
			missing = append(missing, w)
		}
	}
	return free, drop, missing
}

// recordFile is a record file that is the current one, by READ and UPDATE BINARY.
type recordFile struct {
	card apdu.Card
	fid  uint16
}

func (f recordFile) choose(ctx context.Context) error {
	_, err := apdu.Must(ctx, f.card, selectFile(f.fid))
	return f.failed(err)
}

func (f recordFile) failed(err error) error {
	if err != nil {
		return &FileError{File: f.fid, Err: err}
	}
	return nil
}

func (f recordFile) read(ctx context.Context, offset, n int) ([]byte, error) {
	var out []byte
	for len(out) < n {
		at := offset + len(out)
		b, err := apdu.Must(ctx, f.card, apdu.Command{INS: 0xB0, P1: byte(at >> 8), P2: byte(at), Ne: min(updateBlock, n-len(out))})
		if err == nil && len(b) == 0 {
			err = short(len(out), n)
		}
		if err != nil {
			return nil, f.failed(err)
		}
		out = append(out, b...)
	}
	return out[:n], nil
}

func (f recordFile) update(ctx context.Context, offset int, data []byte) error {
	_, err := apdu.Must(ctx, f.card, apdu.Command{INS: 0xD6, P1: byte(offset >> 8), P2: byte(offset), Data: data})
	return f.failed(err)
}

func (f recordFile) clear(ctx context.Context, place int) error {
	return f.update(ctx, place*PlaceSize, make([]byte, recordHeader))
}

// put writes a record into a place: the header is set last, and cleared first where
// one is there, so that a write that is cut off leaves the place empty.
func (f recordFile) put(ctx context.Context, place int, record []byte, clear bool) error {
	if clear {
		if err := f.clear(ctx, place); err != nil {
			return err
		}
	}
	at := place * PlaceSize
	for done := 0; done < len(record); done += updateBlock {
		if err := f.update(ctx, at+recordHeader+done, record[done:min(done+updateBlock, len(record))]); err != nil {
			return err
		}
	}
	return f.update(ctx, at, []byte{recordTag, recordLength, byte(len(record) >> 8), byte(len(record))})
}
