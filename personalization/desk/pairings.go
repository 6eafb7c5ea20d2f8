package desk

import (
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/lds"
	"cardbureau/personalization/identity"
)

// ErrNoPlace says that the card has no place for the record of one more pairing.
var ErrNoPlace = errors.New("the card has no place for one more pairing record: a SIM that is no longer used must be ended first (cardbureau sim end)")

// pairs reports whether the card can be paired, and so has a file of records.
func (v *Visit) pairs() bool {
	if v.keys == nil {
		return false
	}
	_, ok := v.keys.Key(identity.PairingKeyReference)
	return ok
}

// KeepPairings brings the card's file of pairing records in line with what the server
// has: the records of all pairings of this card that are alive and signed, and no
// others. The holder has given their own PIN. It is read back, and may be repeated:
// what was there and is alive is never lost. kept is how many records the file holds,
// places how many it has room for; both are zero for a card that cannot be paired.
func (v *Visit) KeepPairings(ctx context.Context) (kept, places int, err error) {
	if !v.pairs() {
		return 0, 0, nil
	}
	list, err := v.desk.Store.PairingsOfCard(ctx, v.cardID)
	if err != nil {
		return 0, 0, err
	}
	var records [][]byte
	for _, one := range list {
		if !one.State.Live() {
			continue
		}
		p, err := v.desk.Store.PairingByID(ctx, one.ID)
		if err != nil {
			return 0, 0, err
		}
		if p.State.Live() && p.Record != nil {
			records = append(records, p.Record)
		}
	}
	places, err = lds.KeepRecords(ctx, v.session, identity.PairingFID, records)
	if errors.Is(err, lds.ErrNoPlace) {
		return 0, places, fmt.Errorf("%w: %w", ErrNoPlace, err)
	}
	if err != nil {
		return 0, places, fmt.Errorf("the pairing records: %w", err)
	}
	return len(records), places, nil
}

// RoomForPairing brings the file in line as KeepPairings does, and refuses with
// [ErrNoPlace] where the card's live pairings, those that wait for an operator
// included, take every place. It is asked before a SIM is paired.
func (v *Visit) RoomForPairing(ctx context.Context) error {
	_, places, err := v.KeepPairings(ctx)
	if err != nil {
		return err
	}
	list, err := v.desk.Store.PairingsOfCard(ctx, v.cardID)
	if err != nil {
		return err
	}
	alive := 0
	for _, one := range list {
		if one.State.Live() {
			alive++
		}
	}
	if alive >= places {
		return ErrNoPlace
	}
	return nil
}
