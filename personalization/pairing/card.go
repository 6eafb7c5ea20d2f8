package pairing

import (
	"context"
	"errors"

	"cardbureau/cardio/uicc"
	"cardbureau/personalization/vault"
)

// ErrSIMPIN says that a SIM cannot be paired before its PIN1 is given.
var ErrSIMPIN = errors.New("the SIM asks for its PIN1")

// UnlockSIM gives a SIM the PIN1 that it asks for, once. pin is nil where the holder has
// given none: ErrSIMPIN where the SIM wants one, before anything that it would refuse.
// A SIM whose PIN1 is disabled, or that has none, needs nothing.
func UnlockSIM(ctx context.Context, card *uicc.Card, pin []byte) error {
	asks, _, err := card.AsksPIN1(ctx)
	switch {
	case err != nil || !asks:
		return err
	case pin == nil:
		return ErrSIMPIN
	}
	if err := card.VerifyPIN(ctx, uicc.PIN1, pin, false); !errors.Is(err, uicc.ErrPINDisabled) {
		return err
	}
	return nil // a card that tells it only now
}

// cardSIM is a SIM as its card speaks.
type cardSIM struct{ card *uicc.Card }

// CardSIM is the SIM of a card with a USIM. Its PIN1, where it asks for one, has been
// given. It reads serial number and subscription and nothing else.
func CardSIM(card *uicc.Card) SIM { return &cardSIM{card} }

// ICCID implements SIM.
func (c *cardSIM) ICCID(ctx context.Context) (ICCID, error) {
	digits, err := c.card.ICCID(ctx)
	if err != nil {
		return ICCID{}, err
	}
	return ParseICCID(digits)
}

// IMSI implements SIM.
func (c *cardSIM) IMSI(ctx context.Context) (IMSI, error) {
	digits, err := c.card.IMSI(ctx)
	if err != nil {
		return IMSI{}, err
	}
	return ParseIMSI(digits)
}

// Authenticate implements SIM: CK, IK and Kc are overwritten here.
func (c *cardSIM) Authenticate(ctx context.Context, rand, autn [16]byte) (Answer, error) {
	a, err := c.card.Authenticate(ctx, rand, autn)
	if err != nil {
		return Answer{}, err
	}
	out := Answer{RES: append(vault.Secret(nil), a.RES...), AUTS: append([]byte(nil), a.AUTS...)}
	a.Zero()
	return out, nil
}
