package usim

import (
	"bytes"

	"cardbureau/cardio/apdu"
)

// Modes of record commands, the low bits of P2 (TS 102 221 clause 11.1.5).
const (
	recordNext     = 0x02
	recordPrevious = 0x03
	recordAbsolute = 0x04
	searchBackward = 0x05
	counterSize    = 3 // of INCREASE here
)

// at is the record that P1 and the mode name. For the next and the previous one
// the pointer is to be set to it.
func (c *Chip) at(f *file, cmd apdu.Command) (int, apdu.StatusWord) {
	count := c.records(f)
	n := int(cmd.P1)
	switch mode := cmd.P2 & 0x07; mode {
	case recordAbsolute:
		if n == 0 {
			n = c.pointer
		}
	case recordNext, recordPrevious:
		if n != 0 {
			return 0, apdu.SWIncorrectP1P2
		}
		n = c.step(f, mode, count)
	default:
		return 0, apdu.SWIncorrectP1P2
	}
	if n < 1 || n > count {
		return 0, apdu.SWRecordNotFound
	}
	return n, apdu.SWSuccess
}

// step moves from the pointer; without one the next is the first and the
// previous the last. A cyclic file has no end.
func (c *Chip) step(f *file, mode byte, count int) int {
	n := c.pointer + 1
	switch {
	case mode == recordPrevious && c.pointer == 0:
		return count
	case mode == recordPrevious:
		n = c.pointer - 1
	}
	if f.kind == cyclic {
		n = (n-1+count)%count + 1
	}
	return n
}

func (c *Chip) readRecord(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if len(cmd.Data) > 0 {
		return nil, apdu.SWWrongLength
	}
	f, sw := c.fileFor(cmd.P2>>3, linear, cyclic)
	if sw == apdu.SWSuccess {
		sw = c.may(f, opRead)
	}
	if sw != apdu.SWSuccess {
		return nil, sw
	}
	n, sw := c.at(f, cmd)
	if sw != apdu.SWSuccess {
		return nil, sw
	}
	if cmd.Ne != f.record {
		return nil, swWrongLe | apdu.StatusWord(byte(f.record))
	}
	if cmd.P2&0x07 != recordAbsolute {
		c.pointer = n
	}
	return c.record(f, n), apdu.SWSuccess
}

func (c *Chip) updateRecord(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	f, sw := c.fileFor(cmd.P2>>3, linear, cyclic)
	if sw == apdu.SWSuccess {
		sw = c.may(f, opUpdate)
	}
	if sw != apdu.SWSuccess {
		return nil, sw
	}
	if f.kind == cyclic {
		// Only the oldest record, which becomes the first.
		if cmd.P1 != 0 || cmd.P2&0x07 != recordPrevious {
			return nil, apdu.SWIncorrectP1P2
		}
		if len(cmd.Data) != f.record {
			return nil, apdu.SWWrongLength
		}
		c.turn(f, cmd.Data)
		return nil, apdu.SWSuccess
	}
	n, sw := c.at(f, cmd)
	if sw != apdu.SWSuccess {
		return nil, sw
	}
	if len(cmd.Data) != f.record {
		return nil, apdu.SWWrongLength
	}
	if cmd.P2&0x07 != recordAbsolute {
		c.pointer = n
	}
	c.space.WriteAt(dataPrefix+f.data, (n-1)*f.record, cmd.Data)
	return nil, apdu.SWSuccess
}

// turn puts a record before the others of a cyclic file; the last is gone.
func (c *Chip) turn(f *file, record []byte) {
	old := c.content(f)
	c.space.Set(dataPrefix+f.data, join(record, old[:len(old)-f.record]))
	c.pointer = 1
}

// searchRecord is SEARCH RECORD, the simple search (TS 102 221 clause 11.1.7):
// the numbers of the records that hold the pattern.
func (c *Chip) searchRecord(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	f, sw := c.fileFor(cmd.P2>>3, linear, cyclic)
	if sw == apdu.SWSuccess {
		sw = c.may(f, opRead)
	}
	if sw != apdu.SWSuccess {
		return nil, sw
	}
	step := 1
	switch cmd.P2 & 0x07 {
	case recordAbsolute:
	case searchBackward:
		step = -1
	case 0x06, 0x07:
		return nil, apdu.SWFunctionNotSupported // enhanced and proprietary search
	default:
		return nil, apdu.SWIncorrectP1P2
	}
	if len(cmd.Data) == 0 || len(cmd.Data) > f.record {
		return nil, apdu.SWWrongLength
	}
	n := int(cmd.P1)
	if n == 0 {
		n = max(c.pointer, 1)
	}
	if n > c.records(f) {
		return nil, apdu.SWRecordNotFound
	}
	var found []byte
	for ; n >= 1 && n <= c.records(f); n += step {
		if bytes.Contains(c.record(f, n), cmd.Data) {
			found = append(found, byte(n))
		}
	}
	if len(found) == 0 {
		return nil, apdu.SWEndOfFile
	}
	c.pointer = int(found[0])
	return found, apdu.SWSuccess
}

// increase is INCREASE (TS 102 221 clause 11.1.8): the newest record plus the
// data becomes a new first record. The answer is the sum and what was added.
func (c *Chip) increase(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	var sfi byte
	if cmd.P1 != 0 {
		if cmd.P1&0xE0 != 0x80 || cmd.P1&0x1F == 0 {
			return nil, apdu.SWIncorrectP1P2
		}
		sfi = cmd.P1 & 0x1F
	}
	if cmd.P2 != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	f, sw := c.fileFor(sfi, cyclic)
	if sw == apdu.SWSuccess {
		sw = c.may(f, opIncrease)
	}
	switch {
	case sw != apdu.SWSuccess:
		return nil, sw
	case len(cmd.Data) != f.record || f.record != counterSize:
		return nil, apdu.SWWrongLength
	}
	sum := bytes.Clone(c.record(f, 1))
	carry := 0
	for i := len(sum) - 1; i >= 0; i-- {
		carry += int(sum[i]) + int(cmd.Data[i])
		sum[i], carry = byte(carry), carry>>8
	}
	if carry != 0 {
		return nil, swMaximumValue
	}
	c.turn(f, sum)
	return join(sum, cmd.Data), apdu.SWSuccess
}
