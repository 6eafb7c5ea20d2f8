package main

// A session with both chips at a desk.

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"cardbureau/cardio/lds"
	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/uicc"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/desk"
	"cardbureau/personalization/identity"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/statement"
	"cardbureau/personalization/store"
)

// pairer is one pairing at the desk.
type pairer struct {
	deskPair
	bureau *bureau.Bureau
	visit  *desk.Visit
	entry  *onePIN
	pad    desk.PINPad
	both   *twoReaders
	actor  store.Actor

	lastFour string        // digits of the number
	signed   *desk.Receipt // nil: not yet, or by no card
}

// verify has the holder give the PIN: at the pad each time, at the keyboard once.
func (p *pairer) verify(ctx context.Context) error {
	if p.pad != nil {
		return p.visit.OnPad(ctx, p.pad)
	}
	return p.visit.VerifyPIN(ctx, p.entry)
}

func (p *pairer) pair(ctx context.Context, pc *pcsc.Context) (*paired, error) {
	keys := p.visit.Keys()
	if keys == nil {
		return nil, errors.New("the card has no keys that sign for its holder: it cannot be paired")
	}
	key, ok := keys.Key(identity.PairingKeyReference)
	if !ok {
		return nil, errors.New("the card has no pairing key: it cannot be paired")
	}
	var want pairing.ICCID
	if p.ICCID != "" {
		var err error
		if want, err = pairing.ParseICCID(p.ICCID); err != nil {
			return nil, err
		}
	}
	card, err := p.bureau.Store.CardByNumber(ctx, p.Number, "pair", p.actor)
	if err != nil {
		return nil, err
	}
	thumbprint, err := statement.Thumbprint(p.visit.ChipKey())
	if err != nil {
		return nil, err
	}
	networks, err := p.bureau.Networks()
	if err != nil {
		return nil, err
	}
	service, err := p.bureau.Pairing(networks)
	if err != nil {
		return nil, err
	}
	if _, err := service.Sweep(ctx, p.actor); err != nil { // what a dead desk left; it stops no other pairing
		fmt.Fprintln(os.Stderr, "cardbureau: pairings that are over:", err)
	}
	terminal := make([]byte, 16) // a name drawn anew says nothing of a place
	if _, err := rand.Read(terminal); err != nil {
		return nil, err
	}
	session, err := pairing.NewSession(ctx, pairing.SessionRequest{
		Terminal: hex.EncodeToString(terminal), IdentityReader: p.both.card.Reader(), SIMReader: p.both.sim.Reader(), Lasts: p.Within,
	})
	if err != nil {
		return nil, err
	}
	defer session.Close()
	stop, err := watchRemoval(ctx, session)
	if err != nil {
		return nil, err
	}
	defer stop()
	if log := logger(); log != nil {
		log.Debug("session begins", "ends", session.Deadline())
	}
	sim, number, err := p.attended(session)
	if err != nil {
		return nil, err
	}
	holder, err := p.visit.Holder()
	if err != nil {
		return nil, err
	}
	res, err := service.Run(ctx, pairing.Request{
		Session: session, Card: card, Holder: &chipHolder{p, key, thumbprint}, SIM: sim, Operator: p.Network, MSISDN: number, ICCID: want, Own: p.Own,
		Until: holder.CardExpiry, Actor: p.actor, Write: p.write,
	})
	if err != nil && !errors.Is(err, pairing.ErrWaits) {
		return nil, err
	}
	out := newPaired(p.Number, res)
	if err != nil { // it may become active later, and the salt is told now or never
		return out, err
	}
	if err := p.verify(ctx); err != nil {
		return out, fmt.Errorf("paired (%s), but the receipt is not signed: %w", out.Pairing, err)
	}
	signed, err := p.visit.Sign(ctx)
	if err == nil {
		err = p.visit.Finish(ctx, signed)
	}
	if err != nil {
		return out, fmt.Errorf("paired (%s), but the receipt is not signed: %w", out.Pairing, err)
	}
	if p.signed = signed; signed != nil {
		out.Receipt = &receipt{Statement: string(signed.Content), Signature: signed.Signature, Key: signed.Key.Point}
	}
	return out, nil
}

// write puts the record into the card's file, beside those of the holder's other SIMs.
// It is among those that the server has.
func (p *pairer) write(ctx context.Context, _ []byte) error {
	_, _, err := p.visit.KeepPairings(ctx)
	return err
}

// attended asks holder and SIM for what the session needs of them. It ends with the
// session, also where nobody types.
func (p *pairer) attended(session *pairing.Session) (sim pairing.SIM, number pairing.MSISDN, err error) {
	ctx := session.Context()
	if err = p.verify(ctx); err == nil { // the first line of standard input
		sim, number, err = p.sim(ctx)
	}
	if err == nil {
		err = p.visit.RoomForPairing(ctx) // before anything is begun
	}
	if over := session.Check(); errors.Is(over, pairing.ErrSessionExpired) || errors.Is(over, pairing.ErrRemoved) {
		err = over // why nobody answered, or what makes the answers worthless
	}
	return sim, number, err
}

// sim opens the SIM, and asks for number and PIN1.
func (p *pairer) sim(ctx context.Context) (pairing.SIM, pairing.MSISDN, error) {
	var number pairing.MSISDN
	lines := p.lines()
	text, err := lines.line(ctx, "Number, +989…: ")
	if err != nil {
		return nil, number, err
	}
	number, err = pairing.ParseMSISDN(dialled(string(text)))
	if err != nil {
		return nil, number, err
	}
	if digits := number.Digits(); len(digits) >= 4 {
		p.lastFour = digits[len(digits)-4:]
	}
	card, err := uicc.Open(ctx, p.both.sim)
	if err != nil {
		return nil, number, fmt.Errorf("the SIM: %w", err)
	}
	var pin []byte
	if p.SIMPIN {
		if pin, err = lines.line(ctx, "PIN1 of the SIM: "); err != nil {
			return nil, number, fmt.Errorf("the SIM: %w", err)
		}
		defer clear(pin)
	}
	switch err := pairing.UnlockSIM(ctx, card, pin); {
	case errors.Is(err, pairing.ErrSIMPIN):
		return nil, number, fmt.Errorf("%w: run the command again with --sim-pin, and give it after the number", err)
	case errors.Is(err, uicc.ErrLastTry):
		return nil, number, errors.New("the SIM has one try left for its PIN1, which this command never spends: the holder gives it in a telephone first")
	case err != nil:
		return nil, number, fmt.Errorf("the SIM: %w", err)
	}
	return pairing.CardSIM(card), number, nil
}

// chipHolder is the identity card as the pairing asks it to sign. The PIN that the
// holder has given is used up by it.
type chipHolder struct {
	p          *pairer
	key        identity.HolderKey
	thumbprint []byte
}

// Sign has the chip sign with the pairing key.
func (h *chipHolder) Sign(ctx context.Context, digest [32]byte) ([]byte, error) {
	return lds.Sign(ctx, h.p.visit.Session(), identity.PairingKeyReference, digest[:])
}

// PublicKey is the pairing key that the signed DG13 names.
func (h *chipHolder) PublicKey() *ecdsa.PublicKey {
	k, err := h.key.Public()
	if err != nil {
		return nil
	}
	return k
}

// CardThumbprint names the chip.
func (h *chipHolder) CardThumbprint() []byte { return h.thumbprint }

// watchRemoval ends a session when either card leaves its reader. It has a connection
// of its own to the service, since waiting blocks one.
func watchRemoval(ctx context.Context, s *pairing.Session) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var watchers []*pcsc.Context
	for _, reader := range []string{s.IdentityReader, s.SIMReader} {
		pc, err := pcsc.Open()
		if err != nil {
			cancel()
			for _, w := range watchers {
				w.Close()
			}
			return nil, err
		}
		watchers = append(watchers, pc)
		go func() {
			if err := pc.WaitRemoved(ctx, reader); ctx.Err() == nil {
				_ = err // a reader that is gone has no card in it either
				s.Removed(reader)
			}
		}()
	}
	return func() {
		cancel()
		for _, w := range watchers {
			w.Close()
		}
	}, nil
}
