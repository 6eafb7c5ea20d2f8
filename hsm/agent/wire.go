package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// MaxMessage is the greatest length of one message in bytes. A record with
// its photo stays far below it.
const MaxMessage = 64 << 20

// message is one request, answer or cancellation.
type message struct {
	ID      uint64          `cbor:"1,keyasint"`
	Method  string          `cbor:"2,keyasint,omitempty"` // requests; methodCancel cancels ID
	Timeout int64           `cbor:"3,keyasint,omitempty"` // milliseconds that the caller will wait; 0: no limit
	Code    string          `cbor:"4,keyasint,omitempty"` // answers: the error's class, empty on success
	Text    string          `cbor:"5,keyasint,omitempty"` // answers: the error's sentence
	Body    cbor.RawMessage `cbor:"6,keyasint,omitempty"`
}

const methodCancel = "$cancel"

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

// readMessage reads one message. raw is the buffer behind m.Body: clear it
// when the body has been decoded.
func readMessage(r io.Reader) (m message, raw []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return m, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MaxMessage {
		return m, nil, fmt.Errorf("%w: a length of %d bytes, at most %d are allowed", ErrMessage, n, MaxMessage)
	}
	raw, err = readN(r, int(n))
	if err != nil {
		return m, nil, err
	}
	if m, err = parseMessage(raw); err != nil {
		clear(raw)
		return m, nil, err
	}
	return m, raw, nil
}

// readN reads n bytes without believing a length that is not backed by data:
// beyond a mebibyte the buffer grows only as bytes arrive.
func readN(r io.Reader, n int) ([]byte, error) {
	const step = 1 << 20
	buf := make([]byte, min(n, step))
	for have := 0; ; {
		if _, err := io.ReadFull(r, buf[have:]); err != nil {
			clear(buf)
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if have = len(buf); have == n {
			return buf, nil
		}
		bigger := make([]byte, min(n, 2*have))
		copy(bigger, buf)
		clear(buf)
		buf = bigger
	}
}

func parseMessage(raw []byte) (message, error) {
	var m message
	if err := decoding.Unmarshal(raw, &m); err != nil {
		return message{}, fmt.Errorf("%w: %v", ErrMessage, err)
	}
	return m, nil
}

// writer sends whole messages, one at a time.
type writer struct {
	mu sync.Mutex
	w  io.Writer
}

func (w *writer) send(m *message) error {
	b, err := cbor.Marshal(m)
	if err != nil {
		return fmt.Errorf("agent: encode a message: %w", err)
	}
	defer clear(b)
	if len(b) > MaxMessage {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrMessage, len(b), MaxMessage)
	}
	out := make([]byte, 4, 4+len(b))
	binary.BigEndian.PutUint32(out, uint32(len(b)))
	out = append(out, b...)
	defer clear(out)
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err = w.w.Write(out)
	return err
}
