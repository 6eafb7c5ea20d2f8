package lds

import (
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// maxFile is more than any chip holds; a header that says more is a lie.
const maxFile = 1 << 20

// Limits of Reader.Block: room for the header of an odd READ BINARY's answer,
// and for secure messaging in an extended one.
const (
	minBlock = 16
	maxBlock = apdu.MaxExtendedNe - 64
)

// maxOffset is the greatest offset of READ BINARY with even INS.
const maxOffset = 0x7FFF

// File names an elementary file to read and, where it is known, its size in
// bytes. A file of known size is read without looking at its header first.
type File struct {
	ID   uint16
	Size int // 0: the file's own header says
}

// Reader reads transparent files over a card, plain or within secure
// messaging. Block is the number of bytes asked for by one READ BINARY; 0 is
// the most that a short answer carries (see SecureMessaging.MaxRead), more than
// that is asked for with extended length, which not every chip and reader
// takes. A chip that gives fewer bytes than it was asked for is asked for no
// more than that from then on.
type Reader struct {
	Card  apdu.Card
	Block int
	// AvoidLe00 never asks for 256 bytes in short length, whose Le = 00 some
	// chips take for zero.
	AvoidLe00 bool
}

// SelectApplication selects the LDS1 eMRTD application (9303-10 section 4.1).
func SelectApplication(ctx context.Context, card apdu.Card) error {
	if _, err := apdu.Must(ctx, card, selectApplication()); err != nil {
		return fmt.Errorf("the eMRTD application: %w", err)
	}
	return nil
}

// EnterApplication selects the application inside secure messaging, after PACE. A
// chip of one application may not know that command there: then its EF.COM is
// there to be selected. What the chip said to SELECT is the error otherwise.
func EnterApplication(ctx context.Context, session apdu.Card) error {
	err := SelectApplication(ctx, session)
	var sw apdu.StatusWord
	if !errors.As(err, &sw) {
		return err
	}
	if _, other := apdu.Must(ctx, session, selectFile(FileCOM)); other != nil {
		return err
	}
	return nil
}

// ReadFile reads one file whose size is in its header, as all files of the
// LDS are: one exchange, and a second one where the file is longer than a
// block.
func ReadFile(ctx context.Context, card apdu.Card, fid uint16) ([]byte, error) {
	out, err := Reader{Card: card}.Files(ctx, File{ID: fid})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// Files reads files in one exchange where all sizes are known or within one
// block, and in a second one for what is longer. On an error it returns what
// was read before the file that the *FileError names.
func (r Reader) Files(ctx context.Context, files ...File) ([][]byte, error) {
	out, err := r.files(ctx, files, r.block())
	if errors.Is(err, apdu.SWWrongLength) || errors.Is(err, apdu.SWWrongP1P2) {
		// Some chips refuse to read past the end of a file: learn the size
		// from the header alone.
		var more [][]byte
		more, err = r.files(ctx, files[len(out):], 4)
		out = append(out, more...)
	}
	return out, err
}

// files reads the first bytes of files whose size is not known, probe of
// them, together with all of those whose size is; then the rest, as often as
// the chip gave fewer bytes than it was asked for.
func (r Reader) files(ctx context.Context, files []File, probe int) ([][]byte, error) {
	wants := make([]want, len(files))
	for i, f := range files {
		wants[i] = want{f.ID, 0, f.Size}
		if f.Size == 0 {
			wants[i].to = probe
		}
		if f.Size < 0 || f.Size > maxFile {
			return nil, &FileError{f.ID, fmt.Errorf("a size of %d bytes", f.Size)}
		}
	}
	sizes := make([]int, len(files))
	out, shorts, failed := r.pass(ctx, wants)
	for i := range out {
		var err error
		if sizes[i] = files[i].Size; sizes[i] == 0 {
			sizes[i], err = sizeOf(out[i])
		}
		if err != nil {
			out, failed = out[:i], &FileError{files[i].ID, err}
			break
		}
		out[i] = out[i][:min(sizes[i], len(out[i]))]
	}
	for {
		var rest []want
		var owner []int // of each want in rest
		for i := range out {
			if sizes[i] == len(out[i]) {
				continue
			}
			if shorts[i] > 0 && shorts[i] < minBlock || len(out[i]) == 0 {
				out, failed = out[:i], &FileError{files[i].ID, short(len(out[i]), sizes[i])}
				break
			}
			if shorts[i] > 0 {
				r.Block = min(r.block(), shorts[i])
			}
			rest, owner = append(rest, want{files[i].ID, len(out[i]), sizes[i]}), append(owner, i)
		}
		if len(rest) == 0 {
			return out, failed
		}
		tails, again, err := r.pass(ctx, rest)
		for j, tail := range tails {
			i := owner[j]
			if len(tail) == 0 {
				return out[:i], &FileError{files[i].ID, short(len(out[i]), sizes[i])}
			}
			out[i] = append(out[i], tail...)
			shorts[i] = again[j]
		}
		if err != nil {
			out, failed = out[:owner[len(tails)]], err
		}
	}
}

// sizeOf reads a file's size off its header.
func sizeOf(data []byte) (int, error) {
	_, n, size, err := tlv.Header(data)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrMalformed, err)
	case n > maxFile:
		return 0, fmt.Errorf("%w: the header says %d bytes", ErrMalformed, n)
	case len(data) < 4 && size+n > len(data):
		return 0, short(len(data), size+n)
	}
	return size + n, nil
}

func short(got, due int) error {
	return fmt.Errorf("%w: %d bytes came, %d are due", ErrMalformed, got, due)
}

// want is a range of bytes of a file.
type want struct {
	file     uint16
	from, to int
}

// pass reads ranges in one exchange. It returns the data of those before the
// first that failed, which the *FileError names. A range ends early where the
// chip gave fewer bytes than it was asked for; shorts says how many then, and
// is zero elsewhere.
func (r Reader) pass(ctx context.Context, wants []want) (data [][]byte, shorts []int, err error) {
	block := r.block()
	var commands []apdu.Command
	var owner []int // of each command
	sm, secure := r.Card.(*SecureMessaging)
	add := func(i int, c apdu.Command) {
		c.Extended = secure && c.Ne > sm.MaxRead()
		commands, owner = append(commands, c), append(owner, i)
	}
	for i, w := range wants {
		add(i, selectFile(w.file))
		for at := w.from; at < w.to; {
			n := min(block, w.to-at)
			if r.AvoidLe00 && n == apdu.MaxShortNe {
				n--
			}
			var c apdu.Command
			c, n = readBinary(at, n, block)
			add(i, c)
			at += n
		}
	}
	answers, err := r.exchange(ctx, commands)
	out := make([][]byte, len(wants))
	shorts, ended := make([]int, len(wants)), make([]bool, len(wants))
	var stop *apdu.ExchangeError
	if errors.As(err, &stop) {
		err = stop.Err
		answers = answers[:min(stop.Index, len(answers))]
	}
	for k, answer := range answers {
		data := answer.Data
		switch commands[k].INS {
		case 0xA4:
			continue
		case 0xB1:
			var ok bool
			if data, ok = tlv.Find(data, 0x53); !ok {
				return out[:owner[k]], shorts, &FileError{wants[owner[k]].file, fmt.Errorf("%w: the answer lacks data object 53", ErrMalformed)}
			}
		}
		i := owner[k]
		if ended[i] {
			continue // it does not follow what came
		}
		out[i] = append(out[i], data...)
		if commands[k].INS == 0xB0 && len(data) < commands[k].Ne && len(out[i]) < wants[i].to-wants[i].from {
			ended[i], shorts[i] = true, len(data)
		}
	}
	if len(answers) < len(commands) {
		if err == nil {
			err = fmt.Errorf("%w: an answer is missing", ErrMalformed)
		}
		i := owner[len(answers)]
		return out[:i], shorts, &FileError{wants[i].file, err}
	}
	return out, shorts, err
}

func (r Reader) block() int {
	if r.Block > 0 && (!r.AvoidLe00 || r.Block != apdu.MaxShortNe) {
		return max(minBlock, min(r.Block, maxBlock))
	}
	if sm, ok := r.Card.(*SecureMessaging); ok {
		return sm.MaxRead()
	}
	if r.AvoidLe00 {
		return apdu.MaxShortNe - 1
	}
	return apdu.MaxShortNe
}

// warnings are the status words of a READ BINARY that has data: all of it, or
// what there was before the end of the file.
var warnings = []apdu.StatusWord{apdu.SWSuccess, apdu.SWEndOfFile}

func (r Reader) exchange(ctx context.Context, commands []apdu.Command) ([]apdu.Response, error) {
	if sm, ok := r.Card.(*SecureMessaging); ok {
		return sm.Exchange(ctx, commands, warnings...)
	}
	items := make([]apdu.Item, len(commands))
	for i, c := range commands {
		raw, err := c.Bytes()
		if err != nil {
			return nil, err
		}
		items[i] = apdu.Item{Command: raw, Expect: warnings}
	}
	return apdu.Exchange(ctx, r.Card, items)
}

// readBinary reads up to n bytes at an offset of the current file, with odd
// INS past 32,767 (ISO/IEC 7816-4 clause 11.3.3, 9303-10 section 3.6.3.2). The answer
// of the odd one has a header of up to 4 bytes that must fit the block too.
func readBinary(offset, n, block int) (apdu.Command, int) {
	if offset <= maxOffset {
		return apdu.Command{INS: 0xB0, P1: byte(offset >> 8), P2: byte(offset), Ne: n}, n
	}
	n = min(n, block-4)
	at := []byte{0x54, 2, byte(offset >> 8), byte(offset)}
	if offset > 0xFFFF {
		at = []byte{0x54, 3, byte(offset >> 16), byte(offset >> 8), byte(offset)}
	}
	header := len(tlv.AppendHeader(nil, 0x53, n))
	return apdu.Command{INS: 0xB1, Data: at, Ne: n + header}, n
}
