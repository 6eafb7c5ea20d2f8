// Package rack is a rack of software cards in virtual readers: it holds the
// slots and a folder of cards, and moves cards between them as a feeder or a
// person would. It is a process of its own, so that a card stays in its
// reader, and keeps what it knows, when the host that writes it dies.
//
// The folder has a subfolder for every bin (blanks, issued, rejected, doubt, sims)
// with one file a card, NAME.card (see cardio/virtual/nvm), and slots/N/BIN
// for the card that is in slot N and the bin that it came from. A rack that
// starts again finds its cards where they were.
//
// A control socket takes orders; see Request.
package rack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/nvm"
	"cardbureau/cardio/virtual/vpcd"
)

// Bin is a subfolder of cards.
type Bin string

// Bins.
const (
	Blanks   Bin = "blanks"
	Issued   Bin = "issued"
	Rejected Bin = "rejected"
	Doubt    Bin = "doubt"
	SIMs     Bin = "sims" // put in by name only: no blank of a card
)

// Bins are all of them.
var Bins = []Bin{Blanks, Issued, Rejected, Doubt, SIMs}

const extension = ".card"

// ErrInUse means that another rack has the folder or the control socket.
var ErrInUse = errors.New("rack: another rack is running on this folder or control socket")

// Slot is one slot of a virtual reader.
type Slot struct {
	Reader string // the name that PC/SC gives it
	Port   int    // TCP port on this machine on which its driver listens
	// Encoder is the stripe encoder beside it; nil: none.
	Encoder Encoder
}

// Encoder is told which card lies at its head.
type Encoder interface {
	Insert(card string)
	Eject()
}

// Config is what a rack is made of.
type Config struct {
	Dir           string // folder of the cards; made when it is not there
	Slots         []Slot
	ControlSocket string // path of the unix socket, at most 107 bytes
	// Factory makes a chip on the memory of a card: a *virtual.Chip, or a SIM.
	Factory func(*nvm.Memory) (vpcd.Card, error)
	// Ready is called once when the control socket takes orders.
	Ready func()
	Log   *slog.Logger
}

// NewBlank puts a new blank into the blanks of a rack's folder and returns
// its name: the serial in hexadecimal. It fails with fs.ErrExist when any bin
// or slot has a card of this name.
func NewBlank(dir string, b virtual.Blank) (string, error) {
	name := b.Serial.String()
	return name, NewCard(dir, Blanks, name, func(mem *nvm.Memory) error { return virtual.Manufacture(mem, b) })
}

// NewCard puts a new card into a bin of a rack's folder: manufacture makes it in
// an empty memory. It fails with fs.ErrExist when any bin or slot has a card of
// this name, which is a file's name without extension.
func NewCard(dir string, bin Bin, name string, manufacture func(*nvm.Memory) error) error {
	folder := filepath.Join(dir, string(bin))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("rack: %w", err)
	}
	for _, pattern := range []string{"*", filepath.Join("slots", "*", "*")} {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern, name+extension)); len(found) > 0 {
			return fmt.Errorf("rack: the card %s: %w", name, fs.ErrExist)
		}
	}
	temp := filepath.Join(folder, "."+name+".new")
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rack: %w", err)
	}
	mem, err := nvm.Open(temp)
	if err != nil {
		return err
	}
	err = manufacture(mem)
	if err = errors.Join(err, mem.Close()); err != nil {
		os.Remove(temp)
		return err
	}
	if err := os.Rename(temp, filepath.Join(folder, name+extension)); err != nil {
		return fmt.Errorf("rack: %w", err)
	}
	return nil
}

// Cards lists the cards of a bin, sorted.
func Cards(dir string, bin Bin) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, string(bin)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("rack: %w", err)
	}
	var out []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), extension); ok && !strings.HasPrefix(name, ".") && e.Type().IsRegular() {
			out = append(out, name)
		}
	}
	return out, nil
}

// rack is a running rack.
type rack struct {
	cfg   Config
	log   *slog.Logger
	ctx   context.Context
	files sync.Mutex // moving files between bins and slots
	slots []*slot
}

// Run runs a rack until ctx ends, then takes every card out of its reader;
// the cards stay in their slots' folders for the next start. It returns nil
// when ctx ended.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Factory == nil || len(cfg.Slots) == 0 {
		return errors.New("rack: a rack needs a factory and slots")
	}
	r := &rack{cfg: cfg, log: cfg.Log}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	for _, b := range Bins {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, string(b)), 0o700); err != nil {
			return fmt.Errorf("rack: %w", err)
		}
	}
	unlock, err := lockFolder(cfg.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	listener, err := listen(cfg.ControlSocket)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.ctx = ctx
	for i, s := range cfg.Slots {
		r.slots = append(r.slots, &slot{rack: r, index: i, Slot: s})
	}
	defer func() {
		for _, s := range r.slots {
			s.shut()
		}
	}()
	for _, s := range r.slots {
		if err := s.resume(); err != nil {
			listener.Close()
			return err
		}
	}
	return r.control(ctx, listener, cfg.Ready)
}

func lockFolder(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("rack: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, fmt.Errorf("rack: locking the folder: %w", err)
	}
	return func() { f.Close() }, nil
}

func (r *rack) binPath(b Bin, card string) string {
	return filepath.Join(r.cfg.Dir, string(b), card+extension)
}

func (r *rack) slotPath(i int, from Bin, card string) string {
	return filepath.Join(r.cfg.Dir, "slots", strconv.Itoa(i), string(from), card+extension)
}

// take moves a card from a bin into a slot's folder. No name takes the first.
func (r *rack) take(i int, card string) (name string, from Bin, err error) {
	r.files.Lock()
	defer r.files.Unlock()
	search := []Bin{Blanks}
	if card != "" {
		search = Bins
	}
	for _, b := range search {
		names, err := Cards(r.cfg.Dir, b)
		if err != nil {
			return "", "", err
		}
		switch {
		case card == "" && len(names) > 0:
			name = names[0]
		case card != "" && slices.Contains(names, card):
			name = card
		default:
			continue
		}
		to := r.slotPath(i, b, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return "", "", fmt.Errorf("rack: %w", err)
		}
		if err := os.Rename(r.binPath(b, name), to); err != nil {
			return "", "", fmt.Errorf("rack: %w", err)
		}
		return name, b, nil
	}
	if card != "" {
		return "", "", fmt.Errorf("rack: there is no card %q outside the slots", card)
	}
	return "", "", errEmpty
}

// errEmpty means that there are no more blanks.
var errEmpty = errors.New("rack: there are no more blanks")

// put moves a card from a slot's folder into a bin.
func (r *rack) put(i int, from Bin, card string, to Bin) error {
	r.files.Lock()
	defer r.files.Unlock()
	if err := os.Rename(r.slotPath(i, from, card), r.binPath(to, card)); err != nil {
		return fmt.Errorf("rack: %w", err)
	}
	return nil
}
