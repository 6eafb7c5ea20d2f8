// Package pcsc drives card readers through PC/SC (pcsc-lite on Linux): it
// lists readers, waits for cards, and connects to one exclusively. A Conn is
// an apdu.Card.
//
// PC/SC calls block and cannot be interrupted, so each Context has a thread of
// its own that makes them, and whoever asked waits beside it: a reader that
// hangs takes its Context along, not the program. A Context does one thing at
// a time; give each reader its own.
//
// The daemon is found through the environment variable PCSCLITE_CSOCK_NAME,
// which the client library reads once in the life of a process; see UseSocket.
package pcsc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/ebfe/scard"
)

// What readers and the daemon can fail of. The underlying scard.Error is in
// the chain.
var (
	// ErrServiceDown: the PC/SC daemon does not run, or died.
	ErrServiceDown = errors.New("the PC/SC service is not running")
	// ErrNoReader: there is no such reader (any more).
	ErrNoReader = errors.New("there is no such card reader")
	// ErrNoCard: the reader is empty.
	ErrNoCard = errors.New("there is no card in the reader")
	// ErrRemoved: the card was taken out, or somebody reset it, since it was
	// connected.
	ErrRemoved = errors.New("the card was removed or reset")
	// ErrBusy: another program uses the card.
	ErrBusy = errors.New("another program uses the card")
	// ErrUnresponsive: the card gives no valid answer to reset, or speaks no
	// protocol that the reader does.
	ErrUnresponsive = errors.New("the card does not answer")
	// ErrReaderStuck: a call into PC/SC has not come back. The Context is lost;
	// the reader may need to be unplugged.
	ErrReaderStuck = errors.New("the card reader is stuck")
	// ErrClosed: the Context or Conn was closed.
	ErrClosed = errors.New("the connection to the card reader is closed")
)

// translate finds the package's name for a PC/SC error.
func translate(err error) error {
	var code scard.Error
	if !errors.As(err, &code) {
		return err
	}
	var name error
	switch code {
	case scard.ErrCommError, scard.ErrNoService, scard.ErrServiceStopped, scard.ErrInvalidHandle:
		// A context whose daemon died is an invalid handle for the next one.
		name = ErrServiceDown
	case scard.ErrUnknownReader, scard.ErrReaderUnavailable, scard.ErrNoReadersAvailable:
		name = ErrNoReader
	case scard.ErrNoSmartcard:
		name = ErrNoCard
	case scard.ErrRemovedCard, scard.ErrResetCard:
		name = ErrRemoved
	case scard.ErrSharingViolation:
		name = ErrBusy
	case scard.ErrUnresponsiveCard, scard.ErrUnpoweredCard, scard.ErrUnsupportedCard, scard.ErrProtoMismatch,
		scard.ErrInvalidAtr, scard.ErrCardUnsupported:
		name = ErrUnresponsive
	default:
		return fmt.Errorf("%w (%08X)", code, uint32(code))
	}
	return fmt.Errorf("%w (%08X: %w)", name, uint32(code), code)
}

// socketName is the variable in which pcsc-lite looks for its daemon's socket.
const socketName = "PCSCLITE_CSOCK_NAME"

var (
	socketLock sync.Mutex
	socketUsed bool
)

// UseSocket makes this process use the daemon at a unix socket. It must come
// before the first Open: the library then keeps to the socket it found, and
// UseSocket for another one fails.
func UseSocket(path string) error {
	socketLock.Lock()
	defer socketLock.Unlock()
	if os.Getenv(socketName) == path {
		return nil
	}
	if socketUsed {
		return errors.New("this process already uses another PC/SC service")
	}
	return os.Setenv(socketName, path)
}

// Context is a connection to the PC/SC daemon. While no daemon runs, calls fail
// with ErrServiceDown; once one runs again, the next call finds it. Conns of
// before stay lost.
type Context struct {
	worker *worker
	mu     sync.Mutex
	scard  *scard.Context
}

// Open connects to the daemon.
func Open() (*Context, error) {
	socketLock.Lock()
	socketUsed = true
	socketLock.Unlock()
	c := &Context{worker: newWorker()}
	err := c.do(context.Background(), c.establish)
	if err != nil {
		c.worker.close(nil)
		return nil, fmt.Errorf("open PC/SC: %w", err)
	}
	return c, nil
}

// do makes a PC/SC call on the Context's thread.
func (c *Context) do(ctx context.Context, call func() error) error {
	return translate(c.worker.do(ctx, callTimeout, call))
}

// establish connects to the daemon, on the worker's thread.
func (c *Context) establish() error {
	fresh, err := scard.EstablishContext()
	if err != nil {
		return err
	}
	c.mu.Lock()
	old := c.scard
	c.scard = fresh
	c.mu.Unlock()
	if old != nil {
		_ = old.Release() // what the library keeps of a daemon that is gone
	}
	return nil
}

// handle is the library's context.
func (c *Context) handle() *scard.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.scard
}

// ask is do for calls that need no card of before.
func (c *Context) ask(ctx context.Context, call func(*scard.Context) error) error {
	return c.do(ctx, func() error { return c.connected(call) })
}

// connected makes a call on the worker's thread. Where the daemon was lost and
// one runs again, it connects to that one and makes the call once more.
func (c *Context) connected(call func(*scard.Context) error) error {
	err := call(c.handle())
	if errors.Is(err, scard.ErrSecurityViolation) {
		// pcsc-lite says so where polkit refuses a client, and also where the
		// daemon dies while a call waits on it.
		if _, probe := c.handle().ListReaders(); errors.Is(translate(probe), ErrServiceDown) {
			err = probe
		}
	}
	if !errors.Is(translate(err), ErrServiceDown) || c.establish() != nil {
		return err
	}
	return call(c.handle())
}

// Readers lists the readers' names. No reader at all is an empty list.
func (c *Context) Readers() ([]string, error) {
	var names []string
	err := c.ask(context.Background(), func(pc *scard.Context) (err error) {
		names, err = pc.ListReaders()
		return err
	})
	if errors.Is(err, ErrNoReader) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list card readers: %w", err)
	}
	return names, nil
}

// Close gives the Context up. Close its connections first.
func (c *Context) Close() {
	c.worker.close(func() {
		if pc := c.handle(); pc != nil {
			_ = pc.Release()
		}
	})
}
