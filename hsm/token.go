package hsm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"
)

// Config names a token and how to use it.
type Config struct {
	Module string // path of the PKCS#11 library
	// Label is the token's label. Empty: the only token that is initialized.
	Label string
	PIN   PIN
	// Sessions is how many operations may run at a time: 2 when zero. SoftHSM
	// does not scale past two.
	Sessions int
	// Reserved goes to C_Initialize as pReserved, which NSS softokn reads its
	// parameters from.
	Reserved string
	// Without lists capabilities that are not used even where the self-test
	// finds them: for a module known to do them wrong or slowly.
	Without []Capability
	// HangAfter is when a call into the module counts as hung: 30 s when zero.
	// OnHang is then called, from another goroutine, with the function's name.
	// The call cannot be cancelled: the process should end.
	HangAfter time.Duration
	OnHang    func(operation string)
	// Exclusive keeps other processes out while this one initializes the
	// module, finds the token and logs in, for a module that does not do so
	// itself: SoftHSM 2.6.1 writes its token file anew at each login, and a
	// process that lists slots in that instant finds no token. nil: not needed.
	Exclusive func() (release func(), err error)
}

// exclusive holds [Config.Exclusive] until release is called.
func (c Config) exclusive() (release func(), err error) {
	if c.Exclusive == nil {
		return func() {}, nil
	}
	return c.Exclusive()
}

// Token is one logged-in token. It is safe for concurrent use.
type Token struct {
	cfg    Config
	mod    *module
	counts counters

	// gate is held for reading by each operation and for writing by a restart
	// of the module, which so waits until all operations have ended.
	gate sync.RWMutex
	pool chan *session
	slot uint
	caps Capabilities
	// epoch counts initializations of the module: handles of an older one mean
	// nothing. It changes under the gate's write lock.
	epoch   uint64
	down    error // why the module is not initialized, nil while it is
	retryAt time.Time
	backoff time.Duration
	closed  bool

	refused atomic.Bool // the PIN was refused: nothing is tried again

	objects objectCache
	subkeys sync.Map // label → [16]byte, see AESKey.zeroBlock

	running sync.Map // *session → started operation
	stop    chan struct{}
}

// Delays between attempts to bring a failed module back.
const (
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 30 * time.Second
)

// Open loads the module, logs in to the token and tests what the module can
// do. A process can open a module only once at a time.
func Open(ctx context.Context, cfg Config) (*Token, error) {
	if cfg.Sessions <= 0 {
		cfg.Sessions = 2
	}
	if cfg.HangAfter <= 0 {
		cfg.HangAfter = 30 * time.Second
	}
	cfg.PIN = NewPIN(cfg.PIN.value)
	m, err := loadModule(cfg.Module, cfg.Reserved)
	if err != nil {
		return nil, err
	}
	t := &Token{cfg: cfg, mod: m, stop: make(chan struct{})}
	if err := t.start(ctx); err != nil {
		t.cfg.PIN.Zero()
		m.unload()
		return nil, err
	}
	if cfg.OnHang != nil {
		go t.watch()
	}
	return t, nil
}

// Close logs out and unloads the module once all operations have ended. Session
// keys are gone with it.
func (t *Token) Close() error {
	t.gate.Lock()
	defer t.gate.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	close(t.stop)
	if t.down == nil {
		t.shut()
	}
	t.cfg.PIN.Zero()
	t.mod.unload()
	return nil
}

// Capabilities is what the self-test found.
func (t *Token) Capabilities() Capabilities {
	t.gate.RLock()
	defer t.gate.RUnlock()
	return t.caps
}

// start initializes the module, finds the token, logs in, opens the pool and
// runs the self-test. The gate is held for writing, or t is not shared yet.
func (t *Token) start(ctx context.Context) error {
	pool, err := t.logOn()
	if err != nil {
		return err
	}
	t.pool = pool
	if t.caps, err = t.selfTest(ctx); err != nil {
		_ = t.mod.Finalize()
	}
	return err
}

// logOn initializes the module, finds the token, opens the sessions and logs
// in, with other processes kept out where the module needs it.
func (t *Token) logOn() (pool chan *session, err error) {
	release, err := t.cfg.exclusive()
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrToken, err)
	}
	defer release()
	t.counts.add(fnInitialize)
	if err := t.mod.initialize(); err != nil {
		if errors.Is(err, ErrModule) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %s does not initialize: %v", ErrModule, t.mod.path, err)
	}
	t.epoch++
	t.objects.clear()
	t.subkeys.Clear()
	t.running.Clear()
	defer func() {
		if err != nil {
			_ = t.mod.Finalize()
		}
	}()
	if t.slot, err = t.findSlot(); err != nil {
		return nil, err
	}
	pool = make(chan *session, t.cfg.Sessions)
	for i := range t.cfg.Sessions {
		s := &session{token: t, mod: t.mod, epoch: t.epoch}
		if err := s.open(); err != nil {
			return nil, fmt.Errorf("%w: open a session: %v", ErrToken, err)
		}
		if i == 0 {
			if err := s.loginExclusive(); err != nil {
				return nil, err
			}
		}
		pool <- s
	}
	return pool, nil
}

// shut finalizes the module: sessions, their keys and the login end with it.
func (t *Token) shut() { _ = t.mod.Finalize() }

func (t *Token) findSlot() (uint, error) {
	slots, err := t.mod.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("%w: list the slots of %s: %v", ErrToken, t.mod.path, err)
	}
	var found []uint
	var labels []string
	for _, slot := range slots {
		info, err := t.mod.GetTokenInfo(slot)
		if err != nil || info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
			continue
		}
		label := strings.TrimRight(info.Label, " \x00")
		labels = append(labels, fmt.Sprintf("%q", label))
		if t.cfg.Label == "" || label == t.cfg.Label {
			found = append(found, slot)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return 0, fmt.Errorf("%w: %s has %d tokens that fit; name one of %s", ErrToken, t.mod.path, len(found), strings.Join(labels, ", "))
	case len(labels) == 0:
		return 0, fmt.Errorf("%w: %s has no initialized token", ErrToken, t.mod.path)
	default:
		return 0, fmt.Errorf("%w: %s has no token %q, only %s", ErrToken, t.mod.path, t.cfg.Label, strings.Join(labels, ", "))
	}
}

// restart brings the module back after a failure seen in the given epoch. Of
// several operations that saw the same failure, one does it.
func (t *Token) restart(ctx context.Context, epoch uint64, cause error) error {
	t.gate.Lock()
	defer t.gate.Unlock()
	switch {
	case t.closed:
		return ErrClosed
	case t.epoch != epoch && t.down == nil:
		return nil // done by another
	case t.down != nil && time.Now().Before(t.retryAt):
		return t.down
	}
	if t.down == nil {
		t.shut()
		t.pool = nil
		t.down = fmt.Errorf("%w: %v", ErrToken, cause)
	}
	err := t.start(ctx)
	if err == nil {
		t.down, t.backoff = nil, 0
		return nil
	}
	if errors.Is(err, ErrPIN) {
		t.refused.Store(true)
	} else if !errors.Is(err, ErrToken) {
		err = fmt.Errorf("%w: %w", ErrToken, err)
	}
	t.down = err
	t.backoff = min(max(2*t.backoff, firstBackoff), maxBackoff)
	t.retryAt = time.Now().Add(t.backoff)
	return err
}

// watch looks for calls that do not come back.
func (t *Token) watch() {
	tick := time.NewTicker(max(t.cfg.HangAfter/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-t.stop:
			return
		case now := <-tick.C:
			t.running.Range(func(k, _ any) bool {
				s := k.(*session)
				if since := s.started.Load(); since != 0 && now.UnixNano()-since > int64(t.cfg.HangAfter) {
					t.cfg.OnHang(s.doing())
					return false
				}
				return true
			})
		}
	}
}
