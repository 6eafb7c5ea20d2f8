package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cardbureau/cardio/pcsc"
)

// readerFlag chooses the reader of a command that works on one card.
type readerFlag struct {
	Reader string `help:"Reader by name, by a pattern with * and ?, or by serial number; without it the only one with a card." placeholder:"NAME"`
	Trace  string `help:"Write what goes to the card and comes back, without secrets, to this new file; see card trace." type:"path" placeholder:"FILE"`
}

// insertPatience is how long a card is waited for that was put in just now.
const insertPatience = time.Second

// find names the reader to use: of those that the flag fits, the only one with
// a card.
func (f readerFlag) find(ctx context.Context, pc *pcsc.Context) (string, error) {
	all, err := pc.Readers()
	if err != nil {
		return "", err
	}
	var selectors []string
	if f.Reader != "" {
		selectors = []string{f.Reader}
	}
	names, err := pc.Choose(ctx, all, selectors)
	var wrong *pcsc.ChoiceError
	switch {
	case len(all) == 0:
		return "", errors.New("no reader is there: plug one in, or run cardbureau virtual run")
	case errors.As(err, &wrong):
		return "", &exitError{exitUsage, wrong.Error()}
	case err != nil:
		return "", err
	}
	// PC/SC takes a moment to see a card that was put in just now.
	var full []string
	for until := time.Now().Add(insertPatience); ; time.Sleep(50 * time.Millisecond) {
		for _, name := range names {
			if present, err := pc.Present(name); err == nil && present {
				full = append(full, name)
			}
		}
		if len(full) > 0 || time.Now().After(until) {
			break
		}
	}
	switch len(full) {
	case 0:
		return "", fmt.Errorf("no card is in %s: put one in", strings.Join(names, " or "))
	case 1:
		return full[0], nil
	}
	return "", &exitError{exitUsage, fmt.Sprintf("cards are in %d readers: name one with --reader (%s)", len(full), strings.Join(full, ", "))}
}

// connect connects to the card, fresh from a reset. Call done in the end.
func (f readerFlag) connect(ctx context.Context, g *globals) (cardConn, func(), error) {
	pc, err := openReaders(g)
	if err != nil {
		return nil, nil, err
	}
	var conn cardConn
	var done func()
	name, err := f.find(ctx, pc)
	if err == nil {
		conn, done, err = f.connectTo(ctx, pc, name)
	}
	if err != nil {
		pc.Close()
		return nil, nil, err
	}
	return conn, func() { done(); pc.Close() }, nil
}

// connectTo connects to the card in a reader, fresh from a reset. Call done in the
// end, before the context is closed.
func (f readerFlag) connectTo(ctx context.Context, pc *pcsc.Context, name string) (cardConn, func(), error) {
	conn, err := pc.Connect(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	done := func() { conn.Close(pcsc.Unpower) }
	if err := conn.Reset(ctx, true); err != nil {
		done()
		return nil, nil, err
	}
	if f.Trace == "" {
		return conn, done, nil
	}
	t, err := createTrace(f.Trace, name)
	if err != nil {
		done()
		return nil, nil, err
	}
	return &tracedConn{conn, t.Card(conn, conn.ATR())}, func() { done(); t.end() }, nil
}
