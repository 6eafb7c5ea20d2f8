package usim

import "cardbureau/cardio/apdu"

// target of a command on a file: the current EF, or the one that a short
// identifier names, which becomes current.
func (c *Chip) fileFor(sfi byte, wanted ...kind) (*file, apdu.StatusWord) {
	f := c.current
	if sfi != 0 {
		if f = c.folder.bySFI(sfi); f == nil {
			return nil, apdu.SWFileNotFound
		}
	}
	if f == nil {
		return nil, apdu.SWCommandNotAllowed
	}
	for _, k := range wanted {
		if f.kind == k {
			if sfi != 0 {
				c.enter(f)
			}
			return f, apdu.SWSuccess
		}
	}
	return nil, swIncompatible
}

// may checks rule and life cycle.
func (c *Chip) may(f *file, op operation) apdu.StatusWord {
	switch {
	case !c.active(f):
		return swDeactivated
	case !c.allowed(f, op):
		return apdu.SWSecurityStatusNotSatisfied
	}
	return apdu.SWSuccess
}

// place reads offset and short identifier of P1 and P2 (TS 102 221 clause
// 11.1.3).
func place(cmd apdu.Command) (sfi byte, offset int, ok bool) {
	if cmd.P1&0x80 == 0 {
		return 0, int(cmd.P1)<<8 | int(cmd.P2), true
	}
	sfi = cmd.P1 & 0x1F
	return sfi, int(cmd.P2), cmd.P1&0x60 == 0 && sfi != 0
}

func (c *Chip) readBinary(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	sfi, offset, ok := place(cmd)
	if !ok {
		return nil, apdu.SWIncorrectP1P2
	}
	if len(cmd.Data) > 0 {
		return nil, apdu.SWWrongLength
	}
	f, sw := c.fileFor(sfi, transparent)
	if sw == apdu.SWSuccess {
		sw = c.may(f, opRead)
	}
	if sw != apdu.SWSuccess {
		return nil, sw
	}
	content := c.content(f)
	if offset >= len(content) {
		return nil, apdu.SWWrongP1P2
	}
	return content[offset:min(len(content), offset+cmd.Ne)], apdu.SWSuccess
}

func (c *Chip) updateBinary(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	sfi, offset, ok := place(cmd)
	if !ok {
		return nil, apdu.SWIncorrectP1P2
	}
	if len(cmd.Data) == 0 {
		return nil, apdu.SWWrongLength
	}
	f, sw := c.fileFor(sfi, transparent)
	if sw == apdu.SWSuccess {
		sw = c.may(f, opUpdate)
	}
	switch {
	case sw != apdu.SWSuccess:
		return nil, sw
	case offset >= len(c.content(f)):
		return nil, apdu.SWWrongP1P2
	case offset+len(cmd.Data) > len(c.content(f)):
		return nil, apdu.SWWrongLength
	}
	c.space.WriteAt(dataPrefix+f.data, offset, cmd.Data)
	return nil, apdu.SWSuccess
}
