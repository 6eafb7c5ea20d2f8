package encoder

// Where the stripes of cards are.

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Stripes is where stripes are kept.
type Stripes interface {
	Load(card string) ([]byte, error) // nil: a new stripe
	Save(card string, stripe []byte) error
}

// Dir keeps each card's stripe in a file of a folder.
type Dir string

// Load reads a card's stripe.
func (d Dir) Load(card string) ([]byte, error) {
	b, err := os.ReadFile(d.path(card))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// Save replaces a card's stripe, whole or not at all.
func (d Dir) Save(card string, stripe []byte) error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	temp := d.path(card) + ".new"
	if err := os.WriteFile(temp, stripe, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, d.path(card))
}

func (d Dir) path(card string) string {
	return filepath.Join(string(d), strings.ReplaceAll(card, "/", "_")+".stripe")
}

// Memory keeps stripes in this process.
type Memory struct {
	mu      sync.Mutex
	stripes map[string][]byte
}

// Load reads a card's stripe.
func (m *Memory) Load(card string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stripes[card], nil
}

// Save replaces a card's stripe.
func (m *Memory) Save(card string, stripe []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stripes == nil {
		m.stripes = map[string][]byte{}
	}
	m.stripes[card] = append([]byte{}, stripe...)
	return nil
}

// stripe is the bits of three tracks, one a byte.
type stripe [3][]byte

func (e *Encoder) load() (s stripe, err error) {
	raw, err := e.stripes.Load(e.card)
	if err != nil {
		return s, err
	}
	for i := range s {
		if len(raw) < 2 {
			break
		}
		n := int(raw[0])<<8 | int(raw[1])
		if len(raw) < 2+n {
			return s, fmt.Errorf("encoder: the stripe of a card is cut")
		}
		s[i], raw = append([]byte{}, raw[2:2+n]...), raw[2+n:]
	}
	return s, nil
}

func (e *Encoder) save(s stripe) error {
	var raw []byte
	for _, t := range s {
		raw = append(append(raw, byte(len(t)>>8), byte(len(t))), t...)
	}
	return e.stripes.Save(e.card, raw)
}
