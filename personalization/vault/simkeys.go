package vault

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"cardbureau/hsm"
	"cardbureau/hsm/aka"
	"cardbureau/hsm/simkeys"
)

// maxSIMRows is how many rows one call takes in.
const maxSIMRows = 1000

// makeSIMKeys makes the keys for SIMs that are missing. Transport keys come from
// operators and vendors, but for development ones.
func (s *Service) makeSIMKeys(ctx context.Context, in *ProvisionRequest) error {
	o := hsm.KeyOptions{Use: hsm.UseEncrypt, Development: in.Development}
	aes := func(l string) error { return s.token.GenerateAES(ctx, l, 32, o) }
	des := func(l string) error { return s.token.GenerateDES3(ctx, l, 24, o) }
	wanted := map[string]func(string) error{RoleSIMStorage: aes, RoleSIMSession: aes}
	if in.Development {
		wanted[RoleSIMTransport] = aes
		if s.token.Capabilities().Has(hsm.CanDES3) {
			wanted[RoleSIMTransport+RoleDES3] = des
		}
	}
	for role, make := range wanted {
		l, err := roleLabel(role, "1")
		if err != nil {
			return err
		}
		if err := make(l); err != nil && !errors.Is(err, hsm.ErrKeyExists) {
			return err
		}
	}
	return nil
}

func (k SIMKeys) binding() simkeys.Binding { return simkeys.Binding{ICCID: k.ICCID, Batch: k.Batch} }

// simError puts what callers tell apart into this package's words.
func simError(err error) error {
	switch {
	case errors.Is(err, hsm.ErrAuthentication):
		return fmt.Errorf("the keys of the SIM: %w", ErrSealed)
	case errors.Is(err, simkeys.ErrInput), errors.Is(err, aka.ErrInput):
		return fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return err
}

// subscriber opens a SIM's keys; the caller zeroes them.
func (s *Service) subscriber(ctx context.Context, k SIMKeys) (simkeys.Subscriber, error) {
	key, err := s.sealingKey(ctx, RoleSIMStorage)
	if err != nil {
		return simkeys.Subscriber{}, err
	}
	out, err := simkeys.Open(ctx, key, k.Wrapped, k.binding())
	return out, simError(err)
}

func (s *Service) wrapSubscriber(ctx context.Context, sub simkeys.Subscriber, b simkeys.Binding) (SIMKeys, error) {
	key, err := s.sealingKey(ctx, RoleSIMStorage)
	if err != nil {
		return SIMKeys{}, err
	}
	w, err := simkeys.Wrap(ctx, key, rand.Reader, sub, b)
	return SIMKeys{Wrapped: w, ICCID: b.ICCID, Batch: b.Batch}, simError(err)
}

// transportKey is an operator's or a vendor's, of the type that the form needs.
func (s *Service) transportKey(ctx context.Context, name string, form simkeys.Form) (simkeys.Cipher, error) {
	role, _, _ := strings.Cut(name, "/")
	want := RoleSIMTransport
	if form.DES3() {
		want += RoleDES3
	}
	if !form.Known() || role != want {
		return nil, fmt.Errorf("%w: keys of the form %q come under a key of the role %s, not %q", ErrRequest, form, want, name)
	}
	l, err := label(name)
	if err != nil {
		return nil, err
	}
	if form.DES3() {
		return s.token.DES3(ctx, l)
	}
	return s.token.AES(ctx, l)
}

type simKeysReply struct{ Keys []SIMKeys }

func (s *Service) simKeysIn(ctx context.Context, in *SIMKeysInRequest) (*simKeysReply, error) {
	if n := len(in.Rows); n < 1 || n > maxSIMRows {
		return nil, fmt.Errorf("%w: 1 to %d rows are taken in at once", ErrRequest, maxSIMRows)
	}
	transport, err := s.transportKey(ctx, in.TransportKey, in.Form)
	if err != nil {
		return nil, err
	}
	out := &simKeysReply{}
	seen := map[string]bool{}
	for i, r := range in.Rows {
		if seen[r.ICCID] {
			return nil, fmt.Errorf("row %d: %w: its ICCID came before", i+1, ErrRequest)
		}
		seen[r.ICCID] = true
		b := simkeys.Binding{ICCID: r.ICCID, Batch: in.Batch}
		sub, err := simkeys.OpenRow(ctx, transport, in.Form, simkeys.Row{Sealed: r.Sealed, K: r.K, OPc: r.OPc, IV: r.IV}, b)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i+1, simError(err))
		}
		keys, err := s.wrapSubscriber(ctx, sub, b)
		sub.Zero()
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i+1, err)
		}
		out.Keys = append(out.Keys, keys)
	}
	return out, nil
}

type newSIMKeysRequest struct{ ICCID, Batch string }

// newSIMKeys draws K and OPc: no OP is needed where each subscriber has an OPc of
// its own.
func (s *Service) newSIMKeys(ctx context.Context, in *newSIMKeysRequest) (*SIMKeys, error) {
	value, err := s.token.Random(ctx, 32)
	if err != nil {
		return nil, err
	}
	defer clear(value)
	sub := simkeys.Subscriber{K: value[:16:16], OPc: value[16:], Bureau: true}
	out, err := s.wrapSubscriber(ctx, sub, simkeys.Binding{ICCID: in.ICCID, Batch: in.Batch})
	return &out, err
}

// simProgram gives K and OPc of keys that the bureau made, and of no others: what
// a blank is programmed with.
func (s *Service) simProgram(ctx context.Context, in *SIMKeys) (*bytesReply, error) {
	sub, err := s.subscriber(ctx, *in)
	if err != nil {
		return nil, err
	}
	defer sub.Zero()
	if !sub.Bureau {
		return nil, fmt.Errorf("%w: keys of an operator stay in the HSM agent", ErrRequest)
	}
	return &bytesReply{Data: append(append(make([]byte, 0, 32), sub.K...), sub.OPc...)}, nil
}

type sealTestSIMRequest struct {
	TransportKey string
	Form         simkeys.Form
	Batch, ICCID string
	K, OPc, IV   []byte
}

// Zero wipes the keys.
func (r *sealTestSIMRequest) Zero() { clear(r.K); clear(r.OPc) }

func (s *Service) sealTestSIM(ctx context.Context, in *sealTestSIMRequest) (*SIMKeyRow, error) {
	l, err := label(in.TransportKey)
	if err != nil {
		return nil, err
	}
	if exists, development, err := s.token.Exists(ctx, l); err != nil {
		return nil, err
	} else if !exists || !development {
		return nil, fmt.Errorf("%w: %s is no development key", ErrDevelopment, in.TransportKey)
	}
	transport, err := s.transportKey(ctx, in.TransportKey, in.Form)
	if err != nil {
		return nil, err
	}
	row, err := simkeys.SealRow(ctx, transport, rand.Reader, in.Form, simkeys.Subscriber{K: in.K, OPc: in.OPc}, in.IV,
		simkeys.Binding{ICCID: in.ICCID, Batch: in.Batch})
	return &SIMKeyRow{ICCID: in.ICCID, Sealed: row.Sealed, K: row.K, OPc: row.OPc, IV: row.IV}, simError(err)
}

// SIMKeysIn takes subscribers' keys in from rows under a transport key and wraps
// them under the storage key; none leaves the agent. ErrSealed for a row of the
// form aes-gcm that was altered or belongs to another SIM or batch; the other
// forms show no alteration. ErrRequest for an ICCID that comes twice.
func (c *Client) SIMKeysIn(ctx context.Context, req SIMKeysInRequest) ([]SIMKeys, error) {
	out, _, err := call[simKeysReply](ctx, c, methodSIMKeysIn, req)
	return out.Keys, err
}

// NewSIMKeys draws the keys of a SIM that the bureau programs itself.
func (c *Client) NewSIMKeys(ctx context.Context, iccid, batch string) (SIMKeys, error) {
	out, _, err := call[SIMKeys](ctx, c, methodNewSIMKeys, newSIMKeysRequest{iccid, batch})
	return out, err
}

// SIMProgram gives K ‖ OPc, 32 bytes, of keys that NewSIMKeys made: SIM blanks of
// this kind take them behind ADM1 in the clear, so they cannot but pass here.
// ErrRequest for an operator's keys, which are never given out. Zero them after
// use.
func (c *Client) SIMProgram(ctx context.Context, keys SIMKeys) (Secret, error) {
	out, _, err := call[bytesReply](ctx, c, methodSIMProgram, keys)
	return Secret(out.Data), err
}

// SealTestSIMKeys enciphers keys as an operator does, under a transport key that
// is a development key: for the simulated operator. ErrDevelopment with others.
func (c *Client) SealTestSIMKeys(ctx context.Context, transportKey string, form simkeys.Form, iccid, batch string, k, opc, iv []byte) (SIMKeyRow, error) {
	out, _, err := call[SIMKeyRow](ctx, c, methodSealTestSIM, sealTestSIMRequest{
		TransportKey: transportKey, Form: form, ICCID: iccid, Batch: batch, K: k, OPc: opc, IV: iv,
	})
	return out, err
}
