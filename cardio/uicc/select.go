package uicc

import (
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
)

// What SELECT returns, P2 (TS 102 221 table 11.2, ISO/IEC 7816-4:2020 table 63).
const (
	returnFCP     = 0x04
	returnNothing = 0x0C
	returnFCI     = 0x00 // optional; TS 102 221 does not have it, and some cards nothing else
)

// fallbacks are what is asked for in turn where a card refuses the one before as
// incorrect P1 and P2.
var fallbacks = []byte{returnFCP, returnNothing, returnFCI}

// selectUICC is SELECT in class 00. A card that refuses to return the FCP (6A86) is
// asked for nothing, then for an FCI, and so from then on: the FCP of its files is
// empty, with Type zero. That a file is not there counts as an answer.
func (c *Card) selectUICC(ctx context.Context, p1 byte, data []byte) (*FCP, error) {
	var first error
	for _, p2 := range fallbacks {
		if c.p2 != returnFCP && p2 != c.p2 {
			continue // what it takes is known
		}
		cmd := apdu.Command{CLA: classUICC, INS: insSelect, P1: p1, P2: p2, Data: data, Ne: apdu.MaxShortNe}
		if p2 == returnNothing {
			cmd.Ne = 0
		}
		out, err := c.send(ctx, cmd)
		if errors.Is(err, apdu.SWIncorrectP1P2) && c.p2 == returnFCP {
			if first == nil {
				first = err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		c.p2 = p2
		if p2 == returnFCP || len(out) > 0 && out[0] == 0x62 {
			return ParseFCP(out)
		}
		return &FCP{}, nil
	}
	return nil, first
}

// statusPINs are the PINs that STATUS tells of the current directory (TS 102 221
// clause 11.1.2), for a card whose SELECT tells nothing; nil where that does not
// either.
func (c *Card) statusPINs(ctx context.Context) []PINStatus {
	out, err := c.send(ctx, apdu.Command{CLA: classCAT, INS: insStatus, Ne: apdu.MaxShortNe})
	if err != nil {
		return nil
	}
	f, err := ParseFCP(out)
	if err != nil {
		return nil
	}
	return f.PINs
}

// readUntold reads the current transparent file of a card that does not tell its size:
// up to the end, which the card says by the right length (6Cxx), a warning, or by
// refusing an offset behind it.
func (c *Card) readUntold(ctx context.Context, path string) (out []byte, err error) {
	for len(out) <= maxOffset {
		at := len(out)
		b, err := c.send(ctx, apdu.Command{CLA: classUICC, INS: insReadBinary, P1: byte(at >> 8), P2: byte(at), Ne: apdu.MaxShortNe})
		if at > 0 && errors.Is(err, apdu.SWWrongP1P2) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("file %s: %w", path, err)
		}
		out = append(out, b...)
		if len(b) < apdu.MaxShortNe {
			break
		}
	}
	return out, nil
}

// recordUntold reads a record of the current file of a card that does not tell how
// long they are.
func (c *Card) recordUntold(ctx context.Context, path string, n int) ([]byte, error) {
	b, err := c.send(ctx, apdu.Command{CLA: classUICC, INS: insReadRecord, P1: byte(n), P2: absolute, Ne: apdu.MaxShortNe})
	if errors.Is(err, apdu.SWRecordNotFound) {
		return nil, fmt.Errorf("file %s: %w: record %d: %w", path, ErrNotFound, n, err)
	}
	if err != nil {
		return nil, fmt.Errorf("file %s, record %d: %w", path, n, err)
	}
	return b, nil
}

// recordsUntold reads records until there is none.
func (c *Card) recordsUntold(ctx context.Context, path string) (out [][]byte, err error) {
	for n := 1; n < 0xFF; n++ {
		b, err := c.recordUntold(ctx, path, n)
		if n > 1 && errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}
