package gp

import (
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// LoadCommands split a load file, DAP blocks and C4 object together, into LOAD
// commands (GPC_SPE_034 11.6): P1 marks the last, P2 counts from 00. maxData is
// the number of data bytes a block carries, 1 to 65,535; see MaxPlainData. Above
// 255 the commands have extended length, which a card has to offer. 256 blocks
// are the most that P2 can count: ErrTooLong beyond that.
func LoadCommands(loadFile []byte, maxData int) ([]apdu.Command, error) {
	if len(loadFile) == 0 {
		return nil, errors.New("gp: a load file of nothing")
	}
	if maxData < 1 || maxData > apdu.MaxExtendedData {
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

// Delete deletes an application, a load file or a security domain by its AID
// (GPC_SPE_034 11.2).
type Delete struct {
	AID     []byte // 5 to 16 bytes
	Related bool   // a load file's applications with it
	// Signature, B6, says by which key a token is verified.
	Signature *SignatureReference
	Token     []byte // 9E; empty outside delegated management
}

// Command is DELETE. It is an error where the AID has another length, or the
// fields do not fit into one command.
func (d Delete) Command() (apdu.Command, error) { return short(d.build()) }

// Commands is DELETE as MoreCommands cuts it.
func (d Delete) Commands(maxData int) ([]apdu.Command, error) { return cut(d.build, maxData) }

// TokenData is what a delete token is made over (GPC_SPE_034 C.4.6).
func (d Delete) TokenData() ([]byte, error) {
	d.Token = nil
	c, err := d.build()
	if err != nil {
		return nil, err
	}
	return appendTokenData(c, c.Data), nil
}

func (d Delete) build() (apdu.Command, error) {
	if err := checkAID("object to delete", d.AID, false); err != nil {
		return apdu.Command{}, err
	}
	c := apdu.Command{CLA: 0x80, INS: 0xE4, Data: tlv.Encode(0x4F, d.AID), Ne: apdu.MaxShortNe}
	if d.Related {
		c.P2 = 0x80
	}
	c.Data = appendSaid(d.Signature.append(c.Data), 0x9E, d.Token)
	return c, nil
}

// DeleteCommand is Delete without a reference to the token's key.
func DeleteCommand(aid []byte, related bool, token []byte) (apdu.Command, error) {
	return Delete{AID: aid, Related: related, Token: token}.Command()
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
