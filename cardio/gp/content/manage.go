package content

import (
	"bytes"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

// PlanDelete deletes an application, a security domain or a load file; related
// deletes a load file's applications with it. It refuses with ErrNotThere,
// ErrIssuer and ErrInUse: a load file with applications, a security domain with
// anything.
func (inv *Inventory) PlanDelete(aid []byte, related bool, token []byte, maxData int) (*Plan, error) {
	if bytes.Equal(aid, inv.ISD.AID) {
		return nil, refuse(ErrIssuer, "%s", AID(aid))
	}
	if !inv.taken(aid) {
		return nil, refuse(ErrNotThere, "%s", AID(aid))
	}
	if users := inv.users(aid); len(users) > 0 && !related {
		return nil, refuse(ErrInUse, "%s is used by %s: give --related to delete the applications of a load file with it", AID(aid), users)
	}
	commands, err := gp.Delete{AID: aid, Related: related, Token: token}.Commands(maxData)
	if err != nil {
		return nil, err
	}
	text := "delete " + AID(aid)
	if related {
		text += " with its applications"
	}
	return &Plan{Action: Delete, Object: aid, Steps: []Step{{Text: text, Commands: commands}}}, nil
}

// users names what was made of a load file or is associated with a domain.
func (inv *Inventory) users(aid []byte) (text string) {
	for _, list := range [][]gp.RegistryEntry{inv.Applications, inv.Domains, inv.LoadFiles} {
		for _, e := range list {
			if bytes.Equal(e.AID, aid) || !bytes.Equal(e.LoadFile, aid) && !bytes.Equal(e.SecurityDomain, aid) {
				continue
			}
			if text != "" {
				text += ", "
			}
			text += AID(e.AID)
		}
	}
	return text
}

// PlanLock locks an application, or a security domain with all that is
// associated with it; PlanUnlock undoes it. They refuse with ErrNotThere,
// ErrIssuer (see PlanCard) and ErrState.
func (inv *Inventory) PlanLock(aid []byte) (*Plan, error) { return inv.lock(Lock, aid) }

// PlanUnlock gives a locked application or security domain its state back.
func (inv *Inventory) PlanUnlock(aid []byte) (*Plan, error) { return inv.lock(Unlock, aid) }

func (inv *Inventory) lock(action Action, aid []byte) (*Plan, error) {
	if bytes.Equal(aid, inv.ISD.AID) {
		return nil, refuse(ErrIssuer, "%s: lock the card", AID(aid))
	}
	e, ok := inv.application(aid)
	if !ok {
		return nil, refuse(ErrNotThere, "application or security domain %s", AID(aid))
	}
	locked := e.LifeCycle&gp.ApplicationLocked != 0
	if locked == (action == Lock) {
		word := "is not locked"
		if locked {
			word = "is locked already"
		}
		return nil, refuse(ErrState, "%s %s", AID(aid), word)
	}
	state := e.LifeCycle &^ gp.ApplicationLocked
	if action == Lock {
		state = gp.ApplicationLocked | e.LifeCycle
	}
	c, text := gp.SetApplicationStatusCommand(aid, state), "application "
	if IsDomain(e) {
		c, text = gp.SetDomainStatusCommand(aid, state), "all of security domain "
	}
	return &Plan{Action: action, Object: aid, Steps: []Step{{Text: string(action) + " " + text + AID(aid), Commands: []apdu.Command{c}}}}, nil
}

// cardMoves are the moves of a card's life cycle (GPC_SPE_034 5.1.2). All but
// those between SECURED and CARD_LOCKED are final.
var cardMoves = map[byte][]byte{
	gp.CardOpReady:     {gp.CardInitialized, gp.CardTerminated},
	gp.CardInitialized: {gp.CardSecured, gp.CardTerminated},
	gp.CardSecured:     {gp.CardLocked, gp.CardTerminated},
	gp.CardLocked:      {gp.CardSecured, gp.CardTerminated},
}

// final reports whether a card that is brought into a state can never leave it
// for the one it had.
func final(from, to byte) bool {
	return !(from == gp.CardSecured && to == gp.CardLocked || from == gp.CardLocked && to == gp.CardSecured)
}

// PlanCard moves the card to another life cycle state. It refuses with
// ErrState what the standard does not know.
func (inv *Inventory) PlanCard(state byte) (*Plan, error) {
	if !bytes.Contains(cardMoves[inv.ISD.LifeCycle], []byte{state}) {
		return nil, refuse(ErrState, "a card that is %s does not become %s", gp.CardStateName(inv.ISD.LifeCycle), gp.CardStateName(state))
	}
	action := Lock
	if inv.ISD.LifeCycle == gp.CardLocked && state == gp.CardSecured {
		action = Unlock
	}
	return &Plan{Action: action, Object: inv.ISD.AID, Card: true, Final: final(inv.ISD.LifeCycle, state), Steps: []Step{{
		Text: fmt.Sprintf("make the card %s", gp.CardStateName(state)), Commands: []apdu.Command{gp.SetCardStatusCommand(state)},
	}}}, nil
}
