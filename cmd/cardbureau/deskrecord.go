package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

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

// keepPairings brings the card's pairing records in line on the way of a visit that is
// about something else. That goes on whatever becomes of it.
func (v *visited) keepPairings(ctx context.Context) {
	if _, _, err := v.visit.KeepPairings(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "cardbureau: the card's pairing records stay as they are:", err)
	}
}

type deskPairRecord struct {
	visitFlags
	Pairing string `arg:"" optional:"" help:"A pairing whose record must be among them, as desk pair and sim list name it."`
}

func (deskPairRecord) Example() string {
	return "cardbureau desk pair-record 7KXW2M4BC 0198c0de-7a11-7000-8000-000000000001 --document passport --data /srv/bureau"
}

func (c deskPairRecord) Run(ctx context.Context, g *globals) error {
	id := uuid.Nil
	if c.Pairing != "" {
		var err error
		if id, err = uuid.Parse(c.Pairing); err != nil {
			return &exitError{exitUsage, fmt.Sprintf("%q is no pairing: cardbureau sim list names a card's", c.Pairing)}
		}
	}
	return c.run(ctx, g, store.VisitPair, "has the records of its pairings", func(v *visited) error {
		if id != uuid.Nil {
			if err := v.mayCarry(ctx, strings.ToUpper(c.Number), id); err != nil {
				return err
			}
		}
		if err := v.pinStep(ctx, v.visit.VerifyPIN); err != nil {
			return err
		}
		_, _, err := v.visit.KeepPairings(ctx)
		return err
	})
}

// mayCarry says why a card does not get a pairing's record.
func (v *visited) mayCarry(ctx context.Context, number string, id uuid.UUID) error {
	card, err := v.bureau.Store.CardByNumber(ctx, number, "pair-record", v.actor)
	if err != nil {
		return err
	}
	p, err := v.bureau.Store.PairingByID(ctx, id)
	switch {
	case err != nil:
		return fmt.Errorf("pairing %s: %w", id, err)
	case p.CardID != card.ID:
		return fmt.Errorf("pairing %s is another card's", id)
	case !p.State.Live() || p.Record == nil:
		return fmt.Errorf("pairing %s is %s: a card carries the records of live ones that are signed", id, p.State)
	}
	return nil
}
