package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"cardbureau/cardio/apdu"
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

type deskPair struct {
	visitFlags
	SIMReader string `help:"Reader with the SIM, by name, pattern or serial number." name:"sim-reader" placeholder:"NAME"`
	SIMTrace  string `help:"Write what goes to the SIM and comes back, without secrets, to this new file." name:"sim-trace" type:"path" placeholder:"FILE"`
	Network   string `help:"Operator, MCC and MNC: 43211, 43235." name:"network" required:"" placeholder:"MCCMNC"`
	ICCID     string `help:"Serial number of the SIM that belongs to the order, if it names one." name:"iccid"`
	SIMPIN    bool   `help:"The SIM asks for its PIN1: a line of standard input, after the number." name:"sim-pin"`
	Own       bool   `help:"The bureau has the SIM's keys and is its authentication centre."`
}

func (deskPair) Example() string {
	return "cardbureau desk pair 7KXW2M4BC --network 43211 --reader \"Identiv *\" --sim-reader \"ACS *\" --document passport --data /srv/bureau"
}

func (c deskPair) Run(ctx context.Context, g *globals) error {
	paper, err := takePaper(c.Receipt)
	if err != nil {
		return err
	}
	defer paper.close()
	b, d, actor, err := openDesk(ctx, g, c.Operator)
	if err != nil {
		return err
	}
	defer b.Close()
	second, err := secondPerson(ctx, b, c.Second)
	if err != nil {
		return err
	}
	c.Number = strings.ToUpper(c.Number)
	pc, err := openReaders(g)
	if err != nil {
		return err
	}
	defer pc.Close()
	both, err := c.readers(ctx, pc)
	if err != nil {
		return err
	}
	defer both.close()
	if err := both.inPlace(ctx); err != nil {
		return err
	}
	v, err := d.Open(ctx, c.Number, store.VisitPair, actor)
	if err != nil {
		return onCard(c.Number, err)
	}
	defer v.Close(ctx)
	entry, pad, err := c.pins(ctx, b.Config.Desk.Keyboard, both.card)
	if err != nil {
		return err
	}
	if err := v.Prove(ctx, both.card); err != nil {
		return onCard(c.Number, err)
	}
	photo, err := c.compare(v)
	if err != nil {
		return err
	}
	err = v.Check(ctx, desk.HolderCheck{
		Photo: photo, Document: string(c.Document), Guardian: string(c.Guardian), Decision: string(c.Decision), Override: string(c.Override), Second: second,
	})
	if err != nil {
		return onCard(c.Number, err)
	}
	p := &pairer{deskPair: c, bureau: b, visit: v, entry: &onePIN{PINEntry: entry}, pad: pad, both: both, actor: actor}
	defer p.entry.forget()
	out, err := p.pair(ctx, pc)
	if out == nil && errors.Is(err, apdu.ErrInDoubt) {
		err = fmt.Errorf("a card was taken out, or does not answer; nothing is paired: put both in and begin again: %w", err)
	}
	if err != nil {
		err = onCard(c.Number, err)
	}
	if out == nil {
		return err
	}
	// It is paired, whatever failed since: the holder gets the salt in any case.
	if paper != nil {
		r, failed := p.receipt(out)
		if failed == nil {
			failed = paper.write(r)
		}
		if failed == nil {
			out.Salt = ""
		}
		err = errors.Join(err, failed)
	}
	return errors.Join(out.print(g), err)
}

// twoReaders are identity card and SIM in their readers.
type twoReaders struct {
	card, sim cardConn
	done      []func()
}

func (t *twoReaders) close() {
	for _, done := range t.done {
		done()
	}
}

// readers connects to both cards: the reader that --reader names has the identity
// card.
func (c deskPair) readers(ctx context.Context, pc *pcsc.Context) (*twoReaders, error) {
	if c.Reader == "" || c.SIMReader == "" {
		return nil, &exitError{exitUsage, "name the readers: --reader with the identity card, --sim-reader with the SIM"}
	}
	name, err := c.find(ctx, pc)
	if err != nil {
		return nil, err
	}
	second := readerFlag{Reader: c.SIMReader, Trace: c.SIMTrace}
	sim, err := second.find(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("the SIM's reader: %w", err)
	}
	if sim == name {
		return nil, &exitError{exitUsage, "identity card and SIM are in two readers: --reader and --sim-reader name the same"}
	}
	t := &twoReaders{}
	var done func()
	if t.card, done, err = c.connectTo(ctx, pc, name); err != nil {
		return nil, err
	}
	t.done = append(t.done, done)
	if t.sim, done, err = second.connectTo(ctx, pc, sim); err != nil {
		t.close()
		return nil, fmt.Errorf("the SIM: %w", err)
	}
	t.done = append(t.done, done)
	return t, nil
}

// inPlace asks whether the SIM's reader has a SIM, before the visit begins: an identity
// card in its stead leaves the SIM to be taken for a forged card, which is kept and
// counts as a refusal.
func (t *twoReaders) inPlace(ctx context.Context) error {
	if _, err := uicc.Open(ctx, t.sim); err != nil {
		return fmt.Errorf("no SIM answers in %s: identity card and SIM may be in each other's reader: --reader names the identity card's: %w", t.sim.Reader(), err)
	}
	return t.sim.Reset(ctx, true)
}

// onePIN asks the holder once and remembers, for the steps of one visit.
type onePIN struct {
	desk.PINEntry
	pin []byte
}

// Current asks the first time.
func (o *onePIN) Current(ctx context.Context) ([]byte, error) {
	if o.pin == nil {
		pin, err := o.PINEntry.Current(ctx)
		if err != nil {
			return nil, err
		}
		o.pin = pin
	}
	return bytes.Clone(o.pin), nil
}

func (o *onePIN) forget() { clear(o.pin) }

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
	card, err := p.bureau.Store.CardByNumber(ctx, p.Number, "pair", p.actor)
	if err != nil {
		return nil, err
	}
	thumbprint, err := statement.Thumbprint(p.visit.ChipKey())
	if err != nil {
		return nil, err
	}
	if err := p.verify(ctx); err != nil { // the first line of standard input
		return nil, err
	}
	sim, number, err := p.sim(ctx)
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
	var want pairing.ICCID
	if p.ICCID != "" {
		if want, err = pairing.ParseICCID(p.ICCID); err != nil {
			return nil, err
		}
	}
	terminal := make([]byte, 16) // a name drawn anew says nothing of a place
	if _, err := rand.Read(terminal); err != nil {
		return nil, err
	}
	session, err := pairing.NewSession(ctx, pairing.SessionRequest{
		Terminal: hex.EncodeToString(terminal), IdentityReader: p.both.card.Reader(), SIMReader: p.both.sim.Reader(),
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

// write puts the record into the card's file.
func (p *pairer) write(ctx context.Context, record []byte) error {
	return writeRecord(ctx, p.visit.Session(), record)
}

// sim opens the SIM, and asks for number and PIN1.
func (p *pairer) sim(ctx context.Context) (pairing.SIM, pairing.MSISDN, error) {
	var number pairing.MSISDN
	lines := p.lines()
	text, err := lines.line("Number, +989…: ")
	if err != nil {
		return nil, number, err
	}
	number, err = pairing.ParseMSISDN(strings.TrimSpace(string(text)))
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
	if p.SIMPIN {
		pin, err := lines.line("PIN1 of the SIM: ")
		if err == nil {
			err = card.VerifyPIN(ctx, uicc.PIN1, pin, false)
		}
		if errors.Is(err, uicc.ErrPINDisabled) {
			err = nil // it asks for none
		}
		clear(pin)
		if err != nil {
			return nil, number, fmt.Errorf("the SIM: %w", err)
		}
	}
	return pairing.CardSIM(card), number, nil
}

// asked are lines of standard input, or of a terminal that does not show them.
type asked struct{ in *bufio.Reader }

// lines goes on where the PIN was read.
func (p *pairer) lines() *asked {
	if l, ok := p.entry.PINEntry.(*linePINs); ok {
		return &asked{l.in}
	}
	return &asked{bufio.NewReader(os.Stdin)}
}

func (a *asked) line(prompt string) ([]byte, error) {
	if fd := int(os.Stdin.Fd()); term.IsTerminal(fd) {
		fmt.Fprint(os.Stderr, prompt)
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(os.Stderr)
		return b, err
	}
	return (&linePINs{in: a.in}).line()
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
