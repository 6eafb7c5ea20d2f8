package virtual

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/nvm"
)

// ErrNoPower is what Transmit returns while the chip has no power.
var ErrNoPower = errors.New("virtual: the chip has no power")

// Config is what a Chip runs on.
type Config struct {
	// Memory holds the card; nil is a new memory without a file. A memory
	// that was never manufactured becomes Blank.
	Memory *nvm.Memory
	// Blank is manufactured into an empty memory; ignored when the memory
	// holds a card already.
	Blank *Blank
	// Random is the chip's random number generator; crypto/rand when nil.
	Random io.Reader
	// Applets are the modules that the card's code consists of: a factory
	// for each ModuleKey, or where there is none for each module AID
	// (upper-case hexadecimal). Every application in the registry needs its
	// module here, but for security domains and for those whose load file was
	// loaded, which run without one as applications that can be selected and
	// do nothing.
	Applets map[string]func() Applet
	// Log gets the stack of an applet that panicked (the command is then
	// answered 6F00 and undone). No command or response data is logged.
	Log *slog.Logger
	// Sleep is what a slow chip (Blank.Timing) waits with: for d, or until
	// ctx is done, whose error it then returns. A timer when nil.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Chip is a GlobalPlatform card in software. It implements apdu.Card and is
// safe for concurrent use; commands are executed one after the other.
type Chip struct {
	mu      sync.Mutex
	mem     *nvm.Memory
	random  io.Reader
	modules map[string]func() Applet
	log     *slog.Logger
	sleep   func(context.Context, time.Duration) error

	reg     registry
	powered bool
	radio   bool // powered over the contactless interface

	// RAM
	*logical // the channel of the command in hand; the basic one between commands
	channels [channelCount]*logical
	pending  *outgoing      // T=0
	touched  []*application // whose memory the command in hand uses
}

// New makes a chip and powers it on.
func New(cfg Config) (*Chip, error) {
	c := &Chip{mem: cfg.Memory, random: cfg.Random, modules: cfg.Applets, log: cfg.Log, sleep: cfg.Sleep}
	if c.sleep == nil {
		c.sleep = wait
	}
	if c.mem == nil {
		c.mem = nvm.InMemory()
	}
	if c.random == nil {
		c.random = rand.Reader
	}
	reg, err := loadRegistry(c.mem)
	if errors.Is(err, ErrNoCard) && cfg.Blank != nil && len(reg.space.Keys("")) == 0 {
		if err := Manufacture(c.mem, *cfg.Blank); err != nil {
			return nil, err
		}
		reg, err = loadRegistry(c.mem)
	}
	if err != nil {
		return nil, err
	}
	c.reg = reg
	for _, a := range reg.apps {
		if !c.hasCode(a) {
			return nil, fmt.Errorf("virtual: the card has an application of module %X, and there is no code for it", a.module)
		}
	}
	c.PowerOn()
	return c, nil
}

// ATR is the answer to the last reset.
func (c *Chip) ATR() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answer()
}

// PowerOn powers the chip, which resets it, and returns the answer to reset.
func (c *Chip) PowerOn() []byte { return c.Reset() }

// PowerOff takes the power away: RAM is lost, what no command committed is
// undone.
func (c *Chip) PowerOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.powered = false
	c.loseRAM()
}

// Reset resets the chip (warm or cold alike), powers it when it was off, and
// returns the answer to reset. The application with the Card Reset privilege
// is selected (GPC_SPE_034 v2.3.1 section 6.4.1), or the issuer security
// domain when there is none, when it refuses, or in the card life cycle
// states CARD_LOCKED and TERMINATED.
func (c *Chip) Reset() []byte { return c.reset(false) }

func (c *Chip) reset(radio bool) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.powered, c.radio = true, radio
	c.loseRAM()
	if a := c.reg.cardReset(); a != nil && c.reg.state != CardLocked && c.reg.state != Terminated {
		// A refusal leaves the issuer security domain selected.
		c.guarded(func() ([]byte, apdu.StatusWord) { return c.enter(a, apdu.Command{}) })
	}
	return c.answer()
}

func (c *Chip) loseRAM() {
	c.mem.Rollback()
	c.channels = [channelCount]*logical{{}}
	c.logical = c.channels[0]
	c.pending = nil
	for _, a := range c.reg.apps {
		a.code = nil
	}
}

// State is the card life cycle state.
func (c *Chip) State() CardState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reg.state
}

// Transmit executes one command APDU, or one TPDU when the chip speaks T=0. It
// fails with ErrNoPower, or with the context's error when that is done before
// the command begins, or before the answer of a slow chip is out; everything
// else is a status word.
func (c *Chip) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	answer, timing, err := c.transmit(command)
	if err != nil || timing == (Timing{}) {
		return answer, err
	}
	if err := c.sleep(ctx, timing.of(len(command)+len(answer))); err != nil {
		return nil, err
	}
	return answer, nil
}

func (c *Chip) transmit(command []byte) ([]byte, Timing, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.powered {
		return nil, Timing{}, ErrNoPower
	}
	run := c.execute
	if c.reg.t0 && !c.radio {
		run = c.tpdu
	}
	data, sw := c.guarded(func() ([]byte, apdu.StatusWord) { return run(command) })
	return apdu.Response{Data: data, SW: sw}.Bytes(), c.reg.timing, nil
}

// wait is the default of Config.Sleep.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// guarded runs one command and commits what it wrote. A panic undoes it.
func (c *Chip) guarded(run func() ([]byte, apdu.StatusWord)) (data []byte, sw apdu.StatusWord) {
	defer func() {
		if p := recover(); p != nil {
			if c.log != nil {
				c.log.Error("virtual: an applet failed", "stack", string(debug.Stack()))
			}
			c.undo()
			data, sw = nil, apdu.SWNoPreciseDiagnosis
		}
	}()
	c.touched = c.touched[:0]
	data, sw = run()
	if c.overQuota() {
		c.dropWrites()
		return nil, apdu.SWNotEnoughMemory
	}
	if err := c.mem.Commit(); err != nil {
		c.undo()
		return nil, apdu.SWMemoryFailure
	}
	return data, sw
}

// undo takes back what the command in hand wrote, as a reset would.
func (c *Chip) undo() {
	c.loseRAM()
	if reg, err := loadRegistry(c.mem); err == nil {
		c.reg = reg
	}
}

const (
	insSelect        = 0xA4
	insManageChannel = 0x70
)

func (c *Chip) execute(raw []byte) ([]byte, apdu.StatusWord) {
	cmd, err := apdu.Parse(raw)
	if err != nil {
		return nil, apdu.SWWrongLength
	}
	if cmd.CLA == 0xFF {
		return nil, apdu.SWClassNotSupported
	}
	n, cla := channel(cmd.CLA)
	if c.channels[n] == nil {
		return nil, apdu.SWLogicalChannelNotSupported
	}
	cmd.CLA = cla
	c.logical = c.channels[n]
	defer func() { c.logical = c.channels[0] }()
	if cmd.INS != insLoad {
		c.loading = nil // whatever comes between ends loading
	}
	if cmd.CLA == 0x00 {
		switch {
		case cmd.INS == insSelect && cmd.P1 == 0x04:
			return c.selectByName(cmd)
		case cmd.INS == insManageChannel:
			return c.manageChannel(n, cmd)
		}
	}
	if c.selected != nil && (c.reg.state == CardLocked || c.reg.state == Terminated) {
		// From another channel, while this one had an application selected.
		c.selected = nil
		c.closeSession()
	}
	if c.selected == nil || c.selected.isDomain() {
		return c.domain(cmd)
	}
	if c.session.phase == initiated && cmd.INS != insExternalAuthenticate {
		c.closeSession()
	}
	e := c.processEnv()
	defer e.end()
	return c.selected.code.Process(e, cmd)
}

// selectByName is SELECT with P1 = 04 (GPC_SPE_034 v2.3.1 sections 6.4.2 and
// 11.9): a whole or partial AID, first or next occurrence; no name selects
// the issuer security domain. Beyond its P2 = 00 and 02 it takes those of
// ISO/IEC 7816-4 that other readers send: 0C and 0E (no answer wanted; ICAO),
// and 04 and 06 (control parameters; ETSI), answered with the same template.
func (c *Chip) selectByName(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if c.reg.state == Terminated {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	next := cmd.P2&0x02 != 0
	if cmd.P2&^0x0E != 0 || cmd.P2&0x0C == 0x08 {
		return nil, apdu.SWIncorrectP1P2
	}
	if len(cmd.Data) > 16 {
		return nil, apdu.SWWrongLength
	}
	target, found := c.findByName(cmd.Data, next)
	if !found {
		return nil, apdu.SWFileNotFound
	}
	if c.reg.state == CardLocked && target != nil {
		return nil, apdu.SWFunctionNotSupported
	}
	if c.selectedElsewhere(target) {
		return nil, apdu.SWConditionsOfUseNotSatisfied // no application is multi-selectable
	}
	data, sw := c.enter(target, cmd)
	if cmd.P2&0x0C == 0x0C {
		data = nil
	}
	return data, sw
}

// findByName walks the registry in order, the issuer security domain first.
// A nil application that was found is the issuer security domain.
func (c *Chip) findByName(name []byte, next bool) (*application, bool) {
	if len(name) == 0 {
		return nil, !next
	}
	skip := next
	if bytes.HasPrefix(c.reg.isd, name) && !skip {
		return nil, true
	}
	if skip && c.selected == nil {
		skip = false
	}
	for _, a := range c.reg.apps {
		if skip {
			skip = a != c.selected
			continue
		}
		if a.selectable() && bytes.HasPrefix(a.aid, name) {
			return a, true
		}
	}
	return nil, false
}

// enter leaves the application that is selected and selects another; nil is
// the issuer security domain, which stays selected when the other refuses.
// Whatever channel was open is closed (GPC_SPE_034 v2.3.1 section 10.2.3).
func (c *Chip) enter(a *application, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if old := c.selected; old != nil && old.code != nil {
		e := &env{chip: c, app: old}
		old.code.Deselect(e)
		e.end()
	}
	c.selected = nil
	c.closeSession()
	if a == nil {
		if c.reg.state == CardLocked {
			return c.fci(), apdu.SWSelectedFileInvalidated
		}
		return c.fci(), apdu.SWSuccess
	}
	if a.isDomain() {
		c.selected = a
		return c.fci(), apdu.SWSuccess
	}
	e := &env{chip: c, app: a}
	defer e.end()
	data, sw := c.code(a).Select(e, cmd)
	if sw.OK() || sw.SW1() == 0x62 || sw.SW1() == 0x63 {
		c.selected = a
		return data, sw
	}
	return nil, sw
}

// code is the running instance of an application, made on its first use
// after power-up.
func (c *Chip) code(a *application) Applet {
	if a.code == nil {
		a.code = c.newCode(a)
	}
	return a.code
}

// closeSession ends the secure channel session or what was begun of one, and
// the personalization that ran in it.
func (c *Chip) closeSession() {
	c.session = session{}
	c.personal = personalization{}
	c.page = statusPage{}
	c.loading = nil
}
