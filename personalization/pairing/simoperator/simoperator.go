// Package simoperator is a telephone company that is not one: it sells SIMs,
// reserves numbers, is their authentication centre and signs notices, for tests,
// rehearsal and demo. It can be told to refuse and to answer later. Its keys are
// invented and its subscribers nobody.
package simoperator

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"cardbureau/hsm/aka"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/record"
	"cardbureau/personalization/vault"
)

// The operators of Iran that the bureau pairs with, MCC and MNC.
const (
	MCI      = "43211"
	Irancell = "43235"
)

// prefixes are ICCIDs' issuer parts and the number prefixes that a plan sets aside.
var prefixes = map[string]struct{ iccid, msisdn string }{
	MCI:      {"899811", "+98910"},
	Irancell: {"899835", "+98935"},
}

// SIM is what the vendor writes into a SIM and the operator keeps. It is for the
// software SIM of a rehearsal.
type SIM struct {
	ICCID pairing.ICCID
	IMSI  pairing.IMSI
	K     aka.Secret // 16 bytes
	OPc   aka.Secret // 16 bytes
}

// Operator is the company. It is safe for concurrent use.
type Operator struct {
	Code string
	now  func() time.Time

	seed     []byte // SIMs' keys come of it
	mu       sync.Mutex
	signing  *ecdsa.PrivateKey
	kid      string
	sims     map[string]*subscriber // by ICCID
	lines    map[uuid.UUID]*line
	next     int
	refusal  string
	later    bool
	silent   error
	sequence int64
	last     map[string]pairing.Challenge // by ICCID
	replay   string                       // ICCID
}

type subscriber struct {
	n      int // the n-th that was sold
	sim    SIM
	scheme aka.Scheme
	sqn    aka.SQN // the last one given
}

// line is a subscription under a pairing's name.
type line struct {
	sub   pairing.Subscription
	state string // reserved, active, suspended, released
	// replaced: the card was replaced, and is to be paired again.
	replaced bool
}

var (
	_ pairing.Operator             = (*Operator)(nil)
	_ pairing.AuthenticationCentre = (*Operator)(nil)
)

// New opens a company: MCI or Irancell. now nil: time.Now.
func New(code string, now func() time.Time) (*Operator, error) {
	if _, ok := prefixes[code]; !ok {
		return nil, fmt.Errorf("there is no simulated operator %q", code)
	}
	if now == nil {
		now = time.Now
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	seed := make([]byte, seedSize)
	if _, err := rand.Read(seed); err != nil {
		return nil, err
	}
	return &Operator{Code: code, now: now, seed: seed, signing: key, kid: "notices-" + code, sims: map[string]*subscriber{}, lines: map[uuid.UUID]*line{}, last: map[string]pairing.Challenge{}}, nil
}

// Plan is a plan of operators for development, in force for a year, which nobody
// signs.
func Plan(serial int64, now time.Time, operators ...*Operator) ([]byte, error) {
	p := pairing.Plan{Serial: serial, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0), Operators: map[string]pairing.PlanOperator{}}
	for _, o := range operators {
		key := jose.JSONWebKey{Key: &o.signing.PublicKey, KeyID: o.kid, Algorithm: "ES256", Use: "sig"}
		p.Operators[o.Code] = pairing.PlanOperator{Prefixes: []string{prefixes[o.Code].msisdn}, Keys: []jose.JSONWebKey{key}}
	}
	return json.Marshal(p)
}

// Network is the company for a pairing.Service.
func (o *Operator) Network() pairing.Network { return pairing.Network{Operator: o, Centre: o} }

// Number is the n-th number of the prefix that is set aside.
func (o *Operator) Number(n int) pairing.MSISDN {
	m, err := pairing.ParseMSISDN(fmt.Sprintf("%s%07d", prefixes[o.Code].msisdn, n%10_000_000))
	if err != nil {
		panic(err) // the format is this package's own
	}
	return m
}

// Sell makes a SIM.
func (o *Operator) Sell() (SIM, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next++
	body := fmt.Sprintf("%s%012d", prefixes[o.Code].iccid, o.next)
	iccid, err1 := pairing.ParseICCID(body + string(record.LuhnDigit(body)))
	imsi, err2 := pairing.ParseIMSI(fmt.Sprintf("%s%010d", o.Code, o.next))
	s := SIM{ICCID: iccid, IMSI: imsi, K: o.key("K", iccid), OPc: o.key("OPc", iccid)}
	if err := errors.Join(err1, err2); err != nil {
		return SIM{}, err
	}
	o.sims[iccid.Digits()] = &subscriber{n: o.next, sim: s, scheme: aka.DefaultScheme()}
	return s, nil
}

const seedSize = 32

// key is a SIM's key: it comes of the company's seed, so that no file needs to hold
// it.
func (o *Operator) key(name string, iccid pairing.ICCID) aka.Secret {
	mac := hmac.New(sha256.New, o.seed)
	mac.Write([]byte(name + "\x00" + iccid.Digits()))
	return mac.Sum(nil)[:16]
}

// Refuse has the company refuse to activate with a code; empty: no more.
func (o *Operator) Refuse(code string) { o.set(func() { o.refusal = code }) }

// Later has the company answer by a notice instead of at once.
func (o *Operator) Later(later bool) { o.set(func() { o.later = later }) }

// Silent has calls fail as a broken line does; nil: no more.
func (o *Operator) Silent(err error) { o.set(func() { o.silent = err }) }

// Forget sets a SIM's sequence number back to the beginning, as a centre does that was
// restored from an old copy: the SIM will want a resynchronization.
func (o *Operator) Forget(iccid pairing.ICCID) {
	o.set(func() { o.sims[iccid.Digits()].sqn = 0 })
}

// Replay has the company give the last challenge of a SIM once more, for whatever
// session asks next, as someone who recorded it would. It is an error if there is none.
func (o *Operator) Replay(iccid pairing.ICCID) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.last[iccid.Digits()]; !ok {
		return errors.New("the company has challenged no such SIM")
	}
	o.replay = iccid.Digits()
	return nil
}

func (o *Operator) set(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

// State is how a pairing's subscription stands: reserved, active, suspended,
// released, or empty.
func (o *Operator) State(id uuid.UUID) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l := o.lines[id]; l != nil {
		return l.state
	}
	return ""
}

// Reserve implements pairing.Operator.
func (o *Operator) Reserve(_ context.Context, s pairing.Subscription) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch k := o.sims[s.ICCID.Digits()]; {
	case o.silent != nil:
		return o.silent
	case k == nil || k.sim.IMSI != s.IMSI:
		return &pairing.RefusedError{Code: "unknown-sim"}
	case o.taken(s):
		return &pairing.RefusedError{Code: "number-of-another-sim"}
	case o.lines[s.Pairing] == nil:
		o.lines[s.Pairing] = &line{sub: s, state: "reserved"}
	}
	return nil
}

// taken says that a number goes with another SIM: one that was sold with it, or one
// that has it in service.
func (o *Operator) taken(s pairing.Subscription) bool {
	for _, k := range o.sims {
		if o.Number(k.n) == s.MSISDN {
			return k.sim.ICCID != s.ICCID
		}
	}
	for _, l := range o.lines {
		if l.state != "released" && l.sub.MSISDN == s.MSISDN && l.sub.ICCID != s.ICCID {
			return true
		}
	}
	return false
}

// Activate implements pairing.Operator.
func (o *Operator) Activate(_ context.Context, s pairing.Subscription) (pairing.OperatorAnswer, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.lines[s.Pairing]
	switch {
	case o.silent != nil:
		return 0, o.silent
	case o.refusal != "":
		return 0, &pairing.RefusedError{Code: o.refusal}
	case l == nil || l.state == "released" || l.sub.ICCID != s.ICCID || l.sub.MSISDN != s.MSISDN:
		return 0, &pairing.RefusedError{Code: "not-reserved"}
	case o.later:
		return pairing.Later, nil
	}
	l.state = "active"
	return pairing.Confirmed, nil
}

// Release implements pairing.Operator.
func (o *Operator) Release(_ context.Context, id uuid.UUID) error { return o.move(id, "released") }

// Replaced implements pairing.Operator.
func (o *Operator) Replaced(_ context.Context, id uuid.UUID) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.silent != nil {
		return o.silent
	}
	if l := o.lines[id]; l != nil {
		l.replaced = true
	}
	return nil
}

// WasReplaced reports whether the company was told that a pairing's card was replaced.
func (o *Operator) WasReplaced(id uuid.UUID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lines[id] != nil && o.lines[id].replaced
}

// Suspend implements pairing.Operator.
func (o *Operator) Suspend(_ context.Context, id uuid.UUID, suspended bool) error {
	if suspended {
		return o.move(id, "suspended")
	}
	return o.move(id, "active")
}

func (o *Operator) move(id uuid.UUID, state string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.silent != nil {
		return o.silent
	}
	if l := o.lines[id]; l != nil {
		l.state = state
	}
	return nil
}

// Challenge implements pairing.AuthenticationCentre.
func (o *Operator) Challenge(_ context.Context, r pairing.ChallengeRequest) (c pairing.Challenge, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k, a, err := o.algorithm(r)
	if err != nil {
		return c, err
	}
	defer a.Zero()
	if o.replay == r.ICCID.Digits() {
		o.replay = ""
		return o.last[r.ICCID.Digits()], nil
	}
	next, err := k.scheme.Next(k.sqn)
	if err != nil {
		return c, err
	}
	if r.Resync != nil {
		if len(r.Resync.AUTS) != aka.AUTSSize {
			return c, aka.ErrAUTS
		}
		ms, err := aka.OpenAUTS(a, r.Resync.RAND, [aka.AUTSSize]byte(r.Resync.AUTS))
		if err != nil {
			return c, err
		}
		if next, err = k.scheme.Resynchronize(next, ms); err != nil {
			return c, err
		}
	}
	if _, err := rand.Read(c.Seed[:]); err != nil {
		return c, err
	}
	c.RAND = pairing.Rand(r.Session, r.Nonce, c.Seed)
	v, err := aka.NewVector(a, c.RAND, next, aka.AMF{0x80})
	if err != nil {
		return c, err
	}
	defer v.Zero()
	k.sqn, c.AUTN = next, v.AUTN
	o.last[r.ICCID.Digits()] = c
	return c, nil
}

// Check implements pairing.AuthenticationCentre.
func (o *Operator) Check(_ context.Context, r pairing.ChallengeRequest, c pairing.Challenge, res vault.Secret) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, a, err := o.algorithm(r)
	if err != nil {
		return err
	}
	defer a.Zero()
	k := a.F2345(c.RAND)
	defer k.Zero()
	if !aka.CheckRES(k.RES, res) {
		return pairing.ErrResponse
	}
	return nil
}

func (o *Operator) algorithm(r pairing.ChallengeRequest) (*subscriber, aka.Algorithm, error) {
	k := o.sims[r.ICCID.Digits()]
	if o.silent != nil {
		return nil, nil, o.silent
	}
	if k == nil {
		return nil, nil, &pairing.RefusedError{Code: "unknown-sim"}
	}
	a, err := aka.NewMilenage(k.sim.K, k.sim.OPc)
	return k, a, err
}
