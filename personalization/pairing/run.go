package pairing

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/uicc"
	"cardbureau/personalization/pairing/lifecycle"
	"cardbureau/personalization/statement"
	"cardbureau/personalization/store"
)

// Request is one pairing to be made.
type Request struct {
	Session  *Session
	Card     store.Card // the identity card, active; the caller has read the chip and knows that it is this one
	Holder   Holder     // its chip, with the PIN given
	SIM      SIM
	Operator string // MCC and MNC
	MSISDN   MSISDN
	ICCID    ICCID     // the one that belongs to the order; zero: any SIM of the operator
	Own      bool      // the bureau's own centre has the SIM's key, not the operator's
	Until    time.Time // last day of validity
	Actor    store.Actor
	// Write puts the record into the card's file behind the PIN; nil: not now. It is
	// called once the pairing is active.
	Write func(ctx context.Context, record []byte) error
}

// Result is what became of it.
type Result struct {
	ID       uuid.UUID       // Nil: nothing was begun
	State    lifecycle.State // active; operator-pending: the operator calls back
	Record   []byte          // COSE_Sign1; nil until active
	Salt     Salt            // opens the commitment to the number: print it on the receipt, keep it nowhere
	Resynced bool            // the SIM's counter was brought in line
	// WriteError says why the record of an active pairing is not on the card. It can be
	// written at another time: Store.PairingByID has it.
	WriteError error
}

// Run pairs: it has both chips answer in the session, the operator confirm and the
// issuer sign. The session serves for this one call and is closed by it.
//
// It ends in one of four ways. Without an error the pairing is active, or the
// operator will call back (operator-pending). With ErrWaits it waits, and
// Continue asks again. With any other error nothing is paired: what had been reserved
// is revoked or expired, with the reason as a code, or will be when the session's
// time is over if the database could not be reached.
func (s *Service) Run(ctx context.Context, r Request) (out Result, err error) {
	if r.Session == nil || r.Holder == nil || r.SIM == nil || r.MSISDN.IsZero() {
		return out, errors.New("a pairing needs a session, both chips and a number")
	}
	defer r.Session.Close()
	if err := r.Session.use(); err != nil {
		return out, err
	}
	network, centre, err := s.network(ctx, r)
	if err != nil {
		return out, err
	}
	attended, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.Session.Context(), func() { cancel(context.Cause(r.Session.Context())) })()

	p := pending{Service: s, r: r, network: network, centre: centre}
	if out.Salt, err = newSalt(); err != nil {
		return out, err
	}
	err = p.prove(attended, &out)
	if err != nil {
		if serr := r.Session.Check(); serr != nil {
			err = serr // why the chip did not answer, or what makes its answer worthless
		}
		return out, p.fail(ctx, &out, err)
	}
	err = s.activate(ctx, p.sub, r.Operator, r.Actor, &out)
	switch {
	case errors.Is(err, ErrOperatorRefused) || err != nil && out.State == lifecycle.Proven:
		return out, p.fail(ctx, &out, err)
	case err != nil:
		return out, err
	}
	if out.State == lifecycle.Active && r.Write != nil {
		out.WriteError = r.Write(attended, out.Record)
		if over := r.Session.Check(); out.WriteError != nil && over != nil {
			out.WriteError = over // why the card was not written
		}
	}
	return out, nil
}

// network finds who is asked, and refuses numbers that are not set aside.
func (s *Service) network(ctx context.Context, r Request) (n Network, centre AuthenticationCentre, err error) {
	plan, err := s.plan(ctx)
	if err != nil {
		return n, nil, err
	}
	if err := plan.Allows(r.Operator, r.MSISDN); err != nil {
		return n, nil, err
	}
	n, ok := s.Networks[r.Operator]
	if !ok {
		return n, nil, ErrNoOperator
	}
	centre = n.Centre
	if r.Own {
		centre = s.Own
	}
	if n.Operator == nil || centre == nil {
		return n, nil, fmt.Errorf("%w: it has no authentication centre here", ErrNoOperator)
	}
	if !r.Until.After(s.now()) {
		return n, nil, errors.New("the pairing's last day is over")
	}
	return n, centre, nil
}

// pending is a pairing on its way.
type pending struct {
	*Service
	r       Request
	network Network
	centre  AuthenticationCentre
	sub     Subscription
	ref     []byte // of the ICCID
	asked   bool   // the operator has reserved, or may have
}

// prove brings a pairing up to proven. ctx ends with the session.
func (p *pending) prove(ctx context.Context, out *Result) error {
	id := store.NewID()
	if err := p.identify(ctx, id); err != nil {
		return err
	}
	if err := p.reserve(ctx, out, id); err != nil {
		return err
	}
	p.asked = true
	reserving, cancel := context.WithTimeout(ctx, operatorTimeout)
	err := p.network.Operator.Reserve(reserving, p.sub)
	cancel()
	if err != nil {
		return fmt.Errorf("the operator did not reserve the number: %w", err)
	}
	if err := p.Store.PersonalizePairing(ctx, id, p.r.Session.ID, p.r.Actor); err != nil {
		return err
	}
	out.State = lifecycle.Personalized

	signature, err := proveHolder(ctx, p.r.Session, p.r.Holder)
	if err != nil {
		return err
	}
	ask := ChallengeRequest{ICCID: p.sub.ICCID, IMSI: p.sub.IMSI, Session: p.r.Session.ID, Nonce: p.r.Session.Nonce}
	challenge, resynced, err := proveSIM(ctx, p.r.Session, p.r.SIM, p.centre, ask)
	out.Resynced = resynced
	if err != nil {
		return err
	}
	again, err := p.r.SIM.ICCID(ctx)
	switch {
	case errors.Is(err, apdu.ErrInDoubt):
		return fmt.Errorf("read the SIM's serial number again: %w", err)
	case err != nil || again != p.sub.ICCID:
		return fmt.Errorf("%w: the SIM was exchanged during the session", ErrWrongSIM)
	}
	claims, evidence, err := p.state(id, out.Salt, signature, challenge, resynced)
	if err != nil {
		return err
	}
	sealed, err := p.seal(ctx, p.r.Card.Key, columnEvidence, id, p.r.Card.PersonID, evidence)
	if err != nil {
		return err
	}
	if err := p.r.Session.Check(); err != nil {
		return err
	}
	if err := p.Store.ProvePairing(ctx, id, p.r.Session.ID, claims, sealed, p.r.Actor); err != nil {
		return err
	}
	out.State = lifecycle.Proven
	return nil
}

// identify reads which SIM it is, and that it is the order's.
func (p *pending) identify(ctx context.Context, id uuid.UUID) error {
	iccid, err := p.r.SIM.ICCID(ctx)
	if err != nil {
		return fmt.Errorf("read the SIM's serial number: %w", err)
	}
	if !p.r.ICCID.IsZero() && iccid != p.r.ICCID {
		return fmt.Errorf("%w: its serial number is another", ErrWrongSIM)
	}
	imsi, err := p.r.SIM.IMSI(ctx)
	if err != nil {
		return fmt.Errorf("read the SIM's subscription: %w", err)
	}
	if !imsi.Of(p.r.Operator) {
		return fmt.Errorf("%w: its subscription is another operator's", ErrWrongSIM)
	}
	p.sub = Subscription{Pairing: id, ICCID: iccid, IMSI: imsi, MSISDN: p.r.MSISDN}
	return nil
}

func (p *pending) reserve(ctx context.Context, out *Result, id uuid.UUID) error {
	person, key := p.r.Card.PersonID, p.r.Card.Key
	plain, err := statement.Encode(numbers{p.sub.ICCID.Digits(), p.sub.MSISDN.Digits()})
	if err != nil {
		return err
	}
	defer clear(plain)
	n := store.NewPairing{ID: id, CardID: p.r.Card.ID, Operator: p.r.Operator, Session: p.r.Session.ID, Ends: p.r.Session.Deadline(), Until: p.r.Until, Limit: p.SIMs}
	if n.Limit == 0 {
		n.Limit = DefaultSIMs
	}
	if n.Sealed, err = p.seal(ctx, key, columnNumbers, id, person, plain); err != nil {
		return err
	}
	if n.IMSI, err = p.seal(ctx, key, columnIMSI, id, person, []byte(p.sub.IMSI.Digits())); err != nil {
		return err
	}
	if p.ref, err = p.Vault.ICCIDRef(ctx, p.sub.ICCID.Digits()); err != nil {
		return err
	}
	if n.MSISDNRef, err = p.Vault.MSISDNRef(ctx, p.sub.MSISDN.Digits()); err != nil {
		return err
	}
	n.ICCIDRef = p.ref
	freed, err := p.Store.ReservePairing(ctx, n, p.r.Actor)
	for _, dead := range freed {
		// An operator that still holds the number for it will refuse, and say so: this
		// pairing does not fail for what a dead one left.
		_ = p.release(ctx, p.r.Operator, dead)
	}
	if err != nil {
		return err
	}
	out.ID, out.State = id, lifecycle.Reserved
	return nil
}

// state is what will be signed, and the transcript that it rests on.
func (p *pending) state(id uuid.UUID, salt Salt, signature []byte, c Challenge, resynced bool) (claims, transcript []byte, err error) {
	s := p.r.Session
	digest := s.Digest()
	point, err := p.r.Holder.PublicKey().Bytes()
	if err != nil {
		return nil, nil, err
	}
	t := Transcript{
		Session: s.ID[:], Nonce: s.Nonce[:], Digest: digest[:], Started: s.Started.Unix(), Signature: signature, Key: point,
		Card: p.r.Holder.CardThumbprint(), ICCID: p.ref, Seed: c.Seed[:], RAND: c.RAND[:], AUTN: c.AUTN[:], Resynced: resynced,
	}
	r := Record{
		Version: recordVersion, Issuer: p.Issuer, ID: id[:], Card: t.Card, ICCID: p.ref, Number: Commitment(salt, p.r.MSISDN),
		Operator: p.r.Operator, Until: p.r.Until.Format(time.DateOnly), Status: p.Status,
	}
	if r.Evidence, transcript, err = t.evidence(); err != nil {
		return nil, nil, err
	}
	r.IssuedAt = s.Started.Unix() // until it is signed
	if err := r.check(); err != nil {
		return nil, nil, err
	}
	claims, err = statement.Encode(r)
	return claims, transcript, err
}

// undoTimeout bounds the undoing of a pairing that failed.
const undoTimeout = 15 * time.Second

// fail ends what was begun. It works also when ctx is over.
func (p *pending) fail(ctx context.Context, out *Result, cause error) error {
	if out.ID == uuid.Nil {
		return cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	to, code := end(cause)
	err := p.Store.MovePairing(ctx, out.ID, to, code, p.r.Actor)
	if err == nil {
		out.State = to
	}
	if p.asked {
		err = errors.Join(err, p.release(ctx, p.r.Operator, out.ID))
	}
	return errors.Join(cause, err)
}

// reasons are the codes that the database and the audit have of failures.
var reasons = []struct {
	err  error
	code string
}{
	{ErrRemoved, "card-removed"},
	{ErrHolder, "holder-signature"},
	{ErrWrongSIM, "wrong-sim"},
	{ErrChallenge, "challenge"},
	{ErrResponse, "sim-response"},
	{ErrResync, "resync"},
	{ErrNoAnswer, "sim-silent"},
	{uicc.ErrMAC, "sim-key"},
	{ErrOperatorRefused, "operator-refused"},
	{ErrNotOwn, "no-sim-keys"},
	{uicc.ErrNoSubscription, "sim-blank"},
	{apdu.ErrInDoubt, "card-removed"}, // seen by the command that it cut short before the reader told
}

// end is the state and the code of a failure.
func end(cause error) (lifecycle.State, string) {
	if errors.Is(cause, ErrSessionExpired) || errors.Is(cause, store.ErrSessionOver) {
		return lifecycle.Expired, "session-expired"
	}
	for _, r := range reasons {
		if errors.Is(cause, r.err) {
			return lifecycle.Revoked, r.code
		}
	}
	return lifecycle.Revoked, "failed"
}

// newIndex draws a status index, 31 bits, so that it says nothing of order or number.
func newIndex() (int64, error) {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint32(b[:]) >> 1), nil
}
