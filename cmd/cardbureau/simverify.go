package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"cardbureau/cardio/lds"
	"cardbureau/personalization/pairing"
)

type simVerify struct {
	JWKS   string `help:"File with the bureau's public keys for pairings." required:"" type:"existingfile" name:"jwks"`
	File   string `arg:"" help:"What was read of file 0203 of a card, or one record of it (COSE)." type:"existingfile"`
	Card   string `help:"Thumbprint of the card that it was read from, 64 hexadecimal digits: records of others are not valid."`
	Number bool   `help:"Compare the number: the salt on the holder's receipt and the number are two lines of standard input."`
}

func (simVerify) Example() string {
	return "cardbureau sim verify --jwks pairing-jwks.json ef0203.bin"
}

// simVerified is the answer about one record.
type simVerified struct {
	Place       int    `json:"place"`
	Valid       bool   `json:"valid"`
	Reason      string `json:"reason,omitempty"`
	Pairing     string `json:"pairing,omitempty"`
	Operator    string `json:"operator,omitempty"`
	Issuer      string `json:"issuer,omitempty"`
	Until       string `json:"until,omitempty"`
	StatusIndex int64  `json:"statusIndex,omitempty"`
	Status      string `json:"status,omitempty"`
	Card        string `json:"card,omitempty"`
	Number      *bool  `json:"number,omitempty"` // whether it is the holder's
}

func (c simVerify) Run(ctx context.Context, g *globals) error {
	raw, err := os.ReadFile(c.JWKS)
	if err != nil {
		return err
	}
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(raw, &keys); err != nil || len(keys.Keys) == 0 {
		return &exitError{exitUsage, fmt.Sprintf("%s is no set of public keys (JWKS)", c.JWKS)}
	}
	card, err := hex.DecodeString(c.Card)
	if err != nil || c.Card != "" && len(card) != 32 {
		return &exitError{exitUsage, "--card has 64 hexadecimal digits"}
	}
	number, err := c.number(ctx)
	if err != nil {
		return err
	}
	file, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	places := []lds.Place{{Record: file}}
	if len(file)%lds.PlaceSize == 0 {
		if places, err = lds.ParseRecords(file); err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
	}
	return c.tell(g, places, func(record []byte) (*pairing.Record, error) {
		r, err := pairing.VerifyRecord(record, keys)
		if err == nil && len(card) > 0 {
			err = r.Of(card)
		}
		return r, err
	}, number)
}

// number is how a record is held to the holder's number; nil: it is not.
func (c simVerify) number(ctx context.Context) (func(*pairing.Record) bool, error) {
	if !c.Number {
		return nil, nil
	}
	lines := &asked{bufio.NewReader(os.Stdin)}
	line, err := lines.line(ctx, "Salt: ")
	if err != nil {
		return nil, err
	}
	var salt pairing.Salt
	if b, err := hex.DecodeString(strings.TrimSpace(string(line))); err != nil || copy(salt[:], b) != len(salt) || len(b) != len(salt) {
		return nil, &exitError{exitUsage, "the salt on the receipt has 64 hexadecimal digits"}
	}
	if line, err = lines.line(ctx, "Number, +989…: "); err != nil {
		return nil, err
	}
	number, err := pairing.ParseMSISDN(strings.TrimSpace(string(line)))
	if err != nil {
		return nil, &exitError{exitUsage, err.Error()}
	}
	return func(r *pairing.Record) bool { return r.HasNumber(salt, number) }, nil
}

func (c simVerify) tell(g *globals, places []lds.Place, verify func([]byte) (*pairing.Record, error), number func(*pairing.Record) bool) error {
	records, bad, others := 0, 0, 0
	for i, p := range places {
		if p.Record == nil && !p.Broken {
			continue
		}
		records++
		v := simVerified{Place: i + 1}
		r, err := (*pairing.Record)(nil), errors.New("its header was left half written: the card's bureau writes it anew")
		if !p.Broken {
			r, err = verify(p.Record)
		}
		if err != nil {
			v.Reason = err.Error()
			bad++
		} else {
			id, _ := uuid.FromBytes(r.ID) // 16 bytes: the record was checked
			v.Valid, v.Pairing, v.Operator, v.Issuer, v.Until = true, id.String(), r.Operator, r.Issuer, r.Until
			v.StatusIndex, v.Status, v.Card = r.StatusIndex, r.Status, hex.EncodeToString(r.Card)
			if number != nil {
				is := number(r)
				if v.Number = &is; !is {
					others++
				}
			}
		}
		if err := v.print(g); err != nil {
			return err
		}
	}
	switch {
	case records == 0:
		return &exitError{exitFailed, "the file holds no pairing record"}
	case bad > 0:
		return &exitError{exitFailed, fmt.Sprintf("%d of %d pairing records are not valid", bad, records)}
	case number != nil && others == records:
		return &exitError{exitFailed, "no record is of this number"}
	}
	return nil
}

func (v simVerified) print(g *globals) error {
	if g.JSON {
		return printJSON(v)
	}
	if !v.Valid {
		fmt.Printf("Place %d: NOT VALID: %s\n", v.Place, v.Reason)
		return nil
	}
	said := fmt.Sprintf("Place %d: valid, pairing %s with a SIM of %s, by %s until %s, status index %d", v.Place, v.Pairing, v.Operator, v.Issuer, v.Until, v.StatusIndex)
	if v.Number != nil {
		said += map[bool]string{true: ", of this number", false: ", of another number"}[*v.Number]
	}
	fmt.Println(said)
	return nil
}
