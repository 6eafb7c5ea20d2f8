package uicc

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"cardbureau/cardio/apdu"
)

// Paths of files that desks read. Of a SIM, 7FFF stands for DF.GSM.
const (
	PathDIR    = "3F00/2F00"
	PathICCID  = "3F00/2FE2"
	PathIMSI   = "7FFF/6F07"
	PathMSISDN = "7FFF/6F40"
	PathSPN    = "7FFF/6F46"
	PathACC    = "7FFF/6F78"
	PathAD     = "7FFF/6FAD"
	PathUST    = "7FFF/6F38"
)

// path translates a path for the card: a SIM has its files in DF.GSM, and its number in
// DF.TELECOM.
func (c *Card) path(path string) string {
	if c.app != SIM {
		return path
	}
	if path == PathMSISDN {
		return "7F10/6F40"
	}
	return strings.Replace(path, dirADF, dirGSM, 1)
}

// Select selects a file by its path: identifiers of four hexadecimal digits with a
// slash between them, from the master file ("3F00/2FE2"), from a directory under it
// ("7F10/6F40") or from the application ("7FFF/6F07"). In class 00 a directory under the
// master file is reached through it: by its identifier alone it can be selected from
// itself and its siblings (TS 102 221 clause 8.4.2), and an application is not among
// those on every card. ErrNotFound, NotAllowedError.
func (c *Card) Select(ctx context.Context, path string) (*FCP, error) {
	var f *FCP
	parts := strings.Split(c.path(path), "/")
	if c.app != SIM && parts[0] != dirMF && parts[0] != dirADF {
		parts = append([]string{dirMF}, parts...)
	}
	for _, part := range parts {
		fid, err := hex.DecodeString(part)
		if err != nil || len(fid) != 2 {
			return nil, fmt.Errorf("%w: %q is no path", ErrNotFound, path)
		}
		if f, err = c.selectFID(ctx, fid); err != nil {
			return nil, fmt.Errorf("file %s: %w", path, err)
		}
	}
	return f, nil
}

func (c *Card) selectFID(ctx context.Context, fid []byte) (*FCP, error) {
	var f *FCP
	var err error
	if c.app != SIM {
		f, err = c.selectUICC(ctx, 0x00, fid)
	} else {
		var out []byte
		if out, err = c.send(ctx, apdu.Command{CLA: classGSM, INS: insSelect, Data: fid, Ne: apdu.MaxShortNe}); err == nil {
			f, err = ParseGSM(out)
		}
	}
	if errors.Is(err, apdu.SWFileNotFound) || errors.Is(err, swFileNotFound) {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	c.last = f
	return f, nil
}

// SelectPath selects a file of the application by one SELECT with a path from the
// master file, as class 00 knows it (P1 = 08): 7FFF is the application that is
// selected.
func (c *Card) SelectPath(ctx context.Context, path string) (*FCP, error) {
	if c.app == SIM {
		return c.Select(ctx, path)
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(strings.TrimPrefix(path, dirMF+"/"), "/", ""))
	if err != nil || len(raw) == 0 || len(raw)%2 != 0 {
		return nil, fmt.Errorf("%w: %q is no path", ErrNotFound, path)
	}
	f, err := c.selectUICC(ctx, 0x08, raw)
	if errors.Is(err, apdu.SWFileNotFound) {
		return nil, fmt.Errorf("file %s: %w: %w", path, ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", path, err)
	}
	c.last = f
	return f, nil
}

const (
	maxBlock  = 0xFF   // bytes that one READ or UPDATE carries
	maxOffset = 0x7FFF // that P1 and P2 of READ BINARY carry (TS 102 221 clause 11.1.3)
)

// Read reads a transparent file whole.
func (c *Card) Read(ctx context.Context, path string) ([]byte, error) {
	f, err := c.Select(ctx, path)
	if err != nil {
		return nil, err
	}
	if f.Type == 0 {
		return c.readUntold(ctx, path)
	}
	if f.Type != Transparent || f.Size > maxOffset+1 {
		return nil, fmt.Errorf("file %s: %w: it is a %v of %d bytes", path, ErrMalformed, f.Type, f.Size)
	}
	var out []byte
	for len(out) < f.Size {
		at, n := len(out), min(f.Size-len(out), maxBlock)
		b, err := c.send(ctx, apdu.Command{CLA: c.class(), INS: insReadBinary, P1: byte(at >> 8 & 0x7F), P2: byte(at), Ne: n})
		if err != nil {
			return nil, fmt.Errorf("file %s: %w", path, err)
		}
		if len(b) == 0 || len(b) > n {
			return nil, fmt.Errorf("file %s: %w: %d bytes where %d were asked for", path, ErrMalformed, len(b), n)
		}
		out = append(out, b...)
	}
	return out, nil
}

// Write writes a transparent file from an offset on.
func (c *Card) Write(ctx context.Context, path string, offset int, content []byte) error {
	f, err := c.Select(ctx, path)
	if err != nil {
		return err
	}
	if f.Type != Transparent || offset < 0 || offset+len(content) > min(f.Size, maxOffset+1) {
		return fmt.Errorf("file %s: %w: %d bytes from %d on do not fit into a %v of %d", path, ErrMalformed, len(content), offset, f.Type, f.Size)
	}
	for at := 0; at < len(content); at += maxBlock {
		b := content[at:min(at+maxBlock, len(content))]
		to := offset + at
		if _, err := c.send(ctx, apdu.Command{CLA: c.class(), INS: insUpdateBinary, P1: byte(to >> 8 & 0x7F), P2: byte(to), Data: b}); err != nil {
			return fmt.Errorf("file %s: %w", path, err)
		}
	}
	return nil
}

// Modes of record commands, P2.
const absolute = 0x04

// ReadRecord reads a record, from 1 on, of a linear fixed or cyclic file.
func (c *Card) ReadRecord(ctx context.Context, path string, n int) ([]byte, error) {
	f, err := c.recordFile(ctx, path, n)
	if err != nil {
		return nil, err
	}
	if f.Type == 0 {
		return c.recordUntold(ctx, path, n)
	}
	b, err := c.send(ctx, apdu.Command{CLA: c.class(), INS: insReadRecord, P1: byte(n), P2: absolute, Ne: f.RecordLength})
	if err != nil {
		return nil, fmt.Errorf("file %s, record %d: %w", path, n, err)
	}
	if len(b) != f.RecordLength {
		return nil, fmt.Errorf("file %s, record %d: %w: %d bytes of %d", path, n, ErrMalformed, len(b), f.RecordLength)
	}
	return b, nil
}

// Records reads all records of a file.
func (c *Card) Records(ctx context.Context, path string) (out [][]byte, err error) {
	f, err := c.recordFile(ctx, path, 1)
	if err != nil {
		return nil, err
	}
	if f.Type == 0 {
		return c.recordsUntold(ctx, path)
	}
	for n := range f.Records {
		b, err := c.send(ctx, apdu.Command{CLA: c.class(), INS: insReadRecord, P1: byte(n + 1), P2: absolute, Ne: f.RecordLength})
		if err != nil {
			return nil, fmt.Errorf("file %s, record %d: %w", path, n+1, err)
		}
		out = append(out, b)
	}
	return out, nil
}

// WriteRecord writes a record of a linear fixed file whole, filled up with FF. Of a
// cyclic file the oldest one is replaced, as its card demands: n is 0.
func (c *Card) WriteRecord(ctx context.Context, path string, n int, content []byte) error {
	f, err := c.recordFile(ctx, path, max(1, n))
	if err != nil {
		return err
	}
	if f.Type == 0 || len(content) > f.RecordLength || (f.Type == Cyclic) != (n == 0) {
		return fmt.Errorf("file %s: %w: %d bytes do not fit record %d of a %v", path, ErrMalformed, len(content), n, f.Type)
	}
	b := append(bytes.Clone(content), bytes.Repeat([]byte{0xFF}, f.RecordLength-len(content))...)
	cmd := apdu.Command{CLA: c.class(), INS: insUpdateRecord, P1: byte(n), P2: absolute, Data: b}
	if n == 0 {
		cmd.P2 = 0x03 // previous
	}
	if _, err := c.send(ctx, cmd); err != nil {
		return fmt.Errorf("file %s, record %d: %w", path, n, err)
	}
	return nil
}

func (c *Card) recordFile(ctx context.Context, path string, n int) (*FCP, error) {
	f, err := c.Select(ctx, path)
	if err != nil {
		return nil, err
	}
	if f.Type == 0 {
		return f, nil // the card tells nothing of its files
	}
	if f.Type != LinearFixed && f.Type != Cyclic || f.RecordLength < 1 || f.RecordLength > apdu.MaxShortNe {
		return nil, fmt.Errorf("file %s: %w: it is a %v", path, ErrMalformed, f.Type)
	}
	if n < 1 || n > f.Records {
		return nil, fmt.Errorf("file %s: %w: it has %d records, not %d", path, ErrNotFound, f.Records, n)
	}
	return f, nil
}

// Directory reads EF.DIR: the applications of a UICC.
func (c *Card) Directory(ctx context.Context) (out []Entry, err error) {
	records, err := c.Records(ctx, PathDIR)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		e, err := DecodeEntry(r)
		if err != nil {
			return nil, err
		}
		if len(e.AID) > 0 {
			out = append(out, e)
		}
	}
	return out, nil
}

// ICCID reads the card's number. It proves nothing: any card can have it.
func (c *Card) ICCID(ctx context.Context) (string, error) {
	b, err := c.Read(ctx, PathICCID)
	if err != nil {
		return "", err
	}
	return DecodeICCID(b)
}

// IMSI reads the subscriber's identity.
func (c *Card) IMSI(ctx context.Context) (string, error) {
	b, err := c.Read(ctx, PathIMSI)
	if err != nil {
		return "", err
	}
	return DecodeIMSI(b)
}

// MSISDN reads the first of the subscriber's own numbers; empty: none is there.
func (c *Card) MSISDN(ctx context.Context) (string, error) {
	b, err := c.ReadRecord(ctx, PathMSISDN, 1)
	if err != nil {
		return "", err
	}
	m, err := DecodeMSISDN(b)
	return m.Number, err
}
