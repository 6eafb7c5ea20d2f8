package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// errAnswered stops a body whose request has been answered.
var errAnswered = errors.New("api: the request has been answered")

// pacedBody is the body of a stream. Its client has a fixed time for each line,
// or for as many bytes of one as a line may have; the time that the bureau takes
// between reads does not count. It can be stopped from outside, which also ends
// a read that waits.
type pacedBody struct {
	r     io.Reader
	rc    *http.ResponseController
	each  time.Duration
	most  int
	moved func() // called after each read that brought something

	mu      sync.Mutex
	left    time.Duration // of the present line
	got     int           // bytes of the present line
	ended   bool          // nothing more will come
	stopped error
	failed  *Problem // why reading ended early
}

// refill grants the time for a line.
func (b *pacedBody) refill() { b.left, b.got = b.each, 0 }

// Read implements io.Reader.
func (b *pacedBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.stopped != nil {
		defer b.mu.Unlock()
		return 0, b.stopped
	}
	start := time.Now()
	_ = b.rc.SetReadDeadline(start.Add(b.left)) // not supported by a test's recorder
	b.mu.Unlock()

	n, err := b.r.Read(p)

	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = err != nil
	if b.stopped != nil {
		return n, b.stopped
	}
	// No deadline but while reading: net/http reads on behind the body's end to
	// notice a client that leaves, and would take its passing for that.
	_ = b.rc.SetReadDeadline(time.Time{})
	b.left -= time.Since(start)
	b.got += n
	if b.got >= b.most || bytes.IndexByte(p[:n], '\n') >= 0 {
		b.refill()
	}
	if n > 0 {
		b.moved()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.failed = bodyError(err)
	}
	return n, err
}

// stop makes this read and every further one fail with why, net/http's own at
// the end of the request included. A *Problem says so to the client.
func (b *pacedBody) stop(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped != nil {
		return
	}
	b.stopped = why
	errors.As(why, &b.failed)
	if !b.ended {
		_ = b.rc.SetReadDeadline(time.Unix(1, 0))
	}
}

// problem is why the body ended early, nil when it did not.
func (b *pacedBody) problem() *Problem {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed
}

// closeGently makes net/http close only its own side of the connection after the
// answer, and the rest a moment later: closing at once would answer what a
// client is still sending with a reset, which can take the answer along. The one
// way to ask for that is to exceed a limit. HTTP/2 does not need it.
func closeGently(w http.ResponseWriter) {
	if own, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		w = own.Unwrap()
	}
	_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0).Read(make([]byte, 1))
}
