// Package vpcd puts a software chip into a virtual PC/SC reader: it is the
// card's end of the protocol of vsmartcard's vpcd driver for pcscd, which
// listens on one TCP port a slot. The card is in the reader while the
// connection lives.
//
// A frame is a length of two bytes, big-endian, and as many bytes. From the
// reader one byte is a control (00 power off, 01 power on, 02 reset, 04 give
// the answer to reset) and more bytes are a command APDU; only 04 and APDUs
// are answered.
//
// It is for rehearsal and tests: the driver listens on every interface and
// trusts whoever connects.
package vpcd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// Card is what is put into the reader; *virtual.Chip is one.
type Card interface {
	ATR() []byte
	PowerOn() []byte
	PowerOff()
	Reset() []byte
	Transmit(ctx context.Context, command []byte) ([]byte, error)
}

// Controls of the reader.
const (
	controlOff   = 0x00
	controlOn    = 0x01
	controlReset = 0x02
	controlATR   = 0x04
)

// maxFrame is the greatest payload that the length field can say.
const maxFrame = 0xFFFF

// Conn is a card's connection to a virtual reader.
type Conn struct {
	net net.Conn
	r   *bufio.Reader
	out []byte
}

// Dial connects to the slot that listens on addr (host:port), which is to the
// reader as if a card were inserted.
func Dial(ctx context.Context, addr string) (*Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("vpcd: no virtual reader at %s: %w", addr, err)
	}
	return NewConn(c), nil
}

// NewConn speaks the protocol over an existing connection.
func NewConn(c net.Conn) *Conn {
	var r io.Reader = c
	if t, ok := c.(*net.TCPConn); ok {
		r = newQuickReader(t)
	}
	return &Conn{net: c, r: bufio.NewReaderSize(r, 4096)}
}

// Close takes the card out of the reader.
func (c *Conn) Close() error { return c.net.Close() }

// Serve answers the reader until the connection ends, which is nil when the
// reader closed it between frames, or the context does. The context that
// Transmit gets is ctx. When Transmit fails the connection is closed: to the
// reader the card was pulled out. A frame is never sent in part.
func (c *Conn) Serve(ctx context.Context, card Card) error {
	stop := context.AfterFunc(ctx, func() { c.net.Close() })
	defer stop()
	defer c.net.Close()
	defer card.PowerOff()
	for {
		payload, err := c.read()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("vpcd: reading from the virtual reader: %w", err)
		}
		var answer []byte
		switch {
		case len(payload) > 1:
			if answer, err = card.Transmit(ctx, payload); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return fmt.Errorf("vpcd: the card gave no answer: %w", err)
			}
			if len(answer) < 2 {
				return errors.New("vpcd: the card gave no answer")
			}
		case len(payload) == 0:
			continue
		case payload[0] == controlATR:
			answer = card.ATR()
		case payload[0] == controlOff:
			card.PowerOff()
			continue
		case payload[0] == controlOn:
			card.PowerOn()
			continue
		case payload[0] == controlReset:
			card.Reset()
			continue
		default:
			continue
		}
		if err := c.write(answer); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
	}
}

// read returns the next payload, which is its own slice: an applet may keep
// what it got until the command is over.
func (c *Conn) read() ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return nil, err
	}
	payload := make([]byte, binary.BigEndian.Uint16(head[:]))
	if _, err := io.ReadFull(c.r, payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return payload, nil
}

// write sends a whole frame with one call: half a frame crashes pcscd.
func (c *Conn) write(payload []byte) error {
	if len(payload) > maxFrame {
		return fmt.Errorf("vpcd: an answer of %d bytes does not fit a frame", len(payload))
	}
	c.out = binary.BigEndian.AppendUint16(c.out[:0], uint16(len(payload)))
	c.out = append(c.out, payload...)
	if _, err := c.net.Write(c.out); err != nil {
		return fmt.Errorf("vpcd: answering the virtual reader: %w", err)
	}
	return nil
}

// quickReader acknowledges at once what it reads. vpcd writes length and
// payload apart: without this Nagle's algorithm on its side waits for our
// delayed acknowledgement, 40 ms an APDU. The kernel forgets TCP_QUICKACK by
// and by, so it is set again around every read.
type quickReader struct {
	conn  *net.TCPConn
	raw   quickSetter
	quick func(fd uintptr)
}

type quickSetter interface {
	Control(func(fd uintptr)) error
}

func newQuickReader(c *net.TCPConn) io.Reader {
	raw, err := c.SyscallConn()
	if err != nil {
		return c
	}
	return &quickReader{conn: c, raw: raw, quick: func(fd uintptr) {
		// A kernel without the option is slow, not wrong.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	}}
}

func (q *quickReader) Read(b []byte) (int, error) {
	_ = q.raw.Control(q.quick)
	n, err := q.conn.Read(b)
	_ = q.raw.Control(q.quick)
	return n, err
}
