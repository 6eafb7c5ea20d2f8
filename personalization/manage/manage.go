// Package manage opens one card in a reader for card content management: it
// says which chip it is and what the stock has about it, opens a secure channel
// with the chip profile's keys in the vault, and accounts for every change.
//
// It refuses what could cost a card: a change to anything but a fresh blank or
// a test card, and keys that failed on this chip before. What is done on the
// card is in cardio/gp/content.
package manage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/gp/content"
	"cardbureau/personalization/line"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/stock"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// What opening a card can fail of. Nothing has been written to the card then.
var (
	// ErrNotChangeable: the stock has the blank in a state in which nobody
	// changes its contents.
	ErrNotChangeable = errors.New("its contents are not changed")
	// ErrKeys: the card has none of the chip profile's key sets, or has several.
	ErrKeys = errors.New("no key set can be told")
	// ErrKeysFailed: an authentication under the key version failed on this chip,
	// now or before. It is not tried again: chips lock after ten.
	ErrKeysFailed = errors.New("the keys failed on this chip")
)

// Session is a card in a reader, fresh from a reset.
type Session interface {
	apdu.Card
	ATR() []byte
}

// Desk is where cards are managed.
type Desk struct {
	Store       *store.Store
	Vault       *vault.Client
	Profiles    *profile.Set
	Development bool // software cards are taken
	Actor       store.Actor
}

// Card is a card with an open secure channel. Close it.
type Card struct {
	Chip       *profile.Chip
	Serial     string
	CPLC       gp.CPLC
	Blank      store.BlankStatus
	KeyVersion byte // of the keys that opened the channel
	// MaxData is how many bytes of data a command carries that still fits into a
	// short one, protected.
	MaxData int

	desk    *Desk
	session Session
	channel *vault.Channel
}

// Open identifies the card and opens a secure channel of its issuer security
// domain with a key set of the chip's profile; an empty name takes the one
// whose version the card has. change says that contents are to be changed:
// ErrNotChangeable then for all but blanks on hand and test cards.
func (d *Desk) Open(ctx context.Context, s Session, keys string, change bool) (*Card, error) {
	if _, _, err := gp.SelectDomain(ctx, gp.Plain(s), nil); err != nil {
		return nil, fmt.Errorf("the card has no card manager that can be selected: %w", err)
	}
	chip, serial, err := line.IdentifySelected(ctx, s, s.ATR(), d.Profiles)
	if err != nil {
		return nil, err
	}
	if err := line.Unfit(chip, serial, d.Development); err != nil {
		return nil, err
	}
	c := &Card{Chip: chip, Serial: serial, desk: d, session: s}
	if c.CPLC, err = gp.ReadCPLC(ctx, gp.Plain(s)); err != nil {
		return nil, err
	}
	if err := c.account(ctx, change); err != nil {
		return nil, fmt.Errorf("card %s: %w", serial, err)
	}
	set, err := c.keySet(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("card %s: %w", serial, err)
	}
	if err := c.open(ctx, set); err != nil {
		return nil, fmt.Errorf("card %s: %w", serial, err)
	}
	return c, nil
}

// account looks the blank up, after attempts of dead processes have been put in
// doubt.
func (c *Card) account(ctx context.Context, change bool) error {
	if _, err := c.desk.Store.MarkAbandoned(ctx); err != nil {
		return err
	}
	var err error
	if c.Blank, err = c.desk.Store.BlankBySerial(ctx, c.Serial); err != nil {
		return fmt.Errorf("%w: import its delivery list first", err)
	}
	if c.Blank.Chip != c.Chip.Name {
		return fmt.Errorf("the delivery list calls it %s, it is a %s", c.Blank.Chip, c.Chip.Name)
	}
	if change && c.Blank.State != stock.OnHand && c.Blank.State != stock.Test {
		return fmt.Errorf("the stock has it as %s: %w", c.Blank.State, ErrNotChangeable)
	}
	return nil
}

// keySet chooses keys: the named set, or the only one whose version is on the
// card.
func (c *Card) keySet(ctx context.Context, name string) (profile.KeySet, error) {
	if name != "" {
		set, ok := c.Chip.Keys[name]
		if !ok {
			return set, fmt.Errorf("%w: the profile of %s has no key set %q", ErrKeys, c.Chip.Name, name)
		}
		return set, nil
	}
	there, err := gp.ReadKeyInformation(ctx, gp.Plain(c.session))
	if err != nil {
		return profile.KeySet{}, fmt.Errorf("%w: %w: name one with --keys", ErrKeys, err)
	}
	var fit []string
	for name, set := range c.Chip.Keys {
		if gp.HasKeyVersion(there, set.Version) {
			fit = append(fit, name)
		}
	}
	slices.Sort(fit)
	if len(fit) != 1 {
		return profile.KeySet{}, fmt.Errorf("%w: the card has %d of the key sets in the profile of %s %v: name one with --keys", ErrKeys, len(fit), c.Chip.Name, fit)
	}
	return c.Chip.Keys[fit[0]], nil
}

// open begins the secure channel. A failed authentication, which either side
// can find, is noted with the blank before anything else happens.
func (c *Card) open(ctx context.Context, set profile.KeySet) error {
	c.KeyVersion = set.Version
	if slices.Contains(c.Blank.FailedKeyVersions, int(set.Version)) {
		return fmt.Errorf("%w: key version %02X, before; it is not tried again", ErrKeysFailed, set.Version)
	}
	domain, protocol := c.Chip.GlobalPlatform, c.Chip.Protocol()
	level := gp.Level(domain.Level[0])
	challenge, err := c.desk.Vault.HostChallenge(ctx, protocol.Mode())
	if err != nil {
		return err
	}
	if _, _, err := gp.SelectDomain(ctx, gp.Plain(c.session), domain.ISD); err != nil {
		return err
	}
	answer, err := apdu.Must(ctx, c.session, gp.InitializeUpdateCommand(set.Asked(), challenge))
	if err != nil {
		return err
	}
	// A card that answers with other keys would seem to hold wrong ones.
	if set.Version != 0 && len(answer) > 10 && answer[10] != set.Version {
		return fmt.Errorf("%w: the card answers with keys of version %02X, not %02X", ErrKeys, answer[10], set.Version)
	}
	data, err := set.DiversificationData(c.Serial, answer)
	if err != nil {
		return err
	}
	channel, authenticate, err := c.desk.Vault.OpenChannel(ctx, vault.ChannelRequest{
		KeySet: set.Set, Diversification: set.Template(), KeyType: set.Type, KeyBits: set.Bits, Protocol: int(protocol.SCP), I: protocol.I,
		HostChallenge: challenge, InitializeUpdate: answer, DiversificationData: data, AID: domain.ISD, Level: level,
		CountDataOnly: c.Chip.Has(profile.QuirkCountDataOnly),
	})
	if errors.Is(err, gp.ErrCardCryptogram) || errors.Is(err, gp.ErrCardChallenge) {
		return c.failed(ctx, err)
	}
	if err != nil {
		return err
	}
	if _, err := apdu.Exchange(ctx, c.session, []apdu.Item{{Command: authenticate}}); err != nil {
		channel.Close()
		var sw apdu.StatusWord
		if errors.As(err, &sw) {
			return c.failed(ctx, err)
		}
		return err
	}
	c.channel = channel
	c.MaxData = protocol.MaxPlainData(level, false)
	if protocol.SCP == 3 {
		c.MaxData = gp.PlainDataWithin(min(c.Chip.Limits.CommandData, apdu.MaxShortData), protocol.Mode(), level)
	}
	return nil
}

func (c *Card) failed(ctx context.Context, cause error) error {
	err := fmt.Errorf("%w: key version %02X: %w; it is not tried again", ErrKeysFailed, c.KeyVersion, cause)
	if nerr := c.desk.Store.NoteAuthenticationFailure(context.WithoutCancel(ctx), c.Serial, int(c.KeyVersion)); nerr != nil {
		err = errors.Join(err, fmt.Errorf("the failure could not be noted: put the card aside: %w", nerr))
	}
	return err
}

// Inventory lists what is on the card.
func (c *Card) Inventory(ctx context.Context) (*content.Inventory, error) {
	return content.Read(ctx, gp.Secure(c.channel, c.session))
}

// AllowedHashes are the SHA-256 hashes of load file data blocks that the applet
// profiles allow of a package; nil where none of them speaks of it.
func (c *Card) AllowedHashes(pkg []byte) (out [][]byte) {
	for _, a := range c.desk.Profiles.Applets {
		if !bytes.Equal(a.Package.AID, pkg) {
			continue
		}
		for _, h := range a.Package.SHA256 {
			out = append(out, h)
		}
	}
	return out
}

// Results of a change, as the audit has them.
const (
	begun   = "begun"
	done    = "done"
	refused = "refused"
	inDoubt = "in-doubt"
)

// Do carries a plan out. The audit says that it begins before its first
// command, and how it ended after its last one. It is finished whatever ctx
// says. Its error is a *content.Failure when the card is the cause.
func (c *Card) Do(ctx context.Context, p *content.Plan) (*gp.Receipt, error) {
	if c.Blank.State != stock.OnHand && c.Blank.State != stock.Test {
		return nil, fmt.Errorf("card %s: the stock has it as %s: %w", c.Serial, c.Blank.State, ErrNotChangeable)
	}
	if p.Card && p.Action == content.Lock && c.Blank.State != stock.Test {
		return nil, fmt.Errorf("card %s: a whole card is locked or ended only where the stock has it as a test card: a blank would be lost and still be counted", c.Serial)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	if err := c.audit(ctx, p, begun); err != nil {
		return nil, err
	}
	receipt, err := p.Do(ctx, c.channel, c.session)
	result := done
	if err != nil {
		result = refused
		var f *content.Failure
		if errors.As(err, &f) && f.Doubt {
			result = inDoubt
		}
	}
	if result == inDoubt && c.Blank.State == stock.OnHand {
		// Nobody knows what is on it: the line must not take it as a fresh blank.
		move := store.BlankMove{Serial: c.Serial, To: stock.Quarantined, Reason: "content-in-doubt", Approvers: [2]store.Actor{c.desk.Actor}}
		if merr := c.desk.Store.MoveBlank(ctx, move); merr != nil {
			err = errors.Join(err, fmt.Errorf("card %s could not be moved into quarantine: put it aside: %w", c.Serial, merr))
		}
	}
	return receipt, errors.Join(err, c.audit(ctx, p, result))
}

// audit names the card and the object; both are identifiers of things.
func (c *Card) audit(ctx context.Context, p *content.Plan, result string) error {
	return c.desk.Store.Audit(ctx, c.desk.Actor, "content."+string(p.Action), c.Serial+" "+content.AID(p.Object), result)
}

// Close ends the channel.
func (c *Card) Close() { c.channel.Close() }
