package simoperator

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"cardbureau/hsm/aka"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/vault"
)

// Company is an Operator that lives in a file, so that several commands of a rehearsal
// have the same one: each call reads it, does its work, and writes it, under a lock. The
// file holds the company's own secrets, and no subscriber's key.
type Company struct {
	path string
	code string
	now  func() time.Time
}

var (
	_ pairing.Operator             = (*Company)(nil)
	_ pairing.AuthenticationCentre = (*Company)(nil)
)

// OpenCompany opens the company of a folder, MCI or Irancell, and founds it if it is
// not there yet.
func OpenCompany(folder, code string) (*Company, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	c := &Company{path: filepath.Join(folder, code+".json"), code: code, now: time.Now}
	return c, c.do(func(*Operator) error { return nil })
}

// Companies opens those of a folder that were founded, by their codes.
func Companies(folder string) (map[string]*Company, error) {
	out := map[string]*Company{}
	for code := range prefixes {
		_, err := os.Stat(filepath.Join(folder, code+".json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if out[code], err = OpenCompany(folder, code); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// saved is the file.
type saved struct {
	Seed     []byte            `json:"seed"`
	Signing  []byte            `json:"signing"`
	Next     int               `json:"next"`
	Sequence int64             `json:"sequence"`
	Refusal  string            `json:"refusal,omitempty"`
	SQN      map[string]uint64 `json:"sqn"`
	// Last is each SIM's last challenge; Replay, whose is given once more.
	Last   map[string]challenge    `json:"last,omitempty"`
	Replay string                  `json:"replay,omitempty"`
	Lines  map[uuid.UUID]savedLine `json:"lines"`
}

// challenge is a challenge as the file has it. None of it is secret.
type challenge struct {
	RAND []byte `json:"rand"`
	AUTN []byte `json:"autn"`
	Seed []byte `json:"seed"`
}

func (c challenge) restored() (out pairing.Challenge, ok bool) {
	ok = copy(out.RAND[:], c.RAND) == len(out.RAND) && copy(out.AUTN[:], c.AUTN) == len(out.AUTN) && copy(out.Seed[:], c.Seed) == len(out.Seed)
	return out, ok
}

type savedLine struct {
	ICCID  string `json:"iccid"`
	IMSI   string `json:"imsi"`
	MSISDN string `json:"msisdn"`
	State  string `json:"state"`
	// Replaced: the card was replaced.
	Replaced bool `json:"replaced,omitempty"`
}

// do works on the company as the file has it.
func (c *Company) do(work func(*Operator) error) error {
	f, err := os.OpenFile(c.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	o, err := New(c.code, c.now)
	if err == nil && len(raw) > 0 {
		err = o.load(raw)
	}
	if err != nil {
		return fmt.Errorf("simulated operator %s: %w", c.code, err)
	}
	failed := work(o)
	raw, err = o.save()
	if err == nil {
		_, err = f.WriteAt(raw, 0)
	}
	if err == nil {
		err = f.Truncate(int64(len(raw)))
	}
	return errors.Join(failed, err)
}

func (o *Operator) load(raw []byte) error {
	var s saved
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), s.Signing)
	if err != nil || len(s.Seed) != seedSize {
		return errors.New("its file lacks its keys")
	}
	o.seed, o.signing, o.refusal, o.sequence = s.Seed, key, s.Refusal, s.Sequence
	for range s.Next {
		sim, err := o.Sell() // the same again: it comes of the seed
		if err != nil {
			return err
		}
		o.sims[sim.ICCID.Digits()].sqn = aka.SQN(s.SQN[sim.ICCID.Digits()])
	}
	o.replay = s.Replay
	for iccid, c := range s.Last {
		last, ok := c.restored()
		if !ok {
			return errors.New("its file has a challenge of another length")
		}
		o.last[iccid] = last
	}
	for id, l := range s.Lines {
		iccid, err1 := pairing.ParseICCID(l.ICCID)
		msisdn, err2 := pairing.ParseMSISDN(l.MSISDN)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		sub := pairing.Subscription{Pairing: id, ICCID: iccid, MSISDN: msisdn}
		if l.IMSI != "" {
			if sub.IMSI, err = pairing.ParseIMSI(l.IMSI); err != nil {
				return err
			}
		}
		o.lines[id] = &line{sub: sub, state: l.State, replaced: l.Replaced}
	}
	return nil
}

func (o *Operator) save() ([]byte, error) {
	key, err := o.signing.Bytes()
	if err != nil {
		return nil, err
	}
	s := saved{
		Seed: o.seed, Signing: key, Next: o.next, Sequence: o.sequence, Refusal: o.refusal,
		SQN: map[string]uint64{}, Lines: map[uuid.UUID]savedLine{}, Last: map[string]challenge{}, Replay: o.replay,
	}
	for iccid, c := range o.last {
		s.Last[iccid] = challenge{c.RAND[:], c.AUTN[:], c.Seed[:]}
	}
	for iccid, k := range o.sims {
		s.SQN[iccid] = uint64(k.sqn)
	}
	for id, l := range o.lines {
		s.Lines[id] = savedLine{ICCID: l.sub.ICCID.Digits(), IMSI: l.sub.IMSI.Digits(), MSISDN: l.sub.MSISDN.Digits(), State: l.state, Replaced: l.replaced}
	}
	return json.Marshal(s)
}

// Sell makes a SIM, and names the number that goes with it.
func (c *Company) Sell() (sim SIM, number pairing.MSISDN, err error) {
	err = c.do(func(o *Operator) (err error) {
		sim, err = o.Sell()
		number = o.Number(o.next)
		return err
	})
	return sim, number, err
}

// Refuse has the company refuse to activate with a code; empty: no more.
func (c *Company) Refuse(code string) error {
	return c.do(func(o *Operator) error { o.Refuse(code); return nil })
}

// Forget has the company forget a SIM's counter (Operator.Forget). It is an error if
// the SIM is not the company's.
func (c *Company) Forget(iccid pairing.ICCID) error {
	return c.do(func(o *Operator) error {
		if o.sims[iccid.Digits()] == nil {
			return errors.New("the company has sold no such SIM")
		}
		o.Forget(iccid)
		return nil
	})
}

// Replay has the company give a SIM's last challenge once more (Operator.Replay).
func (c *Company) Replay(iccid pairing.ICCID) error {
	return c.do(func(o *Operator) error { return o.Replay(iccid) })
}

// Network is the company for a pairing.Service.
func (c *Company) Network() pairing.Network { return pairing.Network{Operator: c, Centre: c} }

// CompaniesPlan is a plan of operators for development, of companies.
func CompaniesPlan(serial int64, now time.Time, companies ...*Company) (plan []byte, err error) {
	operators := make([]*Operator, len(companies))
	for i, c := range companies {
		if err := c.do(func(o *Operator) error { operators[i] = o; return nil }); err != nil {
			return nil, err
		}
	}
	return Plan(serial, now, operators...)
}

// Notice signs a notice of an event, and does at the company what it says.
func (c *Company) Notice(id uuid.UUID, event string) (notice []byte, err error) {
	err = c.do(func(o *Operator) (err error) {
		notice, err = o.Notice(id, event)
		return err
	})
	return notice, err
}

// Reserve implements pairing.Operator.
func (c *Company) Reserve(ctx context.Context, s pairing.Subscription) error {
	return c.do(func(o *Operator) error { return o.Reserve(ctx, s) })
}

// Activate implements pairing.Operator.
func (c *Company) Activate(ctx context.Context, s pairing.Subscription) (a pairing.OperatorAnswer, err error) {
	err = c.do(func(o *Operator) (err error) {
		a, err = o.Activate(ctx, s)
		return err
	})
	return a, err
}

// Release implements pairing.Operator.
func (c *Company) Release(ctx context.Context, id uuid.UUID) error {
	return c.do(func(o *Operator) error { return o.Release(ctx, id) })
}

// Replaced implements pairing.Operator.
func (c *Company) Replaced(ctx context.Context, id uuid.UUID) error {
	return c.do(func(o *Operator) error { return o.Replaced(ctx, id) })
}

// Suspend implements pairing.Operator.
func (c *Company) Suspend(ctx context.Context, id uuid.UUID, suspended bool) error {
	return c.do(func(o *Operator) error { return o.Suspend(ctx, id, suspended) })
}

// Challenge implements pairing.AuthenticationCentre.
func (c *Company) Challenge(ctx context.Context, r pairing.ChallengeRequest) (ch pairing.Challenge, err error) {
	err = c.do(func(o *Operator) (err error) {
		ch, err = o.Challenge(ctx, r)
		return err
	})
	return ch, err
}

// Check implements pairing.AuthenticationCentre.
func (c *Company) Check(ctx context.Context, r pairing.ChallengeRequest, ch pairing.Challenge, res vault.Secret) error {
	return c.do(func(o *Operator) error { return o.Check(ctx, r, ch, res) })
}
