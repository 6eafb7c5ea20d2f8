package pairing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"cardbureau/personalization/pairing/lifecycle"
	"cardbureau/personalization/statement"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// DefaultSIMs is how many live SIMs a person may have.
const DefaultSIMs = 3

// Service pairs. Its fields are set once; it is then safe for concurrent use.
type Service struct {
	Store      *store.Store
	Vault      *vault.Client
	Networks   map[string]Network   // by MCC and MNC
	Own        AuthenticationCentre // of SIMs that the bureau programs; nil: there are none
	Custodians []jose.JSONWebKey    // who sign plans; none in development
	Issuer     string               // the bureau's name, in records
	Status     string               // where a pairing's status is asked, in records; may be empty
	SIMs       int                  // live SIMs a person; 0: DefaultSIMs
	Now        func() time.Time     // nil: time.Now
}

func (s *Service) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// Columns that are sealed under the person's key, of table pairing.
const (
	table          = "pairing"
	columnNumbers  = "sealed"
	columnIMSI     = "imsi_sealed"
	columnEvidence = "evidence"
)

// numbers is what is sealed of SIM and number.
type numbers struct {
	ICCID  string `cbor:"1,keyasint"`
	MSISDN string `cbor:"2,keyasint"`
}

func (s *Service) seal(ctx context.Context, key store.DataKey, column string, pairing, person uuid.UUID, plain []byte) ([]byte, error) {
	return s.Vault.Seal(ctx, vault.DataKey(key), vault.AAD(table, column, pairing, person, 1), plain)
}

func (s *Service) open(ctx context.Context, p *store.Pairing, column string, sealed []byte) ([]byte, error) {
	return s.Vault.Open(ctx, vault.DataKey(p.Key), vault.AAD(table, column, p.ID, p.PersonID, 1), sealed)
}

// subscription opens what the operator is told of a pairing.
func (s *Service) subscription(ctx context.Context, p *store.Pairing) (sub Subscription, err error) {
	plain, err := s.open(ctx, p, columnNumbers, p.Sealed)
	if err != nil {
		return sub, err
	}
	defer clear(plain)
	var n numbers
	if err := statement.Decode(plain, &n); err != nil {
		return sub, err
	}
	sub = Subscription{Pairing: p.ID, ICCID: ICCID{private{n.ICCID}}, MSISDN: MSISDN{private{n.MSISDN}}}
	if p.IMSI == nil {
		return sub, nil
	}
	imsi, err := s.open(ctx, p, columnIMSI, p.IMSI)
	sub.IMSI = IMSI{private{string(imsi)}}
	clear(imsi)
	return sub, err
}

// Evidence opens the transcript of a pairing that was proven, for whoever must show
// what its record rests on: Record.Verify takes it.
func (s *Service) Evidence(ctx context.Context, pairing uuid.UUID) ([]byte, error) {
	p, err := s.Store.PairingByID(ctx, pairing)
	if err != nil {
		return nil, err
	}
	if p.Evidence == nil {
		return nil, store.ErrWrongState
	}
	return s.open(ctx, &p, columnEvidence, p.Evidence)
}

// Continue asks the operator again about a pairing that waits for it. It is what a
// desk does after ErrWaits. The result has no salt: the holder got it in
// the session.
func (s *Service) Continue(ctx context.Context, pairing uuid.UUID, by store.Actor) (Result, error) {
	p, err := s.Store.PairingByID(ctx, pairing)
	if err != nil {
		return Result{}, err
	}
	out := Result{ID: p.ID, State: p.State, Record: p.Record}
	if p.State != lifecycle.OperatorPending {
		return out, nil
	}
	sub, err := s.subscription(ctx, &p)
	if err != nil {
		return out, err
	}
	err = s.activate(ctx, sub, p.Operator, by, &out)
	return out, err
}

// activate asks the operator and carries its answer out.
func (s *Service) activate(ctx context.Context, sub Subscription, operator string, by store.Actor, out *Result) error {
	network, ok := s.Networks[operator]
	if !ok {
		return ErrNoOperator
	}
	if err := s.Store.AskOperator(ctx, sub.Pairing, by); err != nil {
		return err
	}
	out.State = lifecycle.OperatorPending
	ask, cancel := context.WithTimeout(ctx, operatorTimeout)
	defer cancel()
	answer, err := network.Operator.Activate(ask, sub)
	switch {
	case errors.Is(err, ErrOperatorRefused):
		if merr := s.Store.MovePairing(context.WithoutCancel(ctx), sub.Pairing, lifecycle.Revoked, "operator-refused", by); merr != nil {
			return errors.Join(err, merr)
		}
		out.State = lifecycle.Revoked
		return err
	case err != nil:
		return fmt.Errorf("the operator's answer is not known: %w: %w", ErrWaits, err)
	case answer == Later:
		return nil
	case answer != Confirmed:
		return fmt.Errorf("the operator's answer is none: %w", ErrWaits)
	}
	p, err := s.confirm(ctx, sub.Pairing, by)
	if p.ID == sub.Pairing {
		out.State, out.Record = p.State, p.Record
	}
	if err != nil && !errors.Is(err, ErrOperatorRefused) {
		return fmt.Errorf("the operator has confirmed and the record is not signed: %w: %w", ErrWaits, err)
	}
	return err
}

// confirm signs the record of a pairing that the operator has confirmed, and stores
// it. Of two that do so at once the first one's record stays. A notice that refused
// it meanwhile counts more: ErrOperatorRefused.
func (s *Service) confirm(ctx context.Context, pairing uuid.UUID, by store.Actor) (store.Pairing, error) {
	p, err := s.Store.PairingByID(ctx, pairing)
	if err != nil {
		return p, err
	}
	if p.State == lifecycle.OperatorPending {
		raw, index, err := s.record(ctx, &p)
		if err != nil {
			return p, err
		}
		if err := s.Store.ActivatePairing(ctx, pairing, raw, index, by); err != nil && !errors.Is(err, store.ErrWrongState) {
			return p, err
		}
		if p, err = s.Store.PairingByID(ctx, pairing); err != nil {
			return store.Pairing{}, err
		}
	}
	if p.Record == nil {
		return p, fmt.Errorf("%w: it was %s meanwhile", ErrOperatorRefused, p.State)
	}
	return p, nil
}

// record signs the record of a pairing.
func (s *Service) record(ctx context.Context, p *store.Pairing) (raw []byte, index int64, err error) {
	var r Record
	if err := statement.Decode(p.Claims, &r); err != nil {
		return nil, 0, err
	}
	if index, err = newIndex(); err != nil {
		return nil, 0, err
	}
	r.IssuedAt, r.StatusIndex = s.now().Unix(), index
	raw, err = SignRecord(r, vault.PairingKID, func(tbs []byte) ([]byte, error) { return s.Vault.SignPairing(ctx, tbs) })
	return raw, index, err
}

// Sweep ends pairings that a desk which died has left, and those whose last day is
// over, and has their operators release them. It returns how many ended, and with an
// error which operators could not be told.
func (s *Service) Sweep(ctx context.Context, by store.Actor) (int, error) {
	ended, err := s.Store.ExpirePairings(ctx, 1000, by)
	if err != nil {
		return 0, err
	}
	var untold []error
	for _, p := range ended {
		untold = append(untold, s.release(ctx, p.Operator, p.ID))
	}
	return len(ended), errors.Join(append(untold, s.TellReplaced(ctx, by))...)
}

// TellReplaced tells operators of pairings whose card was replaced or revoked, each
// once. It is called after an activation; Sweep tells what that could not.
func (s *Service) TellReplaced(ctx context.Context, by store.Actor) error {
	list, err := s.Store.ReplacedPairings(ctx, 1000)
	if err != nil {
		return err
	}
	var untold []error
	for _, p := range list {
		network, ok := s.Networks[p.Operator]
		if !ok {
			continue // told by a process that reaches it
		}
		telling, cancel := context.WithTimeout(ctx, undoTimeout)
		err := network.Operator.Replaced(telling, p.ID)
		cancel()
		if err == nil {
			err = s.Store.PairingTold(ctx, p.ID, by)
		}
		if err != nil {
			untold = append(untold, fmt.Errorf("the operator could not be told that a card was replaced: %w", err))
		}
	}
	return errors.Join(untold...)
}

// release has an operator give a number free.
func (s *Service) release(ctx context.Context, operator string, pairing uuid.UUID) error {
	network, ok := s.Networks[operator]
	if !ok {
		return ErrNoOperator
	}
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	if err := network.Operator.Release(ctx, pairing); err != nil {
		return fmt.Errorf("the operator could not be told to release the number: %w", err)
	}
	return nil
}

// Suspend takes a pairing out of use, because its SIM was lost or its holder wants
// it, or back into use, and has the operator do the same. Identity card and account
// are not touched.
func (s *Service) Suspend(ctx context.Context, pairing uuid.UUID, suspended bool, reason string, by store.Actor) error {
	to := lifecycle.Active
	if suspended {
		to = lifecycle.Suspended
	}
	return s.move(ctx, pairing, to, reason, by, func(o Operator) error { return o.Suspend(ctx, pairing, suspended) })
}

// Revoke ends a pairing for good, and has the operator release the subscription.
func (s *Service) Revoke(ctx context.Context, pairing uuid.UUID, reason string, by store.Actor) error {
	return s.move(ctx, pairing, lifecycle.Revoked, reason, by, func(o Operator) error { return o.Release(ctx, pairing) })
}

func (s *Service) move(ctx context.Context, pairing uuid.UUID, to lifecycle.State, reason string, by store.Actor, tell func(Operator) error) error {
	p, err := s.Store.PairingByID(ctx, pairing)
	if err != nil {
		return err
	}
	if p.State == lifecycle.SwapPending && to != lifecycle.Revoked {
		return fmt.Errorf("%w: the operator is moving the number to another SIM", store.ErrWrongState)
	}
	if err := s.Store.MovePairing(ctx, pairing, to, reason, by); err != nil {
		return err
	}
	network, ok := s.Networks[p.Operator]
	if !ok {
		return ErrNoOperator
	}
	if err := tell(network.Operator); err != nil {
		return fmt.Errorf("the pairing is %s, and the operator could not be told: %w", to, err)
	}
	return nil
}
