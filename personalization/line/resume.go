package line

import (
	"context"
	"errors"
	"fmt"

	"cardbureau/personalization/store"
)

// Resume finishes a blank in doubt that was presented again: it reads from the
// card how far it came, does what is missing with the same card image, proves
// the card, and accounts for it. A person decides that it is called; Run never
// does. The card is finished whatever ctx says.
//
// The event is the one that Events is told last: it says what became of the
// blank, which may be in doubt again. The error says why nothing was begun, and
// then the blank is as it was.
func (l *Line) Resume(ctx context.Context, reader string, s Session) (Event, error) {
	start := l.now()
	// The connection may be to a card that another process left in the middle
	// of something.
	if err := s.Reset(ctx); err != nil {
		return Event{}, err
	}
	l.event(Event{Reader: reader, Kind: Present})
	chip, serial, err := Identify(ctx, s, s.ATR(), l.Profiles)
	if err != nil {
		return Event{}, err
	}
	if err := Unfit(chip, serial, l.Development); err != nil {
		return Event{}, err
	}
	claim, err := l.Station.Resume(ctx, serial, reader)
	if err != nil {
		return Event{}, notResumed(serial, err)
	}
	r := l.attempt(context.WithoutCancel(ctx), reader, s, chip, claim, start)
	return Event{
		At: l.now(), Reader: reader, Kind: Finished, Serial: serial, Order: claim.Order.ID.String(), Card: claim.Image.CardNumber,
		Outcome: r.outcome, Reason: r.reason, Detail: r.detail, Took: l.now().Sub(start),
	}, nil
}

// notResumed says why a blank was not taken up again.
func notResumed(serial string, err error) error {
	var state *store.ErrBlankNotOnHand
	if errors.As(err, &state) {
		return fmt.Errorf("card %s: its blank is %s, and only a blank in doubt is resumed, so nothing was done", serial, state.State)
	}
	if errors.Is(err, store.ErrUnlistedBlank) {
		return fmt.Errorf("card %s: %w; only a blank in doubt is resumed, so nothing was done", serial, err)
	}
	return fmt.Errorf("card %s: %w", serial, err)
}
