package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// MaxMessage is the greatest length of one message in bytes. A record with
// its photo stays far below it.
const MaxMessage = 64 << 20

// message is one request, answer or cancellation: 4 bytes length of all that
// follows, 2 bytes length of the head, the head, the body.
type message struct {
	head
	body []byte // CBOR
}

// head is a CBOR map with small integer keys.
type head struct {
	ID      uint64 `cbor:"1,keyasint"`
	Method  string `cbor:"2,keyasint,omitempty"` // requests; methodCancel cancels ID
	Timeout int64  `cbor:"3,keyasint,omitempty"` // milliseconds that the caller will wait; 0: no limit
	Code    string `cbor:"4,keyasint,omitempty"` // answers: the error's class, empty on success
	Text    string `cbor:"5,keyasint,omitempty"` // answers: the error's sentence
}

const methodCancel = "$cancel"

// maxText bounds an error's sentence.
const maxText = 4096

// ErrMessage marks bytes that are no message of this protocol.
var ErrMessage = errors.New("agent: malformed message")

var decoding = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		MaxArrayElements: 1 << 20,
		MaxMapPairs:      1 << 16,
		MaxNestedLevels:  16,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

// buffers are used again, because messages come often and are alike. They
// are zeroed before they go back.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooled is the size in bytes beyond which a buffer is not kept.
const maxPooled = 1 << 20

func giveBack(b *bytes.Buffer) {
	if b == nil {
		return
	}
	used := b.Bytes()
	clear(used)
	if b.Cap() <= maxPooled {
		b.Reset()
		buffers.Put(b)
	}
}

// encode encodes v into a buffer, which the caller gives back.
func encode(v any) (*bytes.Buffer, error) {
	b := buffers.Get().(*bytes.Buffer)
	if err := cbor.MarshalToBuffer(v, b); err != nil {
		giveBack(b)
		return nil, err
	}
	return b, nil
}

// readMessage reads one message. The buffer is behind m.body: the caller gives
// it back when the body has been decoded.
func readMessage(r io.Reader) (m message, behind *bytes.Buffer, err error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return m, nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > MaxMessage {
		return m, nil, fmt.Errorf("%w: a length of %d bytes, at most %d are allowed", ErrMessage, n, MaxMessage)
	}
	behind = buffers.Get().(*bytes.Buffer)
	if err := fill(behind, r, int(n)); err != nil {
		giveBack(behind)
		return m, nil, err
	}
	if m, err = parseMessage(behind.Bytes()); err != nil {
		giveBack(behind)
		return m, nil, err
	}
	return m, behind, nil
}

// fill reads n bytes without believing a length that is not backed by data:
// beyond a mebibyte the buffer grows only as bytes arrive.
func fill(b *bytes.Buffer, r io.Reader, n int) error {
	for have := 0; have < n; have = b.Len() {
		part := min(n-have, max(have, maxPooled))
		if b.Available() < part {
			old := b.Bytes()
			b2 := bytes.NewBuffer(make([]byte, 0, have+part))
			b2.Write(old)
			clear(old)
			*b = *b2
		}
		free := b.AvailableBuffer()[:part]
		if _, err := io.ReadFull(r, free); err != nil {
			clear(free)
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		b.Write(free)
	}
	return nil
}

func parseMessage(raw []byte) (message, error) {
	if len(raw) < 2 {
		return message{}, fmt.Errorf("%w: %d bytes", ErrMessage, len(raw))
	}
	n := int(binary.BigEndian.Uint16(raw))
	if len(raw)-2 < n {
		return message{}, fmt.Errorf("%w: a head of %d bytes in %d", ErrMessage, n, len(raw))
	}
	var m message
	if err := decoding.Unmarshal(raw[2:2+n], &m.head); err != nil {
		return message{}, fmt.Errorf("%w: %v", ErrMessage, err)
	}
	m.body = raw[2+n:]
	return m, nil
}

// writer sends whole messages, one at a time. Each write has ten seconds: a
// process that is stopped does not read, and a half-written message makes the
// connection useless anyway.
type writer struct {
	mu sync.Mutex
	c  *net.UnixConn
}

const writeTimeout = 10 * time.Second

func (w *writer) send(h *head, body []byte) error {
	if len(h.Text) > maxText {
		h.Text = strings.ToValidUTF8(h.Text[:maxText], "")
	}
	encoded, err := cbor.Marshal(h)
	if err != nil {
		return fmt.Errorf("agent: encode a message: %w", err)
	}
	n := 2 + len(encoded) + len(body)
	if n > MaxMessage || len(encoded) > 1<<16-1 {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrMessage, n, MaxMessage)
	}
	front := make([]byte, 6, 6+len(encoded))
	binary.BigEndian.PutUint32(front, uint32(n))
	binary.BigEndian.PutUint16(front[4:], uint16(len(encoded)))
	front = append(front, encoded...)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	both := net.Buffers{front, body}
	_, err = both.WriteTo(w.c)
	return err
}
