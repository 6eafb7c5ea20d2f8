// Package pcscdtest gives tests a private PC/SC daemon and the simplest card
// for it: a function. What behaves like a real chip is in cardio/virtual.
package pcscdtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/virtual/pcscd"
)

// Main runs a package's tests with a daemon of n readers, which cardio/pcsc
// then uses. Where the machine cannot have one, start is given nil and the
// tests are to skip.
func Main(m *testing.M, n int, start func(*pcscd.Daemon)) {
	os.Exit(run(m, n, start))
}

func run(m *testing.M, n int, start func(*pcscd.Daemon)) int {
	dir, err := os.MkdirTemp("", "pcscdtest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	d, err := pcscd.Start(context.Background(), pcscd.Options{Readers: n, Dir: dir})
	switch {
	case errors.Is(err, pcscd.ErrNotInstalled) || errors.Is(err, pcscd.ErrNamespace):
		fmt.Fprintln(os.Stderr, "without virtual readers:", err)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	default:
		defer d.Stop()
		link = filepath.Join(dir, "csock")
		if err := os.Symlink(d.Socket(), link); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := pcsc.UseSocket(link); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	start(d)
	return m.Run()
}

// link is what cardio/pcsc takes for the daemon's socket. The client library
// keeps to one name for the life of a process, but what is behind it may change.
var link string

// Use has cardio/pcsc find another daemon until the test ends, or none where
// none listens at the socket.
func Use(t testing.TB, socket string) {
	t.Helper()
	before, err := os.Readlink(link)
	if err != nil {
		t.Fatal(err)
	}
	point := func(to string) {
		next := link + ".next"
		if err := errors.Join(os.Symlink(to, next), os.Rename(next, link)); err != nil {
			t.Error(err)
		}
	}
	point(socket)
	t.Cleanup(func() { point(before) })
}

// Card is a card in a virtual reader.
type Card struct {
	conn *net.TCPConn
	done chan struct{}
	mu   sync.Mutex
	// counts of what the reader asked for
	powered, resets int
}

// Respond answers a command APDU. Without an answer (nil), the card leaves the
// reader.
type Respond func(command []byte) []byte

// Insert puts a card into a reader. It is taken out at the end of the test at
// the latest.
func Insert(t testing.TB, s pcscd.Slot, atr []byte, respond Respond) *Card {
	t.Helper()
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)))
	if err != nil {
		t.Fatal(err)
	}
	card := &Card{conn: c.(*net.TCPConn), done: make(chan struct{})}
	go card.serve(atr, respond)
	t.Cleanup(card.Remove)
	return card
}

// Remove takes the card out of the reader.
func (c *Card) Remove() {
	_ = c.conn.Close()
	<-c.done
}

// Resets counts the times that the reader powered the card up or reset it.
func (c *Card) Resets() (cold, warm int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.powered, c.resets
}

// serve speaks vpcd's protocol: frames of a 2-byte length and a payload; one
// byte of payload is an order to the card.
func (c *Card) serve(atr []byte, respond Respond) {
	defer close(c.done)
	defer func() { _ = c.conn.Close() }()
	const (
		powerOff = 0
		powerOn  = 1
		reset    = 2
		askATR   = 4
	)
	for {
		frame, err := c.read()
		if err != nil {
			return
		}
		answer := atr
		if len(frame) == 1 {
			c.mu.Lock()
			switch frame[0] {
			case powerOn:
				c.powered++
			case reset:
				c.resets++
			}
			c.mu.Unlock()
			if frame[0] != askATR {
				continue
			}
		} else if answer = respond(frame); answer == nil {
			return
		}
		out := binary.BigEndian.AppendUint16(nil, uint16(len(answer)))
		if _, err := c.conn.Write(append(out, answer...)); err != nil {
			return
		}
	}
}

// read reads a frame. vpcd sends length and payload apart, so without quick
// acknowledgement each frame would wait 40 ms.
func (c *Card) read() ([]byte, error) {
	var n [2]byte
	c.quick()
	if _, err := io.ReadFull(c.conn, n[:]); err != nil {
		return nil, err
	}
	c.quick()
	b := make([]byte, binary.BigEndian.Uint16(n[:]))
	_, err := io.ReadFull(c.conn, b)
	return b, err
}

func (c *Card) quick() {
	if raw, err := c.conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
		})
	}
}
