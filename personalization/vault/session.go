package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/hsm"
	"cardbureau/hsm/agent"
)

// Limits of the channels that an agent holds.
const (
	maxChannels = 256
	idleLimit   = 10 * time.Minute
)

// heldChannel is one card's session in the agent.
type heldChannel struct {
	id  uint64
	mu  sync.Mutex // one operation at a time
	scp gp.Session
	aes *cardKeys // of SCP03, of which only DEK is left

	used time.Time // guarded by channelTable.mu
}

func (c *heldChannel) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scp.Close()
	if c.aes != nil {
		c.aes.close()
	}
}

// channelTable holds the open channels.
type channelTable struct {
	mu   sync.Mutex
	next uint64
	open map[uint64]*heldChannel
}

func (t *channelTable) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}

// sweep takes out what nobody has used for long.
func (t *channelTable) sweep(now time.Time) (idle []*heldChannel, full bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, c := range t.open {
		if now.Sub(c.used) > idleLimit {
			delete(t.open, id)
			idle = append(idle, c)
		}
	}
	return idle, len(t.open) >= maxChannels
}

func (t *channelTable) add(c *heldChannel, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = make(map[uint64]*heldChannel)
	}
	t.next++
	c.id, c.used = t.next, now
	t.open[c.id] = c
}

func (t *channelTable) get(id uint64, now time.Time) (*heldChannel, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.open[id]
	if c == nil {
		return nil, ErrChannelGone
	}
	c.used = now
	return c, nil
}

func (t *channelTable) take(id uint64) *heldChannel {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.open[id]
	delete(t.open, id)
	return c
}

func (s *Service) openChannel(ctx context.Context, in *ChannelRequest) (*openChannelReply, error) {
	idle, full := s.channels.sweep(s.now())
	for _, c := range idle {
		c.close()
	}
	if full {
		return nil, fmt.Errorf("%w: %d channels are open already", ErrRequest, maxChannels)
	}
	iu, err := gp.ParseInitializeUpdate(in.InitializeUpdate)
	if err != nil {
		return nil, err
	}
	set, err := newCardKeySet(in.KeySet, in.KeyType, in.KeyBits, in.Diversification)
	if err != nil {
		return nil, err
	}
	kdd := iu.KeyDiversificationData[:]
	if in.DiversificationData != nil {
		kdd = in.DiversificationData
	}
	expected := gp.Protocol{SCP: byte(in.Protocol), I: in.I}
	if in.Protocol == 0 {
		expected.SCP = 3
	}
	var keys gp.Keys
	c := &heldChannel{}
	switch {
	case iu.SCP != expected.SCP: // no keys are needed to say so
	case set.des:
		des := &desCardKeys{service: s, set: set, kdd: kdd, static: map[byte]*hsm.DES3Key{}}
		defer des.closeBase()
		keys.DES = des
	default:
		if c.aes, err = s.staticKeys(ctx, set, kdd); err != nil {
			return nil, err
		}
		defer c.aes.closeBase()
		keys.AES = c.aes
	}
	var options []gp.Option
	if in.CountDataOnly {
		options = append(options, gp.CountDataOnly())
	}
	scp, authenticate, err := gp.Open(ctx, keys, expected, iu, in.HostChallenge, in.AID, in.Level, options...)
	if err != nil {
		if c.aes != nil {
			c.aes.close()
		}
		return nil, err
	}
	c.scp = scp
	s.channels.add(c, s.now())
	if conn := agent.ConnOf(ctx); conn != nil {
		conn.OnEnd(func() { s.drop(c.id) })
	}
	return &openChannelReply{ID: c.id, ExternalAuthenticate: authenticate}, nil
}

// drop closes a channel if it is still open.
func (s *Service) drop(id uint64) {
	if c := s.channels.take(id); c != nil {
		c.close()
	}
}

// on runs fn on a channel. A channel whose keys went with a token session or
// a restarted module is closed.
func (s *Service) on(id uint64, fn func(*heldChannel) error) error {
	c, err := s.channels.get(id, s.now())
	if err != nil {
		return err
	}
	c.mu.Lock()
	err = fn(c)
	c.mu.Unlock()
	if errors.Is(err, hsm.ErrKeyGone) || errors.Is(err, gp.ErrClosed) {
		s.drop(id)
		return fmt.Errorf("%w: %w", ErrChannelGone, err)
	}
	return err
}

func (s *Service) wrap(ctx context.Context, in *wrapRequest) (*piecesReply, error) {
	commands := make([]apdu.Command, len(in.Commands))
	for i, c := range in.Commands {
		commands[i] = c.command()
	}
	out := &piecesReply{}
	err := s.on(in.ID, func(c *heldChannel) (err error) {
		out.Pieces, err = c.scp.Wrap(ctx, commands)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Service) unwrap(ctx context.Context, in *unwrapRequest) (*unwrapReply, error) {
	out := &unwrapReply{}
	err := s.on(in.ID, func(c *heldChannel) error {
		good, err := c.scp.Unwrap(ctx, in.Responses)
		out.Responses = make([]wireResponse, len(good))
		for i, r := range good {
			out.Responses[i] = wireResponse{Data: r.Data, SW: uint16(r.SW)}
		}
		var at *apdu.ExchangeError
		if errors.As(err, &at) && !errors.Is(err, hsm.ErrKeyGone) {
			out.Index, out.Code, out.Text = at.Index, codeOf(at.Err), at.Err.Error()
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Service) encipherSecrets(ctx context.Context, in *encipherRequest) (*encipherReply, error) {
	c, err := s.channels.get(in.ID, s.now())
	if err != nil {
		return nil, err
	}
	var names []string
	var padded [][]byte
	defer func() {
		for _, b := range padded {
			clear(b)
		}
	}()
	for _, set := range in.Sets {
		values, err := s.paddedSecrets(ctx, c, set)
		if err != nil {
			return nil, err
		}
		names, padded = append(names, set.Names...), append(padded, values...)
	}
	out := &encipherReply{Values: make(map[string][]byte, len(names))}
	err = s.on(in.ID, func(c *heldChannel) error {
		enciphered, err := c.scp.EncipherAllDEK(ctx, padded)
		if err != nil {
			return err
		}
		for i, name := range names {
			out.Values[name] = enciphered[i]
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// paddedSecrets opens a card's secrets and pads those that are named as the channel
// enciphers them. The caller zeroes them.
func (s *Service) paddedSecrets(ctx context.Context, c *heldChannel, set SecretSet) ([][]byte, error) {
	e, err := s.cardSecrets(ctx, set.Sealed)
	if err != nil {
		return nil, err
	}
	defer e.zero()
	pad := gp.Pad
	if c.aes == nil { // SCP02
		pad = gp.PadDES
	}
	out := make([][]byte, 0, len(set.Names))
	for _, name := range set.Names {
		value, ok := e[name]
		if !ok {
			for _, b := range out {
				clear(b)
			}
			return nil, fmt.Errorf("%w: the card's secrets have no element %q", ErrRequest, name)
		}
		// EMV CPS 1.1, 5.4: padded only where the length is no multiple of the block.
		if strings.HasPrefix(name, emvPrefix) && len(value)%c.dekBlock() == 0 {
			out = append(out, bytes.Clone(value))
		} else {
			out = append(out, pad(value))
		}
	}
	return out, nil
}

// emvPrefix begins the names of a payment application's secrets.
const emvPrefix = "emv-"

// dekBlock is the block size of the data encryption key.
func (c *heldChannel) dekBlock() int {
	if c.aes == nil {
		return 8
	}
	return 16
}

func (s *Service) closeChannel(_ context.Context, in *channelRequest) (*nothing, error) {
	s.drop(in.ID)
	return &nothing{}, nil
}
