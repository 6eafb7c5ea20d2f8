package usim

import "cardbureau/cardio/apdu"

const tagProactive = 0xD0

// toolkit is what the card wants of the terminal: commands wait from TERMINAL
// PROFILE on, one is fetched, and its TERMINAL RESPONSE lets the next one wait
// (TS 102 221 clause 7.4.2, TS 102 223).
type toolkit struct {
	queue   [][]byte
	fetched bool // the first of the queue was fetched and not answered
}

// waiting is the length of the command that can be fetched; 0: none.
func (t *toolkit) waiting() int {
	if t.fetched || len(t.queue) == 0 {
		return 0
	}
	return len(t.queue[0])
}

func (c *Chip) proactive(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	t := &c.toolkit
	switch cmd.INS {
	case insTerminalProfile:
		if len(cmd.Data) == 0 {
			return nil, apdu.SWWrongLength
		}
		*t = toolkit{}
		for b := c.space.Get(keyToolkit); len(b) > 0; b = b[1+int(b[0]):] {
			t.queue = append(t.queue, b[1:1+int(b[0])])
		}
		return nil, apdu.SWSuccess
	case insFetch:
		n := t.waiting()
		switch {
		case len(cmd.Data) > 0:
			return nil, apdu.SWWrongLength
		case n == 0:
			return nil, apdu.SWConditionsOfUseNotSatisfied
		case cmd.Ne != n:
			return nil, swWrongLe | apdu.StatusWord(n)
		}
		t.fetched = true
		return t.queue[0], apdu.SWSuccess
	case insTerminalResponse:
		switch {
		case !t.fetched:
			return nil, apdu.SWConditionsOfUseNotSatisfied
		case len(cmd.Data) < 5 || cmd.Data[0]&0x7F != 0x01: // command details come first
			return nil, apdu.SWWrongData
		}
		t.queue, t.fetched = t.queue[1:], false
		return nil, apdu.SWSuccess
	}
	if len(cmd.Data) == 0 {
		return nil, apdu.SWWrongLength
	}
	return nil, apdu.SWSuccess // ENVELOPE: nothing here listens to events
}
