package pairing

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Life is how long a session lasts at most, and where nobody says less. MinLife is the
// least that may be asked for.
const (
	Life    = 120 * time.Second
	MinLife = 2 * time.Second
)

// Errors of a session, which is then over for good: pair again with a new one.
var (
	ErrSessionExpired = errors.New("the pairing session's time is over")
	ErrRemoved        = errors.New("a card was taken out of its reader during pairing")
	ErrSessionUsed    = errors.New("a pairing session serves once")
	errFinished       = errors.New("the pairing session is finished")
)

// Session is one attended session at a desk with two readers. It serves once, for
// [Service.Run]. It is safe for concurrent use: the watcher of the readers calls Removed.
type Session struct {
	ID    uuid.UUID // random
	Nonce [32]byte
	// Terminal is the desk's name, at most 128 bytes. It is signed over and not kept, but
	// who may open the sealed transcript can try guesses: a name drawn anew each day says
	// nothing of a place.
	Terminal       string
	Started        time.Time
	IdentityReader string
	SIMReader      string
	lasts          time.Duration

	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  context.CancelFunc
	now    func() time.Time

	mu   sync.Mutex
	used bool
}

// SessionRequest says between which readers a session is.
type SessionRequest struct {
	Terminal       string
	IdentityReader string
	SIMReader      string
	Lasts          time.Duration    // MinLife to Life; 0: Life
	Random         io.Reader        // of the token where one gives it; nil: crypto/rand
	Now            func() time.Time // nil: time.Now
}

// NewSession begins a session: from now on it lasts as long as r says, or until ctx
// ends, or a card is removed.
func NewSession(ctx context.Context, r SessionRequest) (*Session, error) {
	if r.Terminal == "" || len(r.Terminal) > 128 || r.IdentityReader == "" || r.SIMReader == "" || r.IdentityReader == r.SIMReader {
		return nil, errors.New("a pairing session needs a terminal's name of at most 128 bytes and two different readers")
	}
	if r.Lasts == 0 {
		r.Lasts = Life
	}
	if r.Lasts < MinLife || r.Lasts > Life {
		return nil, fmt.Errorf("a pairing session lasts %v to %v", MinLife, Life)
	}
	if r.Random == nil {
		r.Random = rand.Reader
	}
	if r.Now == nil {
		r.Now = time.Now
	}
	s := &Session{Terminal: r.Terminal, IdentityReader: r.IdentityReader, SIMReader: r.SIMReader, lasts: r.Lasts, Started: r.Now(), now: r.Now}
	var err error
	if s.ID, err = uuid.NewRandomFromReader(r.Random); err != nil {
		return nil, fmt.Errorf("draw a session's name: %w", err)
	}
	if _, err := io.ReadFull(r.Random, s.Nonce[:]); err != nil {
		return nil, fmt.Errorf("draw a session's nonce: %w", err)
	}
	ctx, s.cancel = context.WithCancelCause(ctx)
	s.ctx, s.timer = context.WithTimeoutCause(ctx, r.Lasts, ErrSessionExpired)
	return s, nil
}

// Removed ends the session when the card was in one of its readers. Whoever watches
// the readers calls it for every removal.
func (s *Session) Removed(reader string) {
	if reader == s.IdentityReader || reader == s.SIMReader {
		s.cancel(ErrRemoved)
	}
}

// Close ends the session. It is never wrong to call it.
func (s *Session) Close() {
	s.cancel(errFinished)
	s.timer()
}

// Context ends with the session. Its cause says why: ErrRemoved, ErrSessionExpired,
// or what ended the context that the session began with.
func (s *Session) Context() context.Context { return s.ctx }

// Deadline is when the session ends.
func (s *Session) Deadline() time.Time { return s.Started.Add(s.lasts) }

// Check is nil while the session lasts. It also asks the clock on the wall, which a
// machine that slept has not lost.
func (s *Session) Check() error {
	if err := context.Cause(s.ctx); err != nil {
		return err
	}
	if !s.now().Before(s.Deadline()) {
		return ErrSessionExpired
	}
	return nil
}

// use takes the session for its one use.
func (s *Session) use() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used {
		return ErrSessionUsed
	}
	s.used = true
	return s.Check()
}

// Digest is what the identity card signs: SHA-256 over the ASCII bytes pair-v1,
// session id (16 bytes), nonce (32), length of the terminal's name (2, big-endian)
// and the name.
func (s *Session) Digest() [32]byte {
	b := make([]byte, 0, 7+16+32+2+len(s.Terminal))
	b = append(b, "pair-v1"...)
	b = append(b, s.ID[:]...)
	b = append(b, s.Nonce[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.Terminal)))
	return sha256.Sum256(append(b, s.Terminal...))
}

// Rand is the session's challenge for a seed of the authentication centre's: the
// first 16 bytes of SHA-256 over the ASCII bytes pair-rand-v1, session id, nonce and
// seed. Nobody can have asked for a vector of it before the session began.
func Rand(session uuid.UUID, nonce [32]byte, seed [16]byte) [16]byte {
	b := make([]byte, 0, 12+16+32+16)
	b = append(b, "pair-rand-v1"...)
	b = append(b, session[:]...)
	b = append(b, nonce[:]...)
	sum := sha256.Sum256(append(b, seed[:]...))
	return [16]byte(sum[:16])
}
