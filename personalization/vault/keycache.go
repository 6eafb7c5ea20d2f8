package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"cardbureau/hsm"
)

// Limits of the data keys that stay unwrapped in the token: a card's steps
// follow each other closely, and unwrapping costs more than sealing.
const (
	maxOpenKeys = 64
	openKeyLife = time.Minute
)

// openKey is an unwrapped data key, a session key of the token.
type openKey struct {
	key   *hsm.AESKey
	since time.Time
	users int
	gone  bool // taken out of the cache: the last user closes it
}

// keyCache holds the data keys that are unwrapped at the moment.
type keyCache struct {
	mu    sync.Mutex
	keys  map[string]*openKey
	timer *time.Timer // sweeps while there is anything to sweep
}

// acquire returns a key that is in use until release.
func (c *keyCache) acquire(id string) *openKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[id]
	if k != nil {
		k.users++
	}
	return k
}

// put adds a key that is in use. It returns another one that was added
// meanwhile in its place.
func (c *keyCache) put(id string, key *hsm.AESKey) *openKey {
	c.mu.Lock()
	if k := c.keys[id]; k != nil {
		k.users++
		c.mu.Unlock()
		closeQuietly(key)
		return k
	}
	if c.keys == nil {
		c.keys = make(map[string]*openKey)
	}
	var idle []*hsm.AESKey
	if len(c.keys) >= maxOpenKeys {
		idle = c.takeOldest()
	}
	k := &openKey{key: key, since: time.Now(), users: 1}
	c.keys[id] = k
	if c.timer == nil {
		c.timer = time.AfterFunc(openKeyLife, c.sweep)
	}
	c.mu.Unlock()
	closeQuietly(idle...)
	return k
}

func (c *keyCache) release(k *openKey) {
	c.mu.Lock()
	k.users--
	last := k.gone && k.users == 0
	c.mu.Unlock()
	if last {
		closeQuietly(k.key)
	}
}

// drop takes a key out; c.mu is held. It returns it when nobody uses it.
func (c *keyCache) drop(id string, k *openKey) []*hsm.AESKey {
	delete(c.keys, id)
	k.gone = true
	if k.users > 0 {
		return nil
	}
	return []*hsm.AESKey{k.key}
}

func (c *keyCache) takeOldest() []*hsm.AESKey {
	var oldest string
	for id, k := range c.keys {
		if o := c.keys[oldest]; o == nil || k.since.Before(o.since) {
			oldest = id
		}
	}
	return c.drop(oldest, c.keys[oldest])
}

// forget takes out a key that turned out to be lost.
func (c *keyCache) forget(id string, k *openKey) {
	c.mu.Lock()
	if c.keys[id] == k {
		c.drop(id, k)
	}
	c.mu.Unlock()
}

func (c *keyCache) sweep() {
	var idle []*hsm.AESKey
	c.mu.Lock()
	for id, k := range c.keys {
		if time.Since(k.since) >= openKeyLife {
			idle = append(idle, c.drop(id, k)...)
		}
	}
	c.timer = nil
	if len(c.keys) > 0 {
		c.timer = time.AfterFunc(openKeyLife/4, c.sweep)
	}
	c.mu.Unlock()
	closeQuietly(idle...)
}

// closeQuietly destroys session keys. One that cannot be destroyed now goes
// with its session.
func closeQuietly[K io.Closer](keys ...K) {
	for _, k := range keys {
		_ = k.Close()
	}
}

// withDataKey runs fn with a data key in the token, and once more where the
// unwrapped key was lost with a session of the token.
func (s *Service) withDataKey(ctx context.Context, k DataKey, fn func(*hsm.AESKey) error) error {
	id := k.Epoch + "/" + string(k.Wrapped)
	for try := 0; ; try++ {
		open := s.openKeys.acquire(id)
		if open == nil {
			key, err := s.unwrapDataKey(ctx, k)
			if err != nil {
				return err
			}
			open = s.openKeys.put(id, key)
		}
		err := fn(open.key)
		lost := errors.Is(err, hsm.ErrKeyGone)
		if lost {
			s.openKeys.forget(id, open)
		}
		s.openKeys.release(open)
		if !lost || try > 0 {
			return err
		}
	}
}

func (s *Service) unwrapDataKey(ctx context.Context, k DataKey) (*hsm.AESKey, error) {
	kek, err := s.kek(ctx, k.Epoch)
	if errors.Is(err, hsm.ErrNoKey) {
		return nil, fmt.Errorf("%w: what was sealed in %s can no longer be opened", err, k.Epoch)
	}
	if err != nil {
		return nil, err
	}
	key, err := kek.UnwrapAny(ctx, k.Wrapped, dataKeySize, hsm.SessionTemplate{Use: hsm.UseEncrypt})
	if errors.Is(err, hsm.ErrAuthentication) {
		return nil, fmt.Errorf("data key of %s: %w", k.Epoch, ErrSealed)
	}
	return key, err
}
