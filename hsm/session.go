package hsm

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"
)

// session is a PKCS#11 session. It belongs to one operation at a time: two
// goroutines on one session can kill the process inside the module.
type session struct {
	token *Token
	mod   *module
	h     pkcs11.SessionHandle
	epoch uint64
	// serial counts reopenings: keys that were made in a session are gone when
	// it was replaced.
	serial atomic.Uint64

	started atomic.Int64 // when the present operation began, Unix nanoseconds; 0: none
	name    atomic.Pointer[string]
}

func (s *session) open() error {
	s.token.counts.add(fnOpenSession)
	h, err := s.mod.OpenSession(s.token.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return err
	}
	s.h = h
	s.serial.Add(1)
	return nil
}

// reopen replaces a broken session. The new one is opened first: the login
// ends with an application's last session.
func (s *session) reopen() error {
	old := s.h
	if err := s.open(); err != nil {
		return err
	}
	_ = s.mod.CloseSession(old)
	return nil
}

// login logs the user in: once a token, for all sessions of the process.
func (s *session) login() error {
	release, err := s.token.cfg.exclusive()
	if err != nil {
		return fmt.Errorf("%w: log in: %v", ErrToken, err)
	}
	defer release()
	return s.loginExclusive()
}

// loginExclusive is login where other processes are kept out already.
func (s *session) loginExclusive() error {
	if s.token.refused.Load() {
		return ErrPIN
	}
	s.token.counts.add(fnLogin)
	err := s.mod.Login(s.h, pkcs11.CKU_USER, string(s.token.cfg.PIN.value))
	switch {
	case err == nil, errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)):
		return nil
	case remedyFor(err) == remedyPIN:
		s.token.refused.Store(true)
		return fmt.Errorf("%w (%v): it is not tried again, because tokens lock after a few wrong ones", ErrPIN, err)
	}
	return fmt.Errorf("%w: log in: %v", ErrToken, err)
}

// loggedIn reports whether the user's login stands.
func (s *session) loggedIn() bool {
	info, err := s.mod.GetSessionInfo(s.h)
	return err == nil && info.State == pkcs11.CKS_RW_USER_FUNCTIONS
}

func (s *session) doing() string {
	if n := s.name.Load(); n != nil {
		return *n
	}
	return ""
}

// do runs one operation on a session of the pool and applies the remedy that
// its error calls for. name says what it is, for errors. fn runs again only
// after an error that says that nothing was done, and each remedy is tried
// once; broken sessions are replaced as often as there are sessions.
func (t *Token) do(ctx context.Context, name string, fn func(*session) error) error {
	var tried [remedyPIN + 1]int
	for {
		remedy, epoch, err := t.once(ctx, name, fn)
		if err == nil {
			return nil
		}
		if remedy == remedyObject && tried[remedyObject] > 0 {
			// Looked up again and still wrong: SoftHSM says so when its folder
			// has vanished.
			remedy = remedyRefresh
		}
		tried[remedy]++
		failed := fmt.Errorf("%s: %w: %v", name, ErrToken, err)
		switch remedy {
		case remedyNone:
			return wrap(name, err)
		case remedyPIN:
			t.refused.Store(true)
			return wrap(name, ErrPIN)
		case remedySession:
			if tried[remedy] > t.cfg.Sessions {
				return failed
			}
		case remedyLogin, remedyObject:
			if tried[remedy] > 1 {
				return failed
			}
		case remedyRefresh, remedyRestart:
			if tried[remedy] > 1 {
				return failed
			}
			if rerr := t.restart(ctx, epoch, err); rerr != nil {
				return wrap(name, rerr)
			}
			if remedy == remedyRestart {
				return failed // it may have been done: the caller decides
			}
		}
	}
}

func wrap(name string, err error) error { return fmt.Errorf("%s: %w", name, err) }

// once runs fn on one session, with the gate held.
func (t *Token) once(ctx context.Context, name string, fn func(*session) error) (what remedy, epoch uint64, err error) {
	if t.refused.Load() {
		return remedyNone, 0, ErrPIN
	}
	t.gate.RLock()
	if t.down != nil && !t.closed && !time.Now().Before(t.retryAt) {
		epoch, cause := t.epoch, t.down
		t.gate.RUnlock()
		if err := t.restart(ctx, epoch, cause); err != nil {
			return remedyNone, 0, err
		}
		t.gate.RLock()
	}
	defer t.gate.RUnlock()
	switch {
	case t.closed:
		return remedyNone, 0, ErrClosed
	case t.down != nil:
		return remedyNone, 0, t.down
	}
	var s *session
	select {
	case s = <-t.pool:
	case <-ctx.Done():
		return remedyNone, 0, ctx.Err()
	}
	defer func() { t.pool <- s }()
	err = s.run(t, name, fn)
	what = remedyFor(err)
	switch what {
	case remedySession:
		// The login ends with the last session of the process.
		mended := s.reopen()
		if mended == nil && !s.loggedIn() {
			mended = s.login()
		}
		if errors.Is(mended, ErrPIN) {
			return remedyNone, t.epoch, mended
		}
		if mended != nil {
			what = remedyRestart
		}
	case remedyLogin:
		mended := s.login()
		if errors.Is(mended, ErrPIN) {
			return remedyNone, t.epoch, mended
		}
		if mended != nil {
			what = remedyRestart
		}
	}
	return what, t.epoch, err
}

// run marks the session as busy while fn runs.
func (s *session) run(t *Token, name string, fn func(*session) error) error {
	if t.cfg.OnHang != nil {
		s.name.Store(&name)
		t.running.LoadOrStore(s, nil)
		s.started.Store(time.Now().UnixNano())
		defer s.started.Store(0)
	}
	return fn(s)
}
