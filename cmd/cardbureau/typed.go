package main

// What people type: lines of standard input, or of a terminal that does not show them.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// awaited waits for what read brings, or for ctx to end. read then goes on waiting, and
// what it brings is nobody's: a command that gave up waiting ends.
func awaited(ctx context.Context, read func() ([]byte, error)) ([]byte, error) {
	type typed struct {
		text []byte
		err  error
	}
	done := make(chan typed, 1)
	go func() {
		text, err := read()
		done <- typed{text, err}
	}()
	select {
	case t := <-done:
		return t.text, t.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hidden reads a line of a terminal that does not show it. Whoever gives up waiting gets
// the terminal back as it was, without what was typed of a PIN up to then. The terminal
// is changed here alone and never by the reader that may be left behind: that one may
// come to run only after the terminal was given back.
func hidden(ctx context.Context, terminal *os.File, prompt string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fd := int(terminal.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	unseen := *before
	unseen.Lflag &^= unix.ECHO
	unseen.Lflag |= unix.ICANON | unix.ISIG
	unseen.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &unseen); err != nil {
		return nil, err
	}
	fmt.Fprint(os.Stderr, prompt)
	text, err := awaited(ctx, func() ([]byte, error) { return typedLine(terminal) })
	if ctx.Err() != nil {
		_ = unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH)
	}
	_ = unix.IoctlSetTermios(fd, unix.TCSETS, before)
	fmt.Fprintln(os.Stderr)
	return text, err
}

// typedLine reads a line and nothing after it. Where nothing was typed before the end it
// is io.EOF.
func typedLine(in io.Reader) ([]byte, error) {
	line := make([]byte, 0, 64) // a PIN that grew into another array would stay in the first
	var b [1]byte
	for {
		n, err := in.Read(b[:])
		switch {
		case n == 1 && b[0] == '\n', errors.Is(err, io.EOF) && len(line) > 0:
			return bytes.TrimRight(line, "\r"), nil
		case n == 1:
			line = append(line, b[0])
		case err != nil:
			return nil, err
		}
	}
}

// linePINs are lines of standard input.
type linePINs struct{ in *bufio.Reader }

// line is the next line; what names it where there is none.
func (l *linePINs) line(ctx context.Context, what string) ([]byte, error) {
	return awaited(ctx, func() ([]byte, error) {
		b, err := l.in.ReadBytes('\n')
		if err != nil && (!errors.Is(err, io.EOF) || len(b) == 0) {
			return nil, fmt.Errorf("standard input ended before %s: %w", what, err)
		}
		return bytes.TrimRight(b, "\r\n"), nil
	})
}

// New is the next line.
func (l *linePINs) New(ctx context.Context) ([]byte, error) { return l.line(ctx, "the PIN") }

// Current is the next line.
func (l *linePINs) Current(ctx context.Context) ([]byte, error) { return l.line(ctx, "the PIN") }

// typedPINs are typed on a terminal, which does not show them.
type typedPINs struct{}

func (typedPINs) ask(ctx context.Context, prompt string) ([]byte, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return nil, &exitError{exitUsage, "a PIN is typed on a terminal; --pin - reads it from standard input"}
	}
	return hidden(ctx, os.Stdin, prompt)
}

// New asks twice, and again when the two differ.
func (t typedPINs) New(ctx context.Context) ([]byte, error) {
	for range 3 {
		first, err := t.ask(ctx, "Holder: new PIN, 6 to 8 digits: ")
		if err != nil {
			return nil, err
		}
		second, err := t.ask(ctx, "Holder: the same PIN again: ")
		if err != nil {
			return nil, err
		}
		same := bytes.Equal(first, second)
		clear(second)
		if same {
			return first, nil
		}
		clear(first)
		fmt.Fprintln(os.Stderr, "The two differ.")
	}
	return nil, errors.New("no PIN was set: three times the two entries differed")
}

// Current asks once.
func (t typedPINs) Current(ctx context.Context) ([]byte, error) { return t.ask(ctx, "Holder: PIN: ") }

// asked are lines of standard input, or of a terminal that does not show them.
type asked struct{ in *bufio.Reader }

// lines goes on where the PIN was read.
func (p *pairer) lines() *asked {
	if l, ok := p.entry.PINEntry.(*linePINs); ok {
		return &asked{l.in}
	}
	return &asked{bufio.NewReader(os.Stdin)}
}

func (a *asked) line(ctx context.Context, prompt string) ([]byte, error) {
	if term.IsTerminal(int(os.Stdin.Fd())) {
		return hidden(ctx, os.Stdin, prompt)
	}
	return (&linePINs{in: a.in}).line(ctx, strings.TrimSuffix(prompt, ": "))
}
