package line

import (
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/stripe"
	"cardbureau/personalization/image"
	"cardbureau/personalization/payment"
	"cardbureau/personalization/profile"
)

// Stripe writes and reads the magnetic stripe of the card in hand. *stripe.Encoder
// is one.
type Stripe interface {
	SetCoercivity(ctx context.Context, c stripe.Coercivity) error
	WriteAndCompare(ctx context.Context, t stripe.Tracks) error
	Read(ctx context.Context) (stripe.Tracks, error)
	Reset(ctx context.Context) error
}

// Striped is a session whose reader has an encoder beside it.
type Striped interface {
	// Stripe is the encoder; nil: there is none.
	Stripe() Stripe
}

// encoderOf is a session's encoder, or nil.
func encoderOf(s Session) Stripe {
	if t, ok := s.(*tracedSession); ok {
		s = t.Session
	}
	if e, ok := s.(Striped); ok {
		return e.Stripe()
	}
	return nil
}

// stepStripe is the stripe in an attempt's journal.
const stepStripe = "stripe"

// stripeTries is how often a stripe is written: writing again is safe.
const stripeTries = 3

// stripe writes the stripe of a card whose chip is finished, reads it back, and
// holds it against the image and the chip. It comes last: a stripe can be written
// as often as need be, and a card in doubt is finished by writing it again.
func (l *Line) stripe(ctx context.Context, s Session, im *image.Image, j *journal) error {
	scheme := l.Profiles.Payments[im.Bank.Scheme]
	if !scheme.Stripe.Written() {
		return nil
	}
	lost := func(err error) error { return &profile.StepError{Step: stepStripe, Written: true, Err: err} }
	encoder := encoderOf(s)
	if encoder == nil {
		return lost(errNoEncoder)
	}
	if err := j.note(ctx, profile.Intent, []string{stepStripe}, true); err != nil {
		return lost(err)
	}
	want := stripe.Tracks(im.Bank.Tracks)
	coercivity := map[string]stripe.Coercivity{"high": stripe.High, "low": stripe.Low}[scheme.Stripe.Coercivity]
	var err error
	for range stripeTries {
		if err = encoder.Reset(ctx); err != nil {
			return lost(err)
		}
		if err = encoder.SetCoercivity(ctx, coercivity); err == nil {
			err = encoder.WriteAndCompare(ctx, want)
		}
		if err == nil || errors.Is(err, stripe.ErrNoCard) || errors.Is(err, stripe.ErrDevice) || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return stripeFailed(err, lost)
	}
	got, err := encoder.Read(ctx)
	if err != nil {
		return stripeFailed(err, lost)
	}
	defer got.Zero()
	if !got.Equal(want) {
		return &proofError{stripe.ErrDiffers}
	}
	if err := payment.Compare(payment.Tracks(got), im.Bank.Equivalent(), im.Bank.Name); err != nil {
		return &proofError{err}
	}
	j.striped = true
	return j.note(ctx, profile.Done, []string{stepStripe}, false)
}

// errNoEncoder means that a card with a stripe lies in a reader without an encoder.
var errNoEncoder = errors.New("the reader has no encoder for the magnetic stripe: present the card at one that has")

// stripeFailed tells a stripe that is bad from an encoder that was lost.
func stripeFailed(err error, lost func(error) error) error {
	for _, bad := range []error{stripe.ErrDiffers, stripe.ErrLRC, stripe.ErrParity, stripe.ErrSentinel, stripe.ErrCharacter, stripe.ErrRefused} {
		if errors.Is(err, bad) {
			return &proofError{fmt.Errorf("magnetic stripe: %w", err)}
		}
	}
	return lost(err)
}
