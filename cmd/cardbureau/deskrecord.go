package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds"
	"cardbureau/personalization/identity"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/lifecycle"
	"cardbureau/personalization/store"
)

// paired is what desk pair says.
type paired struct {
	Card       string    `json:"card"`
	Pairing    string    `json:"pairing"`
	State      string    `json:"state"`
	Resynced   bool      `json:"resynced,omitempty"`
	OnCard     bool      `json:"onCard"`         // the record stands in the card's file
	Salt       string    `json:"salt,omitempty"` // of the number's commitment: for the holder's receipt alone, and missing where that is drawn
	Receipt    *receipt  `json:"receipt,omitempty"`
	WriteError string    `json:"writeError,omitempty"`
	At         time.Time `json:"at"`
}

func newPaired(card string, r pairing.Result) *paired {
	out := &paired{Card: card, Pairing: r.ID.String(), State: string(r.State), Resynced: r.Resynced, Salt: hex.EncodeToString(r.Salt[:]), At: time.Now().UTC().Truncate(time.Second)}
	out.OnCard = r.State == lifecycle.Active && r.WriteError == nil
	if r.WriteError != nil {
		out.WriteError = r.WriteError.Error()
	}
	return out
}

func (p *paired) print(g *globals) error {
	if g.JSON {
		return printJSON(p)
	}
	switch {
	case p.State != string(lifecycle.Active):
		fmt.Printf("Card %s: pairing %s waits for the operator. Ask again with cardbureau sim finish %[2]s; when it is active, cardbureau desk pair-record %[1]s %[2]s writes it to the card\n", p.Card, p.Pairing)
	default:
		fmt.Printf("Card %s: paired, %s (%s)\n", p.Card, p.State, p.Pairing)
		if !p.OnCard {
			fmt.Fprintf(os.Stderr, "cardbureau: the record is not on the card: %s. Run cardbureau desk pair-record %s %s\n", p.WriteError, p.Card, p.Pairing)
		}
	}
	if p.Salt != "" {
		fmt.Printf("For the holder's receipt alone, salt of the number's commitment: %s\n", p.Salt)
	}
	return nil
}

// writeRecord puts a pairing's record into the card's file, and reads it back. The
// holder has given the PIN.
func writeRecord(ctx context.Context, card apdu.Card, record []byte) error {
	if err := lds.WriteRecordFile(ctx, card, identity.PairingFID, record); err != nil {
		return err
	}
	again, err := lds.ReadRecordFile(ctx, card, identity.PairingFID)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, record) {
		return errors.New("the card does not hold the record that was written")
	}
	return nil
}

type deskPairRecord struct {
	visitFlags
	Pairing string `arg:"" help:"The pairing, as desk pair and sim list name it."`
}

func (deskPairRecord) Example() string {
	return "cardbureau desk pair-record 7KXW2M4BC 0198c0de-7a11-7000-8000-000000000001 --document passport --data /srv/bureau"
}

func (c deskPairRecord) Run(ctx context.Context, g *globals) error {
	id, err := uuid.Parse(c.Pairing)
	if err != nil {
		return &exitError{exitUsage, fmt.Sprintf("%q is no pairing: cardbureau sim list names a card's", c.Pairing)}
	}
	return c.run(ctx, g, store.VisitPair, "has the pairing's record", func(v *visited) error {
		card, err := v.bureau.Store.CardByNumber(ctx, strings.ToUpper(c.Number), "pair-record", v.actor)
		if err != nil {
			return err
		}
		p, err := v.bureau.Store.PairingByID(ctx, id)
		switch {
		case err != nil:
			return fmt.Errorf("pairing %s: %w", id, err)
		case p.CardID != card.ID:
			return fmt.Errorf("pairing %s is another card's", id)
		case p.State != lifecycle.Active:
			return fmt.Errorf("pairing %s is %s: a card carries the record of an active one", id, p.State)
		}
		if err := v.pinStep(ctx, v.visit.VerifyPIN); err != nil {
			return err
		}
		return writeRecord(ctx, v.visit.Session(), p.Record)
	})
}
