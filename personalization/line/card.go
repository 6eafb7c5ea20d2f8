package line

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/feeder"
	"cardbureau/cardio/gp"
	"cardbureau/personalization/image"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/stock"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// result is what became of a card that was put into a reader.
type result struct {
	outcome store.Outcome // "" when no attempt was made
	refused bool          // no blank of this stock, or a used one
	noOrder bool
	doubt   bool // the blank has been in doubt since before
	reason  string
	detail  string
	fatal   error // the reader cannot go on
	banked  bool  // an issued card's payment application was proven
	striped bool  // an issued card's stripe was read back
}

func (r result) bin() feeder.Bin {
	switch {
	case r.outcome == store.OutcomeIssued:
		return feeder.Issued
	case r.outcome == store.OutcomeInDoubt, r.doubt:
		return feeder.Doubt
	case r.outcome == store.OutcomeClean, r.noOrder, r.fatal != nil && r.outcome == "":
		return feeder.Unused
	default:
		return feeder.Rejected
	}
}

// Stable reason codes of outcomes, for the journal and the audit.
const (
	reasonUnknownChip = "unknown-chip"
	reasonChip        = "chip-differs"
	reasonKeysDiffer  = "keys-differ"
	reasonCardSilent  = "card-silent"
	reasonCardRefused = "card-refused"
	reasonKeysAbsent  = "hsm-unavailable"
	reasonImage       = "image-unreadable"
	reasonProfile     = "profile-unusable"
	reasonProof       = "proof-failed"
	reasonKCV         = "kcv-differs"
	reasonDatabase    = "database-unavailable"
	reasonInterrupted = "interrupted"
)

// card makes one card, or says why not. claimed is called when the reader's
// claim on an order is in the database, or is not to come.
func (l *Line) card(ctx context.Context, reader string, s Session, claimed func()) result {
	start := l.now()
	l.event(Event{Reader: reader, Kind: Present})
	chip, serial, err := Identify(ctx, s, s.ATR(), l.Profiles)
	if err != nil {
		l.event(Event{Reader: reader, Kind: Finished, Reason: reasonUnknownChip, Detail: err.Error()})
		return result{refused: true, reason: reasonUnknownChip, detail: err.Error()}
	}
	if err := Unfit(chip, serial, l.Development); err != nil {
		l.event(Event{Reader: reader, Kind: Finished, Serial: serial, Reason: reasonUnknownChip, Detail: err.Error()})
		return result{refused: true, reason: reasonUnknownChip, detail: err.Error()}
	}
	claim, err := l.Station.Claim(ctx, store.ClaimRequest{Serial: serial, Reader: reader, Products: l.products(chip, encoderOf(s) != nil)})
	claimed()
	if err != nil {
		return l.notClaimed(reader, serial, err)
	}
	return l.attempt(ctx, reader, s, chip, claim, start)
}

// products lists what can be made on a chip, by a reader with an encoder for
// magnetic stripes or without one.
func (l *Line) products(chip *profile.Chip, encoder bool) (names []string) {
	for name, p := range l.Profiles.Products {
		scheme := l.Profiles.Payments[p.Payment]
		if p.Chip == chip.Name && (encoder || scheme == nil || !scheme.Stripe.Written()) {
			names = append(names, name)
		}
	}
	return names
}

func (l *Line) notClaimed(reader, serial string, err error) result {
	e := Event{Reader: reader, Kind: Finished, Serial: serial, Detail: err.Error()}
	var state *store.ErrBlankNotOnHand
	switch {
	case errors.Is(err, store.ErrNoOrder):
		return result{noOrder: true}
	case errors.Is(err, store.ErrUnlistedBlank):
		e.Reason = "unlisted-blank"
		e.Detail = fmt.Sprintf("card %s is on no stock list: import its delivery list, or put it aside", serial)
	case errors.As(err, &state):
		e.Reason = "blank-" + string(state.State)
		e.Detail = fmt.Sprintf("card %s is no fresh blank, the stock has it as %s: put it aside", serial, state.State)
		if state.State == stock.InDoubt {
			e.Detail = fmt.Sprintf("card %s is in doubt and is not tried again by itself: see cardbureau stock count", serial)
		}
	default:
		e.Reason = reasonDatabase
		l.event(e)
		return result{reason: e.Reason, detail: e.Detail, fatal: err}
	}
	l.event(e)
	return result{refused: true, reason: e.Reason, detail: e.Detail, doubt: state != nil && state.State == stock.InDoubt}
}

// attempt runs a committed attempt to its outcome and commits that.
func (l *Line) attempt(ctx context.Context, reader string, s Session, chip *profile.Chip, claim *store.Claim, start time.Time) result {
	base := Event{Reader: reader, Serial: claim.Blank.Serial, Order: claim.Order.ID.String(), Card: claim.Image.CardNumber}
	e := base
	e.Kind = Claimed
	l.event(e)
	j := &journal{line: l, claim: claim, base: base}
	proof, err := l.make(ctx, s, chip, claim, j)
	r := judge(err)
	r.banked, r.striped = j.banked, j.striped
	if claim.Resumed && r.outcome == store.OutcomeClean {
		// This time nothing was written, but an earlier attempt may have.
		r.outcome = store.OutcomeInDoubt
	}
	if r.reason == reasonKeysDiffer {
		if nerr := l.Store.NoteAuthenticationFailure(ctx, claim.Blank.Serial, int(j.keyVersion)); nerr != nil {
			r.detail += "; and the failure could not be noted"
		}
	}
	finish := store.FinishRequest{
		AttemptID: claim.AttemptID, Fence: claim.Fence, Outcome: r.outcome, Reason: r.reason,
		NothingWritten: r.outcome != store.OutcomeIssued && !written(err) && !claim.Resumed,
		Evidence:       proof, Steps: j.take(),
	}
	if ferr := l.finish(ctx, finish); ferr != nil {
		// Nobody knows the outcome but this process: the station's end puts the
		// attempt in doubt, and Resume finds a proven card.
		r = result{outcome: store.OutcomeInDoubt, reason: reasonDatabase, detail: ferr.Error(), fatal: ferr}
	}
	e = base
	e.Kind, e.Outcome, e.Reason, e.Detail, e.Took = Finished, r.outcome, r.reason, r.detail, l.now().Sub(start)
	l.event(e)
	return r
}

// make opens the card image and runs the product's applications on the card.
// It returns the digest of the proof.
func (l *Line) make(ctx context.Context, s Session, chip *profile.Chip, claim *store.Claim, j *journal) ([]byte, error) {
	im, err := l.open(ctx, claim)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errImage, err)
	}
	if im.Bank != nil {
		defer im.Bank.Zero()
	}
	if claim.Blank.Chip != chip.Name {
		return nil, fmt.Errorf("%w: the delivery list calls it %s, it is a %s", errChip, claim.Blank.Chip, chip.Name)
	}
	product := l.Profiles.Products[claim.Order.Product]
	if product == nil {
		return nil, fmt.Errorf("%w: no product %q is configured", errImage, claim.Order.Product)
	}
	run := &profile.Run{
		Chip: chip, Card: s,
		Keys:    watched(s, &channels{vault: l.Vault, claim: claim, sealed: im, journal: j}),
		Element: im.Element, Journal: j.note,
	}
	for _, app := range product.Applications {
		applet := l.Profiles.Applets[app.Applet]
		if applet == nil {
			return nil, fmt.Errorf("%w: applet %q has no profile", errImage, app.Applet)
		}
		run.Applets = append(run.Applets, applet)
		if applet.Plaintext != "" {
			run.Secrets = func(ctx context.Context, names []string) (map[string][]byte, error) {
				return l.Vault.PlainSecrets(ctx, im.Key, im.SecretsAAD, im.Secrets, names)
			}
		}
	}
	p := &prover{line: l, session: s, image: im, chip: chip}
	run.Prove = p.prove
	if claim.Resumed {
		err = run.Resume(ctx)
	} else {
		err = run.Execute(ctx)
	}
	if err != nil {
		return nil, err
	}
	proof := p.evidence()
	if len(proof) == 0 {
		return nil, notProven("product %s has no step that proves the card", claim.Order.Product)
	}
	if im.Bank != nil {
		j.banked = true
		if err := l.stripe(ctx, s, im, j); err != nil {
			return nil, err
		}
	}
	return proof, nil
}

// open opens the card image, of a product with a bank account with the bank's part.
func (l *Line) open(ctx context.Context, claim *store.Claim) (*image.Image, error) {
	key := vault.DataKey(claim.Key)
	if product := l.Profiles.Products[claim.Order.Product]; product == nil || product.Payment == "" {
		return image.Open(ctx, l.Vault, claim.PersonID, key, claim.Image)
	}
	if len(claim.Payment.Content) == 0 {
		return nil, errors.New("it has no payment application")
	}
	return image.OpenWithBank(ctx, l.Vault, claim.PersonID, key, claim.Image, claim.Payment)
}

// errChip marks a blank that is not what its delivery list says.
var errChip = errors.New("the blank is of another chip than its delivery list says")

// errImage marks a card image that cannot be used: no card was touched.
var errImage = errors.New("the card image cannot be used")

func written(err error) bool {
	var se *profile.StepError
	return errors.As(err, &se) && se.Written
}

// judge turns the end of a run into an outcome. What reached the card decides
// between clean, quarantined and in doubt.
func judge(err error) result {
	if err == nil {
		return result{outcome: store.OutcomeIssued}
	}
	r := result{detail: err.Error()}
	var status apdu.StatusWord
	var failed *proofError
	switch {
	case errors.Is(err, gp.ErrCardCryptogram), errors.Is(err, gp.ErrCardChallenge), errors.Is(err, profile.ErrAuthenticationRefused):
		r.outcome, r.reason = store.OutcomeQuarantined, reasonKeysDiffer
	case errors.Is(err, errChip):
		r.outcome, r.reason = store.OutcomeQuarantined, reasonChip
	case errors.Is(err, profile.ErrUnusable):
		r.outcome, r.reason = store.OutcomeInDoubt, reasonProfile
	case errors.Is(err, errImage):
		r.outcome, r.reason = store.OutcomeClean, reasonImage
	case errors.As(err, &failed):
		r.outcome, r.reason = store.OutcomeQuarantined, reasonProof
	case errors.Is(err, gp.ErrKCV):
		r.outcome, r.reason = store.OutcomeQuarantined, reasonKCV
	case errors.As(err, &status):
		r.outcome, r.reason = store.OutcomeQuarantined, reasonCardRefused
	case errors.Is(err, errJournal):
		r.outcome, r.reason = store.OutcomeInDoubt, reasonDatabase
	case vaultGone(err):
		r.outcome, r.reason = store.OutcomeInDoubt, reasonKeysAbsent
	case errors.Is(err, store.ErrFenced), errors.Is(err, store.ErrStationClosed):
		r.outcome, r.reason = store.OutcomeInDoubt, reasonInterrupted
	default:
		r.outcome, r.reason = store.OutcomeInDoubt, reasonCardSilent
	}
	if r.outcome == store.OutcomeInDoubt && !written(err) {
		r.outcome = store.OutcomeClean
	}
	return r
}

func vaultGone(err error) bool {
	for _, e := range []error{vault.ErrAgentGone, vault.ErrAgentUnavailable, vault.ErrChannelGone, vault.ErrToken, vault.ErrModule, vault.ErrPIN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// finishTries is how often an outcome is offered to the database.
const finishTries = 5

// finish commits an outcome. The database accepts the same outcome twice, so
// an answer that was lost may be asked for again.
func (l *Line) finish(ctx context.Context, r store.FinishRequest) error {
	var err error
	for try := range finishTries {
		if err = l.Station.Finish(ctx, r); err == nil || errors.Is(err, store.ErrFenced) || errors.Is(err, store.ErrStationClosed) {
			return err
		}
		select {
		case <-time.After(time.Duration(try+1) * 200 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
	return err
}
