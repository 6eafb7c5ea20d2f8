package rack

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
)

// Request is one line of JSON on the control socket; each is answered with
// one line, in order. Operations:
//
//	next       put the next blank into the slot
//	insert     put the card Card, from whatever bin, into the slot
//	out        take the card out of the slot, into Bin (issued, rejected, doubt, blanks, sims)
//	remove     take the card out, back to the bin that it came from
//	status     of the whole rack
//	hold       make the card in the slot, or the next one, stop at its APDU number At
//	           (from 1, since insertion) with the answer kept back; Before keeps back
//	           the execution too
//	wait-held  answers when the card has stopped
//	release    let it go on
type Request struct {
	Op     string `json:"op"`
	Slot   int    `json:"slot"`
	Bin    Bin    `json:"bin,omitempty"`
	Card   string `json:"card,omitempty"`
	At     int    `json:"at,omitempty"`
	Before bool   `json:"before,omitempty"`
}

// Answer is the answer to a Request.
type Answer struct {
	OK    bool   `json:"ok"`
	Empty bool   `json:"empty,omitempty"` // next: there are no more blanks
	Error string `json:"error,omitempty"`
	Card  string `json:"card,omitempty"` // that was put in or taken out

	Slots []SlotStatus `json:"slots,omitempty"` // status
	Cards map[Bin]int  `json:"cards,omitempty"` // status: cards in each bin, outside the slots
}

// SlotStatus is one slot in the answer to status.
type SlotStatus struct {
	Slot      int    `json:"slot"`
	Reader    string `json:"reader"`
	Port      int    `json:"port"`
	Card      string `json:"card,omitempty"`
	From      Bin    `json:"from,omitempty"` // the bin that the card came from
	APDUs     int    `json:"apdus"`          // since insertion
	Connected bool   `json:"connected"`      // the reader has the card
	Held      bool   `json:"held"`           // stopped, the answer kept back
}

// maxRequest is the longest line in bytes.
const maxRequest = 4096

// listen makes the control socket. One that a killed rack left behind is
// replaced; one that answers is not.
func listen(path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, ErrInUse
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("rack: %w", err)
		}
		l, err = net.Listen("unix", path)
	}
	if err != nil {
		return nil, fmt.Errorf("rack: the control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("rack: the control socket: %w", err)
	}
	return l, nil
}

// control takes orders until ctx ends.
func (r *rack) control(ctx context.Context, l net.Listener, ready func()) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	var conns sync.WaitGroup
	defer conns.Wait()
	if ready != nil {
		conns.Go(ready) // beside the loop, which answers the orders that it may give
	}
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("rack: the control socket: %w", err)
		}
		conns.Go(func() { r.serve(ctx, c) })
	}
}

// serve answers one connection. Reading goes on while an order is executed,
// so that a wait ends with the connection of who waits; every other order that
// was read is answered.
func (r *rack) serve(ctx context.Context, c net.Conn) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := make(chan []byte)
	go func() {
		defer cancel()
		defer close(lines)
		in := bufio.NewScanner(c)
		in.Buffer(make([]byte, 0, 512), maxRequest)
		for in.Scan() {
			select {
			case lines <- bytes.Clone(in.Bytes()):
			case <-ctx.Done():
				return
			}
		}
	}()
	out := json.NewEncoder(c)
	for line := range lines {
		if err := out.Encode(r.answer(waiting, line)); err != nil {
			// The reader of lines ends with the connection.
			c.Close()
			for range lines {
			}
			return
		}
	}
}

// answer executes one order.
func (r *rack) answer(ctx context.Context, line []byte) Answer {
	var q Request
	if err := json.Unmarshal(line, &q); err != nil {
		return Answer{Error: "rack: the request is no JSON object"}
	}
	if q.Op == "status" {
		return r.status()
	}
	if q.Slot < 0 || q.Slot >= len(r.slots) {
		return Answer{Error: fmt.Sprintf("rack: there is no slot %d", q.Slot)}
	}
	s := r.slots[q.Slot]
	var card string
	var err error
	switch q.Op {
	case "next":
		card, err = s.insert("")
		if errors.Is(err, errEmpty) {
			return Answer{Empty: true}
		}
	case "insert":
		if q.Card == "" {
			return Answer{Error: "rack: insert needs a card"}
		}
		card, err = s.insert(q.Card)
	case "out":
		switch q.Bin {
		case Issued, Rejected, Doubt, Blanks, SIMs:
			card, err = s.remove(q.Bin)
		default:
			return Answer{Error: fmt.Sprintf("rack: there is no bin %q", q.Bin)}
		}
	case "remove":
		card, err = s.remove("")
	case "hold":
		err = s.holdAt(q.At, q.Before)
	case "wait-held":
		err = s.waitHeld(ctx)
	case "release":
		err = s.release()
	default:
		return Answer{Error: fmt.Sprintf("rack: there is no operation %q", q.Op)}
	}
	if err != nil {
		return Answer{Error: err.Error()}
	}
	return Answer{OK: true, Card: card}
}

func (r *rack) status() Answer {
	a := Answer{OK: true, Cards: map[Bin]int{}}
	for _, s := range r.slots {
		a.Slots = append(a.Slots, s.status())
	}
	for _, b := range Bins {
		names, err := Cards(r.cfg.Dir, b)
		if err != nil {
			return Answer{Error: err.Error()}
		}
		a.Cards[b] = len(names)
	}
	return a
}

// Client gives orders to a running rack over its control socket. It is safe
// for concurrent use: every order has a connection of its own.
type Client struct {
	Socket string
}

// Do gives one order. An answer that is not OK is an error, except Empty.
func (c Client) Do(ctx context.Context, q Request) (Answer, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.Socket)
	if err != nil {
		return Answer{}, fmt.Errorf("rack: no rack is running: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var a Answer
	err = json.NewEncoder(conn).Encode(q)
	if err == nil {
		err = json.NewDecoder(conn).Decode(&a)
	}
	switch {
	case ctx.Err() != nil:
		return Answer{}, ctx.Err()
	case err != nil:
		return Answer{}, fmt.Errorf("rack: the rack gave no answer: %w", err)
	case !a.OK && !a.Empty:
		return a, errors.New(a.Error)
	}
	return a, nil
}
