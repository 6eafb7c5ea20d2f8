package main

// What becomes of a pairing later: suspended, ended, asked about again.

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"cardbureau/personalization/bureau"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/lifecycle"
	"cardbureau/personalization/store"
)

// pairingFlags name a pairing and who does something about it.
type pairingFlags struct {
	Pairing  string `arg:"" help:"The pairing, as desk pair and sim list name it."`
	Operator string `help:"The clerk, for the audit." default:"${user}"`
}

// pairingStep is a change of a pairing as a command makes it.
type pairingStep struct {
	// do makes it. It is also called where it was made before: an operator that could
	// not be told then is told now.
	do func(*pairing.Service, uuid.UUID, store.Actor) error
	// said tells what was done, by the states before and after.
	said func(was, is lifecycle.State) string
}

func (c pairingFlags) on(ctx context.Context, g *globals, step pairingStep) error {
	id, err := uuid.Parse(c.Pairing)
	if err != nil {
		return &exitError{exitUsage, fmt.Sprintf("%q is no pairing: cardbureau sim list names a card's", c.Pairing)}
	}
	return withPairing(ctx, g, c.Operator, func(b *bureau.Bureau, s *pairing.Service, a store.Actor) error {
		was, err := b.Store.PairingByID(ctx, id)
		if err != nil {
			return onPairing(id, was.State, err)
		}
		if err := step.do(s, id, a); err != nil {
			return onPairing(id, was.State, err)
		}
		is, err := b.Store.PairingByID(ctx, id)
		if err != nil {
			return onPairing(id, was.State, err)
		}
		if g.JSON {
			return printJSON(map[string]any{"pairing": id, "was": was.State, "state": is.State})
		}
		fmt.Printf("Pairing %s: %s\n", id, step.said(was.State, is.State))
		return nil
	})
}

// onPairing explains an error for a pairing.
func onPairing(id uuid.UUID, state lifecycle.State, err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return explained{fmt.Sprintf("no pairing has the identifier %s: cardbureau sim list names a card's", id), err}
	case err.Error() == store.ErrWrongState.Error():
		return explained{fmt.Sprintf("pairing %s is %s, which does not allow this", id, state), err}
	}
	return fmt.Errorf("pairing %s: %w", id, err)
}

type simSuspend struct {
	pairingFlags
	Lift   bool       `help:"Put it back into service."`
	Reason reasonWord `help:"Why, in one word: lost, holder-request, …" default:"holder-request"`
}

func (simSuspend) Example() string {
	return "cardbureau sim suspend 0198c0de-7a11-7000-8000-000000000001 --reason lost --data /srv/bureau"
}

func (c simSuspend) Run(ctx context.Context, g *globals) error {
	return c.on(ctx, g, pairingStep{
		do: func(s *pairing.Service, id uuid.UUID, a store.Actor) error {
			return s.Suspend(ctx, id, !c.Lift, string(c.Reason), a)
		},
		said: moved(c.Lift),
	})
}

// moved tells of a pairing that was taken out of service, or back into it.
func moved(lifted bool) func(was, is lifecycle.State) string {
	word := "out of service"
	if lifted {
		word = "back in service"
	}
	return func(was, is lifecycle.State) string {
		if was == is {
			return fmt.Sprintf("this was done before; it is %s", is)
		}
		return fmt.Sprintf("%s; it is %s", word, is)
	}
}

type simEnd struct {
	pairingFlags
	Reason reasonWord `help:"Why, in one word." default:"holder-request"`
}

func (simEnd) Example() string {
	return "cardbureau sim end 0198c0de-7a11-7000-8000-000000000001 --reason swapped --data /srv/bureau"
}

func (c simEnd) Run(ctx context.Context, g *globals) error {
	return c.on(ctx, g, pairingStep{
		do: func(s *pairing.Service, id uuid.UUID, a store.Actor) error {
			return s.Revoke(ctx, id, string(c.Reason), a)
		},
		said: ended,
	})
}

// ended tells of a pairing that was ended.
func ended(was, is lifecycle.State) string {
	if was == is {
		return fmt.Sprintf("it was ended before, and is %s; its first reason stays", is)
	}
	return fmt.Sprintf("ended; it is %s", is)
}

type simFinish struct{ pairingFlags }

func (simFinish) Example() string {
	return "cardbureau sim finish 0198c0de-7a11-7000-8000-000000000001 --data /srv/bureau"
}

func (c simFinish) Run(ctx context.Context, g *globals) error {
	return c.on(ctx, g, pairingStep{
		do: func(s *pairing.Service, id uuid.UUID, a store.Actor) error {
			_, err := s.Continue(ctx, id, a)
			return err
		},
		said: finished,
	})
}

// finished tells of a pairing whose operator was asked again.
func finished(was, is lifecycle.State) string {
	switch {
	case was != lifecycle.OperatorPending:
		return fmt.Sprintf("it waits for no operator, and is %s: nobody was asked", is)
	case is == lifecycle.OperatorPending:
		return "the operator was asked again and has not decided; it still waits"
	case is == lifecycle.Active:
		return "the operator has confirmed; it is active. cardbureau desk pair-record writes its record to the card"
	}
	return fmt.Sprintf("the operator was asked again; it is %s", is)
}
