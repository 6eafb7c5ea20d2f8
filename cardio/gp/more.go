package gp

import (
	"fmt"

	"cardbureau/cardio/apdu"
)

// moreCommands is bit 8 of P1: this is not the last command of several that
// carry one data field (GPC_SPE_034 tables 11-21, 11-41 and 11-66).
const moreCommands = 0x80

// MoreCommands cuts an INSTALL, DELETE or PUT KEY whose data is longer than
// maxData bytes into several, of which all but the last say in P1 that more
// follow (GPC_SPE_034 11.2, 11.5 and 11.8). Each is protected by itself: the
// command chaining of ISO/IEC 7816-4, which comes after secure messaging, is
// not used. maxData is 1 to 65,535; above 255 bytes the command that comes out
// has extended length. It is an error for any other instruction.
func MoreCommands(c apdu.Command, maxData int) ([]apdu.Command, error) {
	if maxData < 1 || maxData > apdu.MaxExtendedData {
		return nil, fmt.Errorf("gp: commands of %d bytes of data", maxData)
	}
	switch c.INS {
	case 0xE4, 0xE6, 0xD8:
	default:
		return nil, fmt.Errorf("gp: command %02X cannot be continued by another one", c.INS)
	}
	if len(c.Data) <= maxData {
		return []apdu.Command{c}, nil
	}
	var out []apdu.Command
	for rest := c.Data; len(rest) > 0; {
		n := min(len(rest), maxData)
		part := c
		part.Data, rest = rest[:n:n], rest[n:]
		if len(rest) > 0 {
			part.P1 |= moreCommands
		}
		out = append(out, part)
	}
	return out, nil
}

// cut is MoreCommands of what build gives.
func cut(build func() (apdu.Command, error), maxData int) ([]apdu.Command, error) {
	c, err := build()
	if err != nil {
		return nil, err
	}
	return MoreCommands(c, maxData)
}

// short passes a command on that needs no more than one short one.
func short(c apdu.Command, err error) (apdu.Command, error) {
	if err == nil && len(c.Data) > apdu.MaxShortData {
		return apdu.Command{}, fmt.Errorf("gp: command %02X of %d bytes, at most %d", c.INS, len(c.Data), apdu.MaxShortData)
	}
	return c, err
}
