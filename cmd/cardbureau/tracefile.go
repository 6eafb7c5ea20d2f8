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
	"cardbureau/personalization/bureau"
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

// traceFolder are the traces of a line, a file a reader, and another each time
// that it joins.
type traceFolder struct {
	line.Joining
	dir   string
	mu    sync.Mutex
	files []*traceFile
}

// traceReaders has the cards of all readers traced into a folder, also of those
// that join. Call end when the line is done.
func traceReaders(dir string, readers *bureau.Readers) (slots []line.Slot, more line.Joining, end func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, nil, err
	}
	t := &traceFolder{Joining: readers, dir: dir}
	slots = readers.Slots()
	for i, s := range slots {
		if slots[i].Reader, err = t.traced(s.Reader); err != nil {
			t.end()
			return nil, nil, nil, err
		}
	}
	return slots, t, t.end, nil
}

// Join has the reader that joins traced, too.
func (t *traceFolder) Join(ctx context.Context) (line.Slot, error) {
	s, err := t.Joining.Join(ctx)
	if err != nil {
		return line.Slot{}, err
	}
	traced := s
	if traced.Reader, err = t.traced(s.Reader); err != nil {
		t.Ended(s, false)
		return line.Slot{}, err
	}
	return traced, nil
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
