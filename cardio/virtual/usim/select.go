package usim

import (
	"bytes"
	"encoding/binary"

	"cardbureau/cardio/apdu"
)

// How SELECT names a file (TS 102 221 table 11.1).
const (
	selectFID       = 0x00
	selectChild     = 0x01
	selectParent    = 0x03
	selectAID       = 0x04
	selectFromRoot  = 0x08
	selectFromHere  = 0x09
	selectFCP       = 0x04 // P2
	selectNoData    = 0x0C
	selectFCI       = 0x00
	terminateBit    = 0x40
	occurrenceMask  = 0x03
	answerMask      = 0x0C
	sessionMask     = 0x60
	longestPath     = 16
	shortestAID     = 5
	nextOccurrence  = 0x02
	firstOccurrence = 0x00
)

// selectFile is SELECT (TS 102 221 clause 11.1.1).
func (c *Chip) selectFile(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	answer := cmd.P2 & answerMask
	if !c.selects(answer) || cmd.P2&0x90 != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	if cmd.P1 != selectAID && cmd.P2&^answerMask != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	target, sw := c.target(cmd)
	if sw != apdu.SWSuccess {
		return nil, sw
	}
	if cmd.P1 == selectAID && cmd.P2&sessionMask == terminateBit {
		return nil, c.terminate(target)
	}
	c.enter(target)
	if !c.active(target) {
		sw = apdu.SWSelectedFileInvalidated
	}
	if answer != selectFCP {
		return nil, sw
	}
	return c.fcp(target), sw
}

func (c *Chip) target(cmd apdu.Command) (*file, apdu.StatusWord) {
	var f *file
	switch cmd.P1 {
	case selectFID:
		if len(cmd.Data) != 2 {
			return nil, apdu.SWWrongLength
		}
		f = c.byFID(binary.BigEndian.Uint16(cmd.Data))
	case selectChild:
		if len(cmd.Data) != 2 {
			return nil, apdu.SWWrongLength
		}
		if f = c.folder.child(binary.BigEndian.Uint16(cmd.Data)); f != nil && !f.isFolder() {
			f = nil
		}
	case selectParent:
		if len(cmd.Data) != 0 {
			return nil, apdu.SWWrongLength
		}
		f = c.folder.parent
	case selectAID:
		if len(cmd.Data) < shortestAID || len(cmd.Data) > 16 {
			return nil, apdu.SWWrongLength
		}
		f = c.byAID(cmd.Data, cmd.P2&occurrenceMask == nextOccurrence)
	case selectFromRoot, selectFromHere:
		if n := len(cmd.Data); n == 0 || n%2 != 0 || n > longestPath {
			return nil, apdu.SWWrongLength
		}
		from := c.root
		if cmd.P1 == selectFromHere {
			from = c.folder
		}
		f = c.byPath(from, cmd.Data)
	default:
		return nil, apdu.SWIncorrectP1P2
	}
	if f == nil {
		return nil, apdu.SWFileNotFound
	}
	return f, apdu.SWSuccess
}

// byFID looks where TS 102 221 clause 8.4.1 lets a terminal look: among the
// children of the current folder, the folder itself, its parent, the folders
// beside it, the MF and the current application.
func (c *Chip) byFID(fid uint16) *file {
	switch {
	case fid == fidMF:
		return c.root
	case fid == fidADF:
		return c.adf
	}
	if f := c.folder.child(fid); f != nil {
		return f
	}
	if c.folder.kind == folder && c.folder.fid == fid {
		return c.folder
	}
	up := c.folder.parent
	if up == nil {
		return nil
	}
	if up.kind == folder && up.fid == fid {
		return up
	}
	if f := up.child(fid); f != nil && f.isFolder() {
		return f
	}
	return nil
}

// byPath follows identifiers down; 7FFF at the beginning is the current
// application.
func (c *Chip) byPath(f *file, path []byte) *file {
	for first := true; len(path) > 0 && f != nil; path, first = path[2:], false {
		fid := binary.BigEndian.Uint16(path)
		if first && fid == fidADF {
			f = c.adf
			continue
		}
		f = f.child(fid)
	}
	return f
}

// byAID finds an application by its whole AID or the beginning of it.
func (c *Chip) byAID(aid []byte, next bool) *file {
	skip := next && c.adf != nil && bytes.HasPrefix(c.adf.aid, aid)
	for _, f := range c.root.children {
		switch {
		case f.kind != application || !bytes.HasPrefix(f.aid, aid):
		case skip:
			skip = f != c.adf
		default:
			return f
		}
	}
	return nil
}

func (c *Chip) enter(f *file) {
	c.pointer = 0
	if !f.isFolder() {
		c.current = f
		c.folder = f.parent
	} else {
		c.folder, c.current = f, nil
	}
	if f.kind == application {
		c.adf = f
	}
}

// terminate ends the session of an application: the MF is selected.
func (c *Chip) terminate(f *file) apdu.StatusWord {
	if f != c.adf {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	c.adf = nil
	c.enter(c.root)
	return apdu.SWSuccess
}

// status is STATUS (TS 102 221 clause 11.1.2).
func (c *Chip) status(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if len(cmd.Data) > 0 {
		return nil, apdu.SWWrongLength
	}
	if cmd.P1 > 2 {
		return nil, apdu.SWIncorrectP1P2
	}
	switch cmd.P2 {
	case 0x00:
		return c.fcp(c.folder), apdu.SWSuccess
	case 0x01:
		if c.adf == nil {
			return nil, apdu.SWConditionsOfUseNotSatisfied
		}
		return tlv(0x84, c.adf.aid...), apdu.SWSuccess
	case 0x0C:
		return nil, apdu.SWSuccess
	}
	return nil, apdu.SWIncorrectP1P2
}

// setActive is DEACTIVATE and ACTIVATE FILE (TS 102 221 clauses 11.1.16 and
// 11.1.17) of the current EF.
func (c *Chip) setActive(cmd apdu.Command) apdu.StatusWord {
	op := opActivate
	if cmd.INS == insDeactivate {
		op = opDeactivate
	}
	f := c.current
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return apdu.SWIncorrectP1P2
	case len(cmd.Data) == 2:
		if f = c.byFID(binary.BigEndian.Uint16(cmd.Data)); f == nil || f.isFolder() {
			return apdu.SWFileNotFound
		}
	case len(cmd.Data) != 0:
		return apdu.SWWrongLength
	case f == nil:
		return apdu.SWCommandNotAllowed
	}
	if !c.allowed(f, op) {
		return apdu.SWSecurityStatusNotSatisfied
	}
	if op == opDeactivate {
		c.space.Set(inactive+f.path, []byte{})
	} else {
		c.space.Delete(inactive + f.path)
	}
	return apdu.SWSuccess
}
