package virtual

import (
	"cardbureau/cardio/apdu"
)

// setStatus is SET STATUS (GPC_SPE_034 v2.3.1 section 11.10, table 11-80): P1
// = 80 the card, 40 an application or security domain, 60 a security domain
// with all that is associated with it.
func (c *Chip) setStatus(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	switch cmd.P1 {
	case 0x80:
		return nil, c.setCardStatus(CardState(cmd.P2))
	case 0x40, 0x60:
	default:
		return nil, apdu.SWIncorrectP1P2
	}
	if !validAID(cmd.Data) {
		return nil, apdu.SWWrongData
	}
	a := c.reg.application(cmd.Data)
	if a == nil || cmd.P1 == 0x60 && !a.isDomain() {
		return nil, apdu.SWReferencedDataNotFound
	}
	if c.reg.state == CardLocked {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	if a == c.selected {
		return nil, c.setOwnState(cmd)
	}
	lock := cmd.P2&appLockedBit != 0
	if !c.locks(a) || lock == a.locked() {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	c.setLock(a, lock)
	if cmd.P1 == 0x60 {
		for _, o := range c.reg.apps {
			if o != a && c.reg.within(c.reg.parent(o), a) && o.locked() != lock {
				c.setLock(o, lock)
			}
		}
	}
	return nil, apdu.SWSuccess
}

// setOwnState moves the selected security domain to PERSONALIZED, which is
// final; it cannot lock itself, since it could not undo it (section 5.3.2).
func (c *Chip) setOwnState(cmd apdu.Command) apdu.StatusWord {
	if cmd.P1 != 0x40 || cmd.P2 != appPersonalized || c.selected.state != AppSelectable {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	c.personalized()
	return apdu.SWSuccess
}

// setLock locks, or unlocks to the state before (section 5.3.1.4).
func (c *Chip) setLock(a *application, lock bool) {
	a.state &^= appLockedBit
	if lock {
		a.state |= appLockedBit
	}
	c.reg.putApplication(a)
}

// locks says whether the selected security domain may lock an application: one
// of its hierarchy, or any with the Global Lock privilege (sections 5.3.1.4
// and 9.6.1).
func (c *Chip) locks(a *application) bool {
	return c.manages(c.reg.parent(a)) || c.reg.privilegesOf(c.selected)&PrivilegeGlobalLock != 0
}

// setCardStatus checks who wants to change the card life cycle state: locking
// takes the Card Lock privilege, terminating Card Terminate, and the way to
// SECURED is the issuer security domain's (sections 5.1.1 and 9.6.3).
func (c *Chip) setCardStatus(to CardState) apdu.StatusWord {
	p := c.reg.privilegesOf(c.selected)
	switch {
	case to == CardLocked && p&PrivilegeCardLock == 0,
		to == Terminated && p&PrivilegeCardTerminate == 0,
		to != CardLocked && to != Terminated && c.selected != nil:
		return apdu.SWConditionsOfUseNotSatisfied
	}
	return c.setCardState(to)
}
