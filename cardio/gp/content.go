package gp

import (
	"bytes"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// LoadCommands split a load file, DAP blocks and C4 object together, into LOAD
// commands (GPC_SPE_034 11.6): P1 marks the last, P2 counts from 00. maxData is
// the number of data bytes a block carries, 1 to 255; see MaxPlainData. 256
// blocks are the most that P2 can count: ErrTooLong beyond that.
func LoadCommands(loadFile []byte, maxData int) ([]apdu.Command, error) {
	if len(loadFile) == 0 {
		return nil, errors.New("gp: a load file of nothing")
	}
	if maxData < 1 || maxData > apdu.MaxShortData {
		return nil, fmt.Errorf("gp: LOAD blocks of %d bytes", maxData)
	}
	n := (len(loadFile) + maxData - 1) / maxData
	if n > maxBlocks {
		return nil, fmt.Errorf("%w: a load file of %d bytes takes %d blocks of %d", ErrTooLong, len(loadFile), n, maxData)
	}
	out := make([]apdu.Command, n)
	for i := range out {
		end := min((i+1)*maxData, len(loadFile))
		out[i] = apdu.Command{CLA: 0x80, INS: 0xE8, P2: byte(i), Data: loadFile[i*maxData : end : end], Ne: apdu.MaxShortNe}
	}
	out[n-1].P1 = 0x80
	return out, nil
}

// DeleteCommand deletes an application or a load file by its AID, 5 to 16
// bytes (GPC_SPE_034 11.2). related deletes a load file's applications with
// it. token, tag 9E, is empty outside delegated management. It is an error
// where the AID has another length, or the fields do not fit into one command.
func DeleteCommand(aid []byte, related bool, token []byte) (apdu.Command, error) {
	if err := checkAID("object to delete", aid, false); err != nil {
		return apdu.Command{}, err
	}
	c := apdu.Command{CLA: 0x80, INS: 0xE4, Data: tlv.Encode(0x4F, aid), Ne: apdu.MaxShortNe}
	if related {
		c.P2 = 0x80
	}
	if len(token) > 0 {
		c.Data = tlv.Append(c.Data, 0x9E, token)
	}
	if len(c.Data) > apdu.MaxShortData {
		return apdu.Command{}, fmt.Errorf("gp: DELETE of %d bytes, at most %d", len(c.Data), apdu.MaxShortData)
	}
	return c, nil
}

// DeleteKeysCommand deletes keys of the selected security domain: one by
// identifier (D0) and version (D2), or, with 0 for one of the two, all that
// have the other (GPC_SPE_034 11.2). With 0 for both it is an error.
func DeleteKeysCommand(id, version byte) (apdu.Command, error) {
	if id == 0 && version == 0 {
		return apdu.Command{}, errors.New("gp: DELETE of no key in particular")
	}
	c := apdu.Command{CLA: 0x80, INS: 0xE4, Ne: apdu.MaxShortNe}
	if id != 0 {
		c.Data = tlv.Append(c.Data, 0xD0, []byte{id})
	}
	if version != 0 {
		c.Data = tlv.Append(c.Data, 0xD2, []byte{version})
	}
	return c, nil
}

// SetDomainStatusCommand locks or unlocks a security domain together with all
// applications associated with it (GPC_SPE_034 11.10), as
// SetApplicationStatusCommand does one.
func SetDomainStatusCommand(aid []byte, state byte) apdu.Command {
	return apdu.Command{CLA: 0x80, INS: 0xF0, P1: 0x60, P2: state, Data: aid}
}

// Receipt is a card's confirmation of an INSTALL, LOAD or DELETE
// (GPC_SPE_034 11.1). It is read, not verified.
type Receipt struct {
	Receipt []byte // the MAC or signature over the confirmation data and what was done
	Counter uint16 // confirmation counter
	Domain  []byte // unique data of the security domain that made it
	// More is what follows: the token's identifier and digest, with their
	// lengths, where the card gives them.
	More []byte
}

// ParseReceipt reads the response data of the last LOAD, of INSTALL or of
// DELETE. nil where the card gives none, an empty answer or the single byte
// 00. ErrMalformed for anything else that is no confirmation.
func ParseReceipt(b []byte) (*Receipt, error) {
	if len(b) == 0 || bytes.Equal(b, []byte{0}) {
		return nil, nil
	}
	fail := func(what string) (*Receipt, error) {
		return nil, fmt.Errorf("%w: receipt: %s", ErrMalformed, what)
	}
	c, rest, ok := lengthValue(b)
	if !ok || len(rest) != 0 {
		return fail("its length is not that of the answer")
	}
	var r Receipt
	if r.Receipt, c, ok = lengthValue(c); !ok || len(r.Receipt) == 0 {
		return fail("none in it")
	}
	counter, c, ok := lengthValue(c)
	if !ok || len(counter) != 2 {
		return fail("no confirmation counter of 2 bytes")
	}
	r.Counter = uint16(counter[0])<<8 | uint16(counter[1])
	if r.Domain, c, ok = lengthValue(c); !ok {
		return fail("the security domain's data is cut off")
	}
	for r.More = c; len(c) > 0; {
		if _, c, ok = lengthValue(c); !ok {
			return fail("the end is cut off")
		}
	}
	return &r, nil
}

// lengthValue reads a length of one byte, or of two beginning with 81, and as
// many bytes.
func lengthValue(b []byte) (v, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	n, b := int(b[0]), b[1:]
	if n == 0x81 && len(b) > 0 {
		n, b = int(b[0]), b[1:]
	} else if n >= 0x80 {
		return nil, nil, false
	}
	if n > len(b) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}
