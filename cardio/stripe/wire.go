package stripe

// What goes over the line: commands, blocks of tracks, answers and their status.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

func (e *Encoder) swipe() time.Duration {
	if e.Swipe == 0 {
		return 30 * time.Second
	}
	return e.Swipe
}

// block is the data of a write: ESC s, each track after ESC n, ? and FS.
func block(track func(n int) []byte) []byte {
	out := []byte{esc, 's'}
	for n := 1; n <= 3; n++ {
		out = append(append(out, esc, byte(n)), track(n)...)
	}
	return append(out, '?', fs)
}

func (e *Encoder) send(command ...byte) error {
	_, err := e.port.Write(append([]byte{esc}, command...))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDevice, err)
	}
	return nil
}

// ask sends a command and reads an answer of n bytes that begins with ESC.
func (e *Encoder) ask(ctx context.Context, n int, command ...byte) ([]byte, error) {
	if err := e.send(command...); err != nil {
		return nil, err
	}
	b, err := e.read(ctx, n, time.Now().Add(answerTime))
	if err != nil {
		return nil, err
	}
	if b[0] != esc {
		return nil, ErrDevice
	}
	return b, nil
}

// command sends a command whose answer is a status.
func (e *Encoder) command(ctx context.Context, wait time.Duration, command ...byte) error {
	if err := e.send(command...); err != nil {
		return err
	}
	b, err := e.read(ctx, 2, time.Now().Add(wait))
	if err != nil {
		return noCard(err)
	}
	return e.refusal(b)
}

// refusal is what a status says; nil for done.
func (e *Encoder) refusal(b []byte) error {
	if b[0] != esc {
		return ErrDevice
	}
	switch b[1] {
	case done:
		return nil
	case '1':
		return fmt.Errorf("%w: the stripe could not be written or read", ErrRefused)
	case '2':
		return fmt.Errorf("%w: the command's format", ErrRefused)
	case '4':
		return fmt.Errorf("%w: the command", ErrRefused)
	case '9':
		return fmt.Errorf("%w: the card was swiped badly", ErrRefused)
	}
	return fmt.Errorf("%w: status %02X", ErrRefused, b[1])
}

// status checks the end of a block: ?, FS, ESC, status.
func (e *Encoder) status(tail []byte) error {
	if tail[0] != '?' || tail[1] != fs {
		return ErrDevice
	}
	return e.refusal(tail[2:])
}

// block sends a command that is answered with a block of ISO tracks.
func (e *Encoder) block(ctx context.Context, command byte) ([]byte, error) {
	if err := e.send(command); err != nil {
		return nil, err
	}
	head, err := e.read(ctx, 2, time.Now().Add(e.swipe()))
	if err != nil {
		return nil, noCard(err)
	}
	if head[0] != esc || head[1] != 's' {
		if err := e.refusal(head); err != nil {
			return nil, err
		}
		return nil, ErrDevice
	}
	var body []byte
	deadline := time.Now().Add(answerTime)
	for !bytes.HasSuffix(body, []byte{'?', fs}) {
		if len(body) > 512 {
			return nil, ErrDevice
		}
		one, err := e.read(ctx, 1, deadline)
		if err != nil {
			return nil, err
		}
		body = append(body, one...)
	}
	st, err := e.read(ctx, 2, deadline)
	if err != nil {
		return nil, err
	}
	return body[:len(body)-2], e.refusal(st)
}

// errTime means that nothing came in time.
var errTime = fmt.Errorf("%w in time", ErrDevice)

func noCard(err error) error {
	if errors.Is(err, errTime) {
		return ErrNoCard
	}
	return err
}

// read reads exactly n bytes.
func (e *Encoder) read(ctx context.Context, n int, deadline time.Time) ([]byte, error) {
	out := make([]byte, 0, n)
	buf := make([]byte, n)
	for len(out) < n {
		if err := ctx.Err(); err != nil {
			_ = e.send('a') // or it would answer somebody else
			return nil, err
		}
		k, err := e.port.Read(buf[:n-len(out)])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDevice, err)
		}
		out = append(out, buf[:k]...)
		if k == 0 && time.Now().After(deadline) {
			_ = e.send('a')
			return nil, errTime
		}
	}
	return out, nil
}
