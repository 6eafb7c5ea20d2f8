package line

import (
	"context"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/personalization/profile"
)

// Identify finds out which chip is in a reader and which blank it is: it
// selects the card manager, reads the CPLC and matches both with the profiles.
// It changes nothing on the card.
func Identify(ctx context.Context, card apdu.Card, atr []byte, set *profile.Set) (chip *profile.Chip, serial string, err error) {
	if _, err := apdu.Must(ctx, card, gp.SelectISDCommand()); err != nil {
		return nil, "", fmt.Errorf("the card has no card manager that can be selected: %w", err)
	}
	return IdentifySelected(ctx, card, atr, set)
}

// IdentifySelected is Identify of a card whose card manager is selected.
func IdentifySelected(ctx context.Context, card apdu.Card, atr []byte, set *profile.Set) (chip *profile.Chip, serial string, err error) {
	cplc, err := gp.ReadCPLC(ctx, gp.Plain(card))
	if err != nil {
		return nil, "", fmt.Errorf("the card's CPLC cannot be read: %w", err)
	}
	serial = cplc.Serial()
	chip, err = set.Identify(atr, be16(cplc.ICFabricator), be16(cplc.ICType))
	return chip, serial, err
}

func be16(v uint16) []byte { return []byte{byte(v >> 8), byte(v)} }
