package vault

import (
	"context"
	"crypto/rand"
	"encoding/hex"
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
		wanted[RoleSIMTransport], wanted[RoleSIMProgramming] = aes, aes
		if s.token.Capabilities().Has(hsm.CanDES3) {
			wanted[RoleSIMTransport+RoleDES3], wanted[RoleSIMProgramming+RoleDES3] = des, des
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

// onePurpose refuses a transport key for SIMs that the token has for the other purpose
// already, by its check value: one key for both would let a file be taken for the other
// kind. A value that is equal by chance (1 in 2^24) is refused too.
func (s *Service) onePurpose(ctx context.Context, role string, kcv []byte) error {
	plain, suffix := strings.TrimSuffix(role, RoleDES3), ""
	if plain != role {
		suffix = RoleDES3
	}
	other := map[string]string{RoleSIMTransport: RoleSIMProgramming, RoleSIMProgramming: RoleSIMTransport}[plain]
	if other == "" {
		return nil
	}
	list, err := s.token.List(ctx)
	if err != nil {
		return err
	}
	for _, k := range list {
		if k.Role == other+suffix && strings.EqualFold(k.KCV, hex.EncodeToString(kcv)) {
			return fmt.Errorf("%w: the token has this key as %s, for the other purpose: files to authenticate by and files to program SIMs from come under keys of their own", ErrRequest, k.Label)
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

// transportKey is an operator's or a vendor's, of the type that the form needs. Where
// the form does not authenticate the purpose, the key tells it.
func (s *Service) transportKey(ctx context.Context, name string, form simkeys.Form, delegated bool) (simkeys.Cipher, error) {
	role, _, _ := strings.Cut(name, "/")
	want := RoleSIMTransport
	if delegated && (form != simkeys.AESGCM || role == RoleSIMProgramming) {
		want = RoleSIMProgramming
	}
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
	if in.TUAK != nil {
		if err := simkeys.CheckTUAK(*in.TUAK); err != nil {
			return nil, simError(err)
		}
	}
	transport, err := s.transportKey(ctx, in.TransportKey, in.Form, in.Delegated)
	if err != nil {
		return nil, err
	}
	kind := simkeys.Kind{TUAK: in.TUAK, Delegated: in.Delegated}
	out := &simKeysReply{}
	seen := map[string]bool{}
	for i, r := range in.Rows {
		if seen[r.ICCID] {
			return nil, fmt.Errorf("row %d: %w: its ICCID came before", i+1, ErrRequest)
		}
		seen[r.ICCID] = true
		if len(r.OTA) > 0 && !in.Delegated {
			return nil, fmt.Errorf("row %d: %w: keys for messages over the air serve to program SIMs alone", i+1, ErrRequest)
		}
		b := simkeys.Binding{ICCID: r.ICCID, Batch: in.Batch}
		sub, err := simkeys.OpenRow(ctx, transport, in.Form, kind, simkeys.Row{Sealed: r.Sealed, K: r.K, OPc: r.OPc, OTA: r.OTA, IV: r.IV}, b)
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

type newSIMKeysRequest struct {
	ICCID, Batch string
	TUAK         *aka.TUAKParameters
}

// newSIMKeys draws K and OPc: no OP is needed where each subscriber has an OPc of
// its own. For TUAK both have 32 bytes.
func (s *Service) newSIMKeys(ctx context.Context, in *newSIMKeysRequest) (*SIMKeys, error) {
	size := 16
	if in.TUAK != nil {
		size = 32
	}
	value, err := s.token.Random(ctx, 2*size)
	if err != nil {
		return nil, err
	}
	defer clear(value)
	sub := simkeys.Subscriber{K: value[:size:size], OPc: value[size:], TUAK: in.TUAK, Bureau: true}
	out, err := s.wrapSubscriber(ctx, sub, simkeys.Binding{ICCID: in.ICCID, Batch: in.Batch})
	return &out, err
}

// wireSIMProgram carries what a Secret would redact.
type wireSIMProgram struct {
	K, OPc []byte
	TUAK   *aka.TUAKParameters
	OTA    map[string][]byte
}

// Zero wipes the keys once they are sent.
func (r *wireSIMProgram) Zero() {
	clear(r.K)
	clear(r.OPc)
	for _, k := range r.OTA {
		clear(k)
	}
}

// simProgram gives keys that the bureau made, or that an operator gave it to program
// SIMs with, and no others; and those of the chip that was read alone.
func (s *Service) simProgram(ctx context.Context, in *SIMProgramRequest) (*wireSIMProgram, error) {
	if in.Chip != in.Keys.ICCID {
		return nil, fmt.Errorf("%w: these are the keys of another SIM than the one in the reader", ErrRequest)
	}
	sub, err := s.subscriber(ctx, in.Keys)
	if err != nil {
		return nil, err
	}
	if !sub.Bureau && !sub.Delegated {
		sub.Zero()
		return nil, fmt.Errorf("%w: keys of an operator stay in the HSM agent", ErrRequest)
	}
	out := &wireSIMProgram{K: sub.K, OPc: sub.OPc, TUAK: sub.TUAK, OTA: map[string][]byte{}}
	for name, k := range sub.OTA {
		out.OTA[name] = k
	}
	return out, nil // the server zeroes them once they are sent
}

// TestSIMKeys are keys of a SIM that a simulated operator seals.
type TestSIMKeys struct {
	ICCID, Batch string
	K, OPc, IV   []byte
	TUAK         *aka.TUAKParameters
	OTA          map[string][]byte
	Delegated    bool
}

type sealTestSIMRequest struct {
	TransportKey string
	Form         simkeys.Form
	Keys         TestSIMKeys
}

// Zero wipes the keys.
func (r *sealTestSIMRequest) Zero() {
	clear(r.Keys.K)
	clear(r.Keys.OPc)
	for _, k := range r.Keys.OTA {
		clear(k)
	}
}

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
	transport, err := s.transportKey(ctx, in.TransportKey, in.Form, in.Keys.Delegated)
	if err != nil {
		return nil, err
	}
	k := in.Keys
	sub := simkeys.Subscriber{K: k.K, OPc: k.OPc, TUAK: k.TUAK, OTA: map[string]aka.Secret{}, Delegated: k.Delegated}
	for name, value := range k.OTA {
		sub.OTA[name] = value
	}
	row, err := simkeys.SealRow(ctx, transport, rand.Reader, in.Form, sub, k.IV, simkeys.Binding{ICCID: k.ICCID, Batch: k.Batch})
	return &SIMKeyRow{ICCID: k.ICCID, Sealed: row.Sealed, K: row.K, OPc: row.OPc, OTA: row.OTA, IV: row.IV}, simError(err)
}

// SIMKeysIn takes subscribers' keys in from rows under a transport key and wraps
// them under the storage key; none leaves the agent. ErrSealed for a row of the
// form aes-gcm that was altered or belongs to another SIM or batch; the other
// forms show no alteration. ErrRequest for an ICCID that comes twice.
func (c *Client) SIMKeysIn(ctx context.Context, req SIMKeysInRequest) ([]SIMKeys, error) {
	out, _, err := call[simKeysReply](ctx, c, methodSIMKeysIn, req)
	return out.Keys, err
}

// NewSIMKeys draws the keys of a SIM that the bureau programs itself; tuak nil: for
// MILENAGE.
func (c *Client) NewSIMKeys(ctx context.Context, iccid, batch string, tuak *aka.TUAKParameters) (SIMKeys, error) {
	out, _, err := call[SIMKeys](ctx, c, methodNewSIMKeys, newSIMKeysRequest{iccid, batch, tuak})
	return out, err
}

// SIMProgram gives the keys to program a chip with, whose ICCID was read from it: SIM
// blanks take them behind ADM1 in the clear, so they cannot but pass here. ErrRequest
// for keys of another SIM, and for those that an operator gave to authenticate with,
// which are never given out. Zero them after use.
func (c *Client) SIMProgram(ctx context.Context, req SIMProgramRequest) (SIMProgram, error) {
	out, _, err := call[wireSIMProgram](ctx, c, methodSIMProgram, req)
	p := SIMProgram{K: out.K, OPc: out.OPc, TUAK: out.TUAK, OTA: map[string]Secret{}}
	for name, k := range out.OTA {
		p.OTA[name] = k
	}
	return p, err
}

// SealTestSIMKeys enciphers keys as an operator does, under a transport key that
// is a development key: for the simulated operator. ErrDevelopment with others.
func (c *Client) SealTestSIMKeys(ctx context.Context, transportKey string, form simkeys.Form, keys TestSIMKeys) (SIMKeyRow, error) {
	out, _, err := call[SIMKeyRow](ctx, c, methodSealTestSIM, sealTestSIMRequest{TransportKey: transportKey, Form: form, Keys: keys})
	return out, err
}
