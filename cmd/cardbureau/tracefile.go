package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/trace"
	"cardbureau/personalization/line"
)

// traceFile is a trace that a command writes.
type traceFile struct {
	*trace.Writer
	file *os.File
}

// createTrace begins a trace in a new file. One that is there is left alone.
func createTrace(name, reader string) (*traceFile, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, &exitError{exitUsage, fmt.Sprintf("%s is there already: name a new file for the trace", name)}
	}
	if err != nil {
		return nil, err
	}
	w, err := trace.NewWriter(f, trace.Options{Reader: reader})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &traceFile{w, f}, nil
}

// end closes the file and says where lines were lost: the work itself went on.
func (t *traceFile) end() {
	if err := errors.Join(t.Err(), t.file.Close()); err != nil {
		fmt.Fprintf(os.Stderr, "cardbureau: the trace %s is not complete: %v\n", t.file.Name(), err)
	}
}

// cardConn is a card in a reader, as commands on one card use it.
type cardConn interface {
	apdu.Card
	Reader() string
	ATR() []byte
	Reset(ctx context.Context, cold bool) error
}

// tracedConn is a connection that is traced.
type tracedConn struct {
	*pcsc.Conn
	card *trace.Card
}

func (c *tracedConn) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	return c.card.Transmit(ctx, command)
}

func (c *tracedConn) Reset(ctx context.Context, cold bool) error {
	err := c.Conn.Reset(ctx, cold)
	if err == nil {
		c.card.NoteReset(c.Conn.ATR(), cold)
	}
	return err
}

// traceFolder are the traces of a line, a file a reader.
type traceFolder struct {
	dir   string
	mu    sync.Mutex
	files []*traceFile
}

// traceSlots has the cards of all slots traced into a folder. Call end when the
// line is done.
func traceSlots(dir string, slots []line.Slot) (end func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	t := &traceFolder{dir: dir}
	for i, s := range slots {
		if slots[i].Reader, err = t.traced(s.Reader); err != nil {
			t.end()
			return nil, err
		}
	}
	return t.end, nil
}

func (t *traceFolder) traced(r line.Reader) (line.Reader, error) {
	name := fmt.Sprintf("%s %s.jsonl", time.Now().UTC().Format("20060102T150405.000000Z"), r.Name())
	f, err := createTrace(filepath.Join(t.dir, strings.Map(inFileName, name)), r.Name())
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.files = append(t.files, f)
	return line.Traced(r, f.Writer), nil
}

func (t *traceFolder) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.files {
		f.end()
	}
}

// inFileName keeps what every file system takes.
func inFileName(r rune) rune {
	switch {
	case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '.':
		return r
	}
	return '-'
}
